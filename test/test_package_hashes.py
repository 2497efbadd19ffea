"""`make setup` accepts the published files of the pinned packages and no others."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "scripts"))

from package_hashes import compare, normal, read_hashes  # noqa: E402

GOOD, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def hashes(tmp_path):
    path = tmp_path / "requirements.hashes"
    path.write_text(
        f"# made by a tool\nros_thing==1.2 \\\n    --hash=sha256:{GOOD} \\\n    --hash=sha256:{'c' * 64}\nnumpy==2.0 ; x\n"
    )
    return path


def report(tmp_path, *installed):
    entries = [
        {"metadata": {"name": name, "version": version}, "download_info": {"archive_info": archive}}
        for name, version, archive in installed
    ]
    (tmp_path / "installed.json").write_text(json.dumps({"install": entries}))
    return tmp_path / "installed.json"


@pytest.mark.parametrize(
    ("version", "archive", "wrong", "unlisted"),
    [
        ("1.2", {"hashes": {"sha256": GOOD}}, [], []),
        ("1.2", {"hash": f"sha256={GOOD}"}, [], []),
        ("1.2", {"hashes": {"sha256": OTHER}}, ["ros-thing 1.2"], []),
        ("1.2+cpu", {"hashes": {"sha256": OTHER}}, [], ["ros-thing 1.2+cpu"]),
        ("1.2", {}, [], ["ros-thing 1.2"]),
    ],
)
def test_a_file_is_known_by_its_hash(tmp_path, hashes, version, archive, wrong, unlisted):
    assert compare(report(tmp_path, ("ros_thing", version, archive)), hashes) == (wrong, unlisted)


def test_dependencies_that_are_not_pinned_are_left_out(tmp_path, hashes):
    assert compare(report(tmp_path, ("sympy", "1.0", {"hashes": {"sha256": OTHER}})), hashes) == ([], [])


def test_every_pinned_package_has_its_hashes():
    known = read_hashes(ROOT / "requirements.hashes")
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [re.match(r"([A-Za-z0-9._-]+)(?:\[\w+\])?==([^ ;]+)", line) for line in lines if not line.startswith("#")]
    missing = [pin[0] for pin in pins if pin and not known.get((normal(pin[1]), pin[2]))]
    assert not missing and len(known) > 100
