"""The streams of a model: one for each of its cameras with a patch encoder. The engine runs them before a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import ParameterError
from ..model.checkpoint import Checkpoint
from ..model.patch_config import PatchTokenizerConfig
from ..preprocessing.picture_window import KnownPictures, PictureWindow
from ..preprocessing.spec import ModalitySpec
from ..sensor_kinds import sensor_kind
from .stream_config import StreamConfig
from .streamed_input import StreamedInput, StreamedTokens
from .window_encoder import WindowEncoder


class ModelStreams:
    """The streams of the inputs in `names`. `known` and `reset` may be called from any thread, `take` from one only."""

    def __init__(self, inputs: Mapping[str, StreamedInput]):
        self._inputs = dict(inputs)
        self.names = tuple(self._inputs)
        self.confidence = 1.0  # of the newest prediction since the streams were reset
        self._era = 0  # of the newest window

    @property
    def known(self) -> KnownPictures:
        """By input: how far its stream knows the pictures of a source."""
        return {name: stream.known for name, stream in self._inputs.items()}

    def reset(self) -> None:
        """Forget every picture."""
        for stream in self._inputs.values():
            stream.reset()

    def take(self, name: str, window: PictureWindow, ratio: float, size: int) -> StreamedTokens:
        """See `StreamedInput.take`. Raises ParameterError for an input that is not a stream."""
        if name not in self._inputs:
            raise ParameterError(f"model input {name!r}", "pictures of a stream", "a window", "stream it with `Engine.stream`")
        if window.era > self._era:  # here and not in `reset`, which may be called while a prediction from before it is made
            self._era, self.confidence = window.era, 1.0
        return self._inputs[name].take(window, ratio, self.confidence, size)


def model_streams(checkpoint: Checkpoint, wanted: str, threads: int = 1, providers: Sequence[str] = ()) -> ModelStreams:
    """The streams of a model whose checkpoint has a section `streaming`; without it, none.

    wanted: as the parameter `streaming`; auto streams where the checkpoint says so. Their sessions are warm. Raises
    ParameterError on a section that is wrong.
    """
    section = checkpoint.info.get("streaming")
    if wanted == "off" or not section:
        return ModelStreams({})
    config = StreamConfig.from_dict(section)
    if wanted == "auto" and not config.by_default:
        return ModelStreams({})
    inputs = {}
    for spec in checkpoint.config.modalities:
        if can_stream(checkpoint, spec):
            encoder = WindowEncoder(checkpoint, spec.name, threads, providers or ("CPUExecutionProvider",))
            inputs[spec.name] = StreamedInput(encoder, config)
            inputs[spec.name].warm()
    return ModelStreams(inputs)


def can_stream(checkpoint: Checkpoint, spec: ModalitySpec) -> bool:
    """Whether an input is a camera with a patch encoder whose pictures do not depend on the others in their window."""
    whole_window = spec.options.get("relative_depth") or spec.options.get("centre_columns")
    pictures = sensor_kind(spec.kind).picture is not None
    return pictures and isinstance(checkpoint.config.tokenizer[spec.name], PatchTokenizerConfig) and not whole_window
