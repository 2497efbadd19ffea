"""What `sentryfuse evaluate` prints: one line per set of live sensors, the summary, and what to be careful about."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..evaluation.records import EvaluationReport, MaskResult, Moments, Summary


def print_report(report: EvaluationReport) -> None:
    """The table at three pruning ratios, then the summary and the warnings."""
    console = Console()
    console.print(accuracy_table(report))
    console.print("; ".join(summary_texts(report.measured.summary)), highlight=False, markup=False, soft_wrap=True)
    met = report.measured.moments
    if met is not None and met.windows > met.steady_windows:
        console.print(moments_text(met), highlight=False, markup=False, soft_wrap=True)
    for warning in report.warnings:
        console.print(warning, style="yellow", markup=False, soft_wrap=True)


def moments_text(met: Moments) -> str:
    """Steady against all moments, and what happens after a change of the label."""
    parts = [f"steady {percent(met.steady_accuracy)} of {met.steady_windows} windows"]
    parts.append(f"all moments {percent(met.accuracy)} of {met.windows}")
    parts += [
        f"{since.from_s:g} s {'and later' if since.to_s is None else f'to {since.to_s:g} s'} after a change "
        f"{percent(since.accuracy)} of {since.windows}"
        for since in met.since_change
        if since.windows
    ]
    return "all sensors, r=0: " + ", ".join(parts)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def accuracy_table(report: EvaluationReport) -> Table:
    measured, summary = report.measured, report.measured.summary
    at = {(row.mask, row.ratio): row for row in measured.rows}
    levels = list(dict.fromkeys((0.0, summary.level_r50, summary.level_r70)))
    groups = report.split or "groups " + " ".join(map(str, report.groups))
    title = f"{report.model} on {report.dataset}, {groups}: {measured.windows} windows of {measured.recordings} recordings"
    table = Table(
        title=escape(title),
        box=box.SIMPLE_HEAD,
        caption=f"accuracy % at pruning ratio r; MFLOPs and ms from r=0 to r={levels[-1]:g}; ECE at r=0",
    )
    table.add_column("live sensors")
    for name in (*(f"r={level:g}" for level in levels), "ECE", "MFLOPs", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for mask in dict.fromkeys(row.mask for row in measured.rows):
        rows = [at[mask, level] for level in levels]
        table.add_row(
            escape("+".join(rows[0].live)),
            *("-" if row.accuracy is None else f"{100 * row.accuracy:.1f}" for row in rows),
            "-" if rows[0].ece is None else f"{rows[0].ece:.3f}",
            f"{rows[0].flops / 1e6:.1f}-{rows[-1].flops / 1e6:.1f}",
            latency_range(rows[0], rows[-1]),
        )
    return table


def latency_range(dense: MaskResult, pruned: MaskResult) -> str:
    return "-" if dense.latency_ms is None or pruned.latency_ms is None else f"{dense.latency_ms:.2f}-{pruned.latency_ms:.2f}"


def summary_texts(s: Summary) -> list[str]:
    """The headline numbers, each in a few words."""
    texts = ["all sensors " + ("-" if s.accuracy_all is None else f"{100 * s.accuracy_all:.1f} %")]
    if s.accuracy_all_ci95:
        low, high = s.accuracy_all_ci95
        texts[0] += f" ({100 * low:.1f} to {100 * high:.1f})"
    for count, accuracy in (("one", s.accuracy_one_missing_worst), ("two", s.accuracy_two_missing_worst)):
        if accuracy is not None:
            texts.append(f"worst with {count} missing {100 * accuracy:.1f} %")
    return texts + [
        f"best single sensor {s.best_single_sensor} {100 * s.best_single_accuracy:.1f} %",
        f"mean over all sets of sensors: lost at r={s.level_r50:g} {s.drop_r50_points:.2f} points, "
        f"at r={s.level_r70:g} {s.drop_r70_points:.2f} points, ECE {s.ece_mean:.3f}",
    ]
