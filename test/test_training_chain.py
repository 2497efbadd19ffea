"""From nothing to an evaluated model by the commands that a user gives, in a clean folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentryfuse_ros.language.speaker import Speaker
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.runtime.engine import Engine

RECIPE = {
    "dataset": "windows",
    "train_groups": ["train"],
    "validation_groups": ["val"],
    "test_groups": ["test"],
    "modalities": [
        {"name": "camera", "kind": "camera", "encoding": "rgb", "window_s": 1.0, "shape": [1, 3, 27, 36]},
        {"name": "imu", "kind": "imu", "window_s": 1.0, "shape": [100, 6]},
        {"name": "audio", "kind": "audio", "window_s": 1.0, "shape": [40, 32], "options": {"n_fft": 640}},
        {
            "name": "lidar",
            "kind": "lidar",
            "window_s": 1.0,
            "shape": [1, 4, 16, 40],
            "options": {"min_elevation_deg": -45.6, "max_elevation_deg": 5.6, "max_range_m": 20, "intensity_scale": 0.0039},
        },
    ],
    "model": {
        "d_model": 32,
        "layers": 2,
        "num_kv_heads": 2,
        "heads_per_group": 2,
        "head_dim": 8,
        "ffn_dim": 64,
        "ratio_levels": [0.0, 0.5, 0.7],
        "tokenizer": {
            "camera": {"frames_per_token": 1, "stem_channels": [8, 16, 16], "grid": [1, 1]},
            "imu": {"steps_per_token": 20, "stem_channels": 16},
            "audio": {"steps_per_token": 10, "stem_channels": 16},
            "lidar": {"frames_per_token": 1, "stem_channels": [8, 16], "grid": [1, 2]},
        },
    },
    "epochs": 25,
    "batch": 16,
    "learning_rate": 0.003,
    "validate_every": 5,
    "augment": {"imu_rotation_deg": 5, "imu_jitter": 0.003, "lidar_noise": 0, "camera_noise": 0.02},
}


@pytest.fixture
def sentryfuse(tmp_path):
    """Runs the command in an empty folder and returns what it printed."""
    command = Path(sys.prefix) / "bin" / "sentryfuse"

    def call(*arguments, status=0):
        done = subprocess.run(
            [command, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "140"},
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return call


def test_simulate_dataset_train_evaluate(sentryfuse, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    # Undisturbed drives: a model can learn from a dozen of them, which are quick to simulate.
    drives = ("simulate", "--seed", 0, "--duration", 6, "--nuisance", "none", "--out", "worlds", "--jobs", 2)
    for split, count in (("train", 12), ("val", 2), ("test", 3)):
        sentryfuse(*drives, "--count", count, "--split", split)
    assert "0 of them made now" in sentryfuse(*drives, "--count", 2, "--split", "val")
    output = sentryfuse(
        "dataset", "worlds", "--labels", "intervals.csv", "--config", "recipe.yaml", "--out", "windows", "--stride", 0.25
    )
    assert (
        "train (12 bags)" in output and "have a change of label in them" in output and "/odom (nav_msgs/msg/Odometry)" in output
    )
    topic = sentryfuse("dataset", "worlds", "--labels", "/ground_truth/ground", "--config", "recipe.yaml", "--out", "by_topic")
    assert "17 bags" in topic
    about = json.loads((tmp_path / "windows" / "dataset.json").read_text())
    assert {bag["split"] for bag in about["bags"]} == {"train", "val", "test"} and len(about["classes"]) == 6

    output = sentryfuse("train", "--config", "recipe.yaml", "--out", "model")
    assert "epoch 25" in output
    assert list((tmp_path / "model" / "tensorboard").iterdir()) and (tmp_path / "model" / "metrics.csv").exists()
    info = Engine.load(tmp_path / "model").info
    assert info["command"].startswith("sentryfuse train") and info["data"]["train_groups"] == ["train"]
    assert set(info["metrics"]["validation_accuracy"]) == set(info["temperatures"]) and len(info["temperatures"]) == 15

    sentryfuse(
        "evaluate", "model", "windows", "--json", "out.json", "--html", "out.html", "--csv", "out.csv", "--latency-runs", 1
    )
    report = json.loads((tmp_path / "out.json").read_text())
    # A few short drives teach little, but more than to name the most frequent class (39 % of the test windows).
    assert report["summary"]["accuracy_all"] > 0.4 and report["summary"]["ece_mean"] < 0.5
    assert (tmp_path / "out.html").stat().st_size > 50_000 and len((tmp_path / "out.csv").read_text().splitlines()) == 46

    head = (
        "train-captions",
        "--model",
        "model",
        "--dataset",
        "windows",
        "--drives",
        "worlds",
        "--tokens",
        "tokens",
        "--batch",
        8,
    )
    assert "stated facts are true" in sentryfuse(*head, "--steps", 3)
    assert {path.name.rsplit("_", 1)[1] for path in (tmp_path / "tokens").iterdir()} == {"train.npz", "val.npz"}
    assert Speaker.load(tmp_path / "model", info["sha256"]).info["data"]["val"].endswith("windows of 2 drives")
    again = sentryfuse(*head, "--steps", 2, "--start-from", "model/captions.safetensors", "--out", "other.safetensors")
    assert "written to other.safetensors" in again
    (tmp_path / "worlds" / "val_000001" / "truth.csv").unlink()
    assert "truth of drive val_000001" in sentryfuse(*head, "--steps", 1, status=2)


def test_errors_are_one_clear_line(sentryfuse, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    assert "windows" in sentryfuse("train", "--config", "recipe.yaml", "--out", "m", status=2)
    assert "nowhere" in sentryfuse("dataset", "nowhere", "--labels", "x.csv", "--config", "recipe.yaml", "--out", "w", status=2)
    assert "recipe" in sentryfuse("train", "--config", "none.yaml", "--out", "m", status=2)
    shipped = share_path("models", "utd_mhad_depth_imu")
    assert "nowhere" in sentryfuse("evaluate", shipped, "nowhere", status=2)
