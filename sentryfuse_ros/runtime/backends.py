"""Which backend runs a checkpoint. Each is imported only when it is chosen: a robot on ONNX Runtime never loads torch."""

from __future__ import annotations

import importlib.util

from ..errors import CheckpointError
from ..model.checkpoint import Checkpoint
from ..parameters import MOST_THREADS
from ..sensor_kinds import sensor_kind
from .backend import Backend
from .backend_times import fastest, kept_times

BACKENDS = ("auto", "onnxruntime", "torch")
DEVICES = ("cpu", "cuda", "auto")
CUDA_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


def load_backend(
    checkpoint: Checkpoint, backend: str = "auto", device: str = "cpu", threads: int = 1, gives_tokens: bool = False
) -> Backend:
    """The backend that runs a checkpoint. Raises CheckpointError where it is not installed or cannot run the model.

    ``auto`` takes the one that was measured as the fastest here (`backend_times`). Where none was measured yet, it is ONNX
    Runtime on a CPU, which was four to five times as fast wherever it was measured (docs/PERFORMANCE.md), and torch on CUDA.
    ``device`` auto takes CUDA where the chosen library has it. ``gives_tokens``: whether every run returns the tokens, for a
    caption head.
    """
    if backend not in BACKENDS:
        raise CheckpointError("backend", repr(backend), "one of " + ", ".join(BACKENDS), "correct the parameter backend")
    if device not in DEVICES:
        raise CheckpointError("device", repr(device), "one of " + ", ".join(DEVICES), "correct the parameter device")
    if not 1 <= threads <= MOST_THREADS:  # the libraries would start as many, and be busy with that for minutes
        raise CheckpointError("inference threads", threads, f"1 to {MOST_THREADS}", "correct --threads or inference_threads")
    if backend == "auto":
        able = candidates(checkpoint)
        times = kept_times(str(checkpoint.info.get("sha256", "")), able, device, threads) if len(able) > 1 else {}
        usual = "onnxruntime" if "onnxruntime" in able and device in ("cpu", "auto") else "torch"
        backend = fastest(times) if times else usual
    if importlib.util.find_spec(backend) is None:
        raise CheckpointError(f"backend {backend}", "not installed", f"the package {backend}", f"pip install {backend}")
    if backend == "onnxruntime":
        import onnxruntime

        from .onnx_backend import OnnxBackend

        cuda = [name for name in CUDA_PROVIDERS if name in onnxruntime.get_available_providers()]
        wanted = [] if device == "cpu" else cuda if device == "auto" else cuda or list(CUDA_PROVIDERS[1:])
        return OnnxBackend(checkpoint, threads, [*wanted, "CPUExecutionProvider"], gives_tokens)
    import torch

    from ..model.saved import network_of
    from .torch_backend import TorchBackend

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchBackend(network_of(checkpoint), device, threads, gives_tokens=gives_tokens)


def candidates(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The backends that are installed and can run a checkpoint."""
    return (
        *(("onnxruntime",) if _runs_on_onnx(checkpoint) else ()),
        *(("torch",) if importlib.util.find_spec("torch") is not None else ()),
    )


def _runs_on_onnx(checkpoint: Checkpoint) -> bool:
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    config = checkpoint.config
    stems = (sensor_kind(spec.kind).stem(config.tokenizer[spec.name].stem_name) for spec in config.modalities)
    return all(stem.onnx is not None for stem in stems)
