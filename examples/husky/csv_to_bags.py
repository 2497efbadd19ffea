"""Turn the CSV files of BorealTC, recordings of a Husky A200, into bags as the robot's own nodes would have recorded them.

    python examples/husky/csv_to_bags.py CSV_FOLDER BAGS_FOLDER [--runs NAME ...] [--seconds S]
    python examples/husky/csv_to_bags.py CSV_FOLDER BAG --join RUN@FROM_S RUN@FROM_S ... --seconds S

CSV_FOLDER is data/borealtc of https://github.com/norlab-ulaval/BorealTC (LaRocque et al., IROS 2024, arXiv 2403.16877; CC0 1.0):

    GROUND/imu_NN.csv   time [s], wx, wy, wz [rad/s], ax, ay, az [m/s^2], at 100 Hz
    GROUND/pro_NN.csv   time [s], curL, curR [A], velL, velR [m/s], at 6.5 Hz

Every run becomes a bag GROUND_NN with three topics, intervals.csv with the label, and run.json with the split. The runs that
folds.csv lists are converted: it divides them into three folds so that a run is in one of them and every ground is in each.
With --join, one bag is made of pieces of several runs, each beginning where the one before it ends.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

NS_PER_S = 1_000_000_000
BEGIN_NS = 1_700_000_000 * NS_PER_S  # the CSV files have no date, so every bag begins at this one
FOLDS = Path(__file__).with_name("folds.csv")
TEST_FOLD = "fold2"
TOPICS = {
    "/imu/data": "sensor_msgs/msg/Imu",
    "/wheel_velocity": "std_msgs/msg/Float32MultiArray",  # left, right [m/s]
    "/motor_current": "std_msgs/msg/Float32MultiArray",  # left, right [A]
}
STORE = get_typestore(Stores.ROS2_HUMBLE)


class Piece(NamedTuple):
    """Seconds ``from_s`` to ``to_s`` of a run."""

    run: str  # GROUND_NN in small letters, such as sandy_loam_03
    from_s: float = 0.0
    to_s: float = float("inf")

    @property
    def label(self) -> str:
        return self.run.rpartition("_")[0]


def read_run(folder: Path, run: str) -> dict[str, np.ndarray]:
    """The two tables of a run, (rows, 1 + columns) with the time first; the columns are named in the files."""
    ground, _, number = run.upper().rpartition("_")
    wanted = {"imu": ("time", "wx", "wy", "wz", "ax", "ay", "az"), "pro": ("time", "velL", "velR", "curL", "curR")}
    tables = {}
    for part, columns in wanted.items():
        with (folder / ground / f"{part}_{number}.csv").open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader)
            places = [header.index(column) for column in columns]
            tables[part] = np.array([[float(row[place]) for place in places] for row in reader])
    return tables


def write_bag(bag: Path, folder: Path, pieces: list[Piece], split: str) -> float:
    """Write the pieces, one after the other, with their labels; returns the length [s]."""
    timed: list[tuple[int, str, Any]] = []
    intervals, begin_s = [], 0.0
    for piece in pieces:
        tables = read_run(folder, piece.run)
        to_s = min(piece.to_s, *(table[-1, 0] for table in tables.values()))
        for part, table in tables.items():
            for row in table[(table[:, 0] >= piece.from_s) & (table[:, 0] < to_s)]:
                time_ns = BEGIN_NS + round((row[0] - piece.from_s + begin_s) * NS_PER_S)
                timed += imu_message(time_ns, row[1:]) if part == "imu" else wheel_messages(time_ns, row[1:])
        end_s = begin_s + to_s - piece.from_s
        intervals.append(f"{BEGIN_NS / NS_PER_S + begin_s:.9f},{BEGIN_NS / NS_PER_S + end_s:.9f},{piece.label}")
        begin_s = end_s
    bag.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(bag, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in TOPICS.items()}
        for time_ns, topic, message in sorted(timed, key=lambda entry: entry[:2]):
            writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, TOPICS[topic]))
    (bag / "intervals.csv").write_text("\n".join(["t_from,t_to,label", *intervals]) + "\n", encoding="utf-8")
    grounds = ", then ".join(dict.fromkeys(piece.label.replace("_", " ") for piece in pieces))
    description = {
        "split": split,
        "text": f"A Husky A200 drives over {grounds}. It is a real recording of the data set BorealTC.",
    }
    (bag / "run.json").write_text(json.dumps(description) + "\n", encoding="utf-8")
    return begin_s


def new(kind: str, *values: Any) -> Any:
    return STORE.types[kind](*values)


def imu_message(time_ns: int, row: np.ndarray) -> list[tuple[int, str, Any]]:
    """A row (6,): gyro xyz, accel xyz. There is no orientation; REP 145 marks this by -1 in its covariance."""
    stamp = new("builtin_interfaces/msg/Time", *divmod(time_ns, NS_PER_S))
    unknown, no_orientation = np.zeros(9), np.array([-1.0, *np.zeros(8)])
    message = new(
        TOPICS["/imu/data"],
        new("std_msgs/msg/Header", stamp, "imu_link"),
        new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0),
        no_orientation,
        new("geometry_msgs/msg/Vector3", *map(float, row[:3])),
        unknown,
        new("geometry_msgs/msg/Vector3", *map(float, row[3:])),
        unknown,
    )
    return [(time_ns, "/imu/data", message)]


def wheel_messages(time_ns: int, row: np.ndarray) -> list[tuple[int, str, Any]]:
    """A row (4,): velocity left, right [m/s], current left, right [A]."""
    layout = new("std_msgs/msg/MultiArrayLayout", [new("std_msgs/msg/MultiArrayDimension", "side", 2, 2)], 0)
    return [
        (time_ns, topic, new(TOPICS[topic], layout, values.astype(np.float32)))
        for topic, values in (("/wheel_velocity", row[:2]), ("/motor_current", row[2:]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv_folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="convert only these runs, e.g. snow_03")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S", help="at most the first so many of a run")
    parser.add_argument("--join", nargs="+", metavar="RUN@FROM_S", help="make one bag of these pieces, --seconds long each")
    args = parser.parse_args()
    if args.join:
        begins = [text.partition("@") for text in args.join]
        pieces = [Piece(run, float(at or 0), float(at or 0) + args.seconds) for run, _, at in begins]
        print(f"{args.out}: {write_bag(args.out, args.csv_folder, pieces, 'test'):.1f} s")
        return
    with FOLDS.open(newline="", encoding="utf-8") as file:
        folds = {row["bag"]: row["fold"] for row in csv.DictReader(file)}
    runs, total_s = args.runs or list(folds), 0.0
    for run in runs:
        split = "test" if folds[run] == TEST_FOLD else "train"
        total_s += write_bag(args.out / run, args.csv_folder, [Piece(run, to_s=args.seconds)], split)
    print(f"{args.out}: {len(runs)} bags, {total_s / 60:.1f} min")


if __name__ == "__main__":
    main()
