"""The camera's picture with the prediction drawn in."""

import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
from cdr_messages import compressed, image, raw

from sentryfuse_ros.decoders.picture import read_picture, to_bgr
from sentryfuse_ros.reporting.camera_overlay import LEAST_HEIGHT, MOST_HEIGHT, WIDTH, Caption, SensorChip, draw_overlay
from sentryfuse_ros.reporting.style import STATE_COLOURS
from sentryfuse_ros.sensing.liveness import State

CAPTION = Caption("gravel", True, 0.8, 0.3, (SensorChip("camera", "OK"), SensorChip("imu", "STALE")))


def differs(a, b):
    """Share of pixels that differ."""
    return float(np.any(a != b, axis=2).mean())


@pytest.mark.parametrize("size", [(480, 640), (96, 128), (1080, 1920), (10, 600)])
def test_pictures_of_any_size_get_the_same_width_and_room_for_the_text(size):
    drawn = draw_overlay(np.full((*size, 3), 90, np.uint8), CAPTION)
    assert drawn.shape[1:] == (WIDTH, 3) and drawn.shape[0] >= LEAST_HEIGHT and drawn.dtype == np.uint8


@pytest.mark.parametrize("size", [(20000, 1), (6000, 64), (1290, 640)])
def test_a_high_picture_is_drawn_narrower_with_its_middle_in_the_middle(size):
    """At the usual width, a line camera's 20000 pixels would take 25 GB."""
    drawn = draw_overlay(np.full((*size, 3), 90, np.uint8), Caption("", True, 0.0, 0.0, ()))
    assert drawn.shape == (MOST_HEIGHT, WIDTH, 3)
    row = drawn[MOST_HEIGHT // 2, :, 0]
    width = max(1, round(size[1] * MOST_HEIGHT / size[0]))
    assert np.count_nonzero(row == 90) == width and (row[(WIDTH - width) // 2 :][:width] == 90).all()


def test_the_middle_of_the_picture_is_not_touched():
    picture = np.random.default_rng(0).integers(0, 255, (480, WIDTH, 3), dtype=np.uint8)
    drawn = draw_overlay(picture, CAPTION)
    assert (drawn[40:400] == picture[40:400]).all() and differs(drawn[:26], picture[:26]) > 0.9


def test_what_is_drawn_depends_on_the_caption():
    picture = np.full((480, WIDTH, 3), 90, np.uint8)
    drawn = draw_overlay(picture, CAPTION)
    for other in (
        Caption("sand", True, 0.8, 0.3, CAPTION.sensors),
        Caption("gravel", True, 0.4, 0.3, CAPTION.sensors),
        Caption("gravel", True, 0.8, 0.9, CAPTION.sensors),
        Caption("no live sensor: camera STALE", False, 0.0, 0.3, CAPTION.sensors),
        Caption("gravel", True, 0.8, 0.3, (SensorChip("camera", "OK", asleep=True), SensorChip("imu", "STALE"))),
    ):
        assert differs(drawn, draw_overlay(picture, other)) > 0


def test_a_picture_of_the_past_is_grey_and_says_so():
    picture = np.zeros((480, WIDTH, 3), np.uint8)
    picture[..., 0] = 240
    past = replace(CAPTION, past="camera stale: its last picture, 4 s ago")
    drawn = draw_overlay(picture, past)
    assert drawn[100, 300].tolist() == [32, 32, 32]
    text = drawn[220:245, :, 2] > 150
    assert 0.02 < text.mean() < 0.3 and text[:, 100:540].sum() == text.sum(), "in the middle"
    draw_overlay(picture, replace(CAPTION, past=80 * "long"))
    assert draw_overlay(picture, CAPTION)[100, 300].tolist() == [240, 0, 0]


def test_confidence_is_the_length_of_the_bar():
    def length(confidence):
        drawn = draw_overlay(None, Caption("", True, confidence, 0.0, ()))
        return int(np.count_nonzero(drawn[-11, :, 1] > 100))

    assert length(0.0) <= 1 and length(0.5) == pytest.approx(WIDTH / 2, abs=15) and length(1.0) > WIDTH - 30


def test_every_state_has_a_colour():
    assert set(STATE_COLOURS) == {state.name for state in State}
    draw_overlay(None, Caption("", False, 0.0, 0.0, tuple(SensorChip("s", state.name) for state in State)))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_colours_come_out_right(encoding):
    red = {"rgb8": (250, 0, 0), "bgr8": (0, 0, 250), "rgba8": (250, 0, 0, 9), "bgra8": (0, 0, 250, 9), "mono8": (250,)}[encoding]
    pixels = np.tile(np.array(red, np.uint8), (4, 6, 1)).squeeze()
    picture = read_picture("sensor_msgs/msg/Image", raw(image(pixels, encoding)))
    assert picture.shape == (4, 6, 3)
    assert picture[0, 0].tolist() == ([250] * 3 if encoding == "mono8" else [0, 0, 250])


@pytest.mark.parametrize(("dtype", "near", "far"), [(np.uint16, 500, 6000), (np.float32, 0.5, 6.0)])
def test_near_depth_is_brighter_than_far_and_no_return_is_black(dtype, near, far):
    drawn = to_bgr(np.array([[near, far, 0]], dtype), "depth").astype(int).sum(axis=2)[0]
    assert drawn[0] > drawn[1] > drawn[2]


def test_depth_without_numbers_is_no_error():
    assert to_bgr(np.array([[np.nan, np.inf, -np.inf]], np.float32), "depth").shape == (1, 3, 3)


@pytest.mark.parametrize("sample", [np.uint8, np.uint16])
def test_a_mosaic_comes_out_in_colours(sample):
    blue = np.zeros((4, 6), sample)
    blue[1::2, 1::2] = np.iinfo(sample).max  # of rggb
    picture = read_picture("sensor_msgs/msg/Image", raw(image(blue, f"bayer_rggb{8 * blue.itemsize}")))
    assert picture.shape == (2, 3, 3) and picture[0, 0].tolist() == [255, 0, 0]


def coded(picture, coding, suffix=".png", head=b""):
    """The picture that people see of one that OpenCV has encoded."""
    message = compressed(head + cv2.imencode(suffix, picture)[1].tobytes(), coding)
    return read_picture("sensor_msgs/msg/CompressedImage", raw(message))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_compressed_picture_has_the_colours_that_its_format_states(suffix):
    first = np.zeros((16, 24, 3), np.uint8)
    first[..., 0] = 250  # what OpenCV takes for blue
    for coding, place in (("bgr8; jpeg compressed bgr8", 0), ("jpeg", 0), ("rgb8; jpeg compressed rgb8", 2)):
        picture = coded(first, coding, suffix)
        assert picture.shape == (16, 24, 3) and picture[8, 8].argmax() == place and picture[8, 8].max() > 240


def test_compressed_depth_is_coloured_as_depth():
    near_and_far = np.repeat(np.array([[500, 6000]], np.uint16), 8, axis=0)
    plain = to_bgr(near_and_far, "depth")
    head = struct.pack("<iff", 0, 0.0, 0.0)
    np.testing.assert_array_equal(coded(near_and_far, "16UC1; compressedDepth png", head=head), plain)
    np.testing.assert_array_equal(coded(near_and_far, "16UC1; png compressed "), plain)


def test_a_picture_that_takes_too_long_to_decode_is_not_shown():
    large = raw(compressed(cv2.imencode(".png", np.zeros((4000, 6000), np.uint8))[1], "mono8; png compressed "))
    assert read_picture("sensor_msgs/msg/CompressedImage", large) is None
    assert read_picture("sensor_msgs/msg/CompressedImage", large, {"max_decode_ms": 1000.0}).shape == (4000, 6000, 3)


def test_a_broken_message_gives_no_picture():
    assert read_picture("sensor_msgs/msg/Image", b"\x00\x01\x00\x00abc") is None
    assert read_picture("sensor_msgs/msg/CompressedImage", b"") is None


def test_every_one_of_many_sensors_is_shown():
    names = ("front_camera", "imu", "microphone", "lidar", "rear_camera", "wheels", "motors", "gps")
    picture = np.full((480, WIDTH, 3), 255, np.uint8)
    for count in range(1, len(names) + 1):
        chips = [SensorChip(name, "OK") for name in names[:count]]
        last = [*chips[:-1], SensorChip(names[count - 1], "STALE")]
        drawn = [draw_overlay(picture, Caption("gravel", True, 0.8, 0.3, tuple(sensors))) for sensors in (chips, last)]
        assert (drawn[0] != drawn[1]).any(), names[count - 1]
