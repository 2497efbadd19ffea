"""The record of a kind of sensor: what there is to know of a camera, an IMU, a microphone or a LiDAR; `sensor_kinds` lists them.

A kind's parts need OpenCV or torch and lie on higher floors of the package than this file; a `LazyImport` loads each part
when it is first used, as an entry point does. A robot with an IMU alone therefore never imports OpenCV, and nothing runs
up the floors. A kind that another package registers may hold the objects themselves instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from .errors import ParameterError


class InputSpec(Protocol):
    """What a kind reads of `preprocessing.ModalitySpec`, the description of one model input."""

    @property
    def name(self) -> str: ...
    @property
    def window_s(self) -> float: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def encoding(self) -> str: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def options(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class LazyImport:
    """An object named by module and attribute, imported when it is first used."""

    module: str
    attribute: str

    def load(self) -> Any:
        """The object itself."""
        return getattr(import_module(self.module), self.attribute)


# A function or class, or where to find it. Its arguments are described at the field of `SensorKind` that holds it.
Loadable = LazyImport | Callable[..., Any]


@cache
def _loaded(part: Loadable) -> Callable[..., Any]:
    return part.load() if isinstance(part, LazyImport) else part


def _row_is_one_step(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The first axis of the model input counts rows: a row has the shape of the others."""
    return input_shape[1:]


