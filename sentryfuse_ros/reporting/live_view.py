"""The live view of a run in the terminal: sensors, prediction, battery and pruning ratio."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..replay.faults import FaultScript
from ..replay.latest import Latest, PredictionMessage, PruningMessage, SensorMessage, StreamMessage
from ..replay.run_record import StreamRow
from ..sensing.liveness import State
from .stream_words import sentence
from .style import BRANCH_COLOURS, STATE_COLOURS


class LiveView:
    """Context manager; `show(latest)` redraws. If it is not enabled, it does nothing.

    ``label_at`` takes a time [s] and returns the label at that time, "" if there is none.
    """

    def __init__(
        self, enabled: bool, script: FaultScript, console: Console | None = None, label_at: Callable[[float], str] | None = None
    ):
        self.script, self.label_at = script, label_at
        self._live = Live(console=console, refresh_per_second=8, transient=False) if enabled else None

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def show(self, latest: Latest) -> None:
        """Redraw with the latest messages."""
        if self._live:
            self._live.update(render(latest, self.script, self.label_at(latest.t_s) if self.label_at else ""))


def render(latest: Latest, script: FaultScript, label: str = "") -> Panel:
    """The latest messages as a panel. ``label``: the true class, "" if it is not known."""
    sensors = Table(expand=True, box=None, pad_edge=False)
    for name in ("sensor", "state", "rate", "age", "reason", "fault injected now"):
        sensors.add_column(name, no_wrap=name != "reason", ratio=3 if name == "reason" else None)
    for sensor in latest.mask.sensors if latest.mask else ():
        fault = next((f.kind for f in script.faults if f.sensor == sensor.name and f.active(latest.t_s)), "")
        sensors.add_row(*sensor_cells(sensor), Text(fault, style="bold"))
    lines: list[RenderableType] = [sensors, Text("")]
    lines += prediction_lines(latest.prediction, label)
    if latest.caption is not None:
        lines.append(Text(latest.caption.text, style="italic"))
    if latest.pruning is not None:
        lines += [Text(""), *power_lines(latest.pruning)]
        for stream in latest.pruning.streams:
            lines += [stream_line(stream), *stream_words(stream, latest)]
    return Panel(Group(*lines), title=f"sentryfuse  t = {latest.t_s:5.1f} s", border_style="blue")


def sensor_cells(sensor: SensorMessage) -> list[RenderableType]:
    state = State(sensor.state).name
    return [
        sensor.name + ("" if sensor.model_input else " (watched)"),
        Text(state, style=STATE_COLOURS[state].terminal),
        f"{sensor.rate_hz:.0f} Hz" if sensor.rate_hz else "-",
        f"{sensor.age_s:.2f} s" if sensor.age_s >= 0 else "-",
        Text(sensor.reason),  # as it is: brackets in it are no markup
    ]


def prediction_lines(prediction: PredictionMessage | None, label: str) -> list[RenderableType]:
    p = prediction
    if p is None:
        return [Text("no prediction yet", style="bright_black")]
    if not p.valid:
        return [Text(f"no prediction: {p.reason}", style="red")]
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text("prediction", style="bold"),
        Text(f"{p.class_name:<28}", style="bold green"),
        ProgressBar(total=1.0, completed=p.confidence, width=24),
        f"{p.confidence * 100:.0f} %",
        Text(f"   truth {label}" if label else "", style="green" if p.class_name == label else "red"),
    )
    shares = ", ".join(f"{n} {u * 100:.0f} %" for n, u in zip(p.modalities, p.attention_share, strict=True))
    return [row, Text(f"attention  {shares}    inference {p.inference_ms:.1f} ms    overhead {p.overhead_ms:.1f} ms")]


def power_lines(pruning: PruningMessage) -> list[RenderableType]:
    charge = pruning.battery_percentage  # 0 to 1; NaN if unknown
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text("battery", style="bold"),
        ProgressBar(total=1.0, completed=0.0 if math.isnan(charge) else charge, width=24),
        "unknown" if math.isnan(charge) else f"{charge * 100:.0f} %",
        Text("   pruning ratio", style="bold"),
        ProgressBar(total=0.9, completed=pruning.ratio, width=18),
        f"{pruning.ratio:.2f}",
        f"   {pruning.flops / 1e6:.1f} of {pruning.flops_dense / 1e6:.1f} MFLOPs",
    )
    return [row, Text(pruning.reason, style="bright_black")]


def stream_words(stream: StreamMessage, latest: Latest) -> list[RenderableType]:
    """What the stream sees, in a sentence; nothing where a caption head says more, or nothing was predicted."""
    p, info = latest.prediction, latest.info
    if latest.caption is not None or info is None or p is None or not p.valid:
        return []
    seen = StreamRow(latest.t_s, stream.branch, stream.tokens, stream.change, stream.flops_share, stream.moving)
    return [Text(sentence(seen, (p.class_name, p.confidence), len(info.classes)), style="italic")]


def stream_line(stream: StreamMessage) -> RenderableType:
    """How much of the newest picture was encoded anew, by which branch, and what that has saved lately."""
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(f"{stream.model_input} stream", style="bold"),
        ProgressBar(total=1.0, completed=stream.tokens, width=24),
        f"{100 * stream.tokens:3.0f} % of the tokens",
        Text(f"{stream.branch:<5}", style=BRANCH_COLOURS[stream.branch].terminal),
        f"  last 10 s: {100 * (1 - stream.flops_share_recent):.0f} % of the encoder saved, reuse {100 * stream.reuse:.0f} %, "
        f"light {100 * stream.light:.0f} %, full {100 * stream.full:.0f} %, {stream.switches_per_s:.1f} switches/s"
        + (", camera moving" if stream.moving else ""),
    )
    return row
