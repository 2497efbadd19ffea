"""Recordings as users have them: which topic is played, what is said, and what becomes of a folder of them.

The recordings are not in the repository. Tests of each kind of trouble with recordings made for it are beside this file:
test_sensor_topics, test_damaged_bags, test_dataset_builder, test_judge, test_replay_odd_recordings, test_ros_domain.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.paths import data_root
from sentryfuse_ros.replay.preparation import prepare, without_types
from sentryfuse_ros.replay.schedule import DeliveryLog, deliveries
from sentryfuse_ros.replay.session import ReplayTask
from sentryfuse_ros.reporting.run_console import print_setup

SENTRYFUSE = Path(sys.prefix) / "bin" / "sentryfuse"
CASES = (data_root() / "cases" / "recordings").absolute()
PARAMETERS = CASES / "params"
AUDIO_TYPE = "audio_common_msgs/msg/AudioData"

pytestmark = pytest.mark.skipif(not CASES.exists(), reason="no cases: set SENTRYFUSE_DATA")


@pytest.mark.parametrize(
    ("recording", "parameters", "topics", "told"),
    [
        ("relative_topics", "imurel.yaml", {"imu": "imu/data"}, ["not played, because fuse_node does not use them: imu/raw"]),
        ("relative_topics", "imu.yaml", {"imu": "imu/data"}, []),
        ("relative_topics", "two.yaml", {"imu": "imu/data"}, ["lidar: not in this bag (its topic /scan is not in the recording"]),
        ("velo_and_scan", "", {"lidar": "/velodyne_points"}, ["fuse_node does not use them: /scan"]),
        ("velo_and_scan", "imu.yaml", None, ["its topic /imu/data is not in the recording"]),
        ("mcap_truncated", "imu.yaml", {"imu": "/imu/data"}, ["breaks off", "477 messages can be read"]),
        ("mcap_truncated_no_metadata", "imu.yaml", {"imu": "/imu/data"}, ["breaks off", "477 messages can be read"]),
        ("stamps_plus_2h", "imu.yaml", {"imu": "/imu/data"}, ["7200.0 s ahead of the clock", "set imu.trust_stamps: false"]),
        ("stamps_zero", "imu.yaml", {"imu": "/imu/data"}, ["all stamps are zero", "set imu.trust_stamps: false"]),
        ("unplayed_topic_at_time_zero", "imu.yaml", {"imu": "/imu/data"}, ["begins with the first message that is played, 1"]),
    ],
)
def test_the_right_topics_are_played_and_what_is_wrong_is_said(recording, parameters, topics, told, capsys):
    task = ReplayTask(CASES / recording, params_file=PARAMETERS / parameters if parameters else None)
    if topics is None:
        with pytest.raises(Exception) as refused:
            prepare(task)
        said = str(refused.value)
    else:
        prepared = prepare(task)
        print_setup(prepared, 0)
        said = "".join(capsys.readouterr())
        assert {name: topic.name for name, topic in prepared.schedule.sensors.items()} == topics
    for words in told:
        assert words in said, said


def test_a_topic_can_be_named_without_its_slash():
    task = ReplayTask(CASES / "relative_topics", params_file=PARAMETERS / "imuraw.yaml", topics={"imu": "/imu/data"})
    assert prepare(task).schedule.sensors["imu"].name == "imu/data"


def test_sound_whose_type_is_not_installed_does_not_stop_the_rest(capsys):
    prepared = without_types(prepare(ReplayTask(CASES / "audio_common")), [AUDIO_TYPE])
    print_setup(prepared, 0)
    assert set(prepared.schedule.sensors) == {"imu"}
    assert f"is not played, because {AUDIO_TYPE} is not installed" in capsys.readouterr().err


def test_messages_of_a_delay_that_come_after_its_end_are_not_sound():
    task = ReplayTask(CASES / "delay_fault_bag", params_file=PARAMETERS / "imu.yaml", faults=PARAMETERS / "f_delay.yaml")
    prepared, log = prepare(task), DeliveryLog()
    (fault,) = prepared.schedule.script.faults
    with prepared.bag as bag:
        sent = list(deliveries(bag, prepared.schedule, log))
    late_s = [t_s for t_s in log.all_s["imu"] if fault.to_s <= t_s < fault.to_s + fault.by_s]
    sound_s = [t_s for t_s in log.sound_s["imu"] if fault.to_s <= t_s < fault.to_s + fault.by_s]
    assert len(sent) == len(log.all_s["imu"]) and len(late_s) > 1.8 * len(sound_s) > 0


def test_a_folder_of_recordings_is_used_as_far_as_it_goes_and_each_is_accounted_for(tmp_path):
    recordings = sorted(path.name for path in CASES.iterdir() if path.is_dir() and path.name != "params")
    labels = tmp_path / "labels.csv"
    rows = []
    for name in recordings:
        with Bag(CASES / name) as bag:
            rows.append(f"{name},{bag.start_ns / NS_PER_S:.9f},{bag.start_ns / NS_PER_S + bag.duration_s:.9f},ground")
    labels.write_text("bag,t_from,t_to,label\n" + "\n".join(rows) + "\n")
    modality = {"name": "imu", "kind": "imu", "window_s": 1.0, "shape": [50, 6]}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"dataset": str(tmp_path / "windows"), "modalities": [modality]}))
    command = [SENTRYFUSE, "dataset", CASES, "--labels", labels, "--config", tmp_path / "recipe.yaml"]
    command += ["--params", PARAMETERS / "imu.yaml", "--out", tmp_path / "windows"]
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for name in ("stamps_plus_2h", "stamps_zero", "velo_and_scan"):
        assert f"left out bag {name}: " in said, said
    refused = [line for line in said.splitlines() if line.startswith("left out bag stamps_")]
    assert len(refused) == 2 and all("set imu.trust_stamps: false" in line for line in refused), said
    for name in ("mcap_truncated", "mcap_truncated_no_metadata"):
        assert f"used bag {name} in part: " in said, said
    table = (tmp_path / "windows" / "windows.csv").read_text()
    used = {line.split(",")[0] for line in table.splitlines()[1:]}
    left_out = {name for name in recordings if f"left out bag {name}: " in said}
    assert used | left_out == set(recordings) and not used & left_out
