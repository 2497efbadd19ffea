"""What `sentryfuse bench streaming` prints."""

from __future__ import annotations

from collections.abc import Mapping

from ..evaluation.stream_accuracy import StreamScore
from ..evaluation.streaming import StreamingReport


def streaming_table(report: StreamingReport) -> str:
    """Tables of accuracy and work, of latency, and the summary."""
    lines = [f"{report.model}, {report.recordings} recordings, camera still", *_scores(report.still)]
    if report.steady:
        lines += ["", "people who stand still", *_scores(report.steady)]
    for motion, scores in report.moving.items():
        lines += ["", f"camera moving: {motion}", *_scores(scores)]
    for scene, sides in report.latency_ms.items():
        lines += ["", f"{scene}: mean of a picture"]
        lines += [f"  {side:<34} {ms:8.3f} ms" for side, ms in sides.items()]
    lines += ["", "summary", *(f"  {name:<38} {value:g}" for name, value in report.summary.items())]
    return "\n".join(lines)


def _scores(scores: Mapping[str, StreamScore]) -> list[str]:
    lines = [
        f"  {'':<34} {'accuracy':>8} {'kept':>6} {'(95 %)':>13} {'same':>5} {'windows':>8} {'FLOPs':>6} {'low mot.':>8} "
        f"{'r/l/f':>14} {'switch/s':>8}"
    ]
    for name, s in scores.items():
        low, high = s.kept_ci95
        lines.append(
            f"  {name:<34} {100 * s.accuracy:8.1f} {s.kept:6.3f} ({low:5.3f}-{high:5.3f}) {s.same_prediction:5.2f} "
            f"{100 * s.windows_share:7.1f}% {100 * s.flops_share:5.1f}% {100 * s.flops_share_low_motion:7.1f}% "
            f"{s.reuse:4.2f}/{s.light:4.2f}/{s.full:4.2f} {s.switches_per_s:8.2f}"
        )
    return lines
