"""Point clouds of any layout, laser scans, and for each fault the cloud that must not raise it."""

import numpy as np
import pytest
from cdr_messages import bag_messages, cloud, deserializer, longest_run, raw, scan, serialize_rclpy

from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.lidar import lidar_frame

CLOUD, SCAN = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/LaserScan"
SPEC = ModalitySpec("lidar", "lidar", 0.5, (1, 4, 8, 32))
POLAR = ModalitySpec("lidar", "lidar", 0.5, (1, 4, 8, 32), options={"polar": 1, "max_range_m": 20.0})
LAYOUTS = {
    "packed": np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")]),
    "pcl": np.dtype({"names": ["x", "y", "z", "intensity"], "formats": ["f4"] * 4, "offsets": [0, 4, 8, 16], "itemsize": 32}),
    "velodyne": np.dtype(
        {
            "names": ["x", "y", "z", "intensity", "ring", "time"],
            "formats": ["f4", "f4", "f4", "f4", "u2", "f4"],
            "offsets": [0, 4, 8, 12, 16, 18],
            "itemsize": 22,
        }
    ),
    "doubles, odd offsets": np.dtype(
        {
            "names": ["t", "z", "y", "x", "intensity"],
            "formats": ["u4", "f8", "f8", "f8", "u2"],
            "offsets": [0, 5, 13, 21, 33],
            "itemsize": 37,
        }
    ),
    "integers": np.dtype([("x", "i2"), ("y", "i4"), ("z", "i1"), ("intensity", "u1")]),
}


def points(count=600, seed=0):
    generator = np.random.default_rng(seed)
    values = {axis: generator.normal(0, 6, count).astype(np.float32) for axis in "xy"}
    values |= {
        "z": generator.normal(0, 1, count).astype(np.float32),
        "intensity": generator.integers(0, 200, count),
        "ring": generator.integers(0, 32, count),
        "time": generator.random(count),
        "t": np.arange(count),
    }
    return values


def decode(message, spec=SPEC, msg_type=CLOUD, **limits):
    return make_decoder("lidar", msg_type, spec, limits, deserializer(msg_type)).decode([message])


def frame_of(values, spec=SPEC):
    return lidar_frame(np.stack([values[name] for name in ("x", "y", "z", "intensity")], 1), spec)


@pytest.mark.parametrize("height, row_pad", [(1, 0), (1, 5), (20, 0), (20, 3)])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_frame(layout, big_endian, height, row_pad):
    values = points()
    if layout == "integers":
        values = {name: np.trunc(column) + 0.0 for name, column in values.items()}  # no -0.0: its azimuth is -pi
    batch = decode(raw(cloud(LAYOUTS[layout], values, height, row_pad, big_endian)))
    assert not batch.fault.any(), batch.error
    np.testing.assert_allclose(batch.rows[0], frame_of(values), rtol=1e-6)


def test_recorded_clouds_decode_like_deserialised_messages():
    messages = bag_messages("converted_ouster_os1_128", CLOUD)
    decoder = make_decoder("lidar", CLOUD, SPEC)
    batch = decoder.decode([data for data, _ in messages])
    assert len(messages) == 3 and not batch.fault.any(), batch.error
    assert longest_run(batch.fingerprint) == 1
    for row, stamp_ns, (_, message) in zip(batch.rows, batch.row_stamp_ns, messages, strict=True):
        values = message.data.view(np.float32).reshape(-1, 4)
        np.testing.assert_allclose(row, lidar_frame(values, SPEC), rtol=1e-6)
        assert stamp_ns == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    objects = make_decoder("lidar", CLOUD, SPEC).decode([message for _, message in messages])
    np.testing.assert_array_equal(objects.rows, batch.rows)
    np.testing.assert_array_equal(objects.fingerprint, batch.fingerprint)


def test_a_recorded_cloud_serialised_by_rclpy_gives_the_same_rows():
    data, message = bag_messages("converted_ouster_os1_128", CLOUD)[0]
    ours, theirs = decode(data), decode(serialize_rclpy(message))
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.fingerprint, theirs.fingerprint)


