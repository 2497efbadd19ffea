"""Model inputs of audio and LiDAR: spectrogram, range image, polar grid, empty parts and units."""

import numpy as np
import pytest

from sentryfuse_ros.errors import DecodeError, ParameterError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec, model_input
from sentryfuse_ros.preprocessing import lidar as lidar_inputs
from sentryfuse_ros.preprocessing.audio import log_mel, sample_rate_hz
from sentryfuse_ros.preprocessing.lidar import lidar_frame, point_step

END_NS = 1_700_000_000 * NS
AUDIO = ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": 8000})


def sound(seconds=1.0, hz=1000.0, rate_hz=8000, level=0.5):
    """Stamps and samples of a tone that ends at END_NS."""
    count = round(seconds * rate_hz)
    return (
        END_NS - np.arange(count - 1, -1, -1) * NS // rate_hz,
        (level * np.sin(2 * np.pi * hz * np.arange(count) / rate_hz)).astype(np.float32),
    )


def band_of(hz, spec=AUDIO):
    """Mel band whose middle is nearest to a frequency."""
    mel = np.linspace(*(2595 * np.log10(1 + np.array([50.0, 4000.0]) / 700)), spec.shape[1] + 2)[1:-1]
    return int(np.abs(700 * (10 ** (mel / 2595) - 1) - hz).argmin())


@pytest.mark.parametrize("hz", [200, 440, 1000, 2500, 3700])
def test_a_tone_appears_in_its_own_band_in_every_frame(hz):
    out = model_input(AUDIO, *sound(hz=hz), END_NS)
    assert out.shape == (50, 40) and out.dtype == np.float32
    assert np.abs(out.argmax(axis=1)[1:-1] - band_of(hz)).max() <= 1


def test_power_is_that_of_a_full_scale_sine():
    out = model_input(AUDIO, *sound(hz=1000, level=1.0), END_NS)
    # All bands together hold about the sine's lines, spread by the Hann window (noise bandwidth 1.5).
    assert 0.2 < np.exp(out[10:40].max()) < 0.3


def test_ten_times_the_level_adds_4_6_to_the_log_power():
    loud, faint = (log_mel(sound(level=level)[1], AUDIO) for level in (0.5, 0.05))
    band = band_of(1000)
    np.testing.assert_allclose((loud - faint)[5:45, band], np.log(100), atol=0.01)


def test_a_click_appears_in_the_frame_of_its_time():
    stamps, samples = sound(level=0.0)
    for second in (0.11, 0.35, 0.99):
        samples[:] = 0
        samples[round(second * 8000)] = 1.0
        assert model_input(AUDIO, stamps, samples, END_NS).sum(axis=1).argmax() == int(second * 50)


def test_frames_without_samples_are_exactly_zero():
    stamps, samples = sound()
    spec = ModalitySpec("audio", "audio", 1.0, (50, 40), mean=(3.0,) * 40, std=(2.0,) * 40, options={"sample_rate_hz": 8000})
    keep = (np.arange(8000) >= 2400) & ~((np.arange(8000) >= 4800) & (np.arange(8000) < 5600))
    out = model_input(spec, stamps[keep], samples[keep], END_NS)
    empty = (out == 0).all(axis=1)
    assert empty.nonzero()[0].tolist() == [*range(15), *range(30, 35)]
    assert (out[~empty] != 0).all()
    assert not model_input(spec, stamps[:0], samples[:0], END_NS).any()
    assert not model_input(spec, stamps, samples, END_NS + 5 * NS).any(), "old sound is no sound"


def test_mean_and_std_are_applied_per_band():
    plain = model_input(AUDIO, *sound(), END_NS)
    mean, std = np.linspace(-3, 3, 40), np.linspace(1, 2, 40)
    spec = ModalitySpec("audio", "audio", 1.0, (50, 40), mean=tuple(mean), std=tuple(std), options=AUDIO.options)
    np.testing.assert_allclose(model_input(spec, *sound(), END_NS), (plain - mean) / std, rtol=1e-4, atol=1e-5)


def test_jittering_stamps_leave_no_holes_in_the_window():
    stamps, samples = sound(hz=1000)
    jitter = np.random.default_rng(0).integers(-60000, 60000, 8000)  # half a sample
    out = model_input(AUDIO, np.sort(stamps + jitter), samples, END_NS)
    assert (out[2:-2, band_of(3000) :] < np.log(1e-7)).all()  # a sample that is missing or there twice clicks in all bands
    samples[4002] = 0
    assert (model_input(AUDIO, stamps, samples, END_NS)[25, band_of(3000) :] > np.log(1e-7)).all()


def test_a_window_holds_only_its_own_second():
    stamps, samples = sound(3.0)
    own = model_input(AUDIO, stamps[8000:16000], samples[8000:16000], END_NS - NS)
    np.testing.assert_array_equal(model_input(AUDIO, stamps, samples, END_NS - NS)[1:], own[1:])  # the first reaches back


