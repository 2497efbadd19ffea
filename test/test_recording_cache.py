"""Simulated recordings are made once and kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sentryfuse_ros.errors import BagError, ParameterError, SentryFuseError
from sentryfuse_ros.paths import cache_path, model_path
from sentryfuse_ros.replay import recording_cache
from sentryfuse_ros.replay.recording_cache import MAKING, Drive, cache_folder, find, is_complete, make

DRIVE = Drive("test", 4, 1.0, 1.0, 0.9)


def made(tmp_path):
    return make(DRIVE, [tmp_path / "cache"])


def refuse(*_, **__):
    raise AssertionError("simulated again")


def test_a_recording_is_made_once(tmp_path, monkeypatch):
    done = []
    bag = make(DRIVE, [tmp_path / "cache"], done.append)
    assert is_complete(bag) and done[-1] == pytest.approx(1.0) and [p.name for p in bag.parent.iterdir()] == [bag.name]
    monkeypatch.setattr(recording_cache, "make", refuse)
    assert find(DRIVE, [tmp_path / "other", tmp_path / "cache"]) == bag
    for other in (Drive("test", 5, 1.0, 1.0, 0.9), Drive("test", 4, 2.0, 1.0, 0.9), Drive("test", 4, 1.0, 1.0, 0.8)):
        assert find(other, [tmp_path / "cache"]) is None


def test_another_version_of_the_simulation_is_another_recording(tmp_path, monkeypatch):
    source = tmp_path / "simulation"
    source.mkdir()
    (source / "__init__.py").write_text("")
    (source / "robot.py").write_text("MASS_KG = 19\n")
    monkeypatch.setattr(recording_cache.simulation, "__file__", str(source / "__init__.py"))
    before = DRIVE.folder_name()
    assert DRIVE.folder_name() == before
    (source / "robot.py").write_text("MASS_KG = 20\n")
    assert DRIVE.folder_name() != before


def test_incomplete_or_damaged_recordings_are_made_again(tmp_path):
    folder = tmp_path / "cache"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, running = folder / f"making-{ended.pid}", folder / f"making-{os.getppid()}"
    for path in (left / "half", running / "half"):
        path.mkdir(parents=True)
    bag = made(tmp_path)
    assert not left.exists() and running.exists()  # another's work is left alone
    for name in ("intervals.csv", "run.json", "metadata.yaml"):
        copy = shutil.copytree(bag, tmp_path / name / bag.name)
        (copy / name).unlink()
        assert is_complete(bag) and not is_complete(copy) and find(DRIVE, [copy.parent]) is None
    assert make(DRIVE, [copy.parent]) == copy and is_complete(copy)


def test_a_run_broken_off_leaves_nothing(tmp_path):
    def stop(done_s):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(DRIVE, [tmp_path / "cache"], stop)
    assert not list((tmp_path / "cache").iterdir())


def test_an_interrupt_while_the_folder_is_tried_leaves_nothing(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def interrupted(self, *args, **kwargs):
        mkdir(self, *args, **kwargs)
        if self.name.startswith(MAKING):
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_the_next_folder_is_used_if_the_cache_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")  # a file in the way: no folder can be made below it, not even by root
    bag = make(DRIVE, [tmp_path / "file" / "cache", tmp_path / "out"])
    assert bag.parent == tmp_path / "out" and is_complete(bag)
    with pytest.raises(BagError, match="no folder that can be written.*file/cache.*XDG_CACHE_HOME"):
        make(DRIVE, [tmp_path / "file" / "cache"])


def test_a_bad_value_is_named(tmp_path):
    with pytest.raises(ParameterError, match="duration"):
        make(Drive("test", 4, 0.1, 1.0, 0.9), [tmp_path])
    assert not list(tmp_path.iterdir())


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sentryfuse_ros" / "recordings"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sentryfuse_ros" / "recordings"


def test_without_a_home_folder_nothing_is_kept_in_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # no account has this number
    assert cache_folder() is None
    with pytest.raises(OSError):
        cache_path("plan_costs").mkdir(parents=True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(SentryFuseError, match="no file at ~nobody_at_all/model"):
        model_path("~nobody_at_all/model")
