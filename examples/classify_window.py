"""Classify the last window of a recording with the shipped model: with all sensors, without the camera, and pruned.

    python examples/classify_window.py [RECORDING]

RECORDING is a rosbag2 folder with the topics of config/fuse.yaml. Without one, four seconds of the simulated robot are
recorded first.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings


def last_window(recording: Path, engine: Engine) -> Mapping[str, Any]:
    """The model inputs by name, as the robot would have them at the end of the recording."""
    settings = build_settings({})
    pipeline = Pipeline(settings, engine)
    with Bag(recording) as bag:
        sensor_of = {topic.name: sensor for sensor, topic in match_sensors(bag, settings.sensors).topics.items()}
        for topic, time_ns, message in bag.messages(list(sensor_of)):
            pipeline.feed(sensor_of[topic], [message], np.array([time_ns]), time_ns, time_ns)
    return pipeline.snapshot(time_ns, time_ns).inputs


def main(recording: Path) -> None:
    engine = Engine.load(model_path("ground_robot"))
    window = last_window(recording, engine)
    all_sensors = np.array([name in window for name in engine.modalities])
    no_camera = all_sensors & (np.array(engine.modalities) != "camera")
    for mask, ratio in ((all_sensors, 0.0), (no_camera, 0.0), (all_sensors, 0.9)):
        result = engine.infer(window, mask, ratio)
        shares = " ".join(f"{name} {share:.2f}" for name, share in zip(engine.modalities, result.attention_share, strict=True))
        cost = f"ratio {result.ratio:.1f}, {result.flops / 1e6:.1f} MFLOP"
        print(f"{result.class_name:8} {100 * result.confidence:3.0f} %   {cost}   attention: {shares}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        from sentryfuse_ros.simulation.run import simulate

        with tempfile.TemporaryDirectory() as folder:
            simulate(seed=3, duration_s=4.0, out=Path(folder) / "drive", split="test")
            main(Path(folder) / "drive")
