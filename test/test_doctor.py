"""`sentryfuse doctor` and the command line itself."""

import json

import pytest

from sentryfuse_ros.cli import VERBS, doctor, main


def test_doctor_finds_nothing_wrong_here(capsys, monkeypatch):
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("python", "torch", "rosbags", "model", "fastdds_large_messages.xml"):
        assert word in out


def test_doctor_as_json_and_with_a_missing_model(capsys):
    assert main(["doctor", "--json", "--model", "no_such_model"]) == 1
    rows = json.loads(capsys.readouterr().out)
    bad = [row for row in rows if row["level"] == "BAD"]
    assert (
        [row["what"] for row in bad] == ["model"]
        and "no_such_model" in bad[0]["found"]
        and "utd_mhad_depth_imu" in bad[0]["found"]
    )


def test_doctor_names_a_profile_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/no/profile.xml")
    pytest.importorskip("rclpy")
    assert main(["doctor"]) == 1
    assert "/no/profile.xml does not exist" in capsys.readouterr().out


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0 and "usage: sentryfuse " + verb in capsys.readouterr().out


def test_unknown_verb_and_no_verb(capsys):
    for arguments in (["fly"], []):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "replay" in capsys.readouterr().err


@pytest.mark.parametrize(
    "gone, levels",
    [
        ((), {"onnxruntime": "ok", "torch": "ok"}),
        (("torch",), {"onnxruntime": "ok", "torch": "note"}),
        (("onnxruntime",), {"onnxruntime": "note", "torch": "ok"}),
        (("onnxruntime", "torch"), {"onnxruntime": "BAD", "torch": "BAD"}),
    ],
)
def test_doctor_asks_for_one_library_that_runs_the_model(monkeypatch, gone, levels):
    monkeypatch.setattr(doctor, "version", lambda name, module=None: None if name in gone else "1.0")
    found = {finding.what: finding for finding in doctor.check_python()}
    assert {name: found[name].level for name in levels} == levels
    assert all(f"pip install {name}" in found[name].remedy for name in gone)