def row_is_one_number(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Many rows make one step of the model input, and each is a single number."""
    return ()


@dataclass(frozen=True)
class Stem:
    """What makes tokens of a model input: a tokeniser in torch, its options, and the same as an ONNX graph."""

    tokenizer: Loadable
    """A `model.tokenizers.Tokenizer` class: (spec, d_model, options) -> torch module from (B, *spec.shape) to tokens
    (B, N, d_model) and which are empty (B, N)."""
    options: Loadable
    """The record class of the tokeniser's options, a `model.tokenizer_config.TokenizerConfig`; it loads without torch."""
    onnx: Loadable | None = None
    """(graph, name, spec, options, weights) writes the tokeniser into a `runtime.onnx_graph.OnnxGraph`, with an input ``name``,
    and returns the name of its tokens (N, d_model); without one, a model with this stem runs on torch only."""

    def tokenizer_class(self) -> Callable[..., Any]:
        """Class of the network's tokeniser in torch."""
        return _loaded(self.tokenizer)

    def options_class(self) -> type[Any]:
        """Record class of the tokeniser's options."""
        return cast("type[Any]", _loaded(self.options))

    def onnx_builder(self) -> Callable[..., Any] | None:
        """What writes the tokeniser as an ONNX graph; None where there is none."""
        return None if self.onnx is None else _loaded(self.onnx)


def _twist_columns(value_names: Sequence[str], part: str) -> tuple[int, ...]:
    paths = [name.split(".") for name in value_names]
    return tuple(i for i, path in enumerate(paths) if part in path[:-1] and "accel" not in path)


@dataclass(frozen=True)
class SensorKind:
    """One kind of sensor. Raises ParameterError for a record that contradicts itself.

    `spec` is a `preprocessing.ModalitySpec`, and `rows` are what a decoder makes of the messages (`decoders.Batch`).
    """

    name: str

    # ---- the model input --------------------------------------------------------------------------------------------
    input_axes: tuple[str, ...]
    """Names of the axes of one window, without the batch: ("K", "C", "H", "W") for frames, ("T", "C") for a series."""
    input_builder: Loadable
    """(row_stamp_ns (k,), rows (k, ...), end_ns, spec) -> float32 `spec.shape`, exactly zero where there is no data."""
    validity: Loadable
    """(spec, x (n, *spec.shape)) -> bool mask that broadcasts with x: which cells hold data."""
    augmentation: Loadable
    """(x (n, *spec.shape), spec, Augment, numpy Generator) -> x changed at random; cells without data stay zero."""
    stems: Mapping[str, Stem]
    """What makes tokens of the model input, by the name that a recipe gives under `stem`; "" is the one that it need not name."""
    options: tuple[str, ...] = ()
    """Names that `spec.options` may have; the file of the input builder explains them."""
    former_options: Mapping[str, str] = field(default_factory=dict)
    """Present name of every option that was once called otherwise, so that older recipes and checkpoints stay readable."""
    channels: int = 0
    """Number of channels that every spec must have; 0 leaves it to the spec."""
    channel_names: str = ""
    """What the fixed channels are, for error texts."""
    encodings: Mapping[str, int] = field(default_factory=dict)
    """Number of channels of each `spec.encoding`; empty where the kind has no encodings."""
    input_stream: Loadable | None = None
    """Class, made of the spec, that makes the inputs of one window after another and keeps what they have in common, as
    `preprocessing.mel_frames.MelFrames` does; without one, every window is built anew."""
    spec_check: Loadable | None = None
    """(spec) -> anything; raises ParameterError where shape and options do not fit together."""
    row_shape: Callable[[tuple[int, ...]], tuple[int, ...]] = _row_is_one_step
    """(`spec.shape`) -> shape of one row."""
    quantities: Loadable | None = None
    """(spec, newest part of a window) -> {quantity: number}, by which a sensor that lies can be told (`sensing.quantities`). The
    lies of a kind without quantities are not noticed."""
    weather: Loadable | None = None
    """(spec, x `spec.shape` without mean and std, numpy Generator) -> x as weather, light or vibration might change it."""
    lies: Loadable | None = None
    """(spec) -> `training.made_up_lies.MadeUpLie` records: known ways in which drivers of the kind lie."""
    rows_adjoin: bool = False
    """Frames only: whether cells above one another are neighbours in the scene. They are in a camera image; the rows of a
    LiDAR's range image are rings that may lie metres apart."""

    # ---- the sensor; only for kinds that a robot can receive --------------------------------------------------------
    decoders: Mapping[str, Loadable] = field(default_factory=dict)
    """Decoder class of each message type that is read: (msg_type, spec, limits, deserialize) -> `decoders.Decoder`. The first
    type is the default. A kind without decoders and without `field_decoder` can be trained on data sets only."""
    field_decoder: Loadable | None = None
    """Decoder class for messages of any type, of which the sensor's parameter `fields` selects numbers. It takes a
    `decoders.FieldReading` after the other arguments of a decoder."""
    picture: Loadable | None = None
    """(msg_type, serialised message, limits) -> a picture for people, uint8 (H, W, 3), blue first, or None where it cannot be
    read. A kind whose messages are no pictures has none."""
    headerless_types: tuple[str, ...] = ()
    """Message types without a header: their messages are stamped with the time of arrival."""
    default_topic: str = ""
    """Topic of the sensor instance that bears the kind's name; empty: that name. Other instances default to their own name."""
    queue_depth: int = 10
    """Depth of the subscription's queue: two fuse periods and more at the usual rate. Fast DDS keeps memory for as many messages
    as the queue ever held."""
    row_rate_hz: float = 100.0
    """Rows per second that the buffer first makes room for when the sensor's rate is unknown; the buffer grows by itself."""
    row_rate_option: str = ""
    """Option of the spec that fixes the rate of the rows [Hz], where a message holds many rows; default `row_rate_hz`."""
    turn_columns: tuple[int, ...] = ()
    """Columns of the rows that are rates of turn [rad/s], see `motion_columns`."""
    name_words: tuple[str, ...] = ()
    """An instance whose name contains one of these words has this kind unless it says otherwise; empty: the kind's name."""

    def motion_columns(self, value_names: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Columns of the rows that are rates of turn [rad/s] and speeds [m/s] of the sensor's own body.

        A camera on the same body may ask them whether it moves. ``value_names``: paths of the fields that make the rows, where
        fields were selected; those of a geometry_msgs/Twist count, such as ``twist.twist.linear.x`` of nav_msgs/Odometry.
        """
        return self.turn_columns or _twist_columns(value_names, "angular"), _twist_columns(value_names, "linear")

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ParameterError("sensor kind name", repr(self.name), "letters, digits and _", "rename the kind")
        unknown = [name for name in self.headerless_types if name not in self.decoders]
        if unknown:
            raise ParameterError(
                f"sensor kind {self.name!r} headerless_types", unknown, "message types of its decoders", "add a decoder for them"
            )
        if self.row_rate_option and self.row_rate_option not in self.options:
            raise ParameterError(
                f"sensor kind {self.name!r} row_rate_option", self.row_rate_option, f"one of {self.options}", "list the option"
            )

    @property
    def made_of_frames(self) -> bool:
        """Whether a window is a few frames, each of which stands for a while, and not a series of steps."""
        return self.input_axes[0] == "K"

    # ---- messages ---------------------------------------------------------------------------------------------------

    @property
    def receivable(self) -> bool:
        """Whether a robot can have a sensor of the kind."""
        return bool(self.decoders) or self.field_decoder is not None

    def reads(self, msg_type: str) -> bool:
        """Whether messages of a type can be decoded."""
        return msg_type in self.decoders or self.field_decoder is not None

    @property
    def msg_types(self) -> tuple[str, ...]:
        """Message types that can be decoded, the default first."""
        return tuple(self.decoders)

    @property
    def default_msg_type(self) -> str:
        """Message type of a sensor that does not name one; empty where the kind has no decoder."""
        return next(iter(self.decoders), "")

    def decoder_class(self, msg_type: str) -> Callable[..., Any]:
        """Class that decodes a message type. Raises ParameterError for a type that no decoder of the kind reads."""
        if self.field_decoder is not None:
            return _loaded(self.field_decoder)
        if msg_type not in self.decoders:
            raise ParameterError(
                f"{self.name} message type",
                repr(msg_type),
                "one of " + ", ".join(self.decoders) if self.decoders else "none: this kind has no decoder",
                "set the sensor's parameter `type`, or convert the topic",
            )
        return _loaded(self.decoders[msg_type])

    def implied_by(self, instance: str) -> bool:
        """Whether the name of a sensor instance says that it is of this kind."""
        return any(word in instance.lower() for word in self.name_words or (self.name,))

    def buffer_rate_hz(self, options: Mapping[str, float], expected_rate_hz: float) -> float:
        """Rows per second to make room for at first.

        options: those of the spec. expected_rate_hz: messages per second, 0 where unknown.
        """
        if self.row_rate_option:
            return float(options.get(self.row_rate_option, self.row_rate_hz))
        return 2.0 * expected_rate_hz if expected_rate_hz else self.row_rate_hz

    # ---- model input, training and network ----------------------------------------------------------------------------

    def check_spec(self, spec: InputSpec) -> None:
        """Raises ParameterError where shape and options of a spec do not fit together."""
        if self.spec_check is not None:
            _loaded(self.spec_check)(spec)

    def picture_reader(self) -> Callable[..., Any] | None:
        """The function `picture`, None where the kind has none."""
        return None if self.picture is None else _loaded(self.picture)

    def build_input(self, row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: InputSpec) -> np.ndarray:
        """Rows (k, ...) at sorted stamps (k,) [ns], seen in the window that ends at ``end_ns`` -> `spec.shape` float32."""
        return _loaded(self.input_builder)(row_stamp_ns, rows, end_ns, spec)

    def make_input_stream(self, spec: InputSpec) -> Any | None:
        """What keeps the parts that windows have in common, for one sensor; None where the kind has none."""
        return None if self.input_stream is None else _loaded(self.input_stream)(spec)

    def valid_cells(self, spec: InputSpec, x: np.ndarray) -> np.ndarray:
        """Validity mask of windows (n, *spec.shape): bool, in a shape that broadcasts with x."""
        return _loaded(self.validity)(spec, x)

    def augment(self, x: np.ndarray, spec: InputSpec, strengths: object, rng: np.random.Generator) -> np.ndarray:
        """Normalised windows (n, *spec.shape), each changed at random; ``strengths`` is a `training.augment.Augment`."""
        return _loaded(self.augmentation)(x, spec, strengths, rng)

    def quantity_function(self) -> Callable[..., Any] | None:
        """The function `quantities`, None where the kind has none."""
        return None if self.quantities is None else _loaded(self.quantities)

    def weather_function(self) -> Callable[..., Any] | None:
        """The function `weather`, None where the kind has none."""
        return None if self.weather is None else _loaded(self.weather)

    def made_up_lies(self, spec: InputSpec) -> tuple[Any, ...]:
        """The lies of the kind that fit a spec."""
        return () if self.lies is None else tuple(_loaded(self.lies)(spec))

    def stem(self, name: str) -> Stem:
        """The stem that a recipe calls ``name``. Raises ParameterError where the kind has none of that name."""
        if name not in self.stems:
            named = ", ".join(repr(known) for known in self.stems if known)
            raise ParameterError(
                f"tokenizer stem of kind {self.name}",
                repr(name),
                f"{named}, or no stem named" if named else "no stem named",
                "correct the tokenizer section of the model in the training YAML",
            )
        return self.stems[name]
