"""Bounds, alignment and views of the CDR reader, and how all decoders treat bytes that are no message."""

import struct

import numpy as np
import pytest
from cdr_messages import audio, cloud, compressed, deserializer, image, imu, raw, scan, serialize_rclpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.decoders.cdr import CdrReader, ForeignEncoding
from sentryfuse_ros.errors import DecodeError, ParameterError
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.sensor_kinds import kind_of_message, sensor_kind

SPECS = {
    "camera": ModalitySpec("camera", "camera", 0.5, (2, 3, 12, 16), "rgb"),
    "imu": ModalitySpec("imu", "imu", 0.5, (20, 6)),
    "audio": ModalitySpec("audio", "audio", 0.5, (10, 16), options={"sample_rate_hz": 8000}),
    "lidar": ModalitySpec("lidar", "lidar", 0.5, (1, 4, 8, 32)),
}
rng = np.random.default_rng(7)
XYZI = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")])


def examples():
    """One good message of every type with a raw fast path."""
    import cv2

    pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
    points = {name: rng.normal(0, 5, 200) for name in XYZI.names}
    noise = rng.normal(0, 3000, 400).astype(np.int16)
    yield "camera", image(pixels, "rgb8", pad=3)
    yield "camera", compressed(cv2.imencode(".jpg", pixels)[1], "rgb8; jpeg compressed bgr8")
    yield "camera", compressed(cv2.imencode(".png", pixels)[1], "png")
    yield "imu", imu()
    yield "audio", audio(noise)
    yield "lidar", cloud(XYZI, points)
    yield "lidar", scan(rng.uniform(1, 10, 180), rng.uniform(0, 100, 180))


EXAMPLES = [(kind, message.__msgtype__, raw(message), message) for kind, message in examples()]
IDS = [f"{msg_type}-{i}" for i, (_, msg_type, _, _) in enumerate(EXAMPLES)]


def test_fields_are_read_at_their_alignment():
    body = struct.pack("<iI", 12, 5) + struct.pack("<I", 3) + b"ab\0" + b"\xee" + struct.pack("<I", 77) + b"\x09"
    body += b"\xee" * 3 + struct.pack("<I", 2) + struct.pack("<2h", -1, 300)
    reader = CdrReader(b"\0\1\0\0" + body, "test")
    assert reader.header() == 12_000_000_005
    assert reader.uint32() == 77
    assert reader.uint8() == 9
    np.testing.assert_array_equal(reader.array("<i2"), [-1, 300])
    assert reader.left == 0
    with pytest.raises(DecodeError, match="truncated"):
        reader.uint8()


def test_an_array_is_a_view_and_not_a_copy():
    message = b"\0\1\0\0" + struct.pack("<I", 4) + b"\1\2\3\4"
    view = CdrReader(message, "test").array(np.uint8)
    assert view.base is not None and not view.flags.owndata and not view.flags.writeable
    assert view.__array_interface__["data"][0] == np.frombuffer(message, np.uint8).__array_interface__["data"][0] + 8


@pytest.mark.parametrize("count", [5, 2**31, 2**32 - 1])
def test_an_array_longer_than_the_message_is_an_error(count):
    reader = CdrReader(b"\0\1\0\0" + struct.pack("<I", count) + b"\1\2\3\4", "test")
    with pytest.raises(DecodeError, match="at least"):
        reader.array("<f8")


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\0\7\0\0", b"\xff\1\0\0"])
def test_another_encoding_is_left_to_the_deserialiser(head):
    with pytest.raises(ForeignEncoding, match="XCDR1"):
        CdrReader(head + bytes(8), "test")


@pytest.mark.parametrize("kind, msg_type, data, message", EXAMPLES, ids=IDS)
def test_raw_and_deserialised_messages_give_the_same_rows(kind, msg_type, data, message):
    decoder = make_decoder(kind, msg_type, SPECS[kind], deserialize=deserializer(msg_type))
    by_route = {}
    for route, item in (
        ("raw", data),
        ("object", message),
        ("big-endian", raw(message, little_endian=False)),
        ("memoryview", memoryview(data)),
    ):
        decoder.reset()
        by_route[route] = batch = decoder.decode([item])
        assert not batch.fault.any() and batch.error == "", (route, batch.error)
        assert batch.stamp_ns[0] == 1_700_000_000_123_456_789
        assert len(batch.rows) == len(batch.row_stamp_ns) > 0 and batch.rows.dtype == np.float32
        assert batch.rows.shape[1:] == SPECS[kind].row_shape and np.isfinite(batch.rows).all()
        np.testing.assert_array_equal(batch.rows, by_route["raw"].rows)
        np.testing.assert_array_equal(batch.fingerprint, by_route["raw"].fingerprint)


