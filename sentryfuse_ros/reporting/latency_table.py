"""The table of `sentryfuse bench latency`, for a console."""

from __future__ import annotations

from itertools import groupby

from ..evaluation.latency import LatencyReport, PlanLatency

BUDGETS = {"time": "the measured time of an inference", "flops": "the FLOPs of the fusion network"}


def latency_table(report: LatencyReport) -> str:
    """Machine, one block of lines per set of live sensors, and what the highest ratio saves."""
    on = report.machine
    lines = [
        f"model {report.model}, sentryfuse_ros {report.version}, Python {on['python']}, {on['backend']} {on[on['backend']]}",
        f"machine: {on['processor']}, {on['cores']} cores; inference on {on['device']} with {on['threads']} thread(s)",
        f"a ratio is a share of {BUDGETS[report.budget]}",
        f"{report.rounds} rounds over all plans in turn, on inputs of {report.inputs}",
    ]
    if any(plan.accuracy is not None for plan in report.plans):
        lines.append("accuracy: of the plan on the validation recordings of the model's training, by which plans are chosen")
    for missing, group in groupby(report.plans, key=lambda plan: plan.missing):
        lines += [
            "",
            f"{missing} missing" if missing else "all sensors live",
            "  ratio   MFLOPs   median ms   quartiles ms      time against r = 0   accuracy   layers   sensors used",
        ]
        for p in group:
            quartiles = f"{p.quartile1_ms:.2f} - {p.quartile3_ms:.2f}"
            lines.append(
                f"   {p.ratio:.2f} {p.flops / 1e6:8.2f} {p.median_ms:11.2f}   {quartiles:<16} {100 * p.relative:7.0f} %"
                + f"          {_percent(p.accuracy):>9}   {p.layers:6d}   {_parts(p)}"
            )
    dense, highest = report.plans[0], [plan for plan in report.plans if not plan.missing][-1]
    lines += [
        "",
        f"With all sensors live, r = {highest.ratio:.2f} needs {100 * highest.flops / dense.flops:.0f} % of the dense model's "
        f"FLOPs and {100 * highest.relative:.0f} % of its time on this machine.",
    ]
    if report.summary:
        lines += ["", "Measured once more, in turn with other programs, all sensors live:"]
    lines += [f"  {value:8.2f}  {_meaning(name)}" for name, value in report.summary.items()]
    return "\n".join(lines)


def _meaning(name: str) -> str:
    """What an entry of `evaluation.latency.summarise` is, in words."""
    what, _, against = name.partition("_r")
    if what != "speedup":
        return {"switch_ms_p99": "first inference after a change of plan, 99th percentile [ms]"}.get(name, name)
    percent, _, other = against.partition("_")
    others = {
        "same_backend": "r = 0",
        "vs_before": "the other installation at r = 0",
        "vs_user": "the same network in plain torch with ordinary attention",
    }
    return f"speed at r = {int(percent) / 100:g}, as a multiple of that of {others[other]}"


def _percent(accuracy: float | None) -> str:
    """Of the validation recordings, where the plan was chosen by them."""
    return "-" if accuracy is None else f"{100 * accuracy:.1f} %"


def _parts(plan: PlanLatency) -> str:
    """The sensors of a plan; a number says which smaller size of its stem runs."""
    sensors = ", ".join(name if size == 0 else f"{name} (stem {size})" for name, size in zip(plan.used, plan.stems))
    return sensors + (f"; a picture every {plan.hold_s:g} s" if plan.hold_s else "")
