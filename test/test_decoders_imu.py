"""IMU messages, read one by one and in batches, and each of their faults."""

import array

import numpy as np
import pytest
from cdr_messages import assert_same_batch, bag_messages, deserializer, imu, longest_run, raw, serialize_rclpy

from sentryfuse_ros.decoders import PayloadFault, make_decoder

IMU = "sensor_msgs/msg/Imu"
rng = np.random.default_rng(3)


def decoder(**limits):
    return make_decoder("imu", IMU, limits=limits, deserialize=deserializer(IMU))


@pytest.mark.parametrize("frame_id", ["", "i", "imu_link", "a_very_long/frame/name_ü"])
def test_rows_are_gyro_then_accel_for_any_frame_id(frame_id):
    batch = decoder().decode([raw(imu((1, 2, 3), (4, 5, 6), frame_id=frame_id))] * 2)
    assert not batch.fault.any(), batch.error
    np.testing.assert_array_equal(batch.rows, [[1, 2, 3, 4, 5, 6]] * 2)
    assert batch.stamp_ns.tolist() == batch.row_stamp_ns.tolist() == [1_700_000_000_123_456_789] * 2


@pytest.mark.parametrize("bag, count", [("husky_test1_ros2", 11865), ("converted_utd_mhad_depth_imu", 573)])
def test_recorded_messages_decode_like_deserialised_messages(bag, count):
    messages = bag_messages(bag, IMU)
    assert len(messages) == count
    data = [item for item, _ in messages]
    bulk = decoder().decode(data)
    assert not bulk.fault.any() and bulk.error == ""
    assert_same_batch(bulk, decoder().decode([item for _, item in messages]))
    for start in range(0, len(data), 997):  # in drains of every size a node may see
        part = decoder().decode(data[start : start + start % 41 + 1])
        np.testing.assert_array_equal(part.rows, bulk.rows[start : start + start % 41 + 1])
        np.testing.assert_array_equal(part.fingerprint, bulk.fingerprint[start : start + start % 41 + 1])
    first = messages[0][1]
    assert bulk.stamp_ns[0] == first.header.stamp.sec * 10**9 + first.header.stamp.nanosec
    np.testing.assert_array_equal(
        bulk.rows[0],
        np.float32(
            [
                first.angular_velocity.x,
                first.angular_velocity.y,
                first.angular_velocity.z,
                first.linear_acceleration.x,
                first.linear_acceleration.y,
                first.linear_acceleration.z,
            ]
        ),
    )
    assert longest_run(bulk.fingerprint) < 10, "a real sensor would be called frozen"


def test_rclpy_and_rosbags_bytes_give_the_same():
    messages = [imu(rng.normal(0, 1, 3), rng.normal(0, 9, 3)) for _ in range(20)]
    assert_same_batch(decoder().decode([raw(m) for m in messages]), decoder().decode([serialize_rclpy(m) for m in messages]))


@pytest.mark.parametrize(
    "gyro, accel, fault, text",
    [
        ((np.nan, 0, 0), (0, 0, 9.8), PayloadFault.NAN, "nan"),
        ((0, 0, 0.1), (0, np.inf, 0), PayloadFault.NAN, "inf"),
        ((0, 101, 0), (0, 0, 9.8), PayloadFault.OUT_OF_RANGE, "max_gyro_rad_s"),
        ((0, 0, 0.1), (0, 0, -401), PayloadFault.OUT_OF_RANGE, "max_accel_m_s2"),
        ((0, 0, 0), (0, 0, 0), PayloadFault.EMPTY, "allow_zero"),
    ],
)
def test_a_fault_is_found_among_good_messages(gyro, accel, fault, text):
    good = [imu(rng.normal(0, 1, 3), rng.normal(0, 9, 3)) for _ in range(9)]
    messages = good[:4] + [imu(gyro, accel)] + good[4:]
    for batch in (decoder().decode([raw(m) for m in messages]), decoder().decode(messages)):
        assert batch.fault.tolist() == [0] * 4 + [fault] + [0] * 5
        assert len(batch.rows) == len(batch.row_stamp_ns) == 9 and np.isfinite(batch.rows).all()
        assert text in batch.error and IMU in batch.error


def test_the_error_says_how_often_half_of_it_was_missing_whatever_comes_after():
    half, whole = raw(imu(accel=(0, 0, 0))), raw(imu())
    batch = decoder().decode([whole] + [half] * 102 + [whole])
    assert batch.fault.tolist() == [0] * 100 + [PayloadFault.EMPTY] * 3 + [0] and "in 102 messages in a row" in batch.error


def test_limits_change_which_values_are_faulty():
    messages = [raw(imu((0, 0, 0), (0, 0, 0))), raw(imu((150, 0, 0), (0, 0, 900)))]
    limits = {"allow_zero": 1, "max_gyro_rad_s": 200, "max_accel_m_s2": 1000}
    assert not decoder(**limits).decode(messages).fault.any()


@pytest.mark.parametrize("gyro, accel", [((0, 0, 0), (0, 0, 9.81)), ((0.01, 0, 0), (0, 0, 0))])
def test_zero_rotation_or_zero_acceleration_alone_is_valid(gyro, accel):
    assert not decoder().decode([raw(imu(gyro, accel))]).fault.any()


def test_a_bad_message_in_a_batch_does_not_affect_the_others():
    data = [raw(imu(rng.normal(0, 1, 3))) for _ in range(6)]
    long = bytearray(data[2])
    long[12:16] = (5000).to_bytes(4, "little")  # frame_id longer than the message, same size
    data[2] = bytes(long)
    data[4] = b""
    batch = decoder().decode(data)
    assert batch.fault.tolist() == [0, 0, PayloadFault.MALFORMED, 0, PayloadFault.MALFORMED, 0]
    assert batch.stamp_ns[2] == 0 and len(batch.rows) == 4


def test_an_impossible_stamp_is_malformed():
    data = bytearray(raw(imu()))
    data[8:12] = (10**9).to_bytes(4, "little")
    for messages in ([bytes(data)], [bytes(data), bytes(data)]):
        batch = decoder().decode(messages)
        assert (batch.fault == PayloadFault.MALFORMED).all() and "clock" in batch.error


def test_raw_and_deserialised_messages_in_one_batch_keep_their_order():
    messages = [imu((i + 1, 0, 0), frame_id="x" * i) for i in range(6)]
    mixed = [raw(m) if i % 3 else m for i, m in enumerate(messages)]
    mixed[4] = raw(messages[4], little_endian=False)
    mixed[5] = bytearray(raw(messages[5]))
    np.testing.assert_array_equal(decoder().decode(mixed).rows[:, 0], [1, 2, 3, 4, 5, 6])


def test_fingerprint_depends_on_the_six_values_only():
    one, other = imu((1, 2, 3)), imu((1, 2, 3), stamp_ns=5, frame_id="other", orientation=0.5)
    swapped, nudged = imu((2, 1, 3)), imu((1, 2, np.nextafter(3, 4)))
    prints = [int(decoder().decode([raw(m)]).fingerprint[0]) for m in (one, other, swapped, nudged)]
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_messages_without_a_stamp_are_stamped_by_their_arrival():
    messages = [raw(imu(stamp_ns=0)), raw(imu(stamp_ns=7))]
    assert decoder().decode(messages, [100, 200]).row_stamp_ns.tolist() == [100, 7]
    assert decoder(use_arrival_stamp=1).decode(messages, array.array("q", [100, 200])).stamp_ns.tolist() == [100, 200]
    assert decoder().decode(messages).stamp_ns.tolist() == [0, 7]
