"""Labels from topics and from intervals files, and the truth of a recorded run."""

import numpy as np
import pytest
from bag_maker import T0, write_bag, write_topic_bag
from cdr_messages import STORE, raw
from rosbags.rosbag2 import StoragePlugin, Writer
from run_record_maker import CLASSES

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import read_intervals, read_labels, read_topic, write_intervals
from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import BagError, DataError
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.replay.preparation import read_truth


@pytest.mark.parametrize(
    "text, word",
    [
        ("from,to,label\n", "t_from,t_to,label"),
        ("t_from,t_to,label\n1,x,sand\n", "line 2"),
        ("t_from,t_to,label\n2,1,sand\n", "line 2"),
        ("t_from,t_to,label\n1,2,\n", "line 2"),
        ("t_from,t_to,label\n1,3,sand\n2,4,wood\n", "overlap"),
        ("t_from,t_to,label\n1,nan,sand\n", "line 2"),
        ("t_from,t_to,label,bag\n0,1,sand,a\n1,2,wood\n", "line 3: saw no bag"),
        ("t_from,t_to,label,bag\n0,1,sand,a\n1,2,wood,\n", "line 3: saw no bag"),
        ("", "t_from"),
    ],
)
def test_invalid_intervals_are_named(tmp_path, text, word):
    (tmp_path / "i.csv").write_text(text)
    with pytest.raises(DataError, match=word):
        read_intervals(tmp_path / "i.csv")


def test_intervals_are_read_as_they_were_written(tmp_path):
    labels = Labels.of([(T0, T0 + NS, 'wet, "shiny" asphalt'), (T0 + NS, T0 + 3 * NS, "sand")])
    write_intervals(tmp_path / "intervals.csv", labels)
    read = read_intervals(tmp_path / "intervals.csv")
    assert [i.label for i in read.intervals] == [i.label for i in labels.intervals]
    # Seconds since 1970 in a double are exact to a fraction of a microsecond.
    assert all(abs(a - b) < 1000 for old, new in zip(labels.intervals, read.intervals) for a, b in zip(old[:2], new[:2]))


def test_one_table_for_many_bags(tmp_path):
    (tmp_path / "all.csv").write_text("bag,t_from,t_to,label\nb,3,4,wood\na,0,1,sand\na,1,2,wood\n")
    assert read_intervals(tmp_path / "all.csv", "a").names() == ("sand", "wood")
    assert [i.from_ns for i in read_intervals(tmp_path / "all.csv", "b").intervals] == [3 * NS]


def test_spaces_beside_the_commas_do_not_matter(tmp_path):
    (tmp_path / "all.csv").write_text("bag, t_from, t_to, label\na , 0, 1, sand\nb, 3, 4, wood \n")
    assert read_intervals(tmp_path / "all.csv", "a").seconds() == [(0.0, 1.0, "sand")]
    assert read_intervals(tmp_path / "all.csv", "b").seconds() == [(3.0, 4.0, "wood")]


def test_the_slash_of_a_label_topic_may_be_left_out(tmp_path):
    with Bag(write_topic_bag(tmp_path / "b")) as bag:
        assert read_labels(bag, "ground") == read_labels(bag, "/ground") == read_topic(bag, "/ground")
        with pytest.raises(DataError, match="intervals file grund: saw No such file"):
            read_labels(bag, "grund")


def test_labels_from_topics_hold_until_the_next_message_also_of_own_types(tmp_path):
    with Bag(write_topic_bag(tmp_path / "b")) as bag:
        text, own = read_topic(bag, "/ground"), read_topic(bag, "/surface")
        assert text.covering(T0 + NS, T0 + int(1.9 * NS)) == ("sand",)
        assert text.covering(T0 + int(2.2 * NS), T0 + int(3.9 * NS)) == ("wood",)
        assert text.covering(T0 + NS, T0 + 3 * NS) == ("sand", "wood") and text.covering(T0, T0 + NS) == ()
        assert own.intervals[0].from_ns == text.intervals[0].from_ns - NS // 10  # by its own stamp, not by its time in the bag
        with pytest.raises(BagError, match="/imu/raw.*Imu"):
            read_topic(bag, "/imu/raw")
        with pytest.raises(BagError, match="/nothing.*/ground"):
            read_topic(bag, "/nothing")


def test_of_two_labels_at_one_time_the_later_counts(tmp_path):
    text = "std_msgs/msg/String"
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        ground = writer.add_connection("/ground", text, typestore=STORE)
        for time_s, label in ((0, "sand"), (5, "wood"), (5, "sand"), (10, "sand")):
            writer.write(ground, T0 + time_s * NS, raw(STORE.types[text](label)))
    with Bag(tmp_path / "b") as bag:
        labels = read_topic(bag, "/ground")
    assert labels.names() == labels.covering(T0 + 4 * NS, T0 + 6 * NS) == ("sand",)
    assert labels.seconds_since_change(T0 + 7 * NS) is None


def test_a_table_without_rows_of_this_bag_is_refused(tmp_path):
    (tmp_path / "all.csv").write_text("bag,t_from,t_to,label\nother,0,1,sand\n")
    with pytest.raises(DataError, match="rows of other only.*rows of bag mine"):
        read_intervals(tmp_path / "all.csv", "mine")


def test_file_and_topic_give_the_same_labels(simulated, tmp_path):
    with Bag(simulated) as bag:
        of_file = read_truth(bag, None, bag.start_ns)  # intervals.csv beside the bag
        of_topic = read_truth(bag, "/ground_truth/ground", bag.start_ns)
        for t in np.arange(0.3, 2.9, 0.1):
            assert of_file.at_s(t) == of_topic.at_s(t - 0.01) or of_file.at_s(t) != of_file.at_s(t - 0.2)
        assert of_file.at_s(1.0) in CLASSES and len(of_topic.intervals) < 5
    with Bag(write_bag(tmp_path / "unlabelled", 0.5)) as bag:
        assert read_truth(bag, None, bag.start_ns) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--truth", "/no/such.csv"], ["/no/such.csv", "No such file"]),
        (["--truth", "WRONG"], ["t_from,t_to,label"]),
    ],
)
def test_truth_that_cannot_be_read_is_one_clear_line(simulated, tmp_path, capsys, arguments, words):
    (tmp_path / "wrong.csv").write_text("from,to,what\n1,2,sand\n")
    assert main(["replay", str(simulated), *[str(tmp_path / "wrong.csv") if a == "WRONG" else a for a in arguments]]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words), err
