"""Mean and standard deviation, applied to windows after they were extracted."""

import numpy as np
import pytest

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.normalise import normalise


@pytest.mark.parametrize(
    "spec",
    [
        ModalitySpec("camera", "camera", 1.0, (2, 3, 4, 5), "rgb", mean=(0.1, 0.2, 0.3), std=(2, 3, 4)),
        ModalitySpec("depth", "camera", 1.0, (2, 1, 4, 5), "depth_m", mean=(1.0,), std=(2,)),
        ModalitySpec("lidar", "lidar", 1.0, (2, 4, 3, 5), mean=(1, 2, 3, 4), std=(2, 3, 4, 5)),
        ModalitySpec("imu", "imu", 1.0, (10, 6), mean=(1, 2, 3, 4, 5, 6), std=(1, 2, 3, 4, 5, 6)),
        ModalitySpec("audio", "audio", 0.5, (10, 8), mean=(-5.0,) * 8, std=(2.0,) * 8),
    ],
    ids=lambda s: s.name,
)
def test_mean_and_std_applied_afterwards_give_what_the_robot_computes(spec):
    from dataclasses import replace

    from sentryfuse_ros.preprocessing import model_input

    rng = np.random.default_rng(0)
    count = 8000 if spec.kind == "audio" else 20
    stamps = (np.arange(count) * NS) // (16000 if spec.kind == "audio" else 40) + NS // 3
    rows = rng.random((count, *spec.row_shape), np.float32) + 0.1
    if spec.kind == "lidar" or spec.encoding == "depth_m":
        rows *= rng.random((count, 1, *spec.row_shape[1:])) > 0.3
    end = int(stamps[-1]) + NS // 10
    unnormalised = model_input(replace(spec, mean=(), std=()), stamps, rows, end)
    np.testing.assert_allclose(normalise(spec, unnormalised[None])[0], model_input(spec, stamps, rows, end), atol=2e-5)
