"""What `sentryfuse dataset` prints: windows by class and split, and everything that gave no window."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..bags.run_description import SPLITS
from ..datasets.description import DatasetDescription, total


def print_report(data: DatasetDescription) -> None:
    """The table, then what was skipped, left out, refused, missing and not used."""
    console = Console()
    console.print(class_table(data))
    empty = [split for split in SPLITS if all(bag.split != split for bag in data.bags)]
    if empty:
        console.print(
            f"[yellow]no bag for {' and '.join(empty)}[/yellow]: too few bags, or their run.json files name other splits"
        )
    for line in notes(data):
        console.print(line, markup=False)


def class_table(data: DatasetDescription) -> Table:
    """Windows by class (rows) and split (columns)."""
    by_split = {split: [bag for bag in data.bags if bag.split == split] for split in SPLITS}
    table = Table(title=f"{data.windows} windows of {len(data.bags)} bags")
    table.add_column("class")
    counts = []
    for split, bags in by_split.items():
        if bags:
            table.add_column(f"{split} ({len(bags)} bags)", justify="right")
            counts.append(total(bag.labels for bag in bags))
    for name in data.classes:
        table.add_row(escape(name), *(str(count[name]) if count[name] else "[red]none[/red]" for count in counts))
    return table


def notes(data: DatasetDescription) -> list[str]:
    """Everything that gave no window, and why, one line each."""
    every = data.all_bags()
    lines = []
    for reason, count in total(bag.skipped for bag in every).most_common():
        lines.append(f"skipped {count} moments in {sum(reason in bag.skipped for bag in every)} bags: {reason}")
    for bag in data.left_out:
        reasons = ", ".join(f"{count} moments {reason}" for reason, count in bag.skipped.items())
        lines.append(f"left out bag {bag.name}: {bag.error or 'no window, ' + (reasons or f'it lasts {bag.duration_s:g} s')}")
    for sensor in dict.fromkeys(sensor for bag in every for sensor in bag.faults):
        texts = [f"{bag.name}: {bag.faults[sensor]}" for bag in every if sensor in bag.faults]
        lines.append(f"{sensor}: messages refused in {len(texts)} bags, for example {texts[0]}")
    missing = Counter(
        spec.name
        for bag in data.bags
        for spec in data.specs
        if not any(sensor.model_input == spec.name and sensor.name in bag.topics for sensor in data.sensors)
    )
    for name, count in missing.items():
        lines.append(f"no topic for {name} in {count} of {len(data.bags)} bags: the sensor is absent there")
    unused = {topic: msg_type for bag in data.bags for topic, msg_type in bag.unused.items()}
    if unused:
        lines.append("not used: " + ", ".join(f"{topic} ({msg_type})" for topic, msg_type in sorted(unused.items())))
    return lines
