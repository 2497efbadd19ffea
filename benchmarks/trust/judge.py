"""From what `collect` measured and the tables of a model: which lies are noticed, and what believing and masking them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.datasets import dataset
from sentryfuse_ros.datasets.windows import WindowSet
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.machine import machine
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.sensing.quantities import quantities
from sentryfuse_ros.sensing.trust_table import Plausibility, TrustTable, tables_of
from sentryfuse_ros.settings import build_settings
from sentryfuse_ros.training.examples import examples_of
from sentryfuse_ros.training.trust import Measured, Numbers, fit_measured, measure
from sentryfuse_ros.training.trust_run import windows_of

from .collect import CLEAN
from .drives import distrusted
from .lie import Lie
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
    "defocused": ("blurred", "soft"),
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
    "white_noise": ("noise", "hiss"),
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
    "no_intensity": ("no_intensity", "intensity_small", "intensity_weak"),
    "intensity_of_1": ("intensity_small", "no_intensity", "intensity_weak"),
    "intensity_16_bit": ("intensity_large",),
    "intensity_random": ("intensity_random",),
}
# The sensors that a nuisance of the simulation disturbs.
DISTURBED = {"darkness": "camera", "fog": "camera", "mud": "camera", "wind": "audio", "dust": "lidar", "vibration": "imu"}
ENOUGH = 0.95  # share of the windows
APART_S = 0.75  # windows of a data set that are no farther apart follow each other
BETWEEN_S = 0.16  # from one judgement to the next, where windows of a data set stand for several
NEVER, ALWAYS = 0.02, 0.98  # kinds that are noticed in a share of the windows between these are played in whole drives
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
    in_drives = {sensor: masks_in_drives(cache, sensor) for sensor in tables}
    if lacking := [sensor for sensor, played in in_drives.items() if CLEAN not in played]:
        raise DataError(
            f"cache {cache}", "no drives of " + ", ".join(lacking), "those of every sensor", "run the step drives first"
        )
    rows: list[dict[str, Any]] = []
    for sensor, table in tables.items():
        arrays, played = np.load(cache / f"{sensor}.npz"), in_drives[sensor]
        without, clean = arrays[f"{CLEAN}/without"] == labels, arrays[f"{CLEAN}/predicted"] == labels
        for lie in (lie for lie in LIES if lie.sensor == sensor):
            seen = arrays[f"{lie.name}/seen"]
            believed = arrays[f"{lie.name}/predicted"] == labels
            level = verdicts(table, arrays[f"{lie.name}/quantities"])
            noticed = seen | (level == Plausibility.IMPLAUSIBLE)
            others = tuple(s for s in table.suspicions if s.name not in MADE_UP.get(lie.name, ()))
            unknown = verdicts(replace(table, suspicions=others), arrays[f"{lie.name}/quantities"])
            masks = played.get(lie.name, noticed)
            costly = without & ~believed
            rows.append(
                {
                    "sensor": sensor,
                    "lie": lie.name,
                    "text": lie.text,
                    "by_decoder": _share(seen),
                    "noticed": _share(noticed),
                    "cleared": _share(masks),
                    "stays_cleared": _share(masks[_from_the_first(masks, stored["drives"])]) if masks.any() else None,
                    "noticed_if_unknown": _share(seen | (unknown == Plausibility.IMPLAUSIBLE)),
                    "warned": _share(noticed | (level >= Plausibility.FAR)),
                    "clean": _points(clean),
                    "believed": _points(believed),
                    "masked": _points(np.where(masks, without, believed)),
                    "unplugged": _points(without),
                    "costly_windows": int(costly.sum()),
                    "costly_cleared": int(masks[costly].sum()),
                    "not_cleared_believed": _points(believed[~masks]) if not masks.all() else None,
                    "not_cleared_unplugged": _points(without[~masks]) if not masks.all() else None,
                }
            )
    honest = {sensor: played[CLEAN] for sensor, played in in_drives.items()}
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
        "lies_flagged": sum(r["cleared"] >= ENOUGH for r in harmful),
        "harmful_windows_flagged": round(float(np.mean([r["cleared"] for r in harmful])), 4),
        "costly_windows": sum(r["costly_windows"] for r in harmful),
        "costly_windows_flagged": sum(r["costly_cleared"] for r in harmful),
        "worst_lie_vs_unplugged_points": round(worst["masked"] - worst["unplugged"], 2),
        "worst_lie": f"{worst['sensor']} {worst['lie']}",
        "false_mask_share": known,
        "false_implausible_share": strange,
        "false_mask_share_by_sensor": false_by_sensor,
        "false_mask_share_in_drives": round(float(np.any(list(honest.values()), axis=0).mean()), 5),
        "false_mask_share_in_drives_by_sensor": {name: round(float(flags.mean()), 5) for name, flags in honest.items()},
        "false_mask_share_new_nuisance": max(n["masked"] for n in new),
        "new_nuisances": new,
        "rows": rows,
    }


def partly_noticed(sensor: str, table: TrustTable, lies: Sequence[Lie], arrays: Mapping[str, np.ndarray]) -> dict[int, Lie]:
    """The lies of a sensor that are noticed in some windows only, by their place among them: in what follows from those windows,
    the order of the windows matters."""
    found = {}
    for place, lie in enumerate(lie for lie in lies if lie.sensor == sensor):
        level = verdicts(table, arrays[f"{lie.name}/quantities"])
        if NEVER < float((arrays[f"{lie.name}/seen"] | (level == Plausibility.IMPLAUSIBLE)).mean()) < ALWAYS:
            found[place] = lie
    return found


def masks_in_drives(cache: Path, sensor: str, suffix: str = "") -> dict[str, np.ndarray]:
    """By lie, in which windows the sensor was masked when whole drives were played; of the lies that `drives` has played."""
    file = cache / f"{sensor}{suffix}.drives.npz"
    return dict(np.load(file)) if file.exists() else {}


def _from_the_first(masks: np.ndarray, drives: np.ndarray) -> np.ndarray:
    """The windows (n,) of each drive from the first on that is masked."""
    return np.concatenate([np.maximum.accumulate(masks[drives == drive]) for drive in dict.fromkeys(drives.tolist())])


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


def twice(implausible: np.ndarray, loaded: WindowSet) -> np.ndarray:
    """Which windows, in order of time, are implausible as is the one half a second before them."""
    here, before = np.arange(1, len(loaded)), np.arange(len(loaded) - 1)
    follows = (loaded.recording[here] == loaded.recording[before]) & (loaded.end_s[here] - loaded.end_s[before] < APART_S)
    return np.concatenate(([False], implausible[here] & implausible[before] & follows))


def masked(spec: Any, table: TrustTable, values: np.ndarray, loaded: WindowSet) -> np.ndarray:
    """Which windows of drives find the bit cleared. They are half a second apart; each stands for the judgements just before and
    after it as well, so that there are as many as on the robot."""
    begins = np.diff(loaded.end_s, prepend=-np.inf)
    new = (loaded.recording != np.roll(loaded.recording, 1)) | (begins > APART_S) | (begins <= 0)
    moments_s = loaded.end_s[:, None] + np.array([-BETWEEN_S, 0.0, BETWEEN_S])
    end_ns = np.rint(moments_s * NS_PER_S).astype(np.int64).ravel()
    drives, three_times = np.repeat(np.cumsum(new), 3), np.repeat(values, 3, axis=0)
    settings = next(s for s in build_settings({}).sensors if s.name == spec.name)
    found = distrusted(
        spec, table, three_times, drives, end_ns, np.zeros(len(end_ns), bool), settings.invalid_samples, settings.good_samples
    )
    return found[1::3]


def _false_masks(specs: Any, tables: dict[str, TrustTable], windows: str) -> tuple[float, float, dict[str, float]]:
    """Of all test windows, under all nuisances, in which every sensor tells the truth: the share with a sensor that is
    implausible there and half a second before, the share with one that is implausible, and the former for each sensor."""
    loaded = _test_windows(windows, specs)
    strange = {
        spec.name: verdicts(tables[spec.name], _values(spec, loaded.rows(spec.name, np.arange(len(loaded)))))
        == Plausibility.IMPLAUSIBLE
        for spec in specs
        if spec.name in tables
    }
    cleared = {name: twice(flags, loaded) for name, flags in strange.items()}
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
            values = _values(spec, under.rows(spec.name, np.arange(len(under))))
            level = verdicts(table, values)
            found.append(
                {
                    "sensor": spec.name,
                    "nuisance": nuisance,
                    "windows": len(under),
                    "masked": _share(twice(level == Plausibility.IMPLAUSIBLE, under)),
                    "in_drives": _share(masked(spec, table, values, under)),
                    "implausible": _share(level == Plausibility.IMPLAUSIBLE),
                    "warned": _share(level >= Plausibility.FAR),
                }
            )
    return found


def without_condition(measured: Measured, condition: str) -> Measured:
    """The same, as if nobody had written down that condition."""
    assert isinstance(measured.clean, Numbers)
    return replace(measured, conditions={n: flags for n, flags in measured.conditions.items() if n != condition})
