"""Numbers of any message type: read in place, read of objects, and each fault."""

import struct
from functools import cache

import numpy as np
import pytest
from cdr_messages import (
    STORE,
    assert_same_batch,
    bag_messages,
    deserializer,
    header,
    longest_run,
    make,
    raw,
    serialize_rclpy,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sentryfuse_ros.bags.message_types import definition_in
from sentryfuse_ros.decoders import FieldReading, PayloadFault, make_decoder
from sentryfuse_ros.decoders.field_layout import MAX_STEPS
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.preprocessing import ModalitySpec

JOINTS = "sensor_msgs/msg/JointState"
ARRAY = "std_msgs/msg/Float32MultiArray"
rng = np.random.default_rng(5)


def decoder(msg_type, *paths, low=(-np.inf,), high=(np.inf,), spec=None, store=STORE, **limits):
    reading = FieldReading(paths, low, high, definition_in(store, msg_type))
    return make_decoder("series", msg_type, spec, limits, deserializer(msg_type, store), reading)


def joints(effort, velocity=(), names=("left", "right"), **head):
    return make(
        "sensor_msgs/JointState", header(**head), list(names), np.zeros(0), np.array(velocity, float), np.array(effort, float)
    )


def floats(*values):
    return make("std_msgs/Float32MultiArray", make("std_msgs/MultiArrayLayout", [], 0), np.array(values, np.float32))


# ---- right values -----------------------------------------------------------------------------------------------------


def test_columns_are_in_the_order_of_the_fields_and_stamps_are_of_the_header():
    messages = [raw(joints((i, i + 0.5), (10 * i, 3), stamp_ns=1_000 * i + 7)) for i in range(1, 6)]
    batch = decoder(JOINTS, "velocity[0]", "effort[0:2]").decode(messages)
    assert not batch.fault.any() and batch.error == ""
    np.testing.assert_array_equal(batch.rows, [[10 * i, i, i + 0.5] for i in range(1, 6)])
    assert batch.stamp_ns.tolist() == batch.row_stamp_ns.tolist() == [1_000 * i + 7 for i in range(1, 6)]


def test_messages_of_other_layouts_in_one_batch_are_read_right():
    messages = [
        joints((i, -i), np.arange(i % 3), names=["n" * (i % 5)] * (i % 4), frame_id="f" * (i % 7), stamp_ns=i)
        for i in range(1, 60)
    ]
    batch = decoder(JOINTS, "effort[0:2]").decode([raw(m) for m in messages])
    assert not batch.fault.any(), batch.error
    np.testing.assert_array_equal(batch.rows, [[i, -i] for i in range(1, 60)])
    assert batch.stamp_ns.tolist() == list(range(1, 60))


def test_two_layouts_of_the_same_size_are_told_apart():
    """A longer frame_id and a shorter name: all bytes are at other places, but there are as many of them."""
    one, other = joints((1, 2), names=["abcdefgh"], frame_id=""), joints((3, 4), names=[""], frame_id="abcdefgh")
    assert len(raw(one)) == len(raw(other))
    batch = decoder(JOINTS, "effort[0:2]").decode([raw(m) for m in (one, other, one)])
    np.testing.assert_array_equal(batch.rows, [[1, 2], [3, 4], [1, 2]])


def test_objects_and_foreign_byte_orders_give_the_same():
    messages = [joints(rng.normal(size=3), rng.normal(size=2), stamp_ns=i + 1) for i in range(9)]
    make_one = decoder(JOINTS, "effort[1:3]", "velocity[0:2]")
    little = make_one.decode([raw(m) for m in messages])
    assert not little.fault.any(), little.error
    assert_same_batch(little, make_one.decode(messages))
    assert_same_batch(little, make_one.decode([raw(m, little_endian=False) for m in messages]))
    assert_same_batch(little, make_one.decode([memoryview(raw(m)) for m in messages]))


def test_rclpy_and_rosbags_define_a_message_alike():
    message_types = pytest.importorskip("sentryfuse_ros.nodes.message_types", reason="rclpy is not installed")
    for name in (
        JOINTS,
        ARRAY,
        "nav_msgs/msg/Odometry",
        "geometry_msgs/msg/WrenchStamped",
        "std_msgs/msg/Empty",
        "sensor_msgs/msg/Joy",
    ):
        assert message_types.message_definition(name) == definition_in(STORE, name)


def test_recorded_odometry_decodes_like_deserialised_messages():
    messages = bag_messages("husky_test1_ros2", "nav_msgs/msg/Odometry")
    one = decoder("nav_msgs/msg/Odometry", "twist.twist.linear.x", "twist.twist.angular.*", "pose.covariance[0:2]")
    bulk = one.decode([data for data, _ in messages])
    assert len(bulk.rows) == len(messages) > 100 and not bulk.fault.any()
    assert_same_batch(bulk, one.decode([message for _, message in messages]))
    twist = messages[-1][1].twist.twist
    assert bulk.rows[-1, :2].tolist() == [np.float32(twist.linear.x), np.float32(twist.angular.x)]


def test_a_message_without_header_is_stamped_by_its_arrival():
    one = decoder(ARRAY, "data[0:2]")
    assert one.headerless and not decoder(JOINTS, "effort[0]").headerless
    batch = one.decode([raw(floats(1, 2, 3)), raw(floats(4, 5, 6))], [70, 80])
    assert batch.row_stamp_ns.tolist() == [70, 80] and batch.rows.tolist() == [[1, 2], [4, 5]]


def test_bytes_of_rclpy_are_read():
    force, torque = (make("geometry_msgs/Vector3", *xyz) for xyz in ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    wrench = make("geometry_msgs/WrenchStamped", header(stamp_ns=8), make("geometry_msgs/Wrench", force, torque))
    batch = decoder("geometry_msgs/msg/WrenchStamped", "wrench.force.*", "wrench.torque.z").decode([serialize_rclpy(wrench)])
    assert batch.rows.tolist() == [[1, 2, 3, 6]] and batch.stamp_ns.tolist() == [8]


def test_no_messages_make_an_empty_batch():
    batch = decoder(JOINTS, "effort[0:2]").decode([])
    assert batch.rows.shape == (0, 2) and len(batch.stamp_ns) == 0


# ---- any definition ---------------------------------------------------------------------------------------------------

SCALARS = ("bool", "byte", "char", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
INNER = "uint8 a\nfloat64 b\nint16[3] c\nstring d\n"
plain = st.sampled_from((*SCALARS, "string", "my_msgs/Inner"))
field_types = st.tuples(plain, st.sampled_from(("", "[]", "[1]", "[3]"))).map("".join)


@cache
def store_of(fields):
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(INNER, "my_msgs/msg/Inner"))
    text = "std_msgs/Header header\n" + "\n".join(f"{kind} f{i}" for i, kind in enumerate(fields))
    store.register(get_types_from_msg(text, "my_msgs/msg/Any"))
    return store


def value_of(kind, draw, store):
    """A random value of a field type, and the paths of its numbers with their values."""
    base, _, size = kind.partition("[")
    if size:
        count = int(size[:-1]) if size != "]" else draw(st.integers(0, 3))
        items = [value_of(base, draw, store) for _ in range(count)]
        values = [item for item, _ in items]
        if base in SCALARS and base != "bool":
            values = np.array(values, {"byte": "u1", "char": "u1"}.get(base, base))
        elif base == "bool":
            values = np.array(values, bool)
        return values, [(f"[{i}]{path}", number) for i, (_, paths) in enumerate(items) for path, number in paths]
    if base == "string":
        return draw(st.text("ab", max_size=9)), []
    if base == "my_msgs/Inner":
        parts = [value_of(t, draw, store) for t in ("uint8", "float64", "int16[3]", "string")]
        message = store.types["my_msgs/msg/Inner"](*(value for value, _ in parts))
        return message, [(f".{name}{path}", number) for name, (_, paths) in zip("abcd", parts) for path, number in paths]
    if base.startswith("float"):
        number = draw(st.floats(-(2.0**99), 2.0**99, width=32))
        return number, [("", number)]
    if base == "bool":
        truth = draw(st.booleans())
        return truth, [("", float(truth))]
    bounds = np.iinfo({"byte": "i1", "char": "u1"}.get(base, base))  # rosbags takes a byte as signed, ROS 2 does not
    number = draw(st.integers(0 if base == "byte" else int(bounds.min), int(bounds.max)))
    return number, [("", float(number))]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(field_types, min_size=1, max_size=6).map(tuple))
def test_every_number_of_any_message_is_read(data, fields):
    store = store_of(fields)
    values, wanted = [], []
    for i, kind in enumerate(fields):
        value, paths = value_of(kind, data.draw, store)
        values.append(value)
        wanted += [(f"f{i}{path}", number) for path, number in paths]
    message = store.types["my_msgs/msg/Any"](header(stamp_ns=123_456_789_012), *values)
    if not wanted:
        return
    one = decoder("my_msgs/msg/Any", *(path for path, _ in wanted), store=store)
    data_of = [raw(message, store=store)] * 2
    batch = one.decode(data_of)
    assert not batch.fault.any(), batch.error
    np.testing.assert_array_equal(batch.rows, np.float32([[number for _, number in wanted]] * 2))
    assert batch.stamp_ns.tolist() == [123_456_789_012] * 2
    assert_same_batch(batch, one.decode([message] * 2))
    cut = one.decode([data_of[0][: data.draw(st.integers(0, len(data_of[0]) - 4))]])
    assert cut.fault[0] == PayloadFault.MALFORMED and len(cut.rows) == 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_never_raise(data, encapsulated):
    good = raw(joints((1, 2), stamp_ns=5))
    junk = (b"\0\1\0\0" if encapsulated else b"") + data
    batch = decoder(JOINTS, "effort[0:2]").decode([good, junk, junk, good])
    assert batch.fault[[0, 3]].tolist() == [0, 0] and batch.rows[[0, -1]].tolist() == [[1, 2], [1, 2]]
    assert np.isfinite(batch.rows).all()


# ---- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "fault", "told"),
    [
        ((np.nan, 1), PayloadFault.NAN, "effort[0]: saw nan, expected a finite number"),
        ((1, -np.inf), PayloadFault.NAN, "effort[1]: saw -inf"),
        (
            (1, 21),
            PayloadFault.OUT_OF_RANGE,
            "effort[1]: saw 21, expected -20 to 20; check the driver's units",
        ),
        ((1e300, 0), PayloadFault.OUT_OF_RANGE, "effort[0]: saw 1e+300"),
        ((), PayloadFault.UNSUPPORTED, "effort: saw 0 elements, expected at least 2, for effort[0:2]"),
        ((1,), PayloadFault.UNSUPPORTED, "effort: saw 1 elements"),
    ],
)
@pytest.mark.parametrize("form", [raw, lambda message: message], ids=["raw", "object"])
def test_a_fault_is_found_among_good_messages(effort, fault, told, form):
    one = decoder(JOINTS, "velocity[0]", "effort[0:2]", low=(-50, -20), high=(50, 20))
    messages = [form(joints(e, (30,), stamp_ns=9)) for e in ((1, 2), effort, (3, 4))]
    batch = one.decode(messages)
    assert batch.fault.tolist() == [0, fault, 0] and told in batch.error and JOINTS in batch.error
    assert batch.rows.tolist() == [[30, 1, 2], [30, 3, 4]]