@pytest.mark.parametrize("bands, n_fft", [(8, 128), (80, 256), (64, 64)])
def test_every_band_covers_at_least_one_bin(bands, n_fft):
    spec = ModalitySpec("audio", "audio", 1.0, (20, bands), options={"sample_rate_hz": 8000, "n_fft": n_fft})
    noise = np.random.default_rng(0).normal(0, 0.3, 8000).astype(np.float32)
    assert (log_mel(noise, spec)[2:-2] > np.log(1e-7)).all()


@pytest.mark.parametrize(
    "options, word",
    [
        ({"sample_rate_hz": 0}, "sample_rate"),
        ({"f_min_hz": 9000.0}, "f_min_hz"),
        ({"n_fft": 1}, "n_fft"),
        ({"sample_rate_hz": 8000.5}, "whole"),
    ],
)
def test_options_that_make_no_spectrogram_are_refused(options, word):
    spec = ModalitySpec("audio", "audio", 1.0, (20, 16), options=options)
    with pytest.raises(ParameterError, match=word):
        model_input(spec, *sound(), END_NS)


def test_rate_defaults_to_16_khz():
    assert sample_rate_hz(ModalitySpec("a", "audio", 1.0, (20, 16))) == 16000


# -- LiDAR ----------------------------------------------------------------------------------------------------------


def lidar(channels=4, height=6, width=8, **options):
    return ModalitySpec("lidar", "lidar", 1.0, (2, channels, height, width), options=options)


def at(range_m, azimuth_deg, elevation_deg=0.0, intensity=0.0):
    azimuth, elevation = np.radians((azimuth_deg, elevation_deg))
    return [
        range_m * np.cos(elevation) * np.cos(azimuth),
        range_m * np.cos(elevation) * np.sin(azimuth),
        range_m * np.sin(elevation),
        intensity,
    ]


def cell_of(frame):
    """(row, column) of the only cell with points."""
    rows, columns = np.nonzero(frame[0])
    assert len(rows) == 1
    return int(rows[0]), int(columns[0])


@pytest.mark.parametrize(
    "azimuth, column", [(180, 0), (170, 0), (91, 1), (89, 2), (46, 2), (44, 3), (10, 3), (-10, 4), (-89, 5), (-91, 6), (-179, 7)]
)
def test_columns_run_from_left_to_right(azimuth, column):
    assert cell_of(lidar_frame(np.array([at(5, azimuth)]), lidar()))[1] == column


@pytest.mark.parametrize("elevation, row", [(29, 0), (11, 1), (1, 2), (-1, 3), (-29, 5)])
def test_rows_run_from_high_to_low(elevation, row):
    assert cell_of(lidar_frame(np.array([at(5, 1, elevation)]), lidar())) == (row, 3)


@pytest.mark.parametrize("distance, row", [(19.9, 0), (10.1, 2), (9.9, 3), (0.5, 5)])
def test_polar_rows_run_from_far_to_near(distance, row):
    assert cell_of(lidar_frame(np.array([at(distance, 1)]), lidar(polar=1, max_range_m=20.0)))[0] == row


def test_channels_of_a_cell():
    points = np.array([at(5, 1, 1, 10), at(4, 2, 2, 20), at(9, 3, 3, 60)])
    frame = lidar_frame(points, lidar(intensity_scale=0.1))
    cell = frame[:, 2, 3]
    np.testing.assert_allclose(cell, [4, points[:, 2].mean(), np.log(4), 3], rtol=1e-5)
    frame[:, 2, 3] = 0
    assert not frame.any()


def test_frame_equals_a_plain_loop_over_the_points():
    points = np.random.default_rng(0).normal(0, 8, (3000, 4))
    spec = lidar(height=12, width=36, azimuth_fov_deg=200.0, min_elevation_deg=-20.0, max_range_m=15.0)
    expected = np.zeros((4, 12, 36))
    cells = {}
    for x, y, z, intensity in points:
        distance, azimuth = np.sqrt(x * x + y * y + z * z), np.degrees(np.arctan2(y, x))
        elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
        if 0.1 <= distance <= 15 and abs(azimuth) <= 100 and -20 <= elevation <= 30:
            cell = int((30 - elevation) / 50 * 12), int((100 - azimuth) / 200 * 36)
            cells.setdefault(cell, []).append((distance, z, intensity))
    for cell, inside in cells.items():
        inside = np.array(inside)
        nearest, (_, height, intensity) = inside[:, 0].min(), inside.mean(axis=0)
        expected[(slice(None), *cell)] = nearest, height, np.log1p(len(inside)), intensity
    np.testing.assert_allclose(lidar_frame(points, spec), expected, rtol=1e-4, atol=1e-5)


