"""A run made up for tests of the report: a model that is mostly right, less so without its camera."""

from __future__ import annotations

import numpy as np

from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.judge import Limits, PredictionRow, StatusRow, summarise
from sentryfuse_ros.replay.run_record import ModelFacts, PowerRow, RunRecord
from sentryfuse_ros.replay.schedule import Truth
from sentryfuse_ros.replay.truth import Labels, judge_predictions

NAMES = ("camera", "imu", "audio", "lidar")
PERIOD_S = {"camera": 0.1, "imu": 0.005, "audio": 0.02, "lidar": 0.1}
CLASSES = ("asphalt", "gravel", "grass", "sand", "tiles", "wood")
NOTICED_S = 0.3  # how long after its begin every fault is seen


def made_up_record(labels: Labels | None, script: FaultScript, end_s: float, wrong_share: float = 0.1) -> RunRecord:
    """Ticks of 0.1 s; wrong at random by ``wrong_share``, twice that without the camera; nothing said without any sensor."""
    rng = np.random.default_rng(0)
    predictions, statuses, power = [], [], []
    for i in range(round(end_s * 10)):
        t = 0.1 * i + 0.01
        gone = {f.sensor for f in script.faults if f.from_s + NOTICED_S <= t < f.to_s + 0.1}
        mask = tuple(n not in gone for n in NAMES)
        ratio = round(min(0.9, t / end_s), 1)
        label = labels.at(t) if labels else CLASSES[0]
        wrong = rng.random() < wrong_share * (1 if mask[0] else 2)
        said = str(rng.choice(CLASSES)) if wrong else label
        valid = any(mask)
        predictions.append(
            PredictionRow(
                t,
                t,
                valid,
                "" if valid else "no live sensor",
                said if valid else "",
                float(rng.uniform(0.6, 1.0)) * valid,
                mask,
                ratio,
                3.0 + rng.random(),
                12.0,
                2.0 + rng.random(),
                i + 1,
            )
        )
        lost = ("STALE", 0.0, f"no message <for> {NOTICED_S} s")
        states = {n: lost if n in gone else ("OK", 1 / PERIOD_S[n], "") for n in NAMES}
        statuses.append(StatusRow(t, states))
        power.append(PowerRow(t, 100 - 90 * t / end_s, ratio, int(4e7 * (1 - 0.6 * ratio) * sum(mask) / 4), 40_000_000))
    model = ModelFacts("ground_robot", NAMES, CLASSES, 1.0, 700_000, "a made-up data set", "0" * 64)
    return RunRecord("run", predictions, statuses, script, end_s, power, labels, model)


def summary_of(record: RunRecord) -> dict:
    """What `sentryfuse replay` would say of it."""
    sound = {
        n: [
            t
            for t in np.arange(0, record.end_s, PERIOD_S[n])
            if not any(f.sensor == n and f.active(t) for f in record.script.faults)
        ]
        for n in NAMES
    }
    every = {n: 3 for n in NAMES}
    limits = Limits(0.1, dict.fromkeys(NAMES, 0.3), every, every, every, PERIOD_S, dict.fromkeys(NAMES, 1.0))
    summary = summarise(record.predictions, record.statuses, record.script.faults, Truth(sound, sound), limits, record.end_s)
    model = record.model
    summary["truth"] = judge_predictions(
        record.predictions, record.labels, record.script, model.modalities, model.classes, model.window_s, record.end_s
    )
    summary["sensors"] = {name: "/" + name for name in NAMES}
    return summary
