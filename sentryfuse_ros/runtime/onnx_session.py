"""Makes the ONNX Runtime session of a graph, with the options that suit small networks at batch size 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from ..errors import CheckpointError
from .onnx_graph import OnnxGraph

CPU = ("CPUExecutionProvider",)
SHARED_BYTES = 1024  # smaller constants are not worth sharing


class SharedWeights:
    """Weights that several sessions on the CPU have in common. Each is held once, for as long as a session uses it."""

    def __init__(self) -> None:
        self._values: WeakValueDictionary[bytes, Any] = WeakValueDictionary()

    def of(self, constants: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """By name, ONNX Runtime's values of the larger arrays; equal arrays have the same value."""
        import onnxruntime

        found = {}
        for name, array in constants.items():
            if array.nbytes < SHARED_BYTES:
                continue
            key = sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).digest()
            value = self._values.get(key)
            if value is None:
                # A copy, because a view would hold all of the array that it is a part of.
                value = self._values[key] = onnxruntime.OrtValue.ortvalue_from_numpy(array.copy())
            found[name] = value
        return found


def make_session(
    graph: OnnxGraph,
    threads: int = 1,
    providers: Sequence[str] = CPU,
    shared: SharedWeights | None = None,
    optimised: bool = True,
) -> Any:
    """The session of a graph. Raises CheckpointError.

    ``providers``: execution providers, the preferred one first. ``shared``: where sessions find the weights that they have in
    common, for the CPU alone. ``optimised``: whether ONNX Runtime may change the graph: that takes as long as all the rest, and
    makes convolutions in two dimensions faster and nothing else that this package writes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = False  # each session's own would hold memory that no run needs; it makes nothing faster
    options.log_severity_level = 3  # errors only: what it warns about are its own optimisations
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would eat a core
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    weights = shared.of(graph.constants) if shared is not None else {}
    for name, value in weights.items():
        options.add_initializer(name, value)
    try:
        session = onnxruntime.InferenceSession(graph.serialize(), options, providers=list(providers))
    except Exception as error:  # its errors have no class of their own in common
        raise CheckpointError(
            "the model's graph in ONNX Runtime", str(error), "a graph that it can run", "set backend to torch"
        ) from error
    session.shared_weights = weights  # it only points at them
    if hasattr(session, "_model_bytes"):  # kept to begin anew with other providers, and as large as the weights themselves
        session._model_bytes = None
    return session


class BoundSession(NamedTuple):
    """A session with a binding of its inputs and outputs to arrays, which whoever runs it keeps."""

    run: Callable[[], object]
    session: Any  # holds the weights
    binding: Any


def bound_arrays(session: Any, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Any:
    """A binding of a session on the CPU to arrays, which it reads and writes where they are. Whoever runs it keeps them."""
    import onnxruntime

    binding, value = session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, value(array))
    for name, array in outputs.items():
        binding.bind_ortvalue_output(name, value(array))
    return binding


def bound_session(session: Any, binding: Any) -> BoundSession:
    """Spares the checks that ONNX Runtime's Python class makes on every run, most of which are about a WebGPU: some microseconds,
    where a graph of many small steps takes forty."""
    if hasattr(session, "_sess") and hasattr(binding, "_iobinding"):
        return BoundSession(partial(session._sess.run_with_iobinding, binding._iobinding, None), session, binding)
    return BoundSession(partial(session.run_with_iobinding, binding), session, binding)
