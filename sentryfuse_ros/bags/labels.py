"""Which label holds when in a recording: from a topic of the bag, or from a table of intervals."""

from __future__ import annotations

import csv
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..errors import BagError, DataError
from ..nanoseconds import NS_PER_S
from .bag import Bag

FIELDS = ("data", "label", "name", "class_name")  # of a label message, the first that it has
COLUMNS = ("t_from", "t_to", "label")


@dataclass(frozen=True)
class Labels:
    """Intervals [from_ns, to_ns) with a label, in order; what lies between them has none."""

    from_ns: tuple[int, ...]
    to_ns: tuple[int, ...]
    label: tuple[str, ...]

    def over(self, begin_ns: int, end_ns: int) -> str | None:
        """The label that holds all the time from begin to end, "" where it changes, None where a part has none."""
        first = bisect_right(self.from_ns, begin_ns) - 1
        if first < 0:
            return None
        found, reached = self.label[first], self.to_ns[first]
        if reached <= begin_ns:
            return None
        changed = False
        while reached < end_ns:
            first += 1
            if first == len(self.label) or self.from_ns[first] > reached:
                return None
            changed |= self.label[first] != found
            reached = self.to_ns[first]
        return "" if changed else found


def read_intervals(path: Path, bag_name: str = "") -> Labels:
    """From a CSV with t_from, t_to [s, on the clock of the stamps] and label; with a column ``bag`` only the rows of
    ``bag_name``. Raises DataError naming file and line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames is None or not set(COLUMNS) <= set(reader.fieldnames):
                raise DataError(
                    f"intervals file {path}", f"columns {reader.fieldnames}", ",".join(COLUMNS), "begin the file with that line"
                )
            rows, others = [], set()
            for line, row in enumerate(reader, 2):
                if row.get("bag") is not None and bag_name and row["bag"] != bag_name:
                    others.add(row["bag"])
                    continue
                try:
                    begin, end = (round(float(row[name]) * NS_PER_S) for name in ("t_from", "t_to"))
                except (TypeError, ValueError, OverflowError) as error:
                    raise DataError(
                        f"intervals file {path} line {line}",
                        f"{row['t_from']!r}, {row['t_to']!r}",
                        "two numbers of seconds",
                        "correct the line",
                    ) from error
                if not begin < end or not (row["label"] or "").strip():
                    raise DataError(
                        f"intervals file {path} line {line}",
                        f"{row['t_from']} to {row['t_to']} {row['label']!r}",
                        "t_from < t_to and a label",
                        "correct the line",
                    )
                rows.append((begin, end, row["label"].strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"intervals file {path}", str(error), "a readable CSV file") from error
    if not rows and others:
        raise DataError(
            f"intervals file {path}",
            f"rows of {', '.join(sorted(others)[:3])} only",
            f"rows of bag {bag_name}",
            "the column bag holds the names of the bags' folders",
        )
    rows.sort()
    for (_, end, label), (begin, _, other) in zip(rows, rows[1:], strict=False):
        # Written with a nanosecond's rounding, neighbours may overlap by that much.
        if begin < end - 1000:
            raise DataError(
                f"intervals file {path}",
                f"{label!r} and {other!r} overlap at {begin / NS_PER_S:.3f} s",
                "one label at a time",
                "correct the intervals",
            )
    return Labels(*(tuple(column) for column in zip(*rows, strict=True))) if rows else Labels((), (), ())


def read_topic(bag: Bag, topic: str) -> Labels:
    """From a topic: a message's label holds from its stamp (its time in the bag, where it has none) until the next.

    Reads std_msgs/String and any message with a field data, label, name or class_name that is text or a whole number;
    types of your own by the definition that the bag carries. Raises BagError where the topic is not there or not such.
    """
    connection = next((c for c in bag.connections if c.topic == topic), None)
    if connection is None:
        raise BagError(
            f"label topic {topic} in {bag.path}", "not in the bag", "one of " + ", ".join(sorted(bag.topics)), "correct --labels"
        )
    store = typestore(connection)
    stamps, labels = [], []
    for _, time_ns, raw in bag.messages([topic]):
        try:
            message = store.deserialize_cdr(raw, connection.msgtype)
        except Exception as error:  # the deserialiser raises many kinds; all mean: garbage
            raise BagError(
                f"label topic {topic} in {bag.path}",
                f"a message at {(time_ns - bag.start_ns) / NS_PER_S:.3f} s that is no {connection.msgtype}: {error}",
                "undamaged messages",
                "give an intervals file instead",
            ) from error
        stamps.append(_stamp_ns(message) or time_ns)
        labels.append(_text(message, topic, connection.msgtype))
    order = sorted(range(len(stamps)), key=stamps.__getitem__)
    stamps, labels = [stamps[i] for i in order], [labels[i] for i in order]
    end_ns = bag.start_ns + round(bag.duration_s * NS_PER_S) + 1
    ends = [*stamps[1:], max(end_ns, stamps[-1] + 1)] if stamps else []
    # An empty text says: nothing from now on.
    kept = [row for row in zip(stamps, ends, labels, strict=True) if row[2]]
    return Labels(*(tuple(column) for column in zip(*kept, strict=True))) if kept else Labels((), (), ())


def typestore(connection: ConnectionExtRosbag2) -> Typestore:
    """Types to read a connection's messages by: the usual ones and the definition in the bag. Raises BagError."""
    store = get_typestore(Stores.ROS2_JAZZY)
    if connection.msgtype not in store.fielddefs:
        try:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        except Exception as error:  # the parser raises many kinds; all mean: cannot be read
            raise BagError(
                f"topic {connection.topic}",
                f"type {connection.msgtype} without a usable definition",
                "a known type, or an mcap bag that carries the definition",
                "record to mcap, or use another topic",
            ) from error
    return store


def _stamp_ns(message: Any) -> int:
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    return 0 if stamp is None else stamp.sec * NS_PER_S + stamp.nanosec


def _text(message: Any, topic: str, msg_type: str) -> str:
    for name in FIELDS:
        value = getattr(message, name, None)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value).strip()
    raise BagError(
        f"label topic {topic}",
        msg_type,
        f"a message with one of the fields {', '.join(FIELDS)} as text or number",
        "give another topic, or an intervals file",
    )
