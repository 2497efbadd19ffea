"""Model inputs of series, IMU and camera, and the spec: grids, gaps, empty slots and units."""

from dataclasses import replace

import numpy as np
import pytest

from sentryfuse_ros.errors import DecodeError, ParameterError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec, empty_input, model_input
from sentryfuse_ros.preprocessing.camera import camera_frame
from sentryfuse_ros.preprocessing.frame_slots import slot_rows
from sentryfuse_ros.preprocessing.normalise import normalise

IMU = ModalitySpec("imu", "imu", 2.0, (100, 6))
DEPTH = ModalitySpec("camera", "camera", 2.0, (8, 1, 6, 8), "depth_m")


def stamps(count, rate_hz, start_s=0.0):
    return (np.round((start_s + np.arange(1, count + 1) / rate_hz) * NS)).astype(np.int64)


def ramp(stamp_ns, channels=6):
    return np.repeat((stamp_ns / NS).astype(np.float32)[:, None], channels, 1)


def test_spec_survives_a_round_trip_through_a_dict():
    spec = ModalitySpec("cam", "camera", 1.5, (4, 3, 8, 8), "rgb", (0.1, 0.2, 0.3), (1, 2, 3), {"max_repeat_s": 0.1})
    assert ModalitySpec.from_dict(spec.to_dict()) == spec
    assert spec.row_shape == (3, 8, 8) and IMU.row_shape == (6,)


def test_an_option_under_its_former_name_is_read_under_the_present_one():
    before = {**DEPTH.to_dict(), "options": {"hold_s": 0.1, "max_gap_s": 0.3}}
    spec = ModalitySpec.from_dict(before)
    assert spec.to_dict()["options"] == {"max_repeat_s": 0.1, "max_gap_s": 0.3}
    assert spec == ModalitySpec.from_dict(spec.to_dict())
    with pytest.raises(ParameterError, match="option: saw 'hold_s'"):  # which of the two should hold?
        ModalitySpec.from_dict({**before, "options": {"hold_s": 0.1, "max_repeat_s": 0.3}})


@pytest.mark.parametrize(
    "change, word",
    [
        ({"kind": "radar"}, "kind"),
        ({"shape": (100, 5)}, "shape"),
        ({"shape": (0, 6)}, "shape"),
        ({"window_s": 0}, "window_s"),
        ({"mean": (1.0,)}, "mean"),
        ({"std": (1, 1, 1, 1, 1, 0)}, "std"),
        ({"extra": 1}, "keys"),
        ({"options": {"max_gap": 0.5}}, "max_gap_s"),
        ({"options": {"polar": 1}}, "option"),
        ({"options": {"max_gap_s": "long"}}, "finite number"),
        ({"options": {"max_gap_s": float("nan")}}, "finite number"),
    ],
)
def test_spec_names_the_field_that_is_wrong(change, word):
    with pytest.raises(ParameterError, match=word):
        ModalitySpec.from_dict({**IMU.to_dict(), **change})


def test_camera_spec_needs_an_encoding_that_fits_its_channels():
    with pytest.raises(ParameterError, match="encoding"):
        ModalitySpec("camera", "camera", 1.0, (4, 1, 8, 8), "rgb")


@pytest.mark.parametrize("rate_hz", [20, 50, 100, 400])
def test_imu_grid_is_the_same_signal_at_any_rate(rate_hz):
    at = stamps(2 * rate_hz, rate_hz)
    out = model_input(IMU, at, ramp(at), int(at[-1]))
    cell_s = 0.02
    inner = slice(5, 95)
    # a cell holds the mean of its rows: within one row period of the middle of the cell
    expected = (np.arange(100) + 0.5) * cell_s
    assert np.abs(out[inner, 0] - expected[inner]).max() <= max(cell_s, 1 / rate_hz)


def test_imu_rows_are_unchanged_when_each_cell_holds_one():
    at = stamps(100, 50)
    rows = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)
    np.testing.assert_allclose(model_input(IMU, at, rows, int(at[-1])), rows, atol=1e-6)


def test_imu_is_normalised_only_where_there_is_data():
    spec = ModalitySpec("imu", "imu", 2.0, (100, 6), mean=(5,) * 6, std=(2,) * 6)
    at = stamps(20, 50, 1.0)
    out = model_input(spec, at, np.full((20, 6), 7, np.float32), 2 * NS)
    assert (out[50:70] == 1.0).all() and (out[:50] == 0).all() and (out[70:] == 0).all()


