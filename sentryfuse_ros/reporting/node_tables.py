"""The tables of `sentryfuse bench node`, `memory` and `receive`, for a console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluation.node_cost import LOOP_PARTS, MemoryReport, NodeReport, NodeSide, ReceiveReport, spread

WHOLE_PICTURES = """\
The plans of this model are measured without its stream, with pictures that are encoded whole. The node itself encodes only
what changed."""


def node_table(report: NodeReport) -> str:
    """One line per side, and the summary."""
    lines = [*_head(report), "", "                    CPU, % of a core      resident MB           first prediction s"]
    lines += [_node_line(side.label, side) for side in report.sides]
    if report.loops:
        lines += ["", "without middleware  feed 100 ms of load, ms   tick without inference, ms   trust, ms a tick"]
    for before, ratio in dict.fromkeys((loop.before, loop.ratio) for loop in report.loops):
        own = [loop for loop in report.loops if (loop.before, loop.ratio) == (before, ratio)]
        feed, tick, judge = (spread([getattr(loop, part) for loop in own], ".2f") for part in LOOP_PARTS)
        label = f"before, r = {ratio:g}" if before else f"r = {ratio:g}"
        lines.append(f"{label:<20}{feed:<26}{tick:<28}{'-' if before else judge}")
    return "\n".join([*lines, "", *_summary(report.summary)])


def memory_table(report: MemoryReport) -> str:
    """The node, the plans, and the summary."""
    runs = report.node_runs
    lines = [
        *_head(report),
        "",
        f"node, resident            {spread([r.resident_mb for r in runs], '.0f')} MB",
        f"node, not shared          {spread([r.private_mb for r in runs], '.0f')} MB",
        f"first prediction after    {spread([r.first_prediction_s for r in runs], '.2f')} s",
    ]
    lines.append(f"the model, loaded         {spread(report.model_mb, '.1f')} MB in use")
    lines += [f"its plan of r = {ratio:<10}{spread(values, '.1f')} MB in use" for ratio, values in report.plan_mb.items()]
    lines += ["", WHOLE_PICTURES] if report.streams else []
    return "\n".join([*lines, "", *_summary(report.summary)])


def receive_table(report: ReceiveReport) -> str:
    """One line per side, and the summary."""
    lines = [*_head(report), "", "side        CPU, % of a core      against ordinary      messages lost"]
    for side, runs in report.sides.items():
        cpu, ratio = spread([run.cpu_percent for run in runs], ".1f"), spread(report.ratios(side), ".2f")
        lines.append(f"{side:<12}{cpu:<22}{ratio:<22}{sum(r.lost for r in runs)} of {sum(r.received + r.lost for r in runs)}")
    overhead = spread(report.overhead_ms_p99, ".1f")
    lines += ["", f"whole node, from the newest sample to its prediction without inference, p99: {overhead} ms"]
    return "\n".join([*lines, "", *_summary(report.summary)])


def _head(report: NodeReport | MemoryReport | ReceiveReport) -> list[str]:
    on: Mapping[str, Any] = report.machine
    return [
        f"model {report.model}, sentryfuse_ros {report.version}",
        f"machine: {on['processor']}, {on['cores']} cores, Python {on['python']}, onnxruntime {on['onnxruntime'] or 'none'}",
        f"load: {report.load}",
    ]


def _node_line(label: str, side: NodeSide) -> str:
    cpu, resident, first = (
        spread([getattr(run, name) for run in side.runs], form)
        for name, form in (("cpu_percent", ".1f"), ("resident_mb", ".0f"), ("first_prediction_s", ".2f"))
    )
    return f"{label:<20}{cpu:<22}{resident:<22}{first}"


def _summary(summary: Mapping[str, float]) -> list[str]:
    return [f"{name}: {value:g}" for name, value in summary.items()]
