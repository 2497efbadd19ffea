"""A power budget held by measurement, against the straight line between two guesses, on a simulated board.

    .venv/bin/python -m benchmarks.power_loop [--json benchmarks/results/power_loop.json] [--figure docs/power_loop.png]

The board shows its power as Linux does, in a file of a hwmon folder, which the governor's own code reads.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sentryfuse_ros.files import write_atomically
from sentryfuse_ros.runtime.governor_config import GovernorConfig
from sentryfuse_ros.runtime.power_governor import PowerGovernor
from sentryfuse_ros.runtime.power_rails import power_rail

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BUDGET_W = 6.0
PERIOD_S = 0.2  # as fuse_node reads its sensor
LENGTH_S = 240.0
MEAN_S = 5.0  # power is held on average over this
WITHIN = 0.1  # the share of the budget that it may err by
START_S, CHANGE_S = 20.0, 10.0  # what the loop is given after the start, and after a jump of the load
SWING_S = 10.0  # a change of the ratio that is taken back within this time is a swing; the load's slow wave takes 31 s
SEEDS = range(12)  # of the sensor's noise
GUESSES = {
    "parameters as shipped": (5.0, 15.0),
    "measured on an idle board": (3.3, 6.3),
}  # power_budget_min_w, power_budget_max_w


class Board:
    """A computer that draws ``idle_w``, the load of other programs, and what inference takes at a ratio.

    Inference does not save in proportion to the ratio. The sensor lags (first order, ``lag_s``) and is noisy.
    """

    def __init__(
        self, folder: Path, seed: int = 0, idle_w: float = 2.3, dense_w: float = 4.0, sparse_w: float = 1.0, lag_s: float = 0.4
    ):
        chip = folder / "class" / "hwmon" / "hwmon0"
        chip.mkdir(parents=True)
        (chip / "name").write_text("ina3221\n")
        (chip / "in1_label").write_text("VDD_IN\n")
        (chip / "in1_input").write_text("5000\n")
        self._current_ma = chip / "curr1_input"
        self._random = np.random.default_rng(seed)
        self._idle_w, self._dense_w, self._sparse_w, self._lag_s = idle_w, dense_w, sparse_w, lag_s
        self.power_w = self._shown_w = idle_w
        self.run(0.0, 0.0, 0.0)

    def run(self, ratio: float, load_w: float, seconds: float) -> None:
        """Let time pass at a pruning ratio and a load."""
        inference_w = self._sparse_w + (self._dense_w - self._sparse_w) * (1 - ratio / LEVELS[-1]) ** 1.3
        self.power_w = self._idle_w + load_w + inference_w
        self._shown_w += (self.power_w - self._shown_w) * (1 - math.exp(-seconds / self._lag_s))
        self._current_ma.write_text(f"{(self._shown_w + self._random.normal(0, 0.05)) / 5.0 * 1e3:.0f}\n")


LOAD_STEPS = ((0.0, 0.2), (40.0, 1.4), (80.0, 0.6), (120.0, 1.9), (160.0, 0.0), (200.0, 1.0))  # from when [s], power [W]


def changing_load_w(t_s: float) -> float:
    """Other programs: steps of a navigation stack, and a slow wave."""
    return next(watts for start, watts in reversed(LOAD_STEPS) if t_s >= start) + 0.1 * math.sin(t_s / 5)


def settled(t_s: np.ndarray) -> np.ndarray:
    """Whether a time (n,) is away from the start and from the jumps of the load, bool (n,)."""
    jumps = [start for start, _ in LOAD_STEPS[1:]]
    return (t_s > START_S) & ~np.any([(t_s >= at) & (t_s < at + CHANGE_S) for at in jumps], axis=0)


class Trace(NamedTuple):
    """What the board did: time [s], power [W], ratio, each (n,)."""

    t_s: np.ndarray
    power_w: np.ndarray
    ratio: np.ndarray

    def mean_w(self) -> np.ndarray:
        """Running mean over MEAN_S, (n - k + 1,)."""
        k = round(MEAN_S / PERIOD_S)
        return np.convolve(self.power_w, np.ones(k) / k, "valid")

    def errors(self, only_settled: bool = False) -> np.ndarray:
        """Relative error of the running mean, of all (n - k + 1,) or of those that had time to settle."""
        mean_w = self.mean_w()
        errors = mean_w / BUDGET_W - 1
        return errors[settled(self.t_s[-len(mean_w) :])] if only_settled else errors

    def turns(self) -> int:
        """How often the ratio reversed its direction."""
        moves = np.sign(np.diff(self.ratio))
        moves = moves[moves != 0]
        return int(np.count_nonzero(np.diff(moves)))

    def swings(self) -> int:
        """Changes of the ratio that are taken back within SWING_S although the load does not jump."""
        moves = np.diff(self.ratio)
        t_s, moves = self.t_s[1:][moves != 0], moves[moves != 0]
        t_s, moves = t_s[settled(t_s)], moves[settled(t_s)]
        return int(np.count_nonzero((moves[1:] * moves[:-1] < 0) & (np.diff(t_s) < SWING_S)))

    def figures(self) -> dict[str, float]:
        """Errors in per cent of the budget, and what the ratio did."""
        errors = 100 * self.errors()
        return {
            "mean_error_percent": round(float(np.abs(errors).mean()), 1),
            "from_percent": round(float(errors.min()), 1),
            "to_percent": round(float(errors.max()), 1),
            "within_ten_percent_of_the_time": round(100 * float(np.mean(np.abs(errors) <= 100 * WITHIN)), 1),
            "largest_settled_error_percent": round(float(np.abs(100 * self.errors(only_settled=True)).max()), 1),
            "turns": self.turns(),
            "swings": self.swings(),
        }


def run_board(
    measured: bool,
    guess_w: tuple[float, float],
    load_w: Callable[[float], float] = changing_load_w,
    seed: int = 0,
    **board: float,
) -> Trace:
    """The governor on a board for LENGTH_S, by measurement or by the line between ``guess_w``."""
    with tempfile.TemporaryDirectory() as folder:
        computer = Board(Path(folder), seed, **board)
        rail = power_rail("hwmon", "VDD_IN", Path(folder))
        governor = PowerGovernor(GovernorConfig(p_min_w=guess_w[0], p_max_w=guess_w[1]), LEVELS, measured)
        governor.budget(BUDGET_W)
        rows = []
        for step in range(round(LENGTH_S / PERIOD_S)):
            t_s = step * PERIOD_S
            governor.measured_power(rail.read_w(t_s), t_s)
            ratio = governor.update(t_s).ratio
            computer.run(ratio, load_w(t_s), PERIOD_S)
            rows.append((t_s, computer.power_w, ratio))
    return Trace(*np.array(rows).T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--figure", type=Path, help="write a figure")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    traces = {(name, how): run_board(how == "measured", GUESSES[name]) for name in GUESSES for how in ("line", "measured")}
    noisy = [run_board(True, guess_w, seed=seed).figures() for guess_w in GUESSES.values() for seed in SEEDS]
    result = {
        "budget_w": BUDGET_W,
        "mean_over_s": MEAN_S,
        "runs": [{"guess": name, "guess_w": GUESSES[name], "how": how} | t.figures() for (name, how), t in traces.items()],
        "measured_with_other_noise": {
            "runs": len(noisy),
            "largest_settled_error_percent": max(figures["largest_settled_error_percent"] for figures in noisy),
            "swings": sum(figures["swings"] for figures in noisy),
        },
    }
    print(json.dumps(result, indent=1))
    if args.json:
        write_atomically(args.json, json.dumps(result, indent=1) + "\n")
    if args.figure:
        draw(traces, args.figure)


def draw(traces: dict[tuple[str, str], Trace], path: Path) -> None:
    """Power and ratio over time, one column for each guess."""
    import matplotlib
    from matplotlib.figure import Figure

    from sentryfuse_ros.reporting.style import BLUE, FAINT, FIGURE_STYLE, ORANGE

    with matplotlib.rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(11, 5), layout="constrained")
        axes = figure.subplots(2, len(GUESSES), sharex=True, sharey="row", squeeze=False)
        for column, (name, (low_w, high_w)) in enumerate(GUESSES.items()):
            power, ratio = axes[:, column]
            power.axhspan(0.9 * BUDGET_W, 1.1 * BUDGET_W, color=FAINT, alpha=0.25, lw=0)
            for how, colour in (("line", ORANGE), ("measured", BLUE)):
                trace = traces[name, how]
                mean_w = trace.mean_w()
                power.plot(trace.t_s[-len(mean_w) :], mean_w, color=colour, label=how)
                ratio.step(trace.t_s, trace.ratio, color=colour, where="post")
            power.set_title(f"{name}: {low_w:g} to {high_w:g} W", fontsize=10)
            ratio.set_xlabel("time [s]")
        axes[0, 0].set_ylabel(f"power, {MEAN_S:g} s mean [W]")
        axes[1, 0].set_ylabel("pruning ratio")
        axes[0, -1].legend(frameon=False, loc="upper right")
        figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
