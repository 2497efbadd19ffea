"""`backend: auto` runs a model on the library that was measured as the fastest on this machine."""

import json
import math

import numpy as np
import pytest
from tiny_model import tiny_inputs, tiny_model

from sentryfuse_ros.errors import CheckpointError, SentryFuseError
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.runtime import backend_times
from sentryfuse_ros.runtime.backend_bench import time_backends
from sentryfuse_ros.runtime.backends import candidates
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.fastest_engine import load_fastest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make setup brings it")

BOTH = ("onnxruntime", "torch")


@pytest.mark.parametrize("threads", [0, 65, 100_000])
def test_a_number_of_threads_that_no_inference_has_is_refused(tmp_path, threads):
    with pytest.raises(CheckpointError, match=f"inference threads: saw {threads}, expected 1 to 64"):
        Engine.load(save_checkpoint(tiny_model(), tmp_path / "model"), threads=threads)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(backend_times, "LONGEST_S", 900.0)  # torch may take long to import while other tests run
    return tmp_path / "cache"


@pytest.fixture()
def folder(tmp_path):
    return save_checkpoint(tiny_model(), tmp_path / "tiny")


def test_backends_are_measured_once_and_the_fastest_is_taken_from_then_on(folder, cache, monkeypatch):
    said = []
    engine = load_fastest(folder, say=said.append)
    assert said == ["measuring onnxruntime and torch, once for this model on this machine"]
    assert set(engine.backend_ms) == set(BOTH) and all(ms > 0 for ms in engine.backend_ms.values())
    assert engine.backend.name == backend_times.fastest(engine.backend_ms)
    assert engine.runs_on.startswith(f"{engine.backend.name} on cpu, measured: onnxruntime ")
    (file,) = cache.rglob("*.json")
    kept = json.loads(file.read_text())
    slow = max(kept["ms"], key=kept["ms"].get)
    kept["ms"][slow] = 1e-3  # as if the other one had been the fastest
    file.write_text(json.dumps(kept))
    monkeypatch.setattr("sentryfuse_ros.runtime.fastest_engine.measure_times", lambda *_: pytest.fail("measured again"))
    again = load_fastest(folder, say=said.append)
    assert again.backend.name == slow and len(said) == 1
    assert Engine.load(folder).backend.name == slow
    answers = [e.infer(tiny_inputs(), np.ones(3, bool), 0.0).probabilities for e in (engine, again)]
    np.testing.assert_allclose(*answers, atol=1e-4)


@pytest.mark.parametrize("damage", ("{", "[]", '{"key": {}, "ms": {}}'))
def test_a_damaged_or_foreign_cache_is_measured_anew(folder, cache, damage):
    first = load_fastest(folder, say=lambda _: None)
    (file,) = cache.rglob("*.json")
    file.write_text(damage)
    digest = str(first.info["sha256"])
    assert backend_times.kept_times(digest, BOTH, "cpu", 1) == {}
    assert set(backend_times.measure_times(folder, digest, BOTH, "cpu", 1)) == set(BOTH)
    assert set(backend_times.kept_times(digest, BOTH, "cpu", 1)) == set(BOTH)
    kept = json.loads(file.read_text())
    for bad in ({"torch": math.nan}, {"torch": -1.0}, {"tensorflow": 1.0}):
        file.write_text(json.dumps({**kept, "ms": {**kept["ms"], **bad}}))
        assert backend_times.kept_times(digest, BOTH, "cpu", 1) == {}
    file.write_text(json.dumps(kept))
    assert backend_times.kept_times(digest, BOTH, "cpu", 2) == {}  # of other threads nothing is known


def test_without_measuring_nothing_is_kept_and_onnxruntime_runs(folder, cache):
    engine = load_fastest(folder, measures=False, say=lambda _: None)
    assert engine.backend.name == "onnxruntime" and engine.runs_on == "onnxruntime on cpu" and not list(cache.rglob("*.json"))


def test_a_measurement_that_fails_is_said_and_the_model_runs(folder, monkeypatch):
    said = []
    monkeypatch.setattr(backend_times.sys, "executable", "/bin/false")
    engine = load_fastest(folder, say=said.append)
    assert engine.backend.name == "onnxruntime" and engine.infer(tiny_inputs(), np.ones(3, bool), 0.0).class_id >= 0
    assert said[-1].startswith("the backend stays onnxruntime: ") and "set the parameter backend" in said[-1]
    with pytest.raises(SentryFuseError, match="measuring backends"):
        backend_times.measure_times(folder, "", BOTH, "cpu", 1)


def test_a_backend_that_cannot_run_the_model_is_left_out(folder):
    assert set(time_backends(str(folder), "cpu", 1, ("onnxruntime", "warp_drive"), rounds=1)) == {"onnxruntime"}


def test_a_library_that_is_not_installed_is_no_candidate(folder, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    said = []
    engine = load_fastest(folder, say=said.append)
    assert candidates(engine.checkpoint) == ("onnxruntime",) and engine.backend.name == "onnxruntime" and not said