def test_fields_stay_views_on_the_message():
    data = raw(cloud(LAYOUTS["pcl"], points()))
    record = make_decoder("lidar", CLOUD, None).read(data)
    address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    assert all(
        address < f.__array_interface__["data"][0] < address + len(data) and f.strides == (32,)
        for f in (*record.xyz, record.intensity)
    )


def test_points_without_return_are_dropped_without_a_fault():
    values = points()
    for axis in "xyz":
        values[axis][::2] = np.nan
    values["x"][1::4] = np.inf
    batch = decode(raw(cloud(LAYOUTS["packed"], values)))
    assert batch.fault[0] == 0, batch.error
    kept = {name: column[3::4] for name, column in values.items()}
    np.testing.assert_allclose(batch.rows[0], frame_of(kept), rtol=1e-6)


def scattered(valid):
    """A large cloud of NaN with a few valid points that lie beside the sampled ones."""
    values = {axis: np.full(60000, np.nan, np.float32) for axis in "xyz"} | {"intensity": np.zeros(60000)}
    for axis, value in zip("xyz", (2.0, 2.0, 0.5), strict=True):
        values[axis][1 + 16 * np.arange(valid)] = value
    return values


@pytest.mark.parametrize(
    "values, fault",
    [
        ({name: column[:0] for name, column in points().items()}, PayloadFault.EMPTY),
        (scattered(0), PayloadFault.EMPTY),
        ({name: column * 0 for name, column in points().items()}, PayloadFault.EMPTY),
        ({name: column[:9] for name, column in points().items()}, PayloadFault.EMPTY),
        (scattered(9), PayloadFault.EMPTY),
        (scattered(10), PayloadFault.NONE),
        ({name: column[:10] for name, column in points().items()}, PayloadFault.NONE),
    ],
    ids=["no points", "all NaN", "all at origin", "9 points", "9 of 60000", "10 of 60000", "10 points"],
)
def test_clouds_with_too_few_points_are_empty(values, fault):
    batch = decode(raw(cloud(LAYOUTS["packed"], values)))
    assert batch.fault[0] == fault, batch.error
    assert len(batch.rows) == (fault == PayloadFault.NONE) and ("min_points" in batch.error) == (fault == PayloadFault.EMPTY)


@pytest.mark.parametrize("share, metres, fault", [(0.6, 2e4, "OUT_OF_RANGE"), (0.4, 2e4, "NONE"), (0.6, 5e3, "NONE")])
@pytest.mark.parametrize("missing", [0, 3])
def test_a_cloud_of_which_most_points_are_too_far_is_out_of_range(share, metres, fault, missing):
    """missing: of so many points one is NaN, 0 for none; such a point counts neither as far nor as near."""
    values = points(600)
    far = np.arange(600) % 10 < 10 * share
    values["x"][far] = metres
    if missing:
        values["y"][::missing] = np.nan
    assert decode(raw(cloud(LAYOUTS["packed"], values))).fault[0] == PayloadFault[fault]


def test_limit_changes_which_clouds_are_empty():
    few = points(40)
    few["z"] = few["z"] * np.float32(0.01)  # all of them between the model's elevations
    few = raw(cloud(LAYOUTS["packed"], few))
    assert decode(few, min_points=41).fault[0] == PayloadFault.EMPTY
    assert decode(few, min_points=40).fault[0] == PayloadFault.NONE
    assert decode(raw(cloud(LAYOUTS["packed"], points(0))), min_points=0).fault[0] == PayloadFault.NONE


@pytest.mark.parametrize(
    "field, value",
    [("height", 2), ("width", 601), ("width", 2**32 - 1), ("point_step", 0), ("point_step", 17), ("height", 2**32 - 1)],
)
def test_sizes_that_contradict_the_data_are_malformed(field, value):
    message = cloud(LAYOUTS["packed"], points())
    object.__setattr__(message, field, value)
    for item in (message, raw(message)):
        batch = decode(item)
        assert batch.fault[0] == PayloadFault.MALFORMED and "point_step" in batch.error


@pytest.mark.parametrize(
    "field, value, fault",
    [("offset", 13, PayloadFault.MALFORMED), ("datatype", 9, PayloadFault.MALFORMED), ("name", "u", PayloadFault.UNSUPPORTED)],
)
def test_fields_that_cannot_be_read_are_named(field, value, fault):
    message = cloud(LAYOUTS["packed"], points())
    object.__setattr__(message.fields[0], field, value)
    batch = decode(raw(message))
    assert batch.fault[0] == fault and ("x" in batch.error)