def test_rows_before_a_gap_never_enter_the_window():
    first, second = stamps(30, 50), stamps(20, 50, 1.4)
    at = np.concatenate([first, second])
    rows = np.concatenate([np.full((30, 6), 9.0), np.full((20, 6), 1.0)]).astype(np.float32)
    out = model_input(IMU, at, rows, int(at[-1]))
    assert out.max() == 1.0 and (out[-20:] == 1.0).all() and (out[:80] == 0).all()


def test_a_short_hole_is_interpolated():
    at = stamps(100, 50)
    kept = np.r_[0:40, 50:100]  # 0.2 s missing
    out = model_input(IMU, at[kept], ramp(at)[kept], int(at[-1]))
    np.testing.assert_allclose(out[:, 0], ramp(at)[:, 0], atol=1e-5)


def test_interpolation_fills_every_channel_and_leaves_filled_cells_unchanged():
    rng = np.random.default_rng(3)
    at = stamps(100, 50)
    kept = np.sort(rng.choice(np.arange(1, 99), 60, replace=False))
    kept = np.r_[0, kept, 99]
    rows = rng.standard_normal((100, 6)).astype(np.float32)[kept]
    rows[20, 2] = np.nan
    out = model_input(IMU, at[kept], rows, int(at[-1]))
    np.testing.assert_array_equal(out[kept], rows)
    expected = np.stack([np.interp(np.arange(100), kept, rows[:, c].astype(np.float64)) for c in range(6)], 1)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_a_robot_at_rest_is_data_in_training_and_on_the_robot_alike():
    """Zeros mean no data, so the wheel speeds of a robot that stands must not become zeros."""
    wheels, at = ModalitySpec("wheels", "series", 2.0, (20, 2)), stamps(20, 10)
    rows = ramp(at, 2) * (np.arange(20) >= 12)[:, None]  # it stands for 1.2 s, then drives
    trained = model_input(wheels, at, rows, int(at[-1]))
    assert trained.any(axis=1).all() and np.abs(trained[:12]).max() < 1e-5
    normal = replace(wheels, mean=(0.5, -0.25), std=(0.2, 0.4))
    np.testing.assert_array_equal(normalise(normal, trained[None])[0], model_input(normal, at, rows, int(at[-1])))
    assert not model_input(wheels, at[4:], rows[4:], int(at[-1]))[:4].any()  # before the first message there is nothing


def test_max_gap_is_an_option():
    spec = ModalitySpec("imu", "imu", 2.0, (100, 6), options={"max_gap_s": 0.1})
    at = stamps(100, 50)
    kept = np.r_[0:40, 50:100]
    assert (model_input(spec, at[kept], ramp(at)[kept], int(at[-1]))[:50] == 0).all()


def test_rows_outside_the_window_are_ignored():
    at = stamps(400, 50)
    end = int(at[199])
    np.testing.assert_array_equal(model_input(IMU, at, ramp(at), end), model_input(IMU, at[100:200], ramp(at)[100:200], end))


@pytest.mark.parametrize("spec", [IMU, DEPTH, ModalitySpec("s", "series", 1.0, (10, 3))])
def test_no_rows_give_the_empty_input(spec):
    out = model_input(spec, np.zeros(0, np.int64), np.zeros((0, *spec.row_shape), np.float32), 5 * NS)
    np.testing.assert_array_equal(out, empty_input(spec))
    assert out.dtype == np.float32


def test_present_day_stamps_lose_no_precision():
    epoch = 1_763_000_000 * NS
    at = stamps(100, 50)
    rows = np.random.default_rng(1).standard_normal((100, 6)).astype(np.float32)
    today = model_input(IMU, at + epoch, rows, int(at[-1]) + epoch)
    np.testing.assert_array_equal(today, model_input(IMU, at, rows, int(at[-1])))


def test_depth_frame_of_a_doubled_image_is_the_original():
    image = np.random.default_rng(0).integers(0, 4000, (6, 8)).astype(np.uint16)
    image[image < 1500] = 0
    doubled = image.repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(camera_frame(doubled, DEPTH), camera_frame(image, DEPTH), rtol=1e-6)
    np.testing.assert_allclose(camera_frame(image, DEPTH)[0], image / 1000, rtol=1e-6)


def test_depth_frame_averages_returns_only():
    image = np.zeros((12, 16), np.uint16)
    image[0, 0:2], image[1, 0] = (2000, 3000), 4000  # three of four returned: their mean
    image[0, 2] = 2000  # one of four: no return
    frame = camera_frame(image, DEPTH)
    assert frame.shape == (1, 6, 8) and frame[0, 0, 0] == pytest.approx(3.0) and frame[0, 0, 1] == 0