def test_old_numpy_finds_the_same_nearest_points(monkeypatch):
    points = np.random.default_rng(1).normal(0, 8, (5000, 3)).astype(np.float32)
    points[::9] = np.nan
    fast = lidar_frame(points, lidar(1))
    monkeypatch.setattr(lidar_inputs, "_FAST_AT", not lidar_inputs._FAST_AT)
    np.testing.assert_array_equal(lidar_frame(points, lidar(1)), fast)


@pytest.mark.parametrize(
    "point",
    [[0, 0, 0], [np.nan, 1, 1], [np.inf, 0, 0], [500, 0, 0], [0.01, 0, 0], [1, 0, 5], [3e38, 3e38, 3e38]],
    ids=["origin", "NaN", "inf", "far", "near", "steep", "overflow"],
)
def test_points_outside_the_image_are_left_out(point):
    assert not lidar_frame(np.array([point], np.float64), lidar(3)).any()
    assert cell_of(lidar_frame(np.array([point, [2, -1e-3, 0]]), lidar(3)))[1] == 4


def test_no_points_make_an_empty_frame():
    assert not lidar_frame(np.empty((0, 3)), lidar()).any()


@pytest.mark.parametrize("rings", [16, 32, 64, 128])
def test_thinning_keeps_every_ring_and_the_counts(rings):
    every = point_step(100_000, 20_000)
    assert every % 2 == 1 and every >= 5
    count = 200 * rings
    ring = np.arange(count) % rings  # column by column, as a spinning LiDAR sends
    points = np.array([at(10, 360 * i / count, -20 + 40 * (r + 0.5) / rings) for i, r in enumerate(ring)])
    spec = lidar(3, rings, 4, min_elevation_deg=-20.0, max_elevation_deg=20.0, max_points=count / 4.5)
    frame = lidar_frame(points, spec)
    assert (frame[0] > 9).all(), "a ring fell out"
    assert abs(np.expm1(frame[2]).sum() / count - 1) < 0.02


def test_points_of_another_shape_are_refused():
    with pytest.raises(DecodeError, match="(5, 2)"):
        lidar_frame(np.zeros((5, 2)), lidar())


@pytest.mark.parametrize(
    "options, word",
    [({"max_range_m": 0.05}, "max_range_m"), ({"azimuth_fov_deg": 0}, "azimuth"), ({"min_elevation_deg": 40}, "elevation")],
)
def test_options_that_make_no_frame_are_refused(options, word):
    with pytest.raises(ParameterError, match=word):
        lidar_frame(np.ones((5, 3)), lidar(**options))


def test_lidar_model_input_normalises_points_and_leaves_the_rest_zero():
    spec = ModalitySpec("lidar", "lidar", 1.0, (2, 2, 6, 8), mean=(1.0, 2.0), std=(2.0, 4.0))
    frame = lidar_frame(np.array([at(5, 1, 2)]), spec)
    out = model_input(spec, np.array([END_NS - NS // 10]), frame[None], END_NS)
    assert out.shape == (2, 2, 6, 8) and not out[0].any()
    np.testing.assert_allclose(out[1, :, 2, 3], [2.0, (5 * np.sin(np.radians(2)) - 2) / 4], rtol=1e-5)
    out[1, :, 2, 3] = 0
    assert not out.any()
    assert not model_input(spec, np.empty(0, np.int64), frame[None][:0], END_NS).any()


def test_relief_measures_roughness_independent_of_slope_and_edges():
    """A ring of points on a slope with bumps: relief is the bumps, a wall's edge is cut, gaps are left out, it wraps."""
    columns = 64
    spec = ModalitySpec(
        "lidar",
        "lidar",
        0.5,
        (1, 5, 1, columns),
        options={"min_elevation_deg": -80, "max_elevation_deg": 80, "relief_columns": 5},
    )
    azimuth = -(np.arange(columns) + 0.5) / columns * 2 * np.pi + np.pi  # one point a cell, the leftmost first
    bumps = 0.004 * (-1.0) ** np.arange(columns)
    z = -0.5 + 0.1 * np.sin(azimuth) + bumps
    points = np.stack([2 * np.cos(azimuth), 2 * np.sin(azimuth), z], 1)
    frame = lidar_frame(points, spec)
    np.testing.assert_allclose(frame[1, 0], z, atol=1e-5)
    expected = [z[k] - np.mean([z[(k + d) % columns] for d in range(-2, 3)]) for k in range(columns)]
    np.testing.assert_allclose(frame[4, 0], expected, atol=1e-5)
    holes = lidar_frame(np.delete(points, [10, 11], axis=0), spec)
    assert (holes[4, 0, 10:12] == 0).all()
    assert holes[4, 0, 9] == pytest.approx(z[9] - z[[7, 8, 9]].mean(), abs=1e-5)
    points[20:30, 2] += 1.0
    assert np.abs(lidar_frame(points, spec)[4]).max() == pytest.approx(0.05)
    with pytest.raises(ParameterError, match="relief_columns"):
        lidar_inputs.check_spec(ModalitySpec("lidar", "lidar", 0.5, (1, 5, 1, 8)))
