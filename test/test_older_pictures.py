"""Windows whose pictures are those of an earlier window: which one it is, and what is measured with them."""

import numpy as np
import pytest
from tiny_model import tiny_model

from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.training.examples import WindowExamples
from sentryfuse_ros.training.older_pictures import OlderPictures
from sentryfuse_ros.training.validation_predictions import ValidationPredictions

CAMERA = ModalitySpec("camera", "camera", 1.0, (2, 1, 12, 16), "mono")
IMU = ModalitySpec("imu", "imu", 1.0, (40, 6))


def examples(end_s, recording, live=None):
    """Windows in which every number of an input is the place of the window."""
    n = len(end_s)
    inputs = {
        s.name: np.broadcast_to(np.arange(n, dtype=np.float32).reshape(n, *[1] * len(s.shape)), (n, *s.shape))
        for s in (CAMERA, IMU)
    }
    names = tuple(f"drive {i}" for i in range(max(recording) + 1))
    labels, groups = np.arange(n) % 4, np.full(n, "val")
    return WindowExamples(WindowSet(inputs, labels, groups, np.array(recording), names, np.array(end_s), live or {}))


def places(older, n):
    """Of every window the place of the one whose picture it shows, and of the one whose IMU."""
    x = older.inputs(np.arange(n), (CAMERA, IMU))
    return x["camera"][:, 0, 0, 0, 0].tolist(), x["imu"][:, 0, 0].tolist()


@pytest.mark.parametrize(
    "end_s, recording, expected",
    [
        ([2.0, 2.5, 3.0, 2.0, 2.5], [0, 0, 0, 1, 1], [0, 0, 1, 3, 3]),
        ([2.0, 2.25, 2.5, 2.75], [0] * 4, [0, 1, 0, 1]),
        ([3.0, 2.0, 2.5], [0] * 3, [2, 1, 1]),  # not in order
        ([2.0, 3.0, 4.5, 4.501], [0] * 4, [0, 0, 2, 3]),  # 1 s before is near enough, 1.5 s is not
        ([2.0, 2.499, 2.998], [0] * 3, [0, 0, 1]),  # stamps are rounded to milliseconds
    ],
)
def test_pictures_are_those_of_the_window_that_ended_half_a_second_before(end_s, recording, expected):
    older = OlderPictures(examples(end_s, recording), ["camera"], 0.5)
    assert places(older, len(end_s)) == (expected, list(range(len(end_s))))
    assert older.share == np.mean(np.array(expected) != np.arange(len(end_s)))


def test_a_sensor_that_was_not_live_then_keeps_its_own_picture():
    live = {"camera": np.array([True, False, True, True])}
    older = OlderPictures(examples([2.0, 2.5, 3.0, 3.5], [0] * 4, live), ["camera"], 0.5)
    assert places(older, 4)[0] == [0, 0, 2, 2]


def test_held_predictions_are_those_of_the_older_pictures():
    tokenizer = {"camera": {"frames_per_token": 1, "stem_channels": [4], "grid": [2, 2]}, "imu": {"stem_channels": 4}}
    model = tiny_model(modalities=(CAMERA, IMU), kv_stride={}, tokenizer=tokenizer)
    own = examples([2.0, 2.5, 3.0, 3.5], [0] * 4)
    held, fresh = ValidationPredictions.predict_held(model, own), ValidationPredictions.predict_subnetworks(model, own)
    assert held is not None and set(held.logits) == {"10", "11"} and set(fresh.logits) == {"10", "11", "01"}
    np.testing.assert_allclose(held.logits["10"][:, 1:], fresh.logits["10"][:, :-1], atol=1e-5)
    assert np.abs(held.logits["11"][:, 1:] - fresh.logits["11"][:, :-1]).max() > 1e-3  # the IMU is that of the moment
    assert held.accuracies().keys() == held.standard_errors().keys() == held.logits.keys()


def test_nothing_is_held_where_no_token_is_kept_or_windows_stand_alone():
    config = dict(modalities=(CAMERA, IMU), kv_stride={})
    two = tiny_model(**config, tokenizer={"camera": {"frames_per_token": 2, "stem_channels": [4], "grid": [2, 2]}, "imu": {}})
    assert ValidationPredictions.predict_held(two, examples([2.0, 2.5], [0, 0])) is None
    one = tiny_model(**config, tokenizer={"camera": {"frames_per_token": 1, "stem_channels": [4], "grid": [2, 2]}, "imu": {}})
    assert ValidationPredictions.predict_held(one, examples([2.0, 2.0, 2.5], [0, 1, 2])) is None