@pytest.mark.parametrize(
    "kind, msg_type, data, message",
    [e for e in EXAMPLES if not e[1].startswith("sentryfuse")],
    ids=[i for i in IDS if not i.startswith("sentryfuse")],
)
def test_rclpy_bytes_decode_like_rosbags_bytes(kind, msg_type, data, message):
    decoder = make_decoder(kind, msg_type, SPECS[kind])
    ours, theirs = decoder.decode([data]), decoder.decode([serialize_rclpy(message)])
    assert not theirs.fault.any(), theirs.error
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.fingerprint, theirs.fingerprint)


@pytest.mark.parametrize("kind, msg_type, data, message", EXAMPLES, ids=IDS)
def test_every_truncation_is_a_fault_and_never_an_exception(kind, msg_type, data, message):
    decoder = make_decoder(kind, msg_type, SPECS[kind], deserialize=deserializer(msg_type))
    cuts = [data[:n] for n in sorted({*range(0, min(len(data), 400)), *range(0, len(data), 97)})]
    batch = decoder.decode(cuts)
    # A bool or padding at the very end may be missing without loss; everything else is not.
    assert batch.fault.all() and set(np.unique(batch.fault)) <= {PayloadFault.MALFORMED, PayloadFault.UNSUPPORTED}
    assert batch.error and len(batch.rows) == 0


@pytest.mark.parametrize("kind, msg_type, data, message", EXAMPLES, ids=IDS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=8),
    early=st.booleans(),
    cut=st.integers(0, 20),
)
def test_flipped_bits_never_raise(kind, msg_type, data, message, flips, early, cut):
    bad = bytearray(data)
    span = min(len(bad), 160) if early else len(bad)  # the fields before the payload do the most harm
    for where, mask in flips:
        bad[int(where * (span - 1))] ^= mask
    decoder = make_decoder(kind, msg_type, SPECS[kind], deserialize=deserializer(msg_type))
    batch = decoder.decode([bytes(bad[: len(bad) - cut]), data])
    assert batch.fault[1] == PayloadFault.NONE, "a bad message must not spoil the next one"
    assert bool(batch.error) == bool(batch.fault[0])
    assert np.isfinite(batch.rows).all() and len(batch.rows) == len(batch.row_stamp_ns)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=600), prefix=st.sampled_from([b"", b"\0\1\0\0", b"\0\0\0\0"]))
def test_random_bytes_never_raise(data, prefix):
    for kind, types in ((name, sensor_kind(name).msg_types) for name in SPECS):
        for msg_type in types:
            batch = make_decoder(kind, msg_type, SPECS[kind]).decode([prefix + data])
            assert bool(batch.error) == bool(batch.fault[0]) and np.isfinite(batch.rows).all()


@pytest.mark.parametrize("junk", [None, 3, "text", object()])
@pytest.mark.parametrize("kind", SPECS)
def test_objects_that_are_no_messages_are_malformed(kind, junk):
    batch = make_decoder(kind, sensor_kind(kind).default_msg_type, SPECS[kind]).decode([junk])
    assert batch.fault[0] == PayloadFault.MALFORMED and sensor_kind(kind).default_msg_type in batch.error


@pytest.mark.parametrize("kind", SPECS)
def test_no_messages_make_an_empty_batch(kind):
    batch = make_decoder(kind, sensor_kind(kind).default_msg_type, SPECS[kind]).decode([])
    assert len(batch.stamp_ns) == len(batch.fault) == len(batch.fingerprint) == len(batch.rows) == 0


def test_a_foreign_encoding_without_deserialiser_names_the_remedy():
    batch = make_decoder("imu", "sensor_msgs/msg/Imu").decode([raw(imu(), little_endian=False)])
    assert batch.fault[0] == PayloadFault.UNSUPPORTED and "deserialize" in batch.error and "0x0000" in batch.error


def test_message_type_tells_the_sensor_kind():
    assert kind_of_message("sensor_msgs/msg/LaserScan") is sensor_kind("lidar")
    assert kind_of_message("std_msgs/msg/String") is None


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("radar", "x"), "'radar'"),
        (("camera", "sensor_msgs/msg/Imu"), "sensor_msgs/msg/Image"),
        (("imu", "sensor_msgs/msg/Imu", SPECS["lidar"]), "saw a sensor of kind imu, expected one of kind lidar"),
        (("imu", "sensor_msgs/msg/Imu", None, {"max_gyro": 3}), "max_gyro_rad_s"),
        (("imu", "sensor_msgs/msg/Imu", None, {"max_gyro_rad_s": float("nan")}), "finite"),
    ],
)
def test_a_decoder_that_cannot_be_made_names_the_parameter(arguments, text):
    with pytest.raises(ParameterError, match=text):
        make_decoder(*arguments)
