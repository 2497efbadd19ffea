"""The live terminal view of a run: sensors, ratio, prediction, latency (rich)."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..replay.faults import FaultScript
from ..sensing.liveness import State

COLOURS = {
    "NEVER_SEEN": "bright_black",
    "OK": "green",
    "LATE": "yellow",
    "STALE": "red",
    "FROZEN": "magenta",
    "INVALID": "red",
    "RECOVERING": "cyan",
}


class LiveView:
    """Context manager; `show(live)` redraws. Disabled, it does nothing. ``label_at`` takes a time [s]: the truth, if known."""

    def __init__(
        self, enabled: bool, script: FaultScript, console: Console | None = None, label_at: Callable[[float], str] | None = None
    ):
        self.script, self.label_at = script, label_at
        self._live = RichLive(console=console, refresh_per_second=8, transient=False) if enabled else None

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *details) -> None:
        if self._live:
            self._live.__exit__(*details)

    def show(self, live) -> None:
        if self._live:
            self._live.update(render(live, self.script, self.label_at(live.t_s) if self.label_at else ""))


def render(live, script: FaultScript, label: str = "") -> Panel:
    """`live`: an object with t_s, prediction, mask, pruning, info (messages or None). ``label``: the truth, if known."""
    sensors = Table(expand=True, box=None, pad_edge=False)
    for name in ("sensor", "state", "rate", "age", "why", "fault injected now"):
        sensors.add_column(name, no_wrap=name != "why", ratio=3 if name == "why" else None)
    for s in live.mask.sensors if live.mask else ():
        state = State(s.state).name
        fault = next((f.kind for f in script.faults if f.sensor == s.name and f.active(live.t_s)), "")
        sensors.add_row(
            s.name + ("" if s.model_input else " (watched)"),
            Text(state, style=COLOURS[state]),
            f"{s.rate_hz:.0f} Hz" if s.rate_hz else "-",
            f"{s.age_s:.2f} s" if s.age_s >= 0 else "-",
            s.reason,
            Text(fault, style="bold"),
        )
    lines = [sensors, Text("")]
    p = live.prediction
    if p is None:
        lines.append(Text("no prediction yet", style="bright_black"))
    elif p.valid:
        row = Table.grid(padding=(0, 1))
        row.add_row(
            Text("prediction", style="bold"),
            Text(f"{p.class_name:<28}", style="bold green"),
            ProgressBar(total=1.0, completed=p.confidence, width=24),
            f"{p.confidence * 100:.0f} %",
            Text(f"   truth {label}" if label else "", style="green" if p.class_name == label else "red"),
        )
        lines.append(row)
        use = ", ".join(f"{n} {u * 100:.0f} %" for n, u in zip(p.modalities, p.attention_share, strict=True))
        lines.append(Text(f"evidence   {use}    inference {p.inference_ms:.1f} ms    overhead {p.overhead_ms:.1f} ms"))
    else:
        lines.append(Text(f"no prediction: {p.reason}", style="red"))
    q = live.pruning
    if q is not None:
        row = Table.grid(padding=(0, 1))
        battery = q.battery_percentage
        shown = battery if battery == battery else 0.0
        row.add_row(
            Text("battery", style="bold"),
            ProgressBar(total=1.0, completed=shown, width=24),
            f"{battery * 100:.0f} %" if battery == battery else "unknown",
            Text("   pruning ratio", style="bold"),
            ProgressBar(total=0.9, completed=q.ratio, width=18),
            f"{q.ratio:.2f}",
            f"   {q.flops / 1e6:.1f} of {q.flops_dense / 1e6:.1f} MFLOP",
        )
        lines += [Text(""), row, Text(q.reason, style="bright_black")]
    return Panel(Group(*lines), title=f"sentryfuse  t = {live.t_s:5.1f} s", border_style="blue")