def test_depth_in_metres_ignores_nan_and_infinity():
    image = np.full((6, 8), 2.5, np.float32)
    image[0, 0], image[0, 1] = np.nan, np.inf
    frame = camera_frame(image, DEPTH)
    assert frame[0, 0, 0] == 0 and frame[0, 0, 1] == 0 and frame[0, 1, 1] == 2.5


def test_colour_frame_is_scaled_to_one_and_channel_first():
    spec = ModalitySpec("camera", "camera", 1.0, (2, 3, 4, 4), "rgb")
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 255
    frame = camera_frame(image, spec)
    assert frame.shape == (3, 4, 4) and (frame[2] == 1).all() and (frame[:2] == 0).all()


@pytest.mark.parametrize("size", [(1080, 1920), (480, 640), (482, 642), (481, 640)])  # halved twice, once, to odd sides, never
def test_a_large_picture_is_averaged_over_what_each_pixel_covers(size):
    spec = ModalitySpec("camera", "camera", 1.0, (2, 3, 54, 72), "rgb")
    rows, columns = (np.arange(count) / count for count in size)
    ramp = np.stack(np.broadcast_arrays(rows[:, None], columns, 0.5), -1)
    frame = camera_frame((ramp * 255).round().astype(np.uint8), spec)
    expected = [(np.arange(count) + 0.5) / count for count in (54, 72)]
    np.testing.assert_allclose(frame[0], np.broadcast_to(expected[0][:, None], (54, 72)), atol=1.5 / 255)
    np.testing.assert_allclose(frame[1], np.broadcast_to(expected[1], (54, 72)), atol=1.5 / 255)
    assert (frame[2] == np.float32(128) / 255).all()

    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    exact = area_means(area_means(noise.mean(2) / 255, 54).T, 72).T
    # What a block across a border adds to the wrong pixel is little against how much the means differ at all.
    assert np.abs(camera_frame(noise, spec).mean(0) - exact).std() < exact.std() / 4


def area_means(lines, count):
    """(n, m) -> (count, m): means over n / count lines, of which the first and the last may count in part."""
    total = np.vstack([np.zeros(lines.shape[1]), np.cumsum(lines, 0)])
    at = np.linspace(0, len(lines), count + 1)
    below = np.minimum(at.astype(int), len(lines) - 1)
    return np.diff(total[below] + (at - below)[:, None] * lines[below], axis=0) * count / len(lines)


def test_the_holes_of_a_large_depth_picture_are_left_out_of_its_means():
    spec = ModalitySpec("camera", "camera", 1.0, (2, 1, 54, 72), "depth_m")
    rng = np.random.default_rng(0)
    image = np.where(rng.random((480, 640)) < 0.7, 2000, 0).astype(np.uint16)
    image[:, 320:] = np.where(rng.random((480, 320)) < 0.2, 3000, 0)
    frame = camera_frame(image, spec)[0]
    np.testing.assert_allclose(frame[:, :36], 2.0, rtol=1e-5)
    assert (frame[:, 36:] == 0).all()


def test_colour_image_for_a_depth_slot_is_refused():
    with pytest.raises(DecodeError, match="depth_m"):
        camera_frame(np.zeros((6, 8, 3), np.uint8), DEPTH)


def test_camera_slots_hold_the_newest_frame_that_is_not_later():
    at = stamps(60, 30)
    assert slot_rows(at, 2 * NS, DEPTH) == [6, 14, 21, 29, 36, 44, 51, 59]


def test_camera_slots_are_empty_before_the_first_and_after_the_last_frame():
    at = stamps(15, 30, 1.0)  # frames from 1.03 s to 1.5 s
    index = np.array(slot_rows(at, 2 * NS, DEPTH))  # slots end at .25, .5, ... 2.0
    assert (index[:4] == -1).all() and index[4] == 6 and index[5] == 14 and index[6] == 14 and index[7] == -1


def test_camera_slots_skip_frames_before_a_gap():
    at = np.concatenate([stamps(20, 30), stamps(10, 30, 1.5)])
    index = np.array(slot_rows(at, int(at[-1]), DEPTH))
    assert (index[index >= 0] >= 20).all() and index[-1] == 29


def test_slow_camera_leaves_no_holes():
    at = stamps(6, 3)  # slower than the 4 Hz slots
    assert min(slot_rows(at, 2 * NS, DEPTH)[1:]) >= 0


