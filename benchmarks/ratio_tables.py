"""Writes the tables on what a pruning ratio buys into the pages, from the committed results.

    python -m benchmarks.ratio_tables

reads `latency_ground_robot.json` and `latency_utd_mhad_depth_imu.json` (of `sentryfuse bench latency`), `ground_robot_time.json`
(of `sentryfuse evaluate --budget time`), `node.json` (of `sentryfuse bench node --before`), `memory.json` (of `sentryfuse bench
memory`) and `larger_network.json` (of `python -m benchmarks.larger_network`) in `benchmarks/results/`, and writes
docs/PERFORMANCE.md, docs/RESULTS.md and the README. A test compares the pages with the results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sentryfuse_ros.reporting.page_parts import insert, markdown_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = {"camera": "camera", "imu": "IMU", "audio": "sound", "lidar": "LiDAR"}
BATTERY = {0.0: "80 % and more", 0.3: "50 %", 0.5: "35 %", 0.7: "20 %", 0.9: "10 % and less"}  # of config/fuse.yaml
GOAL_RATIOS = (0.5, 0.7, 0.9)
LAYERS = 6  # of the larger network
RATIO_MARK, GOAL_MARK, BATTERY_MARK, NODE_MARK, NODE_GOAL_MARK, LARGER_MARK = (
    f"python -m benchmarks.ratio_tables: {part}"
    for part in ("ratios", "goals", "battery", "node", "goals of the node", "larger network")
)


def result(name: str) -> dict[str, Any]:
    """One of the committed results."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


class Judged:
    """Accuracy in percent on the test drives, by ratio."""

    def __init__(self, rows: list[Mapping[str, Any]]):
        self._rows = rows

    def all_live(self, ratio: float, key: str = "accuracy") -> float:
        """With all sensors."""
        (row,) = (row for row in self._rows if row["ratio"] == ratio and "0" not in row["mask"])
        return 100 * float(row[key])

    def one_missing(self, ratio: float) -> float:
        """The mean over the sets of sensors in which one is missing."""
        found = [float(row["accuracy"]) for row in self._rows if row["ratio"] == ratio and row["mask"].count("0") == 1]
        return 100 * sum(found) / len(found)


def ratio_table() -> str:
    """By ratio: what runs, how long it takes, and how accurate it is."""
    plans = [plan for plan in result("latency_ground_robot.json")["plans"] if not plan["missing"]]
    judged, whole_ms = Judged(result("ground_robot_time.json")["rows"]), plans[0]["median_ms"]
    head = ("r", "ms", "speed, r = 0 is 1", "sensors used", "layers", "accuracy, all live", "mean over one missing")
    rows = [
        (
            f"{plan['ratio']:g}",
            f"{plan['median_ms']:.2f}",
            f"{whole_ms / plan['median_ms']:.1f}",
            _sensors(plan),
            str(plan["layers"]),
            f"{judged.all_live(plan['ratio']):.1f}",
            f"{judged.one_missing(plan['ratio']):.1f}",
            f"{judged.all_live(plan['ratio'], 'accuracy_all_moments'):.1f}",
        )
        for plan in plans
    ]
    return markdown_table((*head, "all live, all moments"), rows)


def _sensors(plan: Mapping[str, Any]) -> str:
    used = [NAMES[name] + (f" ({stem})" if stem else "") for name, stem in zip(plan["used"], plan["stems"])]
    return ", ".join(used) + ("; pictures held" if plan["hold_s"] else "")


def goal_table() -> str:
    """What the ratios had to reach, and what they reached."""
    summary, other = (result(f"latency_{name}.json")["summary"] for name in ("ground_robot", "utd_mhad_depth_imu"))
    judged = Judged(result("ground_robot_time.json")["rows"])
    lost = [judged.all_live(0.0) - judged.all_live(r) for r in GOAL_RATIOS]
    lost_missing = [judged.one_missing(0.0) - judged.one_missing(r) for r in GOAL_RATIOS]
    speeds, others = ([s[f"speedup_r{100 * r:.0f}_same_backend"] for r in GOAL_RATIOS] for s in (summary, other))
    rows = (
        ("speed at r = .5 / .7 / .9, r = 0 is 1", "1.9 / 3.2 / 6", _slashed(speeds)),
        ("points lost at r = .5 / .7 / .9, all sensors live", "1 / 2 / 6", _slashed(lost)),
        ("points lost at r = .5 / .7 / .9, mean over one missing", "2 / 3.5 / 8", _slashed(lost_missing)),
        (
            "speed of r = 0 against this package before it ran on ONNX Runtime (`--before`)",
            "4.5",
            f"{summary['speedup_r0_vs_before']:.1f}",
        ),
        (
            "speed of r = .7 against the same network in eager torch with ordinary attention",
            "14",
            f"{summary['speedup_r70_vs_user']:.1f}",
        ),
        ("first inference after a change of plan, 99th percentile", "5 ms", f"{summary['switch_ms_p99']:.1f} ms"),
        ("`utd_mhad_depth_imu`: speed at r = .5 / .7 / .9", "1.9 / 3.2 / 6", _slashed(others)),
    )
    return markdown_table(("with all sensors live", "goal", "reached"), rows)


