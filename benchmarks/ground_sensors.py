"""Whether one sensor is enough to tell the ground: simple features of one second, ExtraTrees, worlds never trained on.

    python benchmarks/ground_sensors.py --train 18 --test 6 --duration 30

Prints the accuracy of every set of sensors over all windows, and over the windows of each disturbance. This judges the simulation
and not our model. It needs scikit-learn, which nothing else here does: .venv/bin/pip install scikit-learn
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SENSORS = ("camera", "imu", "audio", "lidar")
WINDOW_TICKS, STRIDE_TICKS = 50, 25  # windows of 1 s, one every 0.5 s


def camera_features(frames: list[np.ndarray]) -> np.ndarray:
    """Colours, contrast and edges by scale of the newest two frames."""
    found: list[list[float]] = []
    for frame in (frames[-1], frames[len(frames) // 2]):
        picture = frame.astype(np.float32) / 255
        near = picture
        grey = near @ np.array([0.299, 0.587, 0.114], np.float32)
        mean = near.mean((0, 1))
        row = [*mean, *(mean / max(mean.sum(), 1e-3)), *near.std((0, 1)), *np.percentile(grey, (5, 25, 75, 95))]
        row += [np.median(near[..., 1] - near[..., 0]), np.median(near[..., 2] - near[..., 1])]
        level: np.ndarray = grey
        for _ in range(4):
            dx, dy = cv2.Sobel(level, cv2.CV_32F, 1, 0), cv2.Sobel(level, cv2.CV_32F, 0, 1)
            angle = np.abs(np.arctan2(dy, dx)).ravel()
            strength = np.hypot(dx, dy).ravel()
            bins = np.histogram(angle, 4, (0, np.pi), weights=strength)[0]
            row += [strength.mean(), strength.std(), np.percentile(strength, 95), *(bins / max(bins.sum(), 1e-6))]
            level = cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        row += list(cv2.resize(picture, (4, 3), interpolation=cv2.INTER_AREA).ravel())
        found.append(row)
    newest, middle = np.array(found)
    return np.concatenate([np.mean(found, axis=0), np.abs(newest - middle)[:14]])


def imu_features(samples: np.ndarray) -> np.ndarray:
    """Energy by frequency band of samples (n, 6), their spread and their peaks."""
    centred = samples - samples.mean(0)
    power = np.abs(np.fft.rfft(centred * np.hanning(len(samples))[:, None], axis=0)) ** 2
    edges = np.unique(np.geomspace(1, len(power) - 1, 15).astype(int))
    bands = np.log(np.add.reduceat(power, edges, axis=0) + 1e-6)
    spread = samples.std(0) + 1e-6
    return np.concatenate(
        [
            bands.ravel(),
            np.log(spread),
            (centred**4).mean(0) / spread**4,
            np.abs(centred).max(0) / spread,
            bands.max(0) - bands.mean(0),
            samples.mean(0),
        ]
    )


def audio_features(samples: np.ndarray) -> np.ndarray:
    """Level in 32 bands and its spread, and how impulsive the sound is."""
    frames = samples.astype(np.float32).reshape(-1, 640) / 32768
    power = np.abs(np.fft.rfft(frames * np.hanning(640), axis=1)) ** 2
    edges = np.unique(np.geomspace(2, 310, 33).astype(int))
    bands = np.log(np.add.reduceat(power, edges, axis=1) + 1e-7)
    peak = np.abs(frames).max(1) / (frames.std(1) + 1e-6)
    return np.concatenate(
        [
            bands.mean(0),
            bands.std(0),
            np.percentile(bands, 90, axis=0) - np.percentile(bands, 10, axis=0),
            [peak.mean(), peak.max(), np.log(frames.std() + 1e-6)],
        ]
    )


def lidar_features(clouds: list[np.ndarray]) -> np.ndarray:
    """Intensity and roughness of the ground by distance, from the newest three clouds."""
    found: list[list[float]] = []
    for cloud in clouds[-3:]:
        radius = np.hypot(cloud[:, 0], cloud[:, 1])
        row = [len(cloud) / 2560]
        for near, far in ((0.4, 0.7), (0.7, 1.1), (1.1, 1.8), (1.8, 3.0)):
            points = cloud[(radius >= near) & (radius < far) & (cloud[:, 2] < -0.2)]
            if len(points) < 12:
                row += [0.0] * 9
                continue
            plane = np.c_[points[:, :2], np.ones(len(points))]
            fit = np.median(points[:, 2])
            rest = points[:, 2] - plane @ np.linalg.lstsq(plane, points[:, 2], rcond=None)[0]
            intensity = points[:, 3]
            row += [
                intensity.mean(),
                np.median(intensity),
                intensity.std() / max(intensity.mean(), 1),
                rest.std(),
                np.percentile(rest, 5),
                np.percentile(rest, 95),
                np.abs(np.diff(rest)).mean(),
                fit,
                len(points),
            ]
        found.append(row)
    return np.mean(found, axis=0)


def windows(job: tuple[str, int, float]) -> dict[str, Any]:
    """Features of every window of one run (split, seed, duration_s) that lies on one kind of ground."""
    from sentryfuse_ros.simulation.run import Run

    split, seed, duration_s = job
    run = Run(split, seed)
    ticks = []
    sound: list[np.ndarray] = []
    features: dict[str, list[np.ndarray]] = {sensor: [] for sensor in SENSORS}
    labels = []
    for tick in run.ticks(duration_s):
        ticks.append((tick.label, tick.imu, tick.camera, tick.lidar))
        if tick.audio is not None:
            sound.append(tick.audio)
    audio = np.concatenate(sound)
    for end in range(WINDOW_TICKS, len(ticks) + 1, STRIDE_TICKS):
        window = ticks[end - WINDOW_TICKS : end]
        if len({label for label, *_ in window}) > 1 or end * 320 > len(audio):
            continue
        labels.append(window[0][0])
        features["imu"].append(imu_features(np.concatenate([t[1] for t in window])))
        features["camera"].append(camera_features([t[2] for t in window if t[2] is not None]))
        features["lidar"].append(lidar_features([t[3] for t in window if t[3] is not None]))
        features["audio"].append(audio_features(audio[(end - WINDOW_TICKS) * 320 : end * 320]))
    return {
        "split": split,
        "seed": seed,
        "labels": labels,
        "nuisances": run.nuisances.as_dict(),
        "disturbed": run.nuisances.disturbed(),
        **{s: np.array(f, np.float32) for s, f in features.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=18, help="number of training worlds")
    parser.add_argument("--test", type=int, default=6, help="number of test worlds")
    parser.add_argument("--duration", type=float, default=30, help="duration of each run [s]")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    try:
        from sklearn.ensemble import ExtraTreesClassifier
        from sklearn.metrics import confusion_matrix
    except ImportError:
        parser.error("no package scikit-learn, which nothing else here needs; install it with pip install scikit-learn")

    jobs = [("train", s, args.duration) for s in range(args.train)] + [("test", s, args.duration) for s in range(args.test)]
    runs = []
    with ProcessPoolExecutor(args.jobs) as pool:
        for run in pool.map(windows, jobs):
            runs.append(run)
            print(f"\r{len(runs)} of {len(jobs)} worlds", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    def gather(split: str, sensors: tuple[str, ...]) -> np.ndarray:
        return np.concatenate([np.concatenate([r[s] for s in sensors], axis=1) for r in runs if r["split"] == split])

    def labels(split: str) -> np.ndarray:
        return np.concatenate([r["labels"] for r in runs if r["split"] == split])

    truth = labels("test")
    tests = [r for r in runs if r["split"] == "test"]
    conditions = {"all": np.ones(len(truth), bool)}
    counts = [len(r["labels"]) for r in tests]
    conditions["undisturbed"] = np.repeat([not r["disturbed"] for r in tests], counts)
    for name in ("darkness", "fog", "mud", "wind", "dust", "vibration"):
        conditions[name] = np.repeat([name in r["disturbed"] for r in tests], counts)
    conditions["slow"] = np.repeat([r["nuisances"]["speed_mps"] < 0.65 for r in tests], counts)
    conditions["fast"] = np.repeat([r["nuisances"]["speed_mps"] > 0.95 for r in tests], counts)
    conditions["heavy"] = np.repeat([r["nuisances"]["payload_kg"] > 8 for r in tests], counts)
    conditions = {name: chosen for name, chosen in conditions.items() if chosen.any()}

    print(f"{len(labels('train'))} training windows, {len(truth)} test windows")
    print(" " * 25 + " ".join(f"{name[:9]:>9s}" for name in conditions))
    print(f"{'windows':25s}" + " ".join(f"{chosen.sum():9d}" for chosen in conditions.values()))
    table: dict[str, dict[str, float]] = {}
    chances = np.zeros((len(truth), len(set(labels("train")))))

    def show(name: str, predicted: np.ndarray) -> None:
        table[name] = {condition: float((predicted == truth)[chosen].mean()) for condition, chosen in conditions.items()}
        print(f"{name:25s}" + " ".join(f"{100 * score:9.1f}" for score in table[name].values()), flush=True)

    for size in (1, 2, 3, 4):
        for sensors in itertools.combinations(SENSORS, size):
            forest = ExtraTreesClassifier(300, min_samples_leaf=2, class_weight="balanced", random_state=0, n_jobs=args.jobs)
            chance = forest.fit(gather("train", sensors), labels("train")).predict_proba(gather("test", sensors))
            predicted = forest.classes_[chance.argmax(axis=1)]
            show("+".join(sensors), predicted)
            if size == 1:
                chances += np.log(chance + 0.02)
            if size in (1, 4):
                names = sorted(set(truth))
                confusion = confusion_matrix(truth, predicted, labels=names)
                worst = sorted(
                    ((confusion[i, j], a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j), reverse=True
                )[:4]
                print(" " * 25 + "confused: " + ", ".join(f"{a} as {b} {n}" for n, a, b in worst if n))
    # One forest on all features is misled by the sensors that are disturbed; four forests that vote are not.
    show("vote of the single sensors", forest.classes_[chances.argmax(axis=1)])
    if args.json:
        args.json.write_text(
            json.dumps(
                {"train_worlds": args.train, "test_worlds": args.test, "duration_s": args.duration, "accuracy": table}, indent=1
            )
            + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