def test_fingerprint_depends_on_coordinates_only():
    values, moved = points(), points()
    moved["y"][300] += 1e-3
    make_one = make_decoder("lidar", CLOUD, None)
    messages = [
        cloud(LAYOUTS["packed"], values),
        cloud(LAYOUTS["pcl"], values, stamp_ns=1, frame_id="longer name"),
        cloud(LAYOUTS["packed"], moved),
    ]
    first, second, third = make_one.decode([raw(m) for m in messages]).fingerprint
    assert first == second != third


# -- laser scan -----------------------------------------------------------------------------------------------------


def test_a_scan_gives_its_ranges_around_the_robot():
    spec = ModalitySpec("lidar", "lidar", 0.5, (1, 4, 1, 8))
    ranges = np.arange(1, 9, dtype=np.float32)
    batch = decode(raw(scan(ranges, ranges * 10, angle_min=-np.pi + np.pi / 8)), spec, SCAN, min_points=1)
    assert batch.fault[0] == 0, batch.error
    # Columns run from left (+y) over forward to right; the scan turns from right to left.
    np.testing.assert_allclose(batch.rows[0, 0, 0], ranges[::-1], rtol=1e-6)
    np.testing.assert_allclose(batch.rows[0, 3, 0], ranges[::-1] * 10, rtol=1e-6)
    assert (batch.rows[0, 1] == 0).all() and np.allclose(batch.rows[0, 2], np.log(2))


def test_beams_without_return_are_dropped():
    ranges = np.full(360, 5.0)
    ranges[10:200] = np.inf
    ranges[200:250] = np.nan
    ranges[250:300] = 0.01  # under range_min
    ranges[300:340] = 31.0  # over range_max
    batch = decode(raw(scan(ranges)), SPEC, SCAN)
    assert batch.fault[0] == 0 and round(np.expm1(batch.rows[0, 2]).sum()) == 30


@pytest.mark.parametrize(
    "ranges", [[], np.full(360, np.inf), np.full(360, np.nan), np.zeros(360)], ids=["no beams", "inf", "NaN", "zero"]
)
def test_a_scan_without_returns_is_empty(ranges):
    assert decode(raw(scan(np.append(ranges, [])) if len(ranges) else empty_scan()), SPEC, SCAN).fault[0] == PayloadFault.EMPTY


def empty_scan():
    message = scan(np.ones(4))
    object.__setattr__(message, "ranges", np.empty(0, np.float32))
    return message


@pytest.mark.parametrize(
    "field, value", [("angle_min", np.nan), ("angle_increment", np.inf), ("intensities", np.ones(3, np.float32))]
)
def test_a_scan_that_contradicts_itself_is_malformed(field, value):
    message = scan(np.full(360, 5.0))
    object.__setattr__(message, field, value)
    batch = decode(raw(message), SPEC, SCAN)
    assert batch.fault[0] == PayloadFault.MALFORMED and "angle_min" in batch.error


def test_impossible_options_are_refused_when_the_decoder_is_made():
    bad = ModalitySpec("lidar", "lidar", 0.5, (1, 6, 8, 32))
    with pytest.raises(ParameterError, match="channels"):
        make_decoder("lidar", CLOUD, bad)


def test_relief_of_a_picture_that_does_not_go_around_knows_no_other_side():
    from sentryfuse_ros.preprocessing.lidar import lidar_frame

    spec = ModalitySpec(
        "lidar", "lidar", 1.0, (1, 5, 1, 40), options={"azimuth_fov_deg": 90, "min_elevation_deg": -80, "max_elevation_deg": 80}
    )
    azimuth = np.radians(45 - (np.arange(40) + 0.5) * 90 / 40)
    points = np.stack([2 * np.cos(azimuth), 2 * np.sin(azimuth), -0.5 + 0.02 * np.arange(40)], 1)  # a steady slope
    relief = lidar_frame(points, spec)[4, 0]
    assert np.abs(relief[4:-4]).max() < 1e-5 and np.abs(relief).max() <= 0.04 + 1e-5
