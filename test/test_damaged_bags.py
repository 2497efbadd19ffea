"""Recordings that a crash, a copy or an old recorder left: what can be read is read, and what is lost is said."""

import io
import random
import shutil
import sqlite3
import struct
import zlib

import numpy as np
import pytest
import yaml
from bag_maker import T0, write_bag
from cdr_messages import STORE, image, imu, raw
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.compression import ZSTD_MODULES, decompress_start, decompress_zstd, unpack_start
from sentryfuse_ros.bags.find import bag_name, find_bags
from sentryfuse_ros.bags.mcap_scan import McapScan
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import data_root

CASES = data_root() / "cases" / "recordings"
SECONDS = 30.0  # long enough for several chunks of an mcap file
MESSAGES = 2100


@pytest.fixture(scope="module", params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "db3"])
def whole(request, tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "run", SECONDS, request.param)


def copied(bag, folder, keep=1.0, metadata=True):
    """A copy of a bag, cut off behind a share of its file."""
    folder.mkdir(parents=True)
    for file in bag.iterdir():
        data = file.read_bytes()
        if file.suffix != ".yaml":
            (folder / file.name).write_bytes(data[: int(len(data) * keep)])
        elif metadata:
            (folder / file.name).write_bytes(data)
    return folder


def content(bag):
    return list(bag.messages(list(bag.topics)))


def rows_of(path):
    with Bag(path) as bag:
        return content(bag)


@pytest.mark.parametrize("metadata", [True, False])
def test_a_recording_that_breaks_off_is_read_as_far_as_it_goes(whole, tmp_path, metadata):
    with Bag(copied(whole, tmp_path / "cut", 0.6, metadata)) as bag:
        found = content(bag)
        lost = bag.damage
        assert f"{sum(t.count for t in bag.topics.values())} messages can be read" in lost
        assert bag.duration_s == pytest.approx((found[-1][1] - T0) / NS, abs=1e-6)
    assert 0.4 * MESSAGES < len(found) < 0.8 * MESSAGES and ("announces 2101" in lost) == metadata
    assert found == rows_of(whole)[: len(found)], "the messages are those of the whole recording, in order"


@pytest.mark.skipif(not CASES.exists(), reason="no cases: set SENTRYFUSE_DATA")
@pytest.mark.parametrize("name", ["mcap_truncated", "mcap_truncated_no_metadata"])
def test_the_commonest_damaged_recording(name):
    with Bag(CASES / name) as bag:
        assert len(content(bag)) == 477 and "breaks off" in bag.damage


def test_a_recording_without_metadata_is_read_by_its_content(whole, tmp_path):
    folder = copied(whole, tmp_path / "bare", metadata=False)
    (file,) = folder.iterdir()
    expected = rows_of(whole)
    with Bag(folder) as of_folder, Bag(file) as of_file:
        assert content(of_folder) == content(of_file) == expected
        assert (of_folder.name, of_file.name) == ("bare", "run") and not of_folder.damage and not of_file.damage


@pytest.mark.parametrize("change", [{"storage_identifier": ""}, {"version": 99}, {"topics_with_message_count": None}])
def test_odd_metadata_does_not_matter(whole, tmp_path, change):
    folder = copied(whole, tmp_path / "odd")
    tree = yaml.safe_load((folder / "metadata.yaml").read_text())
    tree["rosbag2_bagfile_information"].update(change)
    (folder / "metadata.yaml").write_text(yaml.safe_dump(tree))
    with Bag(folder) as bag:
        assert content(bag) == rows_of(whole) and not bag.damage


def test_unreadable_metadata_does_not_matter(whole, tmp_path):
    folder = copied(whole, tmp_path / "odd")
    (folder / "metadata.yaml").write_bytes(b"")
    assert rows_of(folder) == rows_of(whole)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "db3"])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
@pytest.mark.parametrize("metadata", [True, False])
def test_compressed_recordings_are_unpacked(tmp_path, storage, mode, metadata):
    if (storage, mode) in ((StoragePlugin.SQLITE3, CompressionMode.STORAGE),):
        pytest.skip("sqlite3 has no compression of its own")
    made = Writer(tmp_path / "run", version=9, storage_plugin=storage)
    made.set_compression(mode, CompressionFormat.ZSTD)
    with made as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        sent = [raw(imu((0.1 * i, 0, 0), (0, 0, 9.8), stamp_ns=T0 + i)) for i in range(50)]
        for i, message in enumerate(sent):
            writer.write(motion, T0 + i, message)
    if not metadata:
        (tmp_path / "run" / "metadata.yaml").unlink()
    with Bag(tmp_path / "run") as bag:
        assert [message for _, _, message in content(bag)] == sent and not bag.damage


