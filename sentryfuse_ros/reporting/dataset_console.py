"""What `sentryfuse dataset` prints: windows by class and split, and everything that gave no window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..bags.run_description import SPLITS
from ..datasets.class_names import look_alike
from ..datasets.description import DatasetDescription, total
from ..datasets.extract import ignored
from ..datasets.splits import origins_apart
from ..preprocessing.series import DEFAULT_MAX_GAP_S
from ..sensing.input_source import candidates
from ..sensor_kinds import sensor_kind

SAME_RATE = 1.02  # rates that differ by less than this factor are shown as one
DIFFERENT_RATE = 1.2  # rates of one sensor that differ by more than this factor are remarked on


def print_report(data: DatasetDescription) -> None:
    """What the sensors are, the table, then what was skipped, left out, refused, missing and not used."""
    console = Console()
    for line in sensor_lines(data):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(class_table(data))
    empty = [split for split in SPLITS if all(bag.split != split for bag in data.bags)]
    if empty:
        console.print(
            f"[yellow]no bag for {' and '.join(empty)}[/yellow]: too few bags, or their run.json files name "
            "other splits, which come before --split",
            soft_wrap=True,
        )
    for line in notes(data):
        console.print(line, markup=False, soft_wrap=True)


def sensor_lines(data: DatasetDescription) -> list[str]:
    """For every sensor the topics that served it, with type and rate, and what differs among bags or from the model's input."""
    lines = []
    for sensor in data.sensors:
        bags = [bag for bag in data.bags if sensor.name in bag.topics]
        spec = next((spec for spec in data.specs if spec.name == sensor.model_input), None)
        if not bags or spec is None:
            continue
        for topic, count in Counter(bag.topics[sensor.name] for bag in bags).most_common():
            own = [bag for bag in bags if bag.topics[sensor.name] == topic]
            rates = sorted(bag.rates_hz[sensor.name] for bag in own if bag.rates_hz.get(sensor.name))
            types = ", ".join(sorted({bag.types[topic] for bag in own if topic in bag.types}))
            measured = f"{rates[0]:.3g} Hz" if rates and rates[-1] < SAME_RATE * rates[0] else rate_range(rates)
            lines.append(
                f"{sensor.name}: {topic} ({types}), {measured} in {count} bags; "
                f"the input {spec.name} has {spec.grid_rate_hz:g} Hz"
            )
        rates = sorted(bag.rates_hz[sensor.name] for bag in bags if bag.rates_hz.get(sensor.name))
        if rates and rates[-1] > DIFFERENT_RATE * rates[0]:
            lines.append(f"warning: the rate of {sensor.name} differs among the bags, {rate_range(rates)}")
        gap_s = spec.options.get("max_gap_s", DEFAULT_MAX_GAP_S)
        if rates and spec.shape[0] > 1 and "max_gap_s" in sensor_kind(spec.kind).options and rates[0] * gap_s < 1:
            lines.append(
                f"warning: {sensor.name} sends {rates[0]:.3g} Hz, and a silence of more than {gap_s:g} s splits the windows of "
                f"{spec.name}, so that they hold only its newest message; raise the option max_gap_s of the modality"
            )
    return lines


def rate_range(rates_hz: Sequence[float]) -> str:
    """The lowest and the highest of ascending rates."""
    return f"{rates_hz[0]:.3g} to {rates_hz[-1]:.3g} Hz" if rates_hz else "rate unknown"


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
    border = sum(bag.windows - bag.steady for bag in data.bags if bag.steady is not None)
    if border:
        lines.append(
            f"{border} of {data.windows} windows have a change of label in them: they have the label of their end, and are "
            "trained on only with border_windows: true in the recipe"
        )
    lines += [
        f"warning: --ignore left out nothing for {label!r}, which no moment has; is it spelt as in the labels?"
        for label in data.ignore
        if not any(ignored(label) in bag.skipped for bag in every)
    ]
    lines += [
        f"warning: the classes {one!r} and {other!r} look alike: are they one? Correct the labels, or set classes in the recipe"
        for one, other in look_alike(data.classes)
    ]
    lines += origins_apart(data.bags)
    for bag in data.left_out:
        lines.append(f"left out bag {bag.name}: {bag.why_empty()}")
    lines += [f"used bag {bag.name} in part: {bag.damage}" for bag in data.bags if bag.damage]
    remarks = Counter(remark for bag in data.bags for remark in bag.remarks)
    lines += [f"in {count} of {len(data.bags)} bags, {remark}" for remark, count in remarks.most_common()]
    for sensor in dict.fromkeys(sensor for bag in every for sensor in bag.faults):
        texts = [f"{bag.name}: {bag.faults[sensor]}" for bag in every if sensor in bag.faults]
        lines.append(f"{sensor}: messages refused in {len(texts)} bags, for example {texts[0]}")
    missing = Counter(
        spec.name
        for bag in data.bags
        for spec in data.specs
        if not any(all(part.name in bag.topics for part in parts) for parts in candidates(data.sensors, spec.name))
    )
    for name, count in missing.items():
        why = Counter(
            f"{sensor.name}: {bag.absent[sensor.name]}"
            for bag in data.bags
            for sensor in data.sensors
            if sensor.model_input == name and sensor.name in bag.absent
        )
        text = f" ({why.most_common(1)[0][0]})" if why else ", because no sensor in --params serves it"
        lines.append(f"no topic for {name} in {count} of {len(data.bags)} bags: the sensor is absent there{text}")
    unused = {topic: msg_type for bag in data.bags for topic, msg_type in bag.unused.items()}
    if unused:
        lines.append("not used: " + ", ".join(f"{topic} ({msg_type})" for topic, msg_type in sorted(unused.items())))
    return lines
