"""What drivers in the field send beside the letter of the message definitions: read right, or refused with a word."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from cdr_messages import audio, cloud, compressed, deserializer, image, imu, make, raw, scan

from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.decoders.audio_formats import FRAMES_BYTES, foreign_format, has_frames
from sentryfuse_ros.preprocessing import ModalitySpec

RGB = ModalitySpec("camera", "camera", 2.0, (4, 3, 12, 16), "rgb")
MONO = ModalitySpec("camera", "camera", 2.0, (4, 1, 12, 16), "mono")
DEPTH = ModalitySpec("camera", "camera", 2.0, (4, 1, 12, 16), "depth_m")
LIDAR = ModalitySpec("lidar", "lidar", 0.5, (1, 3, 8, 32))
AUDIO = ModalitySpec("audio", "audio", 2.0, (100, 16))
XYZ = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4")])
rng = np.random.default_rng(3)


def decoded(kind, message, spec, decoder=None, **limits):
    msg_type = message.__msgtype__
    return (decoder or make_decoder(kind, msg_type, spec, limits, deserializer(msg_type))).decode([raw(message)])


def row(kind, message, spec, **limits):
    batch = decoded(kind, message, spec, **limits)
    assert not batch.fault.any(), batch.error
    return batch.rows[0]


def refusal(kind, message, spec, **limits):
    batch = decoded(kind, message, spec, **limits)
    assert len(batch.rows) == 0
    return PayloadFault(int(batch.fault[0])), batch.error


# -- camera ---------------------------------------------------------------------------------------------------------


def red(height=48, width=64):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = rng.integers(180, 255, (height, width))
    return picture


@pytest.mark.parametrize("zeros", [1, 4000, 4096, 20000, 500_000])
def test_a_jpeg_may_be_followed_by_zeros_to_the_end_of_the_capture_buffer(zeros):
    data = cv2.imencode(".jpg", red())[1].tobytes()
    np.testing.assert_array_equal(
        row("camera", compressed(data + bytes(zeros), "jpeg"), RGB), row("camera", compressed(data, "jpeg"), RGB)
    )


def test_a_jpeg_that_is_cut_off_and_filled_up_with_zeros_is_malformed():
    data = cv2.imencode(".jpg", red())[1].tobytes()
    fault, _ = refusal("camera", compressed(data[: len(data) // 2] + bytes(20000), "jpeg"), RGB)
    assert fault == PayloadFault.MALFORMED


@pytest.mark.parametrize(
    "coding, rgb_is_stored",
    [
        ("rgb8; jpeg compressed rgb8", True),
        ("rgb8; jpeg compressed ", True),
        ("rgb8; jpeg compressed bgr8", False),
        ("bgr8; png compressed bgr8", False),
        ("jpeg", False),
        ("rgb8", False),
        ("", False),
    ],
)
def test_red_stays_red_whatever_the_codec_was_given(coding, rgb_is_stored):
    given = red() if rgb_is_stored else np.ascontiguousarray(red()[..., ::-1])
    extension = ".png" if "png" in coding else ".jpg"
    channel = row("camera", compressed(cv2.imencode(extension, given)[1].tobytes(), coding), RGB).mean((1, 2))
    assert channel[0] > 0.7 and channel[1] < 0.1 and channel[2] < 0.1


@pytest.mark.parametrize("coded", [False, True], ids=["raw", "jpeg"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_gives_its_colours(pattern, bits, coded):
    if coded and bits == 16:
        pytest.skip("a JPEG has 8 bits")
    level = {"r": 200, "g": 100, "b": 50}
    block = np.array([level[c] for c in pattern], np.uint16).reshape(2, 2)
    mosaic = np.tile(block, (24, 32)) + rng.integers(0, 6, (48, 64)).astype(np.uint16)
    mosaic = mosaic.astype(np.uint8) if bits == 8 else mosaic * np.uint16(256)
    if coded:
        message = compressed(
            cv2.imencode(".jpg", mosaic, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes(), f"bayer_{pattern}8; jpeg compressed "
        )
    else:
        message = image(mosaic, f"bayer_{pattern}{bits}")
    mean = row("camera", message, RGB).mean((1, 2))
    np.testing.assert_allclose(mean * 255, [202.5, 102.5, 52.5], atol=3)
    fault, _ = refusal("camera", message, DEPTH)
    assert fault == PayloadFault.UNSUPPORTED


@pytest.mark.parametrize(
    "pixels, encoding",
    [(rng.uniform(0.5, 6, (24, 32)).astype(np.float32), "32FC1"), (rng.integers(500, 6000, (24, 32)).astype(np.uint16), "16UC1")],
    ids=["32FC1", "16UC1"],
)
def test_distances_are_no_colours(pixels, encoding):
    fault, text = refusal("camera", image(pixels, encoding), RGB)
    assert fault == PayloadFault.UNSUPPORTED and encoding in text and "remap" in text
    assert row("camera", image(pixels, encoding), DEPTH).max() > 0


@pytest.mark.parametrize("shift", [0, 4], ids=["low bits", "high bits"])
def test_a_12_bit_camera_gives_the_same_picture_in_16_bits(shift):
    scene = rng.integers(300, 3800, (48, 64)).astype(np.uint16)
    wide = row("camera", image(scene << shift, "mono16"), MONO)
    narrow = row("camera", image((scene >> 4).astype(np.uint8), "mono8"), MONO)
    np.testing.assert_allclose(wide, narrow, atol=0.01)


def test_a_dark_picture_keeps_the_scale_of_the_bright_one_before():
    decoder = make_decoder("camera", "sensor_msgs/msg/Image", MONO)
    bright, dark = (rng.integers(low, high, (48, 64)).astype(np.uint16) for low, high in ((300, 3800), (100, 900)))
    means = [decoder.decode([raw(image(picture, "mono16"))]).rows.mean() for picture in (bright, dark)]
    np.testing.assert_allclose(means, [bright.mean() / 4095, dark.mean() / 4095], rtol=1e-3)


def test_the_full_scale_of_16_bit_samples_can_be_set():
    picture = rng.integers(300, 900, (48, 64)).astype(np.uint16)
    np.testing.assert_allclose(
        row("camera", image(picture, "mono16"), MONO, full_scale=16383).mean(), picture.mean() / 16383, rtol=1e-3
    )


def test_distances_that_no_camera_can_measure_are_out_of_range():
    fault, text = refusal("camera", image(np.full((24, 32), 1e30, np.float32), "32FC1"), DEPTH)
    assert fault == PayloadFault.OUT_OF_RANGE and "1e+30 m" in text
    some = rng.uniform(1, 2, (24, 32)).astype(np.float32)
    some[:, :8] = 1e30
    frame = row("camera", image(some, "32FC1"), DEPTH)
    assert frame.max() < 2 and (frame[..., :4] == 0).all()


# -- LiDAR ----------------------------------------------------------------------------------------------------------


def points(count=600):
    azimuth, elevation, distance = rng.uniform(-0.7, 0.7, count), rng.uniform(-0.4, 0.2, count), rng.uniform(1, 6, count)
    level = distance * np.cos(elevation)
    return {"x": level * np.cos(azimuth), "y": level * np.sin(azimuth), "z": distance * np.sin(elevation)}


@pytest.mark.parametrize("row_step", [0, 12, 30, 600 * 12], ids=["none", "a point", "points of a row", "whole cloud"])
def test_a_cloud_without_padding_is_read_whatever_its_row_step_says(row_step):
    values = points()
    good, other = cloud(XYZ, values, height=20), cloud(XYZ, values, height=20)
    other.row_step = row_step
    np.testing.assert_array_equal(row("lidar", other, LIDAR), row("lidar", good, LIDAR))


def test_a_cloud_with_padding_needs_its_row_step():
    message = cloud(XYZ, points(), height=20, row_pad=4)
    message.row_step = 7
    assert refusal("lidar", message, LIDAR)[0] == PayloadFault.MALFORMED


@pytest.mark.parametrize("height", [1, 20])
@pytest.mark.parametrize("frame_id", ["camera_depth_optical_frame", "left_optical"])
def test_a_cloud_in_optical_axes_is_turned(frame_id, height):
    values = points()
    optical = {"x": -values["y"], "y": -values["z"], "z": values["x"]}
    turned = row("lidar", cloud(XYZ, optical, height=height, frame_id=frame_id), LIDAR)
    np.testing.assert_allclose(turned, row("lidar", cloud(XYZ, values, height=height), LIDAR), atol=1e-4)


@pytest.mark.parametrize("where", ["near the origin", "beyond the range", "under the elevations"])
def test_points_that_the_model_drops_do_not_count(where):
    values = points()
    if where == "near the origin":
        values = {axis: column * 0.001 for axis, column in values.items()}
    elif where == "beyond the range":
        values = {axis: column * 200 for axis, column in values.items()}
    else:
        values["z"] = np.full(600, -50.0)
    fault, text = refusal("lidar", cloud(XYZ, values), LIDAR)
    assert fault == PayloadFault.EMPTY and "limits.min_points" in text and "600 outside" in text


def test_coordinates_that_no_lidar_can_measure_are_out_of_range():
    fault, _ = refusal("lidar", cloud(XYZ, {axis: np.full(600, 1e30) for axis in "xyz"}), LIDAR)
    assert fault == PayloadFault.OUT_OF_RANGE


def test_range_max_in_a_scan_means_no_return():
    ranges = np.full(720, 30.0, np.float32)
    ranges[100:140] = 3.0
    with_inf = np.where(ranges == 30, np.inf, ranges).astype(np.float32)
    np.testing.assert_array_equal(row("lidar", scan(ranges), LIDAR), row("lidar", scan(with_inf), LIDAR))


# -- IMU ------------------------------------------------------------------------------------------------------------

HALVES = {
    "gyro only": lambda i: (rng.normal(0, 0.05, 3), (0, 0, 0)),
    "accel only": lambda i: ((0, 0, 0), rng.normal(0, 0.1, 3)),
    "in turn": lambda i: (rng.normal(0, 0.05, 3), (0, 0, 0)) if i % 2 else ((0, 0, 0), rng.normal(0, 0.1, 3)),
}


@pytest.mark.parametrize("poll", [1, 7, 150])
@pytest.mark.parametrize("what", HALVES)
def test_an_imu_of_which_one_half_is_never_measured_is_empty(what, poll):
    decoder = make_decoder("imu", "sensor_msgs/msg/Imu")
    messages = [raw(imu(*HALVES[what](i))) for i in range(150)]
    batches = [decoder.decode(messages[i : i + poll]) for i in range(0, 150, poll)]
    fault = np.concatenate([batch.fault for batch in batches])
    assert (fault[:99] == 0).all() and (fault[99:] == PayloadFault.EMPTY).all()
    assert "unite_imu_method" in batches[-1].error


def test_an_imu_with_some_exact_zeros_is_whole():
    decoder = make_decoder("imu", "sensor_msgs/msg/Imu")
    messages = [raw(imu((0, 0, 0) if i % 99 else (0.01, 0, 0), (0, 0.1 * i, 9.8))) for i in range(400)]
    assert not decoder.decode(messages).fault.any()
    dead_band = make_decoder("imu", "sensor_msgs/msg/Imu", limits={"allow_zero": 1})
    assert not dead_band.decode([raw(imu((0, 0, 0), (0, 0.1 * i, 9.8))) for i in range(400)]).fault.any()


@pytest.mark.parametrize("field", ["angular_velocity_covariance", "linear_acceleration_covariance"])
@pytest.mark.parametrize("as_object", [False, True])
def test_a_covariance_of_minus_one_means_not_measured(field, as_object):
    message = imu()
    setattr(message, field, np.array([-1.0, *[0.0] * 8]))
    batch = make_decoder("imu", "sensor_msgs/msg/Imu").decode([message if as_object else raw(message), raw(imu())])
    assert batch.fault.tolist() == [PayloadFault.EMPTY, 0] and field in batch.error


# -- audio ----------------------------------------------------------------------------------------------------------

TIME = np.arange(16000) / 16000
SOUND = 0.1 * np.sin(2 * np.pi * 300 * TIME) + rng.normal(0, 0.01, TIME.size)
S24 = (SOUND * 2**23).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
FORMATS = {
    "F32": SOUND.astype("<f4").tobytes(),
    "U8": (SOUND * 127 + 128).astype(np.uint8).tobytes(),
    "S24": S24,
    "S16BE": (SOUND * 32767).astype(">i2").tobytes(),
    "Ogg": b"OggS" + rng.bytes(8000),
    "FLAC": b"fLaC" + rng.bytes(8000),
}


def audio_data(data):
    return make("audio_common_msgs/AudioData", np.frombuffer(bytes(data), np.uint8))


@pytest.mark.parametrize("name", FORMATS)
def test_another_format_than_s16le_is_unsupported(name):
    fault, text = refusal("audio", audio_data(FORMATS[name][:1920]), AUDIO)
    assert fault == PayloadFault.UNSUPPORTED and name in text and "S16LE" in text


def mp3_stream(frames, mpeg2=True):
    """Frames of MPEG-1 or MPEG-2 layer III at 128 or 64 kbit/s with random content: 16-bit sound has no such marks."""
    head, length = (b"\xff\xf3\x84\xc4", 72 * 64000 // 24000) if mpeg2 else (b"\xff\xfb\x90\xc4", 144 * 128000 // 44100)
    return b"".join(head + rng.bytes(length - 4) for _ in range(frames))


@pytest.mark.parametrize("mpeg2", [False, True])
@pytest.mark.parametrize("chunk", [192, 418, 1024, 4096])
def test_mp3_is_recognised_however_it_is_cut(chunk, mpeg2):
    stream, decoder = mp3_stream(120, mpeg2), make_decoder("audio", "audio_common_msgs/msg/AudioData", AUDIO)
    faults, seen = [], 0
    for at in range(0, len(stream) - chunk, chunk):
        faults.append(int(decoder.decode([raw(audio_data(stream[at : at + chunk]))], np.array([10**18 + at])).fault[0]))
        seen += chunk
        if seen > 3 * 420:
            assert faults[-1] == PayloadFault.UNSUPPORTED
    assert decoder.decode([raw(audio_data(stream[:chunk]))]).error.count("MP3")
    sound = np.random.default_rng(0).normal(0, 900, chunk // 2).astype("<i2").tobytes()
    assert decoder.decode([raw(audio_data(sound))]).fault[0], "there are still frames among the newest bytes"
    decoder.reset()
    assert not decoder.decode([raw(audio_data(sound))]).fault[0]


@pytest.mark.parametrize("level", [1, 3, 8, 30, 300, 3000, 20000])
@pytest.mark.parametrize("kind", ["white", "tone", "brown", "one channel silent", "multiples of 256"])
def test_16_bit_sound_is_never_taken_for_another_format(kind, level):
    noise = rng.normal(0, 1, 64000)
    sound = {
        "white": noise * level,
        "tone": level * 1.4 * np.sin(np.arange(64000) / 6) + noise,
        "brown": level * np.convolve(noise, np.ones(40) / 6, "same"),
        "one channel silent": noise * level * (np.arange(64000) % 2),
        "multiples of 256": np.rint(noise * min(level, 40)) * 256,
    }[kind]
    data = sound.clip(-32768, 32767).astype("<i2").view(np.uint8)
    for size in (320, 640, 1500, 4096):
        assert {foreign_format(data[at : at + size]) for at in range(0, data.size - size, size)} == {""}
    assert not any(has_frames(data[at : at + FRAMES_BYTES]) for at in range(0, data.size - FRAMES_BYTES, FRAMES_BYTES))


# -- what a message may cost ----------------------------------------------------------------------------------------


def png_of_zeros(width, height, colour_type=2, bits=8):
    """A PNG whose pixels are all zero; only its header says how many they are."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(bytes(2_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
        + chunk(b"IDAT", pixels * 40)
        + chunk(b"IEND", b"")
    )