def test_relative_depth_does_not_depend_on_distance_and_keeps_no_return_zero():
    spec = ModalitySpec("camera", "camera", 2.0, (8, 1, 6, 8), "depth_m", (0,), (0.5,), {"relative_depth": 1})
    rng = np.random.default_rng(0)
    body = rng.uniform(2, 3, (60, 1, 6, 8)).astype(np.float32)
    hole = rng.random(body.shape) < 0.5
    at = stamps(60, 30)
    near = model_input(spec, at, np.where(hole, 0, body), 2 * NS)
    far = model_input(spec, at, np.where(hole, 0, body + 1.25), 2 * NS)
    np.testing.assert_allclose(near, far, atol=1e-5)
    assert (near[-1, 0][hole[-1, 0]] == 0).all() and np.abs(near).max() < 1.3


def test_centred_columns_do_not_depend_on_the_position_of_the_body():
    spec = ModalitySpec("camera", "camera", 2.0, (8, 1, 6, 8), "depth_m", options={"centre_columns": 1})
    at, left = stamps(60, 30), np.zeros((60, 1, 6, 8), np.float32)
    left[..., 1:3] = 2.0
    np.testing.assert_array_equal(model_input(spec, at, left, 2 * NS), model_input(spec, at, np.roll(left, 3, -1), 2 * NS))


def test_series_takes_any_number_of_channels():
    spec = ModalitySpec("wheel", "series", 1.0, (10, 3))
    at = stamps(10, 10)
    np.testing.assert_allclose(model_input(spec, at, ramp(at, 3), NS)[:, 2], at / NS, atol=1e-6)


def irregular(rng, count):
    """Stamps (count,) at uneven distances with a pause or two, after a time of today."""
    steps = rng.integers(0, 120_000_000, count)
    steps[rng.random(count) < 0.05] += 600_000_000
    return 1_790_000_000 * NS + np.cumsum(steps)


def since_the_last_pause(stamp_ns, start_ns, end_ns, max_gap_ns):
    """Places of the stamps in (start, end] that come after the last pause there."""
    inside = [i for i, t in enumerate(stamp_ns.tolist()) if start_ns < t <= end_ns]
    pauses = [i for i in inside[1:] if stamp_ns[i] - stamp_ns[i - 1] > max_gap_ns]
    return [i for i in inside if not pauses or i >= pauses[-1]]


@pytest.mark.parametrize("seed", range(40))
def test_slots_are_as_they_are_defined(seed):
    rng = np.random.default_rng(seed)
    options = {"max_gap_s": 0.5, "max_repeat_s": float(rng.choice([0.1, 0.35]))}
    spec = replace(DEPTH, shape=(int(rng.integers(1, 9)), 1, 6, 8), options=options)
    at = irregular(rng, int(rng.integers(0, 60)))
    end_ns = int(at[-1] if len(at) else NS) + int(rng.integers(-NS, NS // 2))
    used = since_the_last_pause(at, end_ns - 2 * NS, end_ns, NS // 2)
    slots, wanted = spec.shape[0], []
    for k in range(slots):
        slot_end_ns = end_ns - (slots - 1 - k) * round(2 * NS / slots)
        before = [i for i in used if at[i] <= slot_end_ns]
        here = before and slot_end_ns - at[before[-1]] <= max(options["max_repeat_s"], 2 / slots) * NS
        wanted.append(before[-1] if here else -1)
    assert slot_rows(at, end_ns, spec) == wanted


@pytest.mark.parametrize("seed", range(40))
def test_cells_of_a_series_are_as_they_are_defined(seed):
    rng = np.random.default_rng(seed)
    cells = int(rng.choice([1, 7, 20, 60]))
    spec = ModalitySpec("motor", "series", 2.0, (cells, 2), mean=(0.5, 0.0), std=(2.0, 1.0))
    at = irregular(rng, int(rng.integers(0, 200)))
    rows = rng.normal(size=(len(at), 2)) * (rng.random((len(at), 1)) < 0.9)
    end_ns = int(at[-1] if len(at) else NS) + int(rng.integers(-NS // 2, NS // 2))
    start_ns = end_ns - 2 * NS
    means = {}
    for i in since_the_last_pause(at, start_ns, end_ns, NS // 2):
        means.setdefault((int(at[i] - start_ns) * cells - 1) // (2 * NS), []).append(rows[i])
    means = {cell: np.mean(values, 0) for cell, values in means.items()}
    wanted = np.zeros(spec.shape)
    for cell in range(min(means, default=0), max(means, default=-1) + 1):
        value = [np.interp(cell, sorted(means), [means[c][k] for c in sorted(means)]) for k in (0, 1)]
        wanted[cell] = (np.array(value if any(value) else 1e-6) - (0.5, 0.0)) / (2.0, 1.0)
    np.testing.assert_allclose(model_input(spec, at, rows, end_ns), wanted, atol=1e-6)