def test_a_zstd_file_that_breaks_off(tmp_path):
    made = Writer(tmp_path / "run", version=9, storage_plugin=StoragePlugin.MCAP)
    made.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with made as writer:
        motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
        for i in range(5000):
            writer.write(motion, T0 + i, raw(imu((0.1 * i, 0, 0), (0, i, 9.8), stamp_ns=T0 + i)))
    (file,) = (tmp_path / "run").glob("*.zstd")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with Bag(tmp_path / "run") as bag:
        assert 1000 < len(content(bag)) < 5000 and "breaks off" in bag.damage


def test_a_split_recording_is_one(tmp_path):
    whole = write_bag(tmp_path / "a", 2.0)
    folder = tmp_path / "split"
    folder.mkdir()
    for number in (0, 1):
        with Writer(tmp_path / f"w{number}", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
            for i in range(10):
                writer.write(motion, T0 + (10 * number + i) * NS, raw(imu(stamp_ns=T0)))
        shutil.copy(tmp_path / f"w{number}" / f"w{number}.mcap", folder / f"drive_{number}.mcap")
    with Bag(folder) as bag:
        assert [t for _, t, _ in content(bag)] == [T0 + i * NS for i in range(20)] and bag.topics["/imu/raw"].count == 20
    (folder / "drive_1.mcap").write_bytes(b"")  # the recorder crashed before it wrote anything
    with Bag(folder) as bag:
        assert len(content(bag)) == 10 and "drive_1.mcap" in bag.damage and "empty" in bag.damage
    shutil.copy(next(whole.glob("*.mcap")), folder / "other.mcap")
    with pytest.raises(BagError, match="several recordings: drive, other"):
        Bag(folder)
    assert [path.name for path in find_bags([folder])] == ["drive_0.mcap", "drive_1.mcap", "other.mcap"]


def numbered(folder, names, step_ns=NS):
    """Files of ten IMU messages each, one a second; each file begins ten steps after the one before."""
    folder.mkdir()
    for number, name in enumerate(names):
        made = folder.parent / f"made_{name}"
        with Writer(made, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            motion = writer.add_connection("/imu/raw", "sensor_msgs/msg/Imu", typestore=STORE)
            for i in range(10):
                writer.write(motion, T0 + 10 * number * step_ns + i * NS, raw(imu(stamp_ns=T0)))
        shutil.copy(made / f"made_{name}.mcap", folder / f"{name}.mcap")
    return folder


def test_pieces_that_overlap_in_time_are_read_in_order_of_time(tmp_path):
    with Bag(numbered(tmp_path / "split", ("drive_0", "drive_1", "drive_2"), step_ns=NS * 8 // 10)) as bag:
        times = [time_ns for _, time_ns, _ in content(bag)]
    assert len(times) == 30 and times == sorted(times)


@pytest.mark.parametrize(
    "names",
    [("drive_1", "drive_2"), ("drive_01", "drive_02"), ("drive_00", "drive_01"), ("drive", "drive_2"), ("1", "2")],
    ids=" ".join,
)
def test_recordings_that_somebody_numbered_are_not_pieces_of_one(tmp_path, names):
    found = find_bags([numbered(tmp_path / "day", names)])
    assert tuple(map(bag_name, found)) == names
    for path in found:
        with Bag(path) as bag:
            assert len(content(bag)) == 10


def test_a_file_that_metadata_does_not_name_is_a_recording_of_its_own(tmp_path):
    """As `mcap recover` leaves it beside the damaged one."""
    whole = write_bag(tmp_path / "run", 2.0)
    shutil.copy(next(write_bag(tmp_path / "other", 1.0).glob("*.mcap")), whole / "recovered.mcap")
    for path, name, count in ((whole, "run", 141), (whole / "run.mcap", "run", 141), (whole / "recovered.mcap", "recovered", 71)):
        (found,) = find_bags([path])
        with Bag(path) as bag:
            assert (bag_name(found), bag.name, len(content(bag)), bag.damage) == (name, name, count, "")
    (whole / "run.mcap").rename(whole / "renamed.mcap")
    (whole / "recovered.mcap").unlink()
    with Bag(whole / "renamed.mcap") as bag:
        assert (bag.name, len(content(bag))) == ("run", 141)


def test_messages_in_the_log_of_a_crashed_recorder_are_read(tmp_path):
    whole = write_bag(tmp_path / "run", 2.0, StoragePlugin.SQLITE3)
    (file,) = whole.glob("*.db3")
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    row = database.execute("SELECT topic_id, data FROM messages LIMIT 1").fetchone()
    database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", [(row[0], T0 + 9 * NS, row[1])] * 5)
    database.commit()
    crashed = copied(whole, tmp_path / "crashed")  # as the crash would leave it: the log is not yet part of the file
    database.close()
    with Bag(crashed) as bag:
        assert len(content(bag)) == 141 + 5 and not bag.damage
    assert list(crashed.glob("*-wal")), "the recording itself is not changed"


def test_a_damaged_chunk_is_left_out_and_the_rest_is_read(tmp_path):
    whole = write_bag(tmp_path / "run", SECONDS)
    (file,) = whole.glob("*.mcap")
    expected, data = rows_of(whole), bytearray(file.read_bytes())
    chunk = data.index(b"\x06", 40)
    # The writer leaves out checksums; a compressed chunk with one is what the recorder of ROS 2 writes.
    content_at = chunk + 9 + 32 + 8
    size = int.from_bytes(data[chunk + 9 + 16 : chunk + 9 + 24], "little")
    data[chunk + 9 + 24 : chunk + 9 + 28] = (zlib.crc32(data[content_at : content_at + size]) ^ 1).to_bytes(4, "little")
    file.write_bytes(data)
    with Bag(whole) as bag:
        found = content(bag)
        assert 0 < len(found) < len(expected) and "1 chunks that cannot be unpacked" in bag.damage
    assert found == expected[-len(found) :]


@pytest.fixture
def with_damaged_records(tmp_path):
    """A recording whose first chunk has no checksum and breaks off at its first record, and the messages of the other chunks."""
    whole = write_bag(tmp_path / "run", SECONDS)
    (file,) = whole.glob("*.mcap")
    expected, data = rows_of(whole), bytearray(file.read_bytes())
    chunk = data.index(b"\x06", 40)
    assert data[chunk + 9 + 28 : chunk + 9 + 32] == bytes(4), "not compressed"
    records_at = chunk + 9 + 40
    data[records_at + 1 : records_at + 9] = b"\xff" * 8
    file.write_bytes(data)
    return whole, expected


def test_records_that_are_damaged_within_a_chunk_are_told(with_damaged_records):
    damaged, expected = with_damaged_records
    with Bag(damaged) as bag:
        found = content(bag)
        assert 0 < len(found) < len(expected) and "1 chunks with damaged records" in bag.damage
    assert found == expected[-len(found) :]


def test_messages_that_the_index_names_and_that_do_not_come_are_told(tmp_path):
    """A record whose opcode is damaged hides the message, and the reader with an index does not notice."""
    (file,) = write_bag(tmp_path / "run", SECONDS).glob("*.mcap")
    data = bytearray(file.read_bytes())
    chunk = data.index(b"\x06", 40)
    first = chunk + 9 + 40  # the first record of the chunk
    while data[first] != 0x05:
        first += 9 + int.from_bytes(data[first + 1 : first + 9], "little")
    data[first] = 0x7F
    file.write_bytes(data)
    with Bag(file) as bag:
        assert not bag.damage and sum(topic.count for topic in bag.topics.values()) == MESSAGES + 1
        found = len(content(bag))
        assert found < MESSAGES + 1 and f"{MESSAGES + 1 - found} messages in the index of run.mcap are not there" in bag.damage


def test_a_damaged_recording_gives_the_same_messages_again(with_damaged_records):
    """The first reading finds the damage, and the second one reads the labels or the windows of the same recording."""
    with Bag(with_damaged_records[0]) as bag:
        first = content(bag)
        assert first and content(bag) == first == content(bag)


def test_zeros_behind_the_last_record_are_not_read_as_records(tmp_path):
    """A disk that lost its power may leave any number of them."""
    file = next(write_bag(tmp_path / "run", SECONDS).glob("*.mcap"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 6 // 10] + bytes(4 * len(data)))
    scan = McapScan(file, file.name)
    try:
        read = sum(connection.msgcount for connection in scan.connections)
        assert 0.5 * MESSAGES < read < MESSAGES and "breaks off" in scan.damage
        assert scan._file.tell() < len(data)
    finally:
        scan.close()


def test_ros_1_is_refused_by_name_with_the_command_that_converts_it(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=store)
        text = store.serialize_ros1(store.types["std_msgs/msg/String"]("hello"), "std_msgs/msg/String")
        writer.write(connection, T0, text)
    with pytest.raises(BagError, match=r"ROS 1 recording.*rosbags-convert --src .*old.bag --dst .*old"):
        Bag(tmp_path / "old.bag")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n" + b"\xff" * 400, b"SQLite format 3\0" * 400])
@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".db3.zstd"])
def test_files_without_a_message_are_refused_with_a_reason(tmp_path, data, suffix):
    (tmp_path / f"x{suffix}").write_bytes(data)
    with pytest.raises(BagError, match="x"):
        Bag(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_ends_in_another_error(whole, tmp_path, seed):
    """Whatever bytes are wrong: messages come, or a BagError."""
    rng = random.Random(seed)
    folder = copied(whole, tmp_path / "bad", rng.uniform(0.2, 1.0), metadata=bool(seed % 2))
    file = next(path for path in folder.iterdir() if path.suffix != ".yaml")
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 5, 50])):
        at = rng.randrange(len(data))
        data[at : at + 8] = rng.randbytes(8)
    file.write_bytes(data)
    try:
        found = rows_of(folder)
    except BagError:
        return
    assert all(isinstance(message, bytes) for _, _, message in found)


def test_old_type_names_are_read(tmp_path):
    database = write_bag(tmp_path / "old", 1.0, StoragePlugin.SQLITE3)
    connection = sqlite3.connect(next(database.glob("*.db3")))
    connection.execute("UPDATE topics SET type = replace(type, '/msg/', '/')")
    connection.commit()
    connection.close()
    with Bag(database) as bag:
        assert bag.topics["/imu/raw"].msg_type == "sensor_msgs/msg/Imu" and len(content(bag)) == 71


def test_a_folder_of_recordings_is_searched(tmp_path):
    (tmp_path / "day").mkdir()
    write_bag(tmp_path / "day" / "a", 1.0)
    loose = write_bag(tmp_path / "day" / "b", 1.0)
    (loose / "metadata.yaml").unlink()
    (tmp_path / "day" / "more").mkdir()
    (tmp_path / "day" / "more" / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "day" / "notes").mkdir()
    (tmp_path / "empty").mkdir()
    names = [bag_name(path) for path in find_bags([tmp_path / "day", tmp_path / "empty", tmp_path / "absent"])]
    assert names == ["a", "b", "more", "empty", "absent"]


def test_a_recording_to_which_a_link_leads_is_found_once(tmp_path):
    bags = [write_bag(tmp_path / "drives" / name, 1.0) for name in ("run1", "run2")]
    (tmp_path / "drives" / "latest").symlink_to("run2")
    (tmp_path / "drives" / "all").symlink_to(".")
    assert find_bags([tmp_path / "drives"]) == bags
    (tmp_path / "link").symlink_to("drives/run1")
    assert find_bags([tmp_path / "link", tmp_path / "drives"]) == bags


@pytest.mark.parametrize("library", ZSTD_MODULES)
def test_every_library_for_zstd_unpacks_whole_and_cut_data(library, monkeypatch):
    module = pytest.importorskip(library)
    monkeypatch.setattr("sentryfuse_ros.bags.compression.ZSTD_MODULES", (library,))
    data = bytes(range(256)) * 4000 + random.Random(0).randbytes(300_000)
    packed = module.compress(data) if hasattr(module, "compress") else module.ZstdCompressor().compress(data)
    assert decompress_zstd(packed) == data == decompress_start(packed, "zstd")
    cut = decompress_start(packed[:-100_000], "zstd")
    assert 0 < len(cut) < len(data) and data.startswith(cut)
    for bad in (packed[:-100_000], b"\x28\xb5\x2f\xfd", b"hello"):
        with pytest.raises(ValueError):
            decompress_zstd(bad)
    with pytest.raises(ValueError, match="not known"):
        decompress_start(packed, "bzip2")
    unpacked = io.BytesIO()
    unpack_start(io.BytesIO(packed + packed + bytes(10)), unpacked)  # pzstd writes several frames; zeros are left by a lost power
    assert unpacked.getvalue() == data + data


def test_chunks_in_lz4(tmp_path):
    """As Foxglove writes them: the compression of a chunk is named in its head."""
    lz4 = pytest.importorskip("lz4.frame")
    data = random.Random(0).randbytes(300_000) + bytes(300_000)
    packed = lz4.compress(data)
    assert decompress_start(packed, "lz4") == data
    cut = decompress_start(packed[:-80_000], "lz4")
    assert 0 < len(cut) < len(data) and data.startswith(cut)


def record(opcode, content):
    return bytes([opcode]) + struct.pack("<Q", len(content)) + content


def prefixed(text):
    data = text.encode()
    return struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "db3"])
