"""A tiny model, made-up windows and predictions by hand for tests of the evaluation."""

import numpy as np
from tiny_model import SPECS, tiny_model

from sentryfuse_ros.datasets.recording import Recording, Stream
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.evaluation.predictions import Predictions
from sentryfuse_ros.evaluation.records import EvaluationReport
from sentryfuse_ros.runtime.engine import Engine

LEVELS = (0.0, 0.5, 0.9)
CLASSES = ("rest", "turn", "jump", "fall")


def made_up_windows(count=12, seed=0, **changes):
    """Noise of the tiny model's three sensors: 4 recordings of 3 windows, one of them in fog, one in fog and wind."""
    rng = np.random.default_rng(seed)
    recording = np.repeat(np.arange(4), count // 4)
    values = dict(
        inputs={s.name: rng.standard_normal((count, *s.shape)).astype(np.float32) for s in SPECS},
        labels=rng.integers(0, 4, count),
        groups=np.full(count, "test"),
        recording=recording,
        recordings=("a", "b", "c", "d"),
        end_s=np.arange(count) * 0.5,
        conditions={"fog": recording <= 1, "wind": recording == 1, "mud": np.zeros(count, bool)},
    )
    return WindowSet(**{**values, **changes})


def engine(**info):
    return Engine.from_model(tiny_model(ratio_levels=LEVELS), info)


def two_sensors(predicted, confidence=None, labels=(0, 0, 1, 1, 1), recording=(0, 0, 1, 1, 2)):
    """Predictions by hand: masks 11, 10, 01 at one level of five examples, three classes."""
    predicted = np.array(predicted)[:, None, :]
    confidence = np.full(predicted.shape, 0.9) if confidence is None else np.array(confidence, float)[:, None, :]
    return Predictions(
        ("eye", "ear"),
        ("a", "b", "c"),
        ((True, True), (True, False), (False, True)),
        (0.0,),
        np.array(labels),
        np.array(recording),
        predicted,
        confidence,
    )


BY_HAND = two_sensors([[0, 0, 1, 1, 0], [0, 2, 1, -1, 0], [0, 0, 0, 1, 0]])


def report_of(measured, **changes):
    values = dict(
        command="",
        model="m",
        model_sha256="",
        model_command="",
        model_data={},
        dataset="d",
        provenance="",
        budget="flops",
        split="test",
        groups=("test",),
        warnings=(),
        machine={"threads": 1, "processor": "p", "torch": "t"},
    )
    return EvaluationReport(**{**values, **changes}, measured=measured)


def recording(name, label, wheel_rows=20):
    rng = np.random.default_rng(label)
    count = {"camera": 4, "imu": 40, "wheel": 20}
    rows = {"camera": rng.random((4, 1, 12, 16)), "imu": rng.standard_normal((40, 6)), "wheel": rng.standard_normal((20, 2))}
    streams = {n: Stream(np.arange(1, k + 1) * (1_000_000_000 // k), rows[n].astype(np.float32)) for n, k in count.items()}
    wheel = streams["wheel"]
    streams["wheel"] = Stream(wheel.stamp_ns[:wheel_rows], wheel.rows[:wheel_rows])
    return Recording(name, label, 1, streams)
