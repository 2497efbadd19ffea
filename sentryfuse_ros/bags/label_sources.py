"""Reading labels: from a topic of a bag, or from a CSV file of intervals; and writing such a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..errors import BagError, DataError, reason_of
from ..files import write_atomically
from ..nanoseconds import NS_PER_S, ns_to_stamp, stamp_to_ns
from .bag import Bag
from .find import bag_folder
from .labels import TOUCHING_NS, Interval, Labels
from .message_types import typestore_of

INTERVALS_FILE = "intervals.csv"  # beside a bag; `sentryfuse simulate` writes it
COLUMNS = ("t_from", "t_to", "label")
LABEL_FIELDS = ("data", "label", "name", "class_name")  # the first of these that a message has is its label


def find_intervals(bag: Path) -> Path | None:
    """The intervals file beside a bag, or None if there is none."""
    path = bag_folder(bag) / INTERVALS_FILE
    return path if path.is_file() else None


def is_topic(bag: Bag, source: str) -> bool:
    """Whether ``source`` names a topic rather than a file. ROS 2 topics begin with a slash and contain no dot."""
    return source in bag.topics or (source.startswith("/") and "." not in source and not Path(source).exists())


def intervals_path(bag: Path, source: str) -> Path:
    """The intervals file that ``source`` means for this bag: that name in the bag's folder, otherwise the path itself."""
    beside = bag_folder(bag) / source
    return beside if beside.exists() else Path(source)


def read_labels(bag: Bag, source: str) -> Labels:
    """The labels of a bag, on the clock of its stamps. ``source`` is a topic of the bag or an intervals file.

    The slash at the beginning of a topic may be left out, as in ROS. Raises BagError or DataError naming the topic or the file.
    """
    if is_topic(bag, source):
        return read_topic(bag, source)
    path = intervals_path(bag.path, source)
    if "/" + source in bag.topics and not path.exists():
        return read_topic(bag, "/" + source)
    return read_intervals(path, bag.name)


def read_intervals(path: Path, bag_name: str = "") -> Labels:
    """From a CSV file with the columns t_from, t_to [s, on the clock of the stamps] and label.

    If it has a column ``bag``, only the rows of ``bag_name`` count. Raises DataError naming the file and the line.
    """
    rows: list[Interval] = []
    other_bags: set[str] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if reader.fieldnames is None or not set(COLUMNS) <= set(reader.fieldnames):
                raise DataError(
                    f"intervals file {path}",
                    f"columns {reader.fieldnames}",
                    ",".join(COLUMNS),
                    "begin the file with a line of these column names",
                )
            for line, row in enumerate(reader, 2):
                where = f"intervals file {path} line {line}"
                of_bag = (row.get("bag") or "").strip()
                if "bag" in reader.fieldnames and not of_bag:
                    raise DataError(where, "no bag", "the name of one, as in the other lines", "correct the line")
                if of_bag and bag_name and of_bag != bag_name:
                    other_bags.add(of_bag)
                else:
                    rows.append(_interval(row, where))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"intervals file {path}", reason_of(error), "a readable CSV file") from error
    if not rows and other_bags:
        raise DataError(
            f"intervals file {path}",
            f"rows of {', '.join(sorted(other_bags)[:3])} only",
            f"rows of bag {bag_name}",
            "write the name of the bag's folder into the column bag",
        )
    rows.sort()
    for before, after in zip(rows, rows[1:], strict=False):
        if after.from_ns < before.to_ns - TOUCHING_NS:
            raise DataError(
                f"intervals file {path}",
                f"{before.label!r} and {after.label!r} overlap at {after.from_ns / NS_PER_S:.3f} s",
                "one label at a time",
                "correct the intervals",
            )
    return Labels(tuple(rows))


def _interval(row: dict[str, str], where: str) -> Interval:
    """One line of an intervals file. Raises DataError naming it."""
    try:
        begin_ns, end_ns = (round(float(row[name]) * NS_PER_S) for name in ("t_from", "t_to"))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(where, f"{row['t_from']!r}, {row['t_to']!r}", "two numbers of seconds", "correct the line") from error
    label = (row["label"] or "").strip()
    if not begin_ns < end_ns or not label:
        raise DataError(
            where, f"{row['t_from']} to {row['t_to']} {row['label']!r}", "t_from < t_to and a label", "correct the line"
        )
    return Interval(begin_ns, end_ns, label)


def write_intervals(path: Path, labels: Labels) -> None:
    """Write an intervals file, the times in seconds with all nine decimals. Raises OSError."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")  # a label may have a comma or a quotation mark
    table.writerow(COLUMNS)
    table.writerows((_seconds(i.from_ns), _seconds(i.to_ns), i.label) for i in labels.intervals)
    write_atomically(path, text.getvalue())


def _seconds(time_ns: int) -> str:
    sec, nanosec = ns_to_stamp(time_ns)
    return f"{sec}.{nanosec:09d}"


def read_topic(bag: Bag, topic: str) -> Labels:
    """From a topic: the label of a message holds from its stamp until the next message.

    A message without a stamp counts from its time in the bag; an empty label means that there is none from then on. Reads
    std_msgs/String and every message with a field data, label, name or class_name that is text or an integer, including
    types whose definition only the bag carries. Raises BagError if there is no such topic, or it has no such field.
    """
    connection = next((c for c in bag.connections if c.topic == topic), None)
    if connection is None:
        raise BagError(
            f"label topic {topic}", "no such topic in the bag", "one of " + ", ".join(sorted(bag.topics)), "name another one"
        )
    store = typestore_of(connection)
    stamped: list[tuple[int, str]] = []
    for _, time_ns, raw in bag.messages([topic]):
        try:
            message = store.deserialize_cdr(raw, connection.msgtype)
        except Exception as error:  # the deserialiser raises many kinds of errors, all of which mean a damaged message
            raise BagError(
                f"label topic {topic} in {bag.path}",
                f"a message at {(time_ns - bag.start_ns) / NS_PER_S:.3f} s that is no {connection.msgtype}: {error}",
                "undamaged messages",
                "give an intervals file instead",
            ) from error
        stamped.append((_stamp_ns(message) or time_ns, _label(message, topic, connection.msgtype)))
    stamped.sort(key=lambda entry: entry[0])
    if not stamped:
        return Labels()
    end_ns = bag.start_ns + round(bag.duration_s * NS_PER_S) + 1
    ends_ns = [*(stamp_ns for stamp_ns, _ in stamped[1:]), max(end_ns, stamped[-1][0] + 1)]
    held = ((stamp_ns, until_ns, label) for (stamp_ns, label), until_ns in zip(stamped, ends_ns, strict=True))
    return Labels.of(row for row in held if row[2] and row[0] < row[1])  # of two at one time, the later message counts


def _stamp_ns(message: object) -> int:
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    return 0 if stamp is None else stamp_to_ns(stamp.sec, stamp.nanosec)


def _label(message: object, topic: str, msg_type: str) -> str:
    for name in LABEL_FIELDS:
        value = getattr(message, name, None)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value).strip()
    raise BagError(
        f"label topic {topic}",
        msg_type,
        f"a message with one of the fields {', '.join(LABEL_FIELDS)} as text or integer",
        "give another topic, or an intervals file",
    )
