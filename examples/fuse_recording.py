"""Run the whole fuser on a recording without ROS, and withhold sensors to see the predictions go on without them.

    python examples/fuse_recording.py [RECORDING]

RECORDING is a rosbag2 folder with the topics of config/fuse.yaml. Without one, twelve seconds of the simulated robot
are recorded first. Each line shows the time, the prediction, the mask (1: the sensor is live) and the sensors' states.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.masks import mask_to_bits
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.runtime.tick import Prediction
from sentryfuse_ros.settings import build_settings

WITHHELD = {"camera": (4.0, 8.0), "lidar": (6.0, 10.0)}  # sensor: the seconds between which its messages are withheld


def fuse(recording: Path, withheld: Mapping[str, tuple[float, float]]) -> Iterator[tuple[float, Prediction]]:
    """Yield (seconds since the start, prediction) at the fuse rate of the settings."""
    settings = build_settings({})  # the defaults; read_yaml("my_robot.yaml") reads a parameter file of fuse_node
    pipeline = Pipeline(settings, Engine.load(model_path("ground_robot")))
    period_ns = round(NS_PER_S / settings["fuse_rate_hz"])
    with Bag(recording) as bag:
        sensor_of = {topic.name: sensor for sensor, topic in match_sensors(bag, settings.sensors).topics.items()}
        next_tick_ns = bag.start_ns + period_ns
        for topic, time_ns, message in bag.messages(list(sensor_of)):
            while time_ns >= next_tick_ns:
                yield (next_tick_ns - bag.start_ns) / NS_PER_S, pipeline.tick(next_tick_ns)
                next_tick_ns += period_ns
            sensor = sensor_of[topic]
            withheld_from_s, withheld_to_s = withheld.get(sensor, (0.0, 0.0))
            if not withheld_from_s <= (time_ns - bag.start_ns) / NS_PER_S < withheld_to_s:
                pipeline.feed(sensor, [message], np.array([time_ns]), time_ns, time_ns)


def main(recording: Path) -> None:
    for count, (time_s, prediction) in enumerate(fuse(recording, WITHHELD), 1):
        if count % 5:  # show two predictions per second
            continue
        result = prediction.inference
        text = f"{result.class_name:8} {100 * result.confidence:3.0f} %" if result else prediction.reason
        states = " ".join(f"{name} {status.state.name}" for name, status in prediction.tick.statuses.items())
        print(f"{time_s:5.1f} s   {text}   mask {mask_to_bits(prediction.tick.mask)}   {states}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        from sentryfuse_ros.simulation.run import simulate

        with tempfile.TemporaryDirectory() as folder:
            simulate(seed=3, duration_s=12.0, out=Path(folder) / "drive", split="test")
            main(Path(folder) / "drive")