@pytest.mark.parametrize("metadata", [True, False])
def test_topics_that_are_not_of_ros_are_left_out(tmp_path, storage, metadata):
    """Other programs write their messages into the same file, in an encoding of their own."""
    with Writer(tmp_path / "run", version=9, storage_plugin=storage) as writer:
        motion = writer.add_connection("/imu", "sensor_msgs/msg/Imu", typestore=STORE)
        other = writer.add_connection("/status", "sensor_msgs/msg/Imu", typestore=STORE, serialization_format="json")
        for i in range(10):
            writer.write(motion, T0 + i, raw(imu(stamp_ns=T0 + i)))
            writer.write(other, T0 + i, b"{}")
    if not metadata:
        (tmp_path / "run" / "metadata.yaml").unlink()
    with Bag(tmp_path / "run") as bag:
        assert list(bag.topics) == ["/imu"] and len(content(bag)) == 10 and not bag.damage


def definition(key, topic, msg_type):
    """The records of a schema and of its channel."""
    text, _ = STORE.generate_msgdef(msg_type)
    schema = struct.pack("<H", key) + prefixed(msg_type) + prefixed("ros2msg") + prefixed(text)
    return record(0x03, schema) + record(0x04, struct.pack("<HH", key, key) + prefixed(topic) + prefixed("cdr") + prefixed(""))