def many_scans(scans, size=1024):
    """A progressive JPEG of a few kB whose last scan is repeated."""
    data = cv2.imencode(".jpg", np.zeros((size, size, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


@pytest.mark.parametrize(
    "name, data", [("scans", many_scans(500)), ("pixels", png_of_zeros(8000, 8000)), ("16 bits", png_of_zeros(3000, 2000, 6, 16))]
)
def test_an_image_that_takes_long_to_decode_is_refused_before_it_is_decoded(name, data, monkeypatch):
    decoded_sizes = []
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: decoded_sizes.append(data.size))
    fault, text = refusal("camera", compressed(data, "png" if data[1:4] == b"PNG" else "jpeg"), RGB)
    assert fault == PayloadFault.OUT_OF_RANGE and "max_decode_ms" in text and not decoded_sizes


def test_an_ordinary_progressive_jpeg_is_read():
    picture = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 2)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert data.count(b"\xff\xda") > 5 and row("camera", compressed(data, "jpeg"), RGB).shape == (3, 12, 16)


def test_of_a_chunk_longer_than_the_window_the_newest_part_is_used():
    samples = rng.normal(0, 3000, 100_000).astype(np.int16)
    batch = decoded("audio", audio(samples, rate_hz=1000), AUDIO)
    assert not batch.fault.any() and len(batch.rows) <= 16000 * AUDIO.window_s
    end_ns = 1_700_000_000_123_456_789 + 100 * 10**9
    assert 0 <= end_ns - batch.row_stamp_ns[-1] < 0.05e9
    same = decoded("audio", audio(samples[-2000:], rate_hz=1000, stamp_ns=end_ns - 2 * 10**9), AUDIO)
    np.testing.assert_array_equal(batch.rows, same.rows)


def test_a_large_picture_costs_no_more_rows_and_columns_than_a_small_one():
    large = np.repeat(np.repeat(rng.integers(0, 256, (60, 80, 3), np.uint8), 100, 0), 100, 1)  # 48 million pixels
    small = large[::50, ::50]
    np.testing.assert_allclose(row("camera", image(large, "rgb8"), RGB), row("camera", image(small, "rgb8"), RGB), atol=0.02)


def test_a_cloud_of_millions_is_thinned_before_it_is_looked_at():
    values = {axis: np.full(4_000_000, np.nan, np.float32) for axis in "xyz"}
    decoder = make_decoder("lidar", "sensor_msgs/msg/PointCloud2", LIDAR)
    record = decoder.read(raw(cloud(XYZ, values, height=2000)))
    looked_at = []
    plain = record.columns
    object.__setattr__(record, "columns", lambda every, *rest: looked_at.append(plain(every, *rest)) or looked_at[-1])
    decoder.fingerprint(record)
    with pytest.raises(ValueError, match="0 valid points"):
        decoder.check(record)
    assert max(columns.shape[1] for columns in looked_at) <= 65536
