"""`make setup`: it says what it is doing, is quick when nothing has changed, and fails with one line and a remedy."""

import importlib.util
import io
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    """The script as a module whose .venv is an empty folder, so that no test touches the real one."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", str(tmp_path))
    monkeypatch.setattr(module, "LOG", str(tmp_path / "setup.log"))
    return module


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_pip_output_becomes_a_status(bootstrap):
    lines = {
        "Collecting torch==2.13.0 (from -r requirements.txt (line 10))": "looking for torch",
        "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.1 MB)": "downloading torch (190.1 MB)",
        "Progress 95050000 of 190100000": "downloading torch (50 % of 190.1 MB)",
        "  Building wheel for example (pyproject.toml): started": "building example",
        "Installing collected packages: numpy, torch, rich": "unpacking 3 packages",
        "Requirement already satisfied: pip in .venv": None,
    }
    pip = bootstrap.PipProgress()
    assert {line: pip.status_of(line) for line in lines} == lines


def test_build_output_becomes_a_status(bootstrap):
    assert bootstrap.ninja_status("[12/48] Building C object a.o") == "compiling, step 12 of 48"
    assert bootstrap.ninja_status("-- Configuring done") is None


def test_a_terminal_shows_one_line_that_is_rewritten(bootstrap):
    out = Terminal()
    status = bootstrap.StatusLine("downloading torch", out)
    status.show()
    status.text = "unpacking 3 packages"
    status.show()
    status.close()
    assert "\n" not in out.getvalue() and out.getvalue().count("\r") == 3
    assert re.search(r"downloading torch \(\d+ s\).*unpacking 3 packages \(\d+ s\)", out.getvalue())


def test_a_log_gets_a_new_line_from_time_to_time(bootstrap, monkeypatch):
    out = io.StringIO()
    status = bootstrap.StatusLine("downloading torch", out)
    for seconds in range(12):
        monkeypatch.setattr(time, "time", lambda now=status.started + seconds: now)
        status.show()
    assert out.getvalue().splitlines() == ["setup:   downloading torch (5 s)", "setup:   downloading torch (10 s)"]


def test_output_goes_to_the_log_but_progress_counts_do_not(bootstrap):
    code = "print('Collecting torch'); print('Progress 1 of 2'); print('no newline at the end', end='')"
    bootstrap.run([sys.executable, "-c", code], "a step failed", "see the log")
    log = Path(bootstrap.LOG).read_text()
    assert "Collecting torch\n" in log and log.endswith("no newline at the end") and "Progress" not in log.split("\n", 2)[2]


@pytest.mark.parametrize(
    "output, problem, remedy",
    [
        ("fatal error: Python.h not found", "a step failed (fatal error: Python.h not found)", "see the log"),
        ("ERROR: No matching distribution (from versions: none)", "package index cannot be reached", "check the network"),
    ],
)
def test_a_failed_step_names_cause_and_remedy_in_one_line_each(bootstrap, output, problem, remedy):
    code = f"print({output!r}); print('and a last line'); raise SystemExit(1)"
    with pytest.raises(SystemExit) as ended:
        bootstrap.run([sys.executable, "-c", code], "a step failed", "see the log")
    first, second = str(ended.value).splitlines()
    assert problem in first and second.startswith("  remedy: ") and remedy in second and bootstrap.LOG in second


def test_a_second_setup_runs_no_step(bootstrap, monkeypatch):
    steps = []
    reports = []

    def run(command, *_, **__):
        steps.append(command)
        if "--report" in command:  # as pip writes it, of nothing
            reports.append(command[command.index("--report") + 1])
            Path(reports[-1]).write_text('{"install": []}')

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "version_of", lambda python: (3, 11))
    monkeypatch.setattr(bootstrap, "relocate", lambda: None)
    os.makedirs(os.path.join(bootstrap.VENV, "bin"))

    def set_up():
        bootstrap.install_packages("/usr/bin/python3", None)
        os.makedirs(os.path.join(bootstrap.VENV, "bin"), exist_ok=True)
        bootstrap.build(None)

    set_up()
    assert [step[1:4] for step in steps[:3]] == [
        ["-m", "venv", bootstrap.VENV],
        ["-m", "pip", "install"],
        ["-m", "pip", "install"],
    ]
    assert len(steps) == 4 and steps[3][0].endswith("colcon") and len(reports) == 1
    set_up()
    assert len(steps) == 4


def test_another_file_than_was_published_ends_the_setup_without_an_environment(bootstrap, tmp_path):
    version = re.search(r"^rosbags==(.*)", (SCRIPT.parents[1] / "requirements.txt").read_text(), re.M)[1]
    entry = {
        "metadata": {"name": "rosbags", "version": version},
        "download_info": {"archive_info": {"hash": "sha256=" + "0" * 64}},
    }
    report = tmp_path.parent / f"{tmp_path.name}.json"
    report.write_text(json.dumps({"install": [entry]}))
    with pytest.raises(SystemExit, match=f"other files than were published for rosbags {version}"):
        bootstrap.refuse_other_files(str(report))
    assert not tmp_path.exists()


def test_an_active_virtual_environment_leads_to_its_interpreter(bootstrap, tmp_path, monkeypatch):
    link = tmp_path / "bin" / "python3"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    monkeypatch.setenv("PYTHON", str(link))
    assert bootstrap.choose_python(None) == os.path.realpath(sys.executable)


def test_an_unsupported_interpreter_is_named(bootstrap, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON", str(tmp_path / "python2.7"))
    with pytest.raises(SystemExit, match="python2.7 is not a working Python; Python 3.10 to 3.13 is needed"):
        bootstrap.choose_python(None)


def test_an_environment_that_was_moved_or_half_removed_is_made_anew(bootstrap, monkeypatch, tmp_path):
    made = []

    def run(command, *_, **__):
        made.append(command)
        if "--report" in command:
            Path(command[command.index("--report") + 1]).write_text('{"install": []}')

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "version_of", lambda python: (3, 11))
    monkeypatch.setattr(bootstrap, "relocate", lambda: None)
    bootstrap.install_packages("/usr/bin/python3", None)
    once = len(made)
    bootstrap.install_packages("/usr/bin/python3", None)
    assert len(made) == once
    moved = tmp_path.parent / f"{tmp_path.name}_moved"
    tmp_path.rename(moved)
    monkeypatch.setattr(bootstrap, "VENV", str(moved))
    bootstrap.install_packages("/usr/bin/python3", None)
    assert len(made) == 2 * once, "its scripts name the place where it was"
    (moved / "build.stamp").write_text("built")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.install_packages("/usr/bin/python3.12", None)
    assert not list(moved.glob("*.stamp")), "what is left must not be trusted where the old inputs come back"


def test_an_interrupted_build_leaves_no_stamp_of_an_earlier_one(bootstrap, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "build.stamp").write_text("of other inputs")
    monkeypatch.setattr(bootstrap, "run", interrupted)
    monkeypatch.setattr(bootstrap, "version_of", lambda python: (3, 11))
    with pytest.raises(KeyboardInterrupt):
        bootstrap.build(None)
    assert not (tmp_path / "build.stamp").exists()


@pytest.mark.parametrize("name", ["my robot", "r\u00e9pertoire"])
def test_a_path_on_which_the_setup_would_fail_late_is_refused_at_once(bootstrap, monkeypatch, name):
    monkeypatch.setattr(bootstrap, "ROOT", f"/home/me/{name}")
    with pytest.raises(SystemExit, match=f"'/home/me/{name}' has a space or a letter that is not ASCII"):
        bootstrap.check_machine(sys.executable, "/opt/ros/jazzy")