def test_a_topic_that_begins_after_a_large_message_outside_chunks(tmp_path):
    """As the storage preset fastwrite leaves it after a crash: a topic is defined right before its first message."""
    picture = raw(image(np.zeros((700, 700, 3), np.uint8), "rgb8", stamp_ns=T0))
    motion = [raw(imu(stamp_ns=T0 + i)) for i in range(5)]
    parts = [b"\x89MCAP0\r\n", record(0x01, prefixed("ros2") + prefixed("")), definition(1, "/camera", "sensor_msgs/msg/Image")]
    parts.append(record(0x05, struct.pack("<HIQQ", 1, 0, T0, T0) + picture))
    parts.append(definition(2, "/imu", "sensor_msgs/msg/Imu"))
    parts += [record(0x05, struct.pack("<HIQQ", 2, 0, T0 + i, T0 + i) + message) for i, message in enumerate(motion)]
    (tmp_path / "fast.mcap").write_bytes(b"".join(parts))
    with Bag(tmp_path / "fast.mcap") as bag:
        assert {t.name: (t.msg_type, t.count) for t in bag.topics.values()} == {
            "/camera": ("sensor_msgs/msg/Image", 1),
            "/imu": ("sensor_msgs/msg/Imu", 5),
        }
        assert [message for topic, _, message in content(bag) if topic == "/imu"] == motion