def test_without_limits_large_values_are_good():
    batch = decoder(JOINTS, "effort[0]").decode([raw(joints((3e38,)))])
    assert batch.fault[0] == PayloadFault.NONE


def test_values_of_zero_are_no_fault_and_equal_values_have_equal_fingerprints():
    batch = decoder(JOINTS, "effort[0:2]").decode(
        [raw(joints(e, stamp_ns=i + 1)) for i, e in enumerate([(0, 0), (0, 0), (1, 2), (2, 1), (1, 2)])]
    )
    assert not batch.fault.any()
    assert longest_run(batch.fingerprint) == 2 and batch.fingerprint[2] == batch.fingerprint[4] != batch.fingerprint[3]


def test_what_is_not_selected_does_not_hide_a_frozen_sensor():
    batch = decoder(JOINTS, "effort[0]").decode([raw(joints((1,), (i,), stamp_ns=i + 1)) for i in range(5)])
    assert longest_run(batch.fingerprint) == 5


def test_a_message_with_bytes_left_over_is_malformed():
    batch = decoder(ARRAY, "data[0]").decode([raw(floats(1, 2)) + bytes(8)])
    assert batch.fault[0] == PayloadFault.MALFORMED


def test_a_sequence_that_claims_to_be_endless_is_refused_at_once():
    claim = b"\0\1\0\0" + struct.pack("<I", 0xFFFFFFFF) + bytes(40)
    batch = decoder(ARRAY, "data[0]").decode([claim])
    assert batch.fault[0] == PayloadFault.MALFORMED and "4294967295 items" in batch.error


