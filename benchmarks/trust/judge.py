"""From what `collect` measured and the tables of a model: which lies are noticed, and what believing and masking them costs."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.sensing.quantities import quantities
from sentryfuse_ros.sensing.trust_table import Plausibility, TrustTable, tables_of
from sentryfuse_ros.training.examples import examples_of
from sentryfuse_ros.training.trust import Measured, Numbers, fit_measured, measure
from sentryfuse_ros.training.trust_run import windows_of

from .collect import CLEAN
from .lies import LIES

# Of which lies made up for the fitting a lie of a driver is an instance: it is also judged without them.
MADE_UP = {
    "colours_swapped": ("swapped",),
    "encoding_wrong": ("swapped",),
    "colours_rotated": ("rotated",),
    "yuv_as_rgb": ("yuv",),
    "no_blue": ("missing",),
    "grey": ("grey",),
    "inverted": ("inverted",),
    "exposed_3": ("over",),
    "exposed_quarter": ("under",),
    "defocused": ("blurred",),
    "random": ("random",),
    "covered_white": ("flat",),
    "blocks": ("blocks",),
    "accel_in_g": ("accel_in_g",),
    "g_and_deg_s": ("accel_in_g", "gyro_in_deg_s"),
    "gyro_in_deg_s": ("gyro_in_deg_s", "gyro_in_rpm"),
    "gyro_in_rpm": ("gyro_in_rpm", "gyro_in_deg_s"),
    "smoothed": ("smoothed",),
    "clipped": ("clipped",),
    "biased_gyro": ("gyro_biased",),
    "dead_gyro": ("gyro_dead",),
    "compressed_bytes": ("bytes",),
    "bytes_swapped": ("bytes",),
    "floats": ("bytes",),
    "u8": ("bytes",),
    "white_noise": ("noise",),
    "played_fast": ("fast",),
    "rate_aliased": ("doubled", "interleaved"),
    "s32": ("doubled", "interleaved"),
    "stereo_as_mono": ("doubled", "interleaved"),
    "gain_minus_15": ("quiet",),
    "gain_minus_30": ("quiet",),
    "gain_plus_12": ("loud",),
    "gain_plus_24": ("loud",),
    "muffled": ("muffled",),
    "thin": ("thin",),
    "feet": ("scaled",),
    "half": ("scaled",),
    "pitched_20": ("tilted",),
    "rolled_20": ("tilted",),
    "raised": ("raised",),
    "range_offset": ("offset",),
    "no_intensity": ("no_intensity", "intensity_small"),
    "intensity_of_1": ("intensity_small", "no_intensity"),
    "intensity_16_bit": ("intensity_large",),
    "intensity_random": ("intensity_random",),
}
# The sensors that a nuisance of the simulation disturbs.
DISTURBED = {"darkness": "camera", "fog": "camera", "mud": "camera", "wind": "audio", "dust": "lidar", "vibration": "imu"}
ENOUGH = 0.95  # share of the windows
APART_S = 0.75  # windows of a data set that are no farther apart follow each other
HARM_POINTS = 1.0  # a lie that costs more than this against the unplugged sensor, if believed, should be noticed


def verdicts(table: TrustTable, values: np.ndarray) -> np.ndarray:
    """`Plausibility` (n,) of quantities (n, q); NEAR where there are none, because nothing was judged."""
    if not values.shape[1]:  # not one window got past the decoder
        return np.zeros(len(values), int)
    z = table.deviations(values)
    distance, logits = table.distances(z), table.suspicions_of(z)
    found = (distance > table.far).astype(int) + (distance > table.implausible)
    for suspicion, own in zip(table.suspicions, logits):
        level = (own > suspicion.far).astype(int) + ((own > suspicion.implausible) & suspicion.masks)
        found = np.maximum(found, level)
    return np.where(np.isnan(values).all(axis=1), int(Plausibility.NEAR), found)


def judge(model: Path, windows: str, training: str, cache: Path) -> dict[str, Any]:
    """Everything that docs/TRUST.md shows."""
    checkpoint = read_checkpoint(model)
    tables = tables_of(checkpoint.trust, f"trust file of {model}")
    stored = np.load(cache / "windows.npz")
    labels = stored["labels"]
    rows: list[dict[str, Any]] = []
    for sensor, table in tables.items():
        arrays = np.load(cache / f"{sensor}.npz")
        without, clean = arrays[f"{CLEAN}/without"] == labels, arrays[f"{CLEAN}/predicted"] == labels
        for lie in (lie for lie in LIES if lie.sensor == sensor):
            seen = arrays[f"{lie.name}/seen"]
            believed = arrays[f"{lie.name}/predicted"] == labels
            level = verdicts(table, arrays[f"{lie.name}/quantities"])
            noticed = seen | (level == Plausibility.IMPLAUSIBLE)
            others = tuple(s for s in table.suspicions if s.name not in MADE_UP.get(lie.name, ()))
            unknown = verdicts(replace(table, suspicions=others), arrays[f"{lie.name}/quantities"])
            rows.append(
                {
                    "sensor": sensor,
                    "lie": lie.name,
                    "text": lie.text,
                    "by_decoder": _share(seen),
                    "noticed": _share(noticed),
                    "noticed_if_unknown": _share(seen | (unknown == Plausibility.IMPLAUSIBLE)),
                    "warned": _share(noticed | (level >= Plausibility.FAR)),
                    "clean": _points(clean),
                    "believed": _points(believed),
                    "masked": _points(np.where(noticed, without, believed)),
                    "unplugged": _points(without),
                }
            )
    harmful = [r for r in rows if r["unplugged"] - r["believed"] > HARM_POINTS or r["by_decoder"] >= ENOUGH]
    worst = min(rows, key=lambda r: r["masked"] - r["unplugged"])
    known, strange, false_by_sensor = _false_masks(checkpoint.config.modalities, tables, windows)
    new = _new_nuisances(checkpoint, windows, training)
    return {
        "machine": machine(1),
        "model": checkpoint.info.get("name"),
        "windows": len(labels),
        "drives": len(set(stored["drives"].tolist())),
        "lies": len(rows),
        "lies_that_harm": len(harmful),
        "lies_flagged": sum(r["noticed"] >= ENOUGH for r in harmful),
        "harmful_windows_flagged": round(float(np.mean([r["noticed"] for r in harmful])), 4),
        "worst_lie_vs_unplugged_points": round(worst["masked"] - worst["unplugged"], 2),
        "worst_lie": f"{worst['sensor']} {worst['lie']}",
        "false_mask_share": known,
        "false_implausible_share": strange,
        "false_mask_share_by_sensor": false_by_sensor,
        "false_mask_share_new_nuisance": max(n["masked"] for n in new),
        "new_nuisances": new,
        "rows": rows,
    }


def _share(flags: np.ndarray) -> float:
    return round(float(np.mean(flags)), 4)


def _points(correct: np.ndarray) -> float:
    return round(100 * float(np.mean(correct)), 2)


def _values(spec: Any, inputs: np.ndarray) -> np.ndarray:
    raw = replace(spec, mean=(), std=())
    found = [quantities(raw, np.asarray(x, np.float32)) for x in inputs]
    count = max(len(q) for q in found if q is not None)
    return np.array([list(q.values()) if q is not None else [np.nan] * count for q in found], np.float64)


def _test_windows(windows: str, specs: Any) -> WindowSet:
    loaded = dataset(windows).load(specs, ("test",))
    if not isinstance(loaded, WindowSet):
        raise DataError(f"data set {windows}", type(loaded).__name__, "a folder written by sentryfuse dataset", "give one")
    return loaded


def masked(implausible: np.ndarray, loaded: WindowSet) -> np.ndarray:
    """Which windows, in order of time, find the bit cleared: they and the one half a second before are implausible, as are then
    the three judgements between."""
    here, before = np.arange(1, len(loaded)), np.arange(len(loaded) - 1)
    follows = (loaded.recording[here] == loaded.recording[before]) & (loaded.end_s[here] - loaded.end_s[before] < APART_S)
    return np.concatenate(([False], implausible[here] & implausible[before] & follows))


def _false_masks(specs: Any, tables: dict[str, TrustTable], windows: str) -> tuple[float, float, dict[str, float]]:
    """Of all test windows, under all nuisances, in which a sensor tells the truth: the share with a sensor that is masked, the
    share with one whose window is implausible, and the former for each sensor."""
    loaded = _test_windows(windows, specs)
    strange = {
        spec.name: verdicts(tables[spec.name], _values(spec, loaded.rows(spec.name, np.arange(len(loaded)))))
        == Plausibility.IMPLAUSIBLE
        for spec in specs
        if spec.name in tables
    }
    cleared = {name: masked(flags, loaded) for name, flags in strange.items()}
    return (
        round(float(np.any(list(cleared.values()), axis=0).mean()), 5),
        round(float(np.any(list(strange.values()), axis=0).mean()), 5),
        {name: round(float(flags.mean()), 5) for name, flags in cleared.items()},
    )


def _new_nuisances(checkpoint: Any, windows: str, training: str) -> list[dict[str, Any]]:
    """For each nuisance, with tables fitted without every drive that has it: how many test windows with it are masked."""
    recipe = checkpoint.info["recipe"]
    source, test = dataset(training), _test_windows(windows, checkpoint.config.modalities)
    groups = [examples_of(source.load(checkpoint.config.modalities, recipe[g])) for g in ("train_groups", "validation_groups")]
    harmless = {
        name: {lie["name"] for lie in values["lies"] if not lie["masks"]} for name, values in checkpoint.trust["inputs"].items()
    }
    found = []
    for spec in checkpoint.config.modalities:
        own = [nuisance for nuisance, sensor in DISTURBED.items() if sensor == spec.name and nuisance in test.conditions]
        if not own:
            continue
        measured = measure(windows_of(spec, groups[0], groups[1]))
        assert measured is not None
        for nuisance in own:
            table = fit_measured(without_condition(measured, nuisance), ~measured.conditions[nuisance])
            table = replace(
                table, suspicions=tuple(replace(s, masks=s.name not in harmless[spec.name]) for s in table.suspicions)
            )
            under = test.select(test.conditions[nuisance])
            level = verdicts(table, _values(spec, under.rows(spec.name, np.arange(len(under)))))
            found.append(
                {
                    "sensor": spec.name,
                    "nuisance": nuisance,
                    "windows": len(under),
                    "masked": _share(masked(level == Plausibility.IMPLAUSIBLE, under)),
                    "implausible": _share(level == Plausibility.IMPLAUSIBLE),
                    "warned": _share(level >= Plausibility.FAR),
                }
            )
    return found


def without_condition(measured: Measured, condition: str) -> Measured:
    """The same, as if nobody had written down that condition."""
    assert isinstance(measured.clean, Numbers)
    return replace(measured, conditions={n: flags for n, flags in measured.conditions.items() if n != condition})


def markdown(result: dict[str, Any]) -> str:
    """The part of docs/TRUST.md that is measured."""
    harmful, flagged = result["lies_that_harm"], result["lies_flagged"]
    by_sensor = ", ".join(f"{n} {share:.2%}" for n, share in result["false_mask_share_by_sensor"].items())
    paragraphs = (
        f"`{result['model']}`, {result['lies']} lies told in the messages of {result['drives']} simulated drives of the test "
        f"set, {result['windows']} windows, by `python -m benchmarks.trust`. *Noticed* is the share of the windows that are "
        "implausible, or refused by the decoder, once the lie fills the part that is judged, a second after its beginning; with "
        "three in a row, the bit is cleared within two seconds. *Believed* is the accuracy in percent with the lying sensor, "
        "*masked* that in which the noticed windows are predicted without it, *unplugged* that without the sensor.",
        f"- {flagged} of the {harmful} lies that the decoder refuses, or that cost more than a point against the unplugged "
        f"sensor, are noticed in at least 95 % of the windows; of the windows of all {harmful}, "
        f"{result['harmful_windows_flagged']:.1%} are.",
        f"- The worst lie ({result['worst_lie']}) leaves the accuracy {-result['worst_lie_vs_unplugged_points']:.1f} points "
        "below that without the sensor.",
        f"- In {result['false_mask_share']:.2%} of all windows of the test set, under all nuisances, a sensor that tells the "
        f"truth is masked, that is, implausible there and half a second before ({by_sensor}). In "
        f"{result['false_implausible_share']:.2%}, one is implausible.",
        "- Under a nuisance that was left out of the fit, with every drive that has it, it is at most "
        f"{result['false_mask_share_new_nuisance']:.2%}.",
    )
    wrapped = [textwrap.fill(text, 140, subsequent_indent="  " * text.startswith("- ")) for text in paragraphs]
    summary = [wrapped[0], "", *wrapped[1:], ""]
    lines = [
        "| sensor | lie | noticed (by decoder) | if its kind was not made up | believed | masked | unplugged |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        harm = "**" if r["unplugged"] - r["masked"] > HARM_POINTS else ""
        by = f" ({r['by_decoder']:.0%})" if r["by_decoder"] else ""
        lines.append(
            f"| {r['sensor']} | {r['text']} | {r['noticed']:.0%}{by} | {r['noticed_if_unknown']:.0%} | {r['believed']:.1f} | "
            f"{harm}{r['masked']:.1f}{harm} | {r['unplugged']:.1f} |"
        )
    lines += [
        "",
        "| nuisance left out of the fit | sensor | windows | masked | implausible | warned of |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {n['nuisance']} | {n['sensor']} | {n['windows']} | {n['masked']:.2%} | {n['implausible']:.2%} | {n['warned']:.1%} |"
        for n in result["new_nuisances"]
    ]
    return "\n".join((*summary, *lines)) + "\n"
