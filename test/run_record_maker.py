"""A made-up run for tests of the report: a model that is mostly correct, less so without its camera."""

from __future__ import annotations

import numpy as np

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.judge import Limits, SensorLimits
from sentryfuse_ros.replay.run_record import ModelFacts, PowerRow, PredictionRow, RunRecord, SensorStatus, StatusRow
from sentryfuse_ros.replay.run_summary import RunResult, summarise
from sentryfuse_ros.replay.schedule import DeliveryLog
from sentryfuse_ros.replay.scores import score_run
from sentryfuse_ros.replay.stream_scores import score_stream

NAMES = ("camera", "imu", "audio", "lidar")
PERIOD_S = {"camera": 0.1, "imu": 0.005, "audio": 0.02, "lidar": 0.1}
CLASSES = ("asphalt", "gravel", "grass", "sand", "tiles", "wood")
NOTICED_S = 0.3  # how long after its begin every fault is seen


def made_up_record(labels: Labels | None, script: FaultScript, end_s: float, wrong_share: float = 0.1) -> RunRecord:
    """Ticks of 0.1 s. A share of ``wrong_share`` is wrong, twice that without the camera; none is made without sensors."""
    rng = np.random.default_rng(0)
    predictions, statuses, power = [], [], []
    for i in range(round(end_s * 10)):
        t = 0.1 * i + 0.01
        gone = {f.sensor for f in script.faults if f.from_s + NOTICED_S <= t < f.to_s + 0.1}
        mask = tuple(n not in gone for n in NAMES)
        ratio = round(min(0.9, t / end_s), 1)
        label = labels.at_s(t) if labels else CLASSES[0]
        wrong = rng.random() < wrong_share * (1 if mask[0] else 2)
        predicted = str(rng.choice(CLASSES)) if wrong else label
        valid = any(mask)
        predictions.append(
            PredictionRow(
                t,
                t,
                valid,
                "" if valid else "no live sensor",
                predicted if valid else "",
                float(rng.uniform(0.6, 1.0)) * valid,
                mask,
                ratio,
                3.0 + rng.random(),
                12.0,
                2.0 + rng.random(),
                i + 1,
            )
        )
        lost = SensorStatus("STALE", 0.0, f"no message <for> {NOTICED_S} s")
        states = {n: lost if n in gone else SensorStatus("OK", 1 / PERIOD_S[n], "") for n in NAMES}
        statuses.append(StatusRow(t, states))
        power.append(PowerRow(t, 100 - 90 * t / end_s, ratio, int(4e7 * (1 - 0.6 * ratio) * sum(mask) / 4), 40_000_000))
    model = ModelFacts("ground_robot", NAMES, CLASSES, 1.0, 700_000, "a made-up data set", "0" * 64)
    return RunRecord("run", predictions, statuses, script, end_s, power, labels, model)


def result_of(record: RunRecord) -> RunResult:
    """What `sentryfuse replay` would find out about it."""
    sound = {
        n: [
            t
            for t in np.arange(0, record.end_s, PERIOD_S[n])
            if not any(f.sensor == n and f.active(t) for f in record.script.faults)
        ]
        for n in NAMES
    }
    limits = Limits(0.1, {n: SensorLimits(0.3, 3, 3, 3, PERIOD_S[n], 1.0) for n in NAMES})
    log = DeliveryLog(sound, sound)
    summary = summarise(record.predictions, record.statuses, record.script.faults, log, limits, record.end_s)
    return RunResult(record, summary, score_run(record), "run", score_stream(record), {name: "/" + name for name in NAMES})