def test_a_message_of_very_many_items_does_not_stall():
    many = make("sensor_msgs/JointState", header(), ["a"] * (MAX_STEPS + 1), np.zeros(0), np.zeros(0), np.ones(2))
    batch = decoder(JOINTS, "effort[0]").decode([raw(many)])
    assert batch.fault[0] == PayloadFault.UNSUPPORTED and f"more than {MAX_STEPS} items" in batch.error


# ---- what is refused at configure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"paths": ()}, "fields: saw none"),
        ({"paths": ("torque",)}, "no torque in sensor_msgs/msg/JointState, expected one of header"),
        ({"definition": None}, "a message type whose definition is known"),
        ({"low": (1.0, 2.0, 3.0)}, "field_min: saw 3 numbers, expected one number, or 2"),
        ({"low": (0.0, 5.0), "high": (4.0,)}, "field_min: saw 5 for velocity[0], expected at most its field_max 4"),
        ({"low": (np.nan,)}, "field_min: saw nan"),
    ],
)
def test_a_reading_that_does_not_fit_is_refused(change, told):
    values = {
        "paths": ("effort[0:2]", "velocity[0]"),
        "low": (-np.inf,),
        "high": (np.inf,),
        "definition": definition_in(STORE, JOINTS),
    }
    with pytest.raises(ParameterError) as error:
        make_decoder("series", JOINTS, reading=FieldReading(**{**values, **change}))
    assert told in str(error.value)


def test_the_channels_of_the_model_must_be_the_values_of_the_fields():
    spec = ModalitySpec("wheels", "series", 1.0, (20, 3))
    assert decoder(JOINTS, "effort[0:3]", spec=spec).spec is spec
    with pytest.raises(ParameterError, match=r"saw 2 values: effort\[0\], effort\[1\], expected 3 values"):
        decoder(JOINTS, "effort[0:2]", spec=spec)


@pytest.mark.parametrize("reading", [FieldReading(("linear_acceleration.x",), (), (), None), FieldReading((), (), (9.0,), None)])
def test_fields_and_their_limits_are_refused_for_another_kind(reading):
    with pytest.raises(ParameterError, match="imu sensors are read as a whole; remove them, or set kind to one of series"):
        make_decoder("imu", "sensor_msgs/msg/Imu", reading=reading)
