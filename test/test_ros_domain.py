"""The ROS domain of a replay: the user's, or one of its own, and never that of another replay."""

import os
import tempfile

import pytest

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.replay.ros_domain import claim_domain


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)


def test_replays_get_domains_of_their_own():
    claimed = [claim_domain() for _ in range(5)]
    try:
        assert len({domain.id for domain in claimed}) == 5 and all(1 <= domain.id <= 101 for domain in claimed)
        with pytest.raises(ParameterError, match=f"--domain-id: saw {claimed[0].id}, expected a ROS domain on which no other"):
            claim_domain(claimed[0].id)
        claimed[0].release()
        again = claim_domain(claimed[0].id)
        assert (again.id, again.source) == (claimed[0].id, "--domain-id")
        again.release()
    finally:
        for domain in claimed:
            domain.release()


def test_the_variable_is_respected_and_the_option_goes_first(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "97")
    domain = claim_domain()
    assert (domain.id, domain.source) == (97, "ROS_DOMAIN_ID")
    other = claim_domain(96)
    assert (other.id, other.source) == (96, "--domain-id")
    domain.release()
    other.release()


@pytest.mark.parametrize("variable", ["x", "-1", "233", "1.0"])
def test_a_variable_that_is_no_domain_is_refused(monkeypatch, variable):
    monkeypatch.setenv("ROS_DOMAIN_ID", variable)
    with pytest.raises(ParameterError, match="ROS_DOMAIN_ID.*0 to 232"):
        claim_domain()


def test_another_user_can_ask_for_the_domain_whatever_the_umask(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0o077)
    try:
        claim_domain(5).release()
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o644]