def test_an_mcap_file_of_another_recorder_is_read_in_order_of_time(tmp_path):
    """No chunks, no index, no profile, messages out of order, and a channel that is not of ROS."""
    with Bag(write_bag(tmp_path / "run", 30.0)) as bag:
        rows, connections = content(bag), bag.connections
    number = {c.topic: i for i, c in enumerate(connections, 1)}
    parts = [b"\x89MCAP0\r\n", record(0x01, prefixed("") + prefixed("another recorder"))]
    for connection in connections:
        key = number[connection.topic]
        definition = prefixed(connection.msgtype) + prefixed("ros2msg") + prefixed(connection.msgdef.data)
        parts.append(record(0x03, struct.pack("<H", key) + definition))
        parts.append(record(0x04, struct.pack("<HH", key, key) + prefixed(connection.topic) + prefixed("cdr") + prefixed("")))
    parts.append(record(0x04, struct.pack("<HH", 90, 0) + prefixed("/json") + prefixed("json") + prefixed("")))
    messages = [record(0x05, struct.pack("<HIQQ", number[topic], 0, time, time) + raw) for topic, time, raw in rows]
    messages.append(record(0x05, struct.pack("<HIQQ", 90, 0, T0, T0) + b"{}"))
    random.Random(1).shuffle(messages)
    end = record(0x0F, struct.pack("<I", 0)) + record(0x02, struct.pack("<QQI", 0, 0, 0)) + b"\x89MCAP0\r\n"
    file = tmp_path / "other.mcap"
    file.write_bytes(b"".join([*parts, *messages, end]))
    with Bag(file) as bag:
        found = content(bag)
        assert not bag.damage and "/json" not in bag.topics and bag.topics["/imu/raw"].count == 1500
    assert [time for _, time, _ in found] == [time for _, time, _ in rows] and sorted(found) == sorted(rows)
    file.write_bytes(b"".join([*parts, *messages[:1000], messages[1000][:20]]))
    with Bag(file) as bag:
        assert len(content(bag)) in (999, 1000) and "breaks off" in bag.damage