def _slashed(values: list[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


def battery_table() -> str:
    """By charge of the battery: what the README shows."""
    ms = {plan["ratio"]: plan["median_ms"] for plan in result("latency_ground_robot.json")["plans"] if not plan["missing"]}
    judged, cpu = Judged(result("ground_robot_time.json")["rows"]), node_cpu()
    rows = [
        (
            charge,
            f"{ratio:g}".removeprefix("0") or "0",
            f"{ms[ratio]:.2f} ms",
            f"{judged.all_live(ratio):.1f} %",
            f"{judged.all_live(ratio, 'accuracy_all_moments'):.1f} %",
            cpu[ratio],
        )
        for ratio, charge in BATTERY.items()
    ]
    return markdown_table(("battery", "ratio", "inference", "accuracy", "at all moments", "whole node, of a core"), rows)


def node_cpu() -> dict[float, str]:
    """By ratio, the CPU time of the node: the mean of its runs."""
    means = {side["ratio"]: _mean(run["cpu_percent"] for run in side["runs"]) for side in _sides() if not side["before"]}
    return {ratio: f"{percent:.0f} %" for ratio, percent in means.items()}


def node_table() -> str:
    """CPU time, memory and start of the node, from the least to the most of its runs."""
    rows = [
        (
            ("before, " if side["before"] else "") + f"r = {side['ratio']:g}",
            _range([run["cpu_percent"] for run in side["runs"]], ".1f"),
            _range([run["resident_mb"] for run in side["runs"]], ".0f") + " MB",
            _range([run["first_prediction_s"] for run in side["runs"]], ".1f") + " s",
        )
        for side in sorted(_sides(), key=lambda side: (not side["before"], side["ratio"]))
    ]
    return markdown_table(("node", "CPU, % of a core", "resident", "launch to first prediction"), rows)


def node_goal_table() -> str:
    """What the node had to reach, and what it reached."""
    node, memory = result("node.json"), result("memory.json")
    cpu = {(side["before"], side["ratio"]): _mean(run["cpu_percent"] for run in side["runs"]) for side in node["sides"]}
    now, end, before = (_loop(node["loops"], *which) for which in ((False, 0.0), (False, 0.9), (True, 0.0)))
    whole_mb, half_mb, model_mb = (_mean(values) for values in (*memory["plan_mb"].values(), memory["model_mb"]))
    with_model = 1 - (model_mb + half_mb) / (model_mb + whole_mb)
    summary = memory["summary"]
    rows = (
        ("CPU at r = 0 against before", "0.7", f"{cpu[False, 0.0] / cpu[True, 0.0]:.2f}"),
        (
            "CPU at r = 0.9 against r = 0",
            "0.4",
            f"{cpu[False, 0.9] / cpu[False, 0.0]:.2f}; against r = 0 before, {cpu[False, 0.9] / cpu[True, 0.0]:.2f}",
        ),
        ("CPU at r = 0.5 against r = 0", "", f"{cpu[False, 0.5] / cpu[False, 0.0]:.2f}"),
        (
            "memory of the plan, r = 0.5 against r = 0",
            "-40 %",
            f"-{100 * (1 - half_mb / whole_mb):.0f} % ({whole_mb:.1f} and {half_mb:.1f} MB); with the model's {model_mb:.1f} MB, "
            f"-{100 * with_model:.0f} %",
        ),
        ("resident memory of the node", "140 MB", f"{summary['node_rss_mb']:.0f} MB"),
        ("launch to first prediction, median", "1.3 s", f"{summary['first_prediction_s']:.2f} s"),
        (
            "feeding 100 ms of the load, without middleware",
            "0.5 ms",
            f"{now['feed_ms']:.1f} ms at r = 0, {end['feed_ms']:.1f} ms at r = 0.9; before {before['feed_ms']:.1f} ms",
        ),
        (
            "a tick without inference, without middleware",
            "0.4 ms",
            f"{now['tick_ms']:.2f} ms at r = 0, {end['tick_ms']:.2f} ms at r = 0.9; before {before['tick_ms']:.1f} ms",
        ),
    )
    return markdown_table(("the whole node", "goal", "reached"), rows)


def _loop(loops: Sequence[Mapping[str, Any]], before: bool, ratio: float) -> dict[str, float]:
    """The mean of the runs of one version at one ratio."""
    runs = [run for run in loops if run["before"] == before and run["ratio"] == ratio]
    return {key: _mean(run[key] for run in runs) for key in ("feed_ms", "tick_ms")}


def larger_network_table() -> str:
    """By ratio, what runs of the larger network, and its time beside that of its matrix products."""
    head = ("r", "layers", "ms", "speed, r = 0 is 1", "its matrix products, ms", "plan over products")
    rows = [
        (
            f"{row['ratio']:g}",
            f"{row['layers']} of {LAYERS}" + (f", units of r = {row['units_level']:g}" if row["units_level"] else ""),
            f"{row['plan_ms']:.1f}",
            f"{row['speedup_over_ratio_0']:.2f}",
            f"{row['products_ms']:.1f}",
            f"{row['plan_over_products']:.2f}",
        )
        for row in result("larger_network.json")["rows"]
    ]
    return markdown_table(head, rows)


def _sides() -> list[dict[str, Any]]:
    return list(result("node.json")["sides"])


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _range(values: Sequence[float], form: str) -> str:
    least, most = format(min(values), form), format(max(values), form)
    return least if least == most else f"{least} to {most}"


def write_pages(root: Path = ROOT) -> None:
    """Write all tables into the pages below ``root``. Raises DataError where a mark is missing."""
    performance = {
        RATIO_MARK: ratio_table(),
        GOAL_MARK: goal_table(),
        LARGER_MARK: larger_network_table(),
        NODE_MARK: node_table(),
        NODE_GOAL_MARK: node_goal_table(),
    }
    insert(root / "docs" / "PERFORMANCE.md", performance)
    insert(root / "docs" / "RESULTS.md", {RATIO_MARK: ratio_table()})
    insert(root / "README.md", {BATTERY_MARK: battery_table()})


if __name__ == "__main__":
    write_pages()
