"""A robot on a virtual clock, whose serialised messages go straight into the pipeline."""

import numpy as np
from cdr_messages import audio, cloud, image, imu, raw
from tiny_model import tiny_model

from sentryfuse_ros.model.subnetwork import whole_stems
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings

T0 = 1_700_000_000 * NS
FOUR = (
    ModalitySpec("camera", "camera", 1.0, (4, 1, 12, 16), "depth_m"),
    ModalitySpec("imu", "imu", 1.0, (40, 6)),
    ModalitySpec("audio", "audio", 1.0, (20, 16), options={"sample_rate_hz": 16000}),
    ModalitySpec("lidar", "lidar", 1.0, (1, 2, 8, 16)),
)
CLOUD = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])


class Robot:
    """Camera 20 Hz, IMU 100 Hz, audio 50 Hz, LiDAR 10 Hz, on one virtual clock; drained and fused at 10 Hz."""

    def __init__(self, engine, **parameters):
        self.engine, self.pipeline = engine, Pipeline(build_settings(parameters), engine)
        self.random = np.random.default_rng(0)
        self.now_ns = T0
        self.off: set[str] = set()
        self.rates = {"camera": 20, "imu": 100, "audio": 50, "lidar": 10}
        self.make = {"camera": self.camera, "imu": self.imu, "audio": self.audio, "lidar": self.lidar}

    def camera(self, stamp):
        return raw(image(self.random.integers(1000, 3000, (24, 32)).astype(np.uint16), "16UC1", stamp_ns=stamp))

    def imu(self, stamp):
        return raw(imu(self.random.normal(0, 0.2, 3), self.random.normal(0, 0.2, 3) + (0, 0, 9.8), stamp_ns=stamp))

    def audio(self, stamp):
        return raw(audio(self.random.integers(-3000, 3000, 320).astype(np.int16), stamp_ns=stamp))

    def lidar(self, stamp):
        return raw(cloud(CLOUD, {k: self.random.normal(0, 5, 200).astype(np.float32) for k in "xyz"}, stamp_ns=stamp))

    def step(self, seconds=0.1):
        """Advance one fuse period: feed what was published in it, tick."""
        begin, self.now_ns = self.now_ns, self.now_ns + round(seconds * NS)
        self.pipeline.observe_clock(self.now_ns)
        for name, rate in self.rates.items():
            if name in self.off or name not in self.pipeline.sensors:
                continue
            period = NS // rate
            stamps = np.arange(-(-begin // period) * period, self.now_ns, period)
            if len(stamps):
                self.pipeline.feed(name, [self.make[name](int(t)) for t in stamps], stamps, self.now_ns, self.now_ns)
        return self.pipeline.tick(self.now_ns)

    def run(self, seconds):
        return [self.step() for _ in range(round(seconds * 10))]


def tiny_network():
    """A tiny model with the inputs FOUR."""
    return tiny_model(
        modalities=FOUR,
        kv_stride={},
        tokenizer={
            "camera": {"stem_channels": [4, 4], "grid": [2, 2]},
            "imu": {"stem_channels": 8},
            "lidar": {"frames_per_token": 1, "stem_channels": [4, 4], "grid": [2, 2]},
        },
    )


def tiny_engine():
    """An engine of it."""
    return Engine.from_model(tiny_network(), {"name": "tiny"})


ALL = (True,) * 4


def thrifty_engine(engine):
    """The same, but at a ratio of 0.9 it runs on the IMU alone, or without it on camera and LiDAR."""
    planned = Engine(engine.checkpoint, engine.backend)
    config, without_imu = engine.checkpoint.config, (True, False, True, True)
    planned.choose(
        {
            (ALL, 0.9): PlanChoice(whole_stems(config, (False, True, False, False), 0.9), 1.0, 0.8),
            (without_imu, 0.9): PlanChoice(whole_stems(config, (True, False, False, True), 0.9), 2.0, 0.8),
        }
    )
    return planned
