"""Makes the ONNX Runtime session of a graph, with the options that suit small networks at batch size 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import CheckpointError
from .onnx_graph import OnnxGraph


def make_session(graph: OnnxGraph, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Any:
    """The session of a graph. ``providers``: execution providers, the preferred one first. Raises CheckpointError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = False  # each session's own would hold memory that no run needs; it makes nothing faster
    options.log_severity_level = 3  # errors only: what it warns about are its own optimisations
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would eat a core
    try:
        return onnxruntime.InferenceSession(graph.serialize(), options, providers=list(providers))
    except Exception as error:  # its errors have no class of their own in common
        raise CheckpointError(
            "the model's graph in ONNX Runtime", str(error), "a graph that it can run", "set backend to torch"
        ) from error
