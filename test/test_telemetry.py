"""Nothing is reported to anybody: ONNX Runtime's own reports are switched off before it is imported."""

import os
import subprocess
import sys

import pytest

INFER = """
import numpy as np
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime.engine import Engine

engine = Engine.load(model_path("utd_mhad_depth_imu"), backend="onnxruntime")
engine.infer({spec.name: np.zeros(spec.shape, np.float32) for spec in engine.specs}, mask=[True, True], ratio=0.0)
"""


def run(code, tmp_path, **given):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), **given}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout


def test_inference_leaves_no_data_base_of_reports(tmp_path):
    run(INFER, tmp_path)
    left = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {("cache", "sentryfuse_ros")}


@pytest.mark.parametrize("given, kept", [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_a_user_who_has_set_the_variable_is_obeyed(tmp_path, given, kept):
    code = "import os, sentryfuse_ros; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(code, tmp_path, **given).strip() == kept
