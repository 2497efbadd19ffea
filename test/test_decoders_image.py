"""Image and CompressedImage: encodings, views, and for each fault the scene that must not raise it."""

import struct

import cv2
import numpy as np
import pytest
from cdr_messages import bag_messages, compressed, deserializer, image, longest_run, raw, serialize_rclpy

from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.decoders.compressed_image import jpeg_size
from sentryfuse_ros.decoders.image import CameraDecoder
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.camera import camera_frame

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
RGB = ModalitySpec("camera", "camera", 0.5, (2, 3, 12, 16), "rgb")
MONO = ModalitySpec("camera", "camera", 0.5, (2, 1, 12, 16), "mono")
DEPTH = ModalitySpec("camera", "camera", 0.5, (2, 1, 12, 16), "depth_m")
rng = np.random.default_rng(5)


def scene(channels=3, height=48, width=64, dtype=np.uint8, top=256):
    """A smooth picture with noise, so that shrinking is well-behaved and every channel differs."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(1)
    planes = [np.sin(x / (5 + c)) + np.cos(y / (4 + 2 * c)) + noise.normal(0, 0.1, x.shape) for c in range(channels)]
    picture = np.clip((np.stack(planes, -1) + 2.3) / 4.6 * top, 1, top - 2).astype(dtype)
    return picture[..., 0] if channels == 1 else picture


def decode(message, spec=RGB, msg_type=IMAGE, **limits):
    return make_decoder("camera", msg_type, spec, limits, deserializer(msg_type)).decode([message])


def good_row(message, spec=RGB, msg_type=IMAGE):
    batch = decode(message, spec, msg_type)
    assert not batch.fault.any(), batch.error
    return batch.rows[0]


@pytest.mark.parametrize("pad", [0, 1, 7])
@pytest.mark.parametrize(
    "encoding, order",
    [
        ("rgb8", [0, 1, 2]),
        ("bgr8", [2, 1, 0]),
        ("8UC3", [2, 1, 0]),
        ("rgba8", [0, 1, 2, 3]),
        ("bgra8", [2, 1, 0, 3]),
        ("8UC4", [2, 1, 0, 3]),
    ],
)
@pytest.mark.parametrize("spec", [RGB, MONO], ids=["rgb", "mono"])
def test_colour_encodings_agree(encoding, order, spec, pad):
    rgba = np.concatenate((scene(), np.full((48, 64, 1), 255, np.uint8)), -1)
    row = good_row(raw(image(rgba[..., order], encoding, pad)), spec)
    # Luma is rounded to whole counts before the frame is made, and again in shrinking.
    np.testing.assert_allclose(row, camera_frame(rgba[..., :3], spec), atol=1e-6 if spec is RGB else 1.2 / 255)


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    "encoding, dtype, top, spec",
    [
        ("mono8", np.uint8, 256, MONO),
        ("8UC1", np.uint8, 256, RGB),
        ("mono16", np.uint16, 65536, MONO),
        ("16UC1", np.uint16, 5000, DEPTH),
        ("32FC1", np.float32, 5, DEPTH),
        ("mono16", np.uint16, 5000, DEPTH),
        ("32FC1", np.float32, 1, MONO),
    ],
)
def test_single_channel_encodings_equal_the_frame_function(encoding, dtype, top, spec, big_endian, pad):
    pixels = scene(1, dtype=np.float32, top=top).clip(0.01).astype(dtype)
    row = good_row(raw(image(pixels, encoding, pad, big_endian)), spec)
    np.testing.assert_array_equal(row, camera_frame(pixels, spec))


def test_recorded_depth_frames_decode_like_deserialised_messages():
    messages = bag_messages("converted_utd_mhad_depth_imu", IMAGE)
    spec = ModalitySpec("camera", "camera", 2.0, (4, 1, 60, 80), "depth_m")
    decoder = make_decoder("camera", IMAGE, spec)
    batch = decoder.decode([data for data, _ in messages])
    assert len(messages) == 220 and not batch.fault.any(), batch.error
    assert longest_run(batch.fingerprint) < 10, "a real camera would be called frozen"
    for row, stamp_ns, (_, message) in zip(batch.rows, batch.row_stamp_ns, messages, strict=True):
        pixels = message.data.view(np.uint16).reshape(message.height, message.width)
        np.testing.assert_array_equal(row, camera_frame(pixels, spec))
        assert stamp_ns == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert (pixels > 0).mean() < 0.2, "the recording has its background removed, which must be no fault"


def test_pixels_stay_a_view_on_the_message():
    data = raw(image(scene(height=480, width=640), "rgb8", pad=5))
    decoder = make_decoder("camera", IMAGE, RGB)
    pixels = decoder.read(data).pixels
    address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    assert address < pixels.__array_interface__["data"][0] < address + len(data) and pixels.strides == (1925, 3, 1)


def test_without_a_model_images_are_checked_and_give_no_rows():
    batch = decode(raw(image(scene(), "rgb8")), None)
    assert not batch.fault.any() and len(batch.rows) == len(batch.row_stamp_ns) == 0


# -- faults, each beside the scene that comes closest to it and is fine ----------------------------------------------


def night(share=0.02, dtype=np.uint8):
    pixels = rng.integers(0, 3, (480, 640)).astype(dtype)
    lit = rng.random(pixels.shape) < share
    pixels[lit] = rng.integers(4, 60, lit.sum())
    return pixels


def specks(share, dtype, value):
    pixels = np.zeros((120, 160), dtype)
    pixels[rng.random(pixels.shape) < share] = value
    return pixels


BAD = [
    ("lens cap", "mono8", rng.integers(0, 3, (480, 640), np.uint8), MONO, PayloadFault.BLACK),
    ("lens cap with hot pixels", "mono8", night(0.002), MONO, PayloadFault.BLACK),
    (
        "no light, opaque alpha",
        "rgba8",
        np.dstack([np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 255, np.uint8)]),
        RGB,
        PayloadFault.BLACK,
    ),
    ("no light, 16 bit", "mono16", rng.integers(0, 8, (48, 64), np.uint16), MONO, PayloadFault.BLACK),
    ("no light, float", "32FC1", np.zeros((48, 64), np.float32), MONO, PayloadFault.BLACK),
    ("no depth", "16UC1", np.zeros((48, 64), np.uint16), DEPTH, PayloadFault.BLACK),
    ("no depth, zero metres", "32FC1", np.zeros((48, 64), np.float32), DEPTH, PayloadFault.BLACK),
    ("no depth, out of range", "32FC1", np.full((48, 64), np.inf, np.float32), DEPTH, PayloadFault.BLACK),
    ("no numbers", "32FC1", np.full((48, 64), np.nan, np.float32), DEPTH, PayloadFault.NAN),
    ("no numbers in an intensity image", "32FC1", np.full((48, 64), np.nan, np.float32), MONO, PayloadFault.NAN),
    ("white", "rgb8", np.full((480, 640, 3), 255, np.uint8), RGB, PayloadFault.SATURATED),
    ("white of 12 bits", "mono16", np.full((48, 64), 4095, np.uint16), MONO, PayloadFault.SATURATED),
    ("depth at full scale", "16UC1", np.full((48, 64), 65535, np.uint16), DEPTH, PayloadFault.SATURATED),
    ("colour for a depth input", "rgb8", scene(), DEPTH, PayloadFault.UNSUPPORTED),
    ("8 bit for a depth input", "mono8", scene(1), DEPTH, PayloadFault.UNSUPPORTED),
    ("unknown encoding", "yuv422", scene(), RGB, PayloadFault.UNSUPPORTED),
    ("no pixels", "rgb8", np.zeros((0, 64, 3), np.uint8), RGB, PayloadFault.EMPTY),
]
FINE = [
    ("night", "mono8", night(), MONO),
    ("dim but textured", "mono8", rng.integers(0, 5, (480, 640), np.uint8), MONO),
    (
        "one lit row between the sampled ones",
        "rgb8",
        np.where(np.arange(480)[:, None, None] == 3, 90, np.ones((480, 640, 3))).astype(np.uint8)
        + (np.arange(480)[:, None, None] > 470).astype(np.uint8) * 9,
        RGB,
    ),
    ("snow", "rgb8", rng.integers(250, 256, (480, 640, 3), np.uint8), RGB),
    ("dim 12 bit picture", "mono16", rng.integers(0, 100, (48, 64), np.uint16), MONO),
    ("5 % depth", "16UC1", specks(0.05, np.uint16, 2000), DEPTH),
    ("a single depth return", "16UC1", np.pad(np.full((1, 1), 900, np.uint16), ((7, 112), (3, 156))), DEPTH),
    ("mostly NaN depth", "32FC1", np.where(rng.random((120, 160)) < 0.01, 1.5, np.nan).astype(np.float32), DEPTH),
    ("pure blue", "bgr8", np.dstack([np.full((48, 64), 255), np.zeros((48, 64)), np.zeros((48, 64))]).astype(np.uint8), RGB),
]


@pytest.mark.parametrize("encoding, pixels, spec, fault", [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_image_has_a_fault(encoding, pixels, spec, fault):
    batch = decode(raw(image(pixels, encoding)), spec)
    assert batch.fault[0] == fault, batch.error
    assert len(batch.rows) == 0 and IMAGE in batch.error and "expected" in batch.error
    assert batch.stamp_ns[0] > 0 or fault in (PayloadFault.UNSUPPORTED, PayloadFault.EMPTY)


@pytest.mark.parametrize("encoding, pixels, spec", [f[1:] for f in FINE], ids=[f[0] for f in FINE])
def test_good_image_has_no_fault(encoding, pixels, spec):
    batch = decode(raw(image(pixels, encoding)), spec)
    assert batch.fault[0] == PayloadFault.NONE, batch.error


def test_limits_change_which_images_are_faulty():
    dark = raw(image(np.full((48, 64), 9, np.uint8), "mono8"))
    assert decode(dark, MONO).fault[0] == PayloadFault.NONE
    assert decode(dark, MONO, black_level=10).fault[0] == PayloadFault.BLACK
    half = np.where(np.arange(64) < 32, 255, 100) * np.ones((48, 1))
    assert decode(raw(image(half.astype(np.uint8), "mono8")), MONO, saturated_share=0.4).fault[0] == PayloadFault.SATURATED


@pytest.mark.parametrize(
    "field, value", [("step", 100), ("height", 49), ("width", 65), ("step", 2**32 - 1), ("height", 2**32 - 1)]
)
def test_sizes_that_contradict_the_data_are_malformed(field, value):
    message = image(scene(), "rgb8")
    object.__setattr__(message, field, value)
    batch = decode(message)
    assert batch.fault[0] == PayloadFault.MALFORMED and "step" in batch.error
    assert decode(raw(message)).fault[0] == PayloadFault.MALFORMED


def test_fingerprint_depends_on_pixels_only():
    pixels, decoder = scene(), make_decoder("camera", IMAGE, None)
    other = pixels.copy()
    other[20, 30, 1] ^= 1
    messages = [image(pixels, "rgb8"), image(pixels, "rgb8", pad=9, stamp_ns=3, frame_id="else"), image(other, "rgb8")]
    first, second, third = decoder.decode([raw(m) for m in messages]).fingerprint
    assert first == second != third


def test_a_static_but_noisy_scene_never_repeats_its_fingerprint():
    still = scene(height=480, width=640).astype(int)
    decoder = make_decoder("camera", IMAGE, None)
    frames = [image((still + (rng.random(still.shape) < 0.001)).clip(0, 255).astype(np.uint8), "rgb8") for _ in range(8)]
    assert longest_run(decoder.decode(frames).fingerprint) == 1


# -- compressed -----------------------------------------------------------------------------------------------------


def coded(pixels, ext=".jpg", coding="jpeg"):
    return compressed(cv2.imencode(ext, pixels)[1], coding)


@pytest.mark.parametrize("ext, coding", [(".jpg", "jpeg"), (".jpg", "rgb8; jpeg compressed bgr8"), (".png", "png")])
@pytest.mark.parametrize("size", [(12, 16), (48, 64), (480, 640)])
@pytest.mark.parametrize("spec", [RGB, MONO], ids=["rgb", "mono"])
def test_compressed_colour_is_close_to_the_uncompressed(ext, coding, size, spec):
    rgb = cv2.resize(scene(height=48, width=64), size[::-1], interpolation=cv2.INTER_AREA)
    message = coded(np.ascontiguousarray(rgb[..., ::-1]), ext, coding)
    row = good_row(raw(message), spec, COMPRESSED)
    expected = camera_frame(rgb, spec)
    # JPEG blurs colour: it is held to the mean, and to be far from the picture with red and blue swapped.
    assert np.abs(row - expected).max() < (0.01 if ext == ".png" else 0.3)
    assert np.abs(row - expected).mean() < 0.05
    assert spec is MONO or np.abs(row - camera_frame(rgb[..., ::-1], spec)).mean() > 0.05
    np.testing.assert_array_equal(row, good_row(serialize_rclpy(message), spec, COMPRESSED))


def test_a_large_jpeg_is_decoded_at_reduced_size():
    decoder = make_decoder("camera", COMPRESSED, RGB)
    picture = decoder.read(raw(coded(scene(height=480, width=640))))
    decoder.check(picture)
    assert picture.pixels.shape == (60, 80, 3)  # 1/8 is still over 12 x 16


def test_a_16_bit_png_is_depth_in_millimetres():
    pixels = scene(1, dtype=np.uint16, top=4000)
    for coding, head in (("16UC1; png compressed", b""), ("16UC1; compressedDepth png", struct.pack("<iff", 0, 0.0, 0.0))):
        data = head + cv2.imencode(".png", pixels)[1].tobytes()
        row = good_row(raw(compressed(data, coding)), DEPTH, COMPRESSED)
        np.testing.assert_array_equal(row, camera_frame(pixels, DEPTH))


def test_compressed_float_depth_is_metres():
    metres = scene(1, dtype=np.float32, top=8).clip(0.5).astype(np.float32)
    metres[:10] = np.nan
    quant_a, quant_b = 100.0 * 101.0, 100.0 * 101.0 / 10.0 * -1 + 1  # as the transport chooses them, maximum 10 m
    stored = np.where(np.isnan(metres), 0, quant_a / metres + quant_b).clip(0, 65535).astype(np.uint16)
    data = struct.pack("<iff", 0, quant_a, quant_b) + cv2.imencode(".png", stored)[1].tobytes()
    row = good_row(raw(compressed(data, "32FC1; compressedDepth png")), DEPTH, COMPRESSED)
    np.testing.assert_allclose(row, camera_frame(metres, DEPTH), atol=0.02)


@pytest.mark.parametrize(
    "message, spec, fault",
    [
        (compressed(b"", "jpeg"), RGB, PayloadFault.EMPTY),
        (compressed(b"GIF89a" + bytes(50), "gif"), RGB, PayloadFault.UNSUPPORTED),
        (compressed(bytes(20), "16UC1; compressedDepth rvl"), DEPTH, PayloadFault.UNSUPPORTED),
        (compressed(bytes(5), "16UC1; compressedDepth png"), DEPTH, PayloadFault.MALFORMED),
        (coded(np.zeros((48, 64, 3), np.uint8)), RGB, PayloadFault.BLACK),
        (coded(np.full((48, 64, 3), 255, np.uint8)), RGB, PayloadFault.SATURATED),
        (coded(scene()), DEPTH, PayloadFault.UNSUPPORTED),
    ],
    ids=["empty", "gif", "rvl", "short depth", "black", "white", "jpeg for depth"],
)
def test_bad_compressed_image_has_a_fault(message, spec, fault):
    batch = decode(raw(message), spec, COMPRESSED)
    assert batch.fault[0] == fault, batch.error
    assert COMPRESSED in batch.error and len(batch.rows) == 0


@pytest.mark.parametrize("ext", [".jpg", ".png"])
def test_a_truncated_image_is_malformed(ext):
    data = cv2.imencode(ext, scene(height=480, width=640))[1].tobytes()
    batch = decode(raw(compressed(data[: len(data) * 2 // 3], ext[1:])), RGB, COMPRESSED)
    assert batch.fault[0] == PayloadFault.MALFORMED and "whole image" in batch.error


def test_an_image_larger_than_the_limit_is_not_decoded():
    batch = decode(raw(coded(scene(), ".png", "png")), RGB, COMPRESSED, max_pixels=3000)
    assert batch.fault[0] == PayloadFault.OUT_OF_RANGE and "64 x 48" in batch.error and "max_pixels" in batch.error


@pytest.mark.parametrize(
    "at, value",
    [(16, struct.pack(">II", 60000, 60000)), (33, b"\x80"), (8, b"\x7f")],
    ids=["size", "length of the data", "length of the header"],
)
def test_a_corrupt_png_header_is_rejected_before_memory_is_allocated(at, value):
    data = bytearray(cv2.imencode(".png", scene())[1].tobytes())
    data[at : at + len(value)] = value
    batch = decode(raw(compressed(data, "png")), RGB, COMPRESSED)
    assert batch.fault[0] == PayloadFault.MALFORMED and "cut off or corrupt" in batch.error


def test_jpeg_size_reads_the_frame_header():
    assert jpeg_size(cv2.imencode(".jpg", scene(height=50, width=70))[1].reshape(-1)) == (70, 50)
    assert jpeg_size(np.frombuffer(b"\xff\xd8\xff\xe0\x00\x10abc", np.uint8)) is None


def test_default_limits_are_documented_numbers():
    assert set(CameraDecoder.default_limits) == {"black_level", "black_share", "saturated_share", "full_scale", "max_depth_m"}


def test_without_a_model_compressed_images_are_checked_at_reduced_size():
    decoder = make_decoder("camera", COMPRESSED, None)
    white = np.full((480, 640, 3), 255, np.uint8)
    batch = decoder.decode([raw(coded(scene(height=480, width=640))), raw(coded(white * 0)), raw(coded(white))])
    assert batch.fault.tolist() == [0, PayloadFault.BLACK, PayloadFault.SATURATED] and len(batch.rows) == 0
    picture = decoder.read(raw(coded(scene(height=480, width=640))))
    decoder.check(picture)
    assert picture.pixels.shape == (60, 80)
