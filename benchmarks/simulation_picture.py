"""Draws what the simulated sensors see of each ground class: docs/simulation.png.

python benchmarks/simulation_picture.py [--seed 40] [--out docs/simulation.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from sentryfuse_ros.simulation.ground import CLASSES  # noqa: E402
from sentryfuse_ros.simulation.nuisances import Nuisances  # noqa: E402
from sentryfuse_ros.simulation.run import Run  # noqa: E402

WINDOW_TICKS = 50
SPOILT = ("darkness=0.9", "fog=0.8", "mud=0.9", "darkness=0.7", "fog=0.6", "mud=0.6")


def one_second(name: str, seed: int, nuisances: list[str]) -> dict | None:
    """Readings of the first whole second on a ground, straight ahead; None where the run never has one."""
    run, ticks, sound, history = Run("train", seed, nuisances), [], [], None
    for tick in run.ticks(24.0):
        # Battery and odometry are the run's own and change; the rest is kept.
        ticks.append((tick.label, tick.imu, tick.camera, tick.lidar))
        if tick.audio is not None:
            sound.append(tick.audio)
        if len(ticks) % 10 or len(ticks) < WINDOW_TICKS + 10:
            continue
        history = ticks[-WINDOW_TICKS - 10 : -10]  # the sound is a block behind
        turning = np.abs(np.concatenate([t[1] for t in history])[:, 2].mean()) > 0.15
        if all(t[0] == name for t in ticks[-WINDOW_TICKS - 10 :]) and not turning:
            samples = np.concatenate(sound)
            end = (len(ticks) - 10) * 320 + 640
            return {
                "imu": np.concatenate([t[1] for t in history]),
                "audio": samples[end - WINDOW_TICKS * 320 : end] / 32768,
                "camera": [t[2] for t in history if t[2] is not None][-1],
                "lidar": np.concatenate([t[3] for t in history if t[3] is not None][-3:]),
            }
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=40, help="first training world to look at (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/simulation.png"))
    args = parser.parse_args()
    figure, axes = plt.subplots(
        len(CLASSES), 5, figsize=(15, 14.5), constrained_layout=True, gridspec_kw={"width_ratios": (1.1, 1.1, 1.2, 1.4, 1)}
    )
    speed = f"speed_mps={Nuisances().speed_mps}"
    for row, name, spoilt in zip(axes, CLASSES, SPOILT):
        for seed in range(args.seed, args.seed + 20):
            found = one_second(name, seed, ["none", speed])
            disturbed = found and one_second(name, seed, ["none", speed, spoilt])
            if disturbed:
                break
        row[0].imshow(found["camera"])
        row[0].set_ylabel(name, fontsize=15)
        row[1].imshow(disturbed["camera"])
        row[1].set_title(spoilt, fontsize=10)
        row[2].specgram(found["audio"] + 1e-9, NFFT=512, noverlap=384, Fs=16000, vmin=-125, vmax=-45)
        row[2].set_yticks([0, 2000, 4000, 6000, 8000], ["0", "2", "4", "6", "8 kHz"])
        time_s = np.arange(len(found["imu"])) / 200
        row[3].plot(time_s, found["imu"][:, 5] - found["imu"][:, 5].mean(), lw=0.8)
        row[3].set_ylim(-6, 6)
        row[3].set_ylabel("m/s²")
        points = found["lidar"]
        near = points[(np.abs(points[:, :2]).max(axis=1) < 2.5)]
        row[4].scatter(-near[:, 1], near[:, 0], c=near[:, 3], s=1.5, cmap="viridis", vmin=0, vmax=150)
        row[4].set_aspect("equal")
        for axis in (row[0], row[1], row[4]):
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], ("camera", f"camera, {SPOILT[0]}", "sound", "IMU, vertical", "LiDAR, intensity from above")):
        axis.set_title(title, fontsize=12)
    figure.savefig(args.out, dpi=60)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
