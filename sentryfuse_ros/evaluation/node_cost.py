"""What a whole fuse_node costs: CPU time, memory, its start. Numbers and their summary; `nodes.bench_node` measures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class BenchTask:
    """What to measure: a checkpoint by its name or folder, in how many rounds, and for how many seconds in each run."""

    model: str
    rounds: int
    seconds: float


@dataclass(frozen=True)
class NodeRun:
    """One process of fuse_node under the reference load."""

    cpu_percent: float  # user and system time, of one core
    resident_mb: float  # including what it shares with other processes
    private_mb: float  # what would be free without it
    first_prediction_s: float  # from the launch of the process to its first message, with or without a live sensor
    overhead_ms_p50: float | None  # from the newest sample to the prediction, without inference; None where it is not known
    overhead_ms_p99: float | None


@dataclass(frozen=True)
class NodeSide:
    """All runs of one installation at one pruning ratio."""

    label: str
    ratio: float
    before: bool  # the other installation
    runs: tuple[NodeRun, ...]

    def median(self, name: str) -> float:
        """Median of a field of the runs."""
        return median(getattr(run, name) for run in self.runs)


@dataclass(frozen=True)
class LoopCost:
    """CPU time of the node's loop in one process without middleware and inference (`nodes.bench_loop`), for each tick: means,
    because not every tick has pictures or a judgement."""

    ratio: float
    feed_ms: float  # reading and checking what comes in 100 ms, and rows of what the tick will use
    tick_ms: float  # the snapshot: liveness, and model inputs
    judge_ms: float  # trust, which the worker judges after the prediction
    before: bool = False  # of the other installation, whose judgements are not timed


LOOP_PARTS = ("feed_ms", "tick_ms", "judge_ms")  # the times of a LoopCost


@dataclass(frozen=True)
class NodeReport:
    """Costs of whole nodes, measured in turns."""

    model: str
    version: str
    machine: dict[str, Any]
    load: str
    seconds: float  # measured in each run
    sides: tuple[NodeSide, ...]
    loops: tuple[LoopCost, ...] = ()  # one per round, ratio and installation

    def side(self, ratio: float, before: bool = False) -> NodeSide | None:
        """The side of a ratio, None where it was not measured."""
        return next((s for s in self.sides if s.ratio == ratio and s.before == before), None)

    @property
    def summary(self) -> dict[str, float]:
        """cpu_r90_vs_r0: a ratio of medians. LOOP_PARTS: at ratio 0. With another installation also cpu_r0_vs_before,
        feed_r0_vs_before and tick_r0_vs_before."""
        out = {}
        dense, sparse, before = self.side(0.0), self.side(0.9), self.side(0.0, before=True)
        if dense and sparse:
            out["cpu_r90_vs_r0"] = round(sparse.median("cpu_percent") / dense.median("cpu_percent"), 3)
        if dense and before:
            out["cpu_r0_vs_before"] = round(dense.median("cpu_percent") / before.median("cpu_percent"), 3)
        if whole := [loop for loop in self.loops if loop.ratio == 0 and not loop.before]:
            for part in LOOP_PARTS:
                out[part] = round(median(getattr(loop, part) for loop in whole), 2)
        if whole and (other := [loop for loop in self.loops if loop.ratio == 0 and loop.before]):
            for part in ("feed", "tick"):
                here_ms, there_ms = (median(getattr(loop, f"{part}_ms") for loop in loops) for loops in (whole, other))
                out[f"{part}_r0_vs_before"] = round(here_ms / there_ms, 3)
        return out

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"summary": self.summary, **asdict(self)}


@dataclass(frozen=True)
class MemoryReport:
    """Memory of the whole node, and of the engine with one plan in a process of its own."""

    model: str
    version: str
    machine: dict[str, Any]
    load: str
    node_runs: tuple[NodeRun, ...]  # at ratio 0
    model_mb: tuple[float, ...]  # in use once the model is loaded, and the same at every ratio
    plan_mb: dict[str, tuple[float, ...]]  # ratio -> what its plan has in use besides [MB]
    streams: bool  # whether the node streams pictures of this model; the plans are measured with whole pictures

    @property
    def summary(self) -> dict[str, float]:
        """saving_r50 (share of the plan's memory), saving_with_model_r50 (of that of model and plan), node_rss_mb,
        first_prediction_s; medians, and the slowest of all starts.
        """
        starts = [run.first_prediction_s for run in self.node_runs]
        model_mb, whole_mb, half_mb = median(self.model_mb), median(self.plan_mb["0"]), median(self.plan_mb["0.5"])
        return {
            "saving_r50": round(1 - half_mb / whole_mb, 3),
            "saving_with_model_r50": round(1 - (model_mb + half_mb) / (model_mb + whole_mb), 3),
            "node_rss_mb": round(median(run.resident_mb for run in self.node_runs), 1),
            "first_prediction_s": round(median(starts), 2),
            "first_prediction_s_max": round(max(starts), 2),
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"summary": self.summary, **asdict(self)}


@dataclass(frozen=True)
class ReceiveRun:
    """One process that receives the reference load."""

    cpu_percent: float  # user and system time, of one core
    received_hz: dict[str, float]
    lost: int  # messages that were published and never taken
    received: int


@dataclass(frozen=True)
class ReceiveReport:
    """CPU time of the receive path against an ordinary node's, measured in turns."""

    model: str
    version: str
    machine: dict[str, Any]
    load: str
    seconds: float
    sides: dict[str, tuple[ReceiveRun, ...]]  # ordinary, watched, decoded
    overhead_ms_p99: tuple[float, ...]  # of the whole node on the same load

    def ratios(self, side: str) -> list[float]:
        """CPU time of a side against the ordinary node's, round by round."""
        pairs = zip(self.sides[side], self.sides["ordinary"], strict=True)
        return [run.cpu_percent / ordinary.cpu_percent for run, ordinary in pairs]

    @property
    def summary(self) -> dict[str, float]:
        """cpu_ratio of the side with model rows, lost messages in all of its rounds, overhead_ms_p99 (median)."""
        return {
            "cpu_ratio": round(median(self.ratios("decoded")), 3),
            "lost": float(sum(run.lost for run in self.sides["decoded"])),
            "overhead_ms_p99": round(median(self.overhead_ms_p99), 2),
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"summary": self.summary, **asdict(self)}


def spread(values: Sequence[float], form: str) -> str:
    """Median with the range of all values, as text."""
    low, high = min(values), max(values)
    text = format(median(values), form)
    return text if len(values) == 1 else f"{text} ({low:{form}} to {high:{form}})"
