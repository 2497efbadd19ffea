"""Runs a checkpoint on ONNX Runtime, without torch: one session per tokeniser, one per plan that was asked for.

Weights are cut in numpy and graphs are written directly (`onnx_tokenizers`, `onnx_fusion`): nothing is traced or exported.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..model.config import FuseConfig
from ..preprocessing import ModalitySpec
from . import onnx_fusion, onnx_tokenizers
from .onnx_fusion import KeptUnits
from .onnx_graph import OnnxGraph

PLANS_KEPT = 32  # sessions; a plan of the shipped model takes about 1.5 MB
PICTURES_KEPT = 64  # tokens of earlier pictures; a window of 2 s at 10 predictions a second meets 20
_PROBE_STRIDE = 997  # every so many-th number of a picture makes the key under which its token is looked up


class BackendOutput(NamedTuple):
    """logits (classes,) float32, not calibrated; attention_share (M,) float32, 0 for absent modalities."""

    logits: np.ndarray
    attention_share: np.ndarray


class OnnxBackend:
    """Forward passes at batch 1. ``weights`` are the checkpoint's tensors by name. One caller at a time."""

    name = "onnxruntime"

    def __init__(
        self,
        config: FuseConfig,
        weights: Mapping[str, np.ndarray],
        threads: int = 1,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ):
        self._config, self._weights = config, weights
        self._threads, self._providers = threads, list(providers)
        self._tokenizers = [self._make_tokenizer(i, spec) for i, spec in enumerate(config.modalities)]
        self._lengths = tuple(len(weights[f"positions.{i}"]) for i in range(len(config.modalities)))
        self._plans: OrderedDict[tuple, Any] = OrderedDict()

    def is_warm(self, mask: Sequence[bool], plan: Sequence[KeptUnits]) -> bool:
        """Whether `run` would find the plan's session made."""
        return _key(mask, plan) in self._plans

    def prepare(self, mask: Sequence[bool], plan: Sequence[KeptUnits]) -> None:
        """Make the plan's session, where it is not there yet; the one that was not used for longest makes room."""
        self._session_of(mask, plan)

    def run(self, inputs: Mapping[str, np.ndarray], mask: Sequence[bool], plan: Sequence[KeptUnits]) -> BackendOutput:
        """One window: inputs[name] float32 of spec.shape for every modality of the mask."""
        parts = [
            self._tokenizers[i].run(inputs[self._config.names[i]]) for i, here in enumerate(mask) if here
        ]
        tokens, seen = (part if len(parts) > 1 else part for part in zip(*parts))
        feeds = {onnx_fusion.TOKENS: np.concatenate(tokens), onnx_fusion.SEEN: np.concatenate(seen)}
        logits, share = self._session_of(mask, plan).run([onnx_fusion.LOGITS, onnx_fusion.ATTENTION_SHARE], feeds)
        return BackendOutput(logits[0], share[0])

    def _session_of(self, mask: Sequence[bool], plan: Sequence[KeptUnits]) -> Any:
        key = _key(mask, plan)
        session = self._plans.get(key)
        if session is None:
            graph = onnx_fusion.fusion_graph(self._config, self._weights, self._lengths, mask, plan)
            session = self._plans[key] = self._session(graph)
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return session

    def _session(self, graph: OnnxGraph) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = 3  # errors only: what it warns about are its own optimisations
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would eat a core
        return onnxruntime.InferenceSession(graph.serialize(), options, providers=self._providers)

    def _make_tokenizer(self, place: int, spec: ModalitySpec) -> SeriesSession | PictureSession:
        prefix, options = f"tokenizers.{place}.", self._config.tokenizer.get(spec.name, {})
        weights = {name[len(prefix) :]: w for name, w in self._weights.items() if name.startswith(prefix)}
        if len(spec.shape) == 2:
            return SeriesSession(self._session(onnx_tokenizers.series_tokenizer(spec, options, weights)))
        session = self._session(onnx_tokenizers.picture_tokenizer(spec, options, weights))
        alone = int(options.get("frames_per_token", 2)) == 1 and options.get("motion", "none") == "none"
        return PictureSession(session, spec.shape[0] if alone else 0)


class SeriesSession:
    """Tokens of a series, IMU or sound window."""

    def __init__(self, session: Any):
        self._session = session

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, C) -> tokens (N, D), seen (N,)."""
        tokens, seen = self._session.run([onnx_tokenizers.TOKENS, onnx_tokenizers.SEEN], {"steps": window})
        return tokens, seen


class PictureSession:
    """Tokens of a window of pictures. Where every picture makes one token of its own, those of earlier pictures are kept:
    the older pictures of a window were the newest ones of a window before."""

    def __init__(self, session: Any, pictures: int):
        """``pictures``: how many a window has, if each makes a token of its own; else 0, and nothing is kept."""
        self._session, self._pictures = session, pictures
        self._kept: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._order: deque[bytes] = deque()

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(K, C, H, W) -> tokens (N, D), seen (N,)."""
        if self._pictures < 2:
            return self._tokens(window)
        found = [self._kept.get(self._probe(picture)) for picture in window]
        # The probe only finds the candidate; the whole picture decides.
        found = [kept if kept is not None and np.array_equal(kept[0], p) else None for kept, p in zip(found, window)]
        fresh = [k for k, kept in enumerate(found) if kept is None]
        if fresh:
            tokens, seen = self._tokens(window if len(fresh) == len(window) else window[fresh])
            for row, k in enumerate(fresh):
                found[k] = self._keep(window[k].copy(), tokens[row], seen[row])
        return np.stack([kept[1] for kept in found if kept]), np.array([kept[2] for kept in found if kept], np.float32)

    def _tokens(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tokens, seen = self._session.run([onnx_tokenizers.TOKENS, onnx_tokenizers.SEEN], {"frames": pictures})
        return tokens, seen

    def _keep(self, picture: np.ndarray, token: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        key = self._probe(picture)
        if key not in self._kept:
            self._order.append(key)
            if len(self._order) > PICTURES_KEPT:
                del self._kept[self._order.popleft()]
        self._kept[key] = entry = (picture, token, seen)
        return entry

    @staticmethod
    def _probe(picture: np.ndarray) -> bytes:
        return picture.reshape(-1)[::_PROBE_STRIDE].tobytes()


def _key(mask: Sequence[bool], plan: Sequence[KeptUnits]) -> tuple:
    """Plans of the same units are the same, whatever ratio asked for them."""
    return tuple(mask), tuple((k.site, k.groups.tobytes(), k.heads.tobytes(), k.channels.tobytes()) for k in plan)
