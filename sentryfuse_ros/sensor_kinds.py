"""The kinds of sensors that there are: the registry of their records, and the records of this package.

Settings, decoders, preprocessing, liveness, training and the network all look a kind up here and never compare its
name. A new kind is one `SensorKind` passed to `register`, by this package or by any other; test/test_sensor_kinds.py adds one.

This is the only file, apart from the table of commands and the list of public data sets, that names modules by strings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from .errors import ParameterError
from .sensor_kind import LazyImport, SensorKind, Stem, row_is_one_number

_registry: dict[str, SensorKind] = {}


def register(kind: SensorKind) -> SensorKind:
    """Make a kind known. Raises ParameterError where its name is taken. Returns the kind."""
    if kind.name in _registry:
        raise ParameterError(
            "sensor kind", repr(kind.name), "a name that is not registered yet", "rename the kind, or unregister the other first"
        )
    _registry[kind.name] = kind
    return kind


def unregister(name: str) -> None:
    """Forget a kind. Raises ParameterError where there is none of that name."""
    del _registry[sensor_kind(name).name]


@contextmanager
def registered(kind: SensorKind) -> Iterator[SensorKind]:
    """`register` a kind for the length of a `with` block, for tests and notebooks."""
    register(kind)
    try:
        yield kind
    finally:
        unregister(kind.name)


def sensor_kind(name: str) -> SensorKind:
    """The kind of that name. Raises ParameterError where there is none."""
    if name not in _registry:
        raise ParameterError("sensor kind", repr(name), "one of " + ", ".join(_registry), "correct it, or register the kind")
    return _registry[name]


def sensor_kinds() -> tuple[SensorKind, ...]:
    """All kinds, in the order of their registration."""
    return tuple(_registry.values())


def kind_of_message(msg_type: str) -> SensorKind | None:
    """The first kind with a decoder for a message type; None where no kind reads it."""
    return next((kind for kind in sensor_kinds() if msg_type in kind.decoders), None)


class _ReceivableKinds(Collection[str]):
    """Names of the kinds that a robot can receive, as they are registered at the moment of asking."""

    def __iter__(self) -> Iterator[str]:
        return (kind.name for kind in sensor_kinds() if kind.receivable)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


RECEIVABLE_KINDS: Collection[str] = _ReceivableKinds()


# ---- the kinds of this package; the input options are explained at the top of preprocessing/<kind>.py ---------------------

_FRAME_SLOT_OPTIONS = ("max_gap_s", "max_repeat_s")
_FORMER_FRAME_OPTIONS = {"hold_s": "max_repeat_s"}
_FRAME_STEMS = {
    "": Stem(
        LazyImport("sentryfuse_ros.model.tokenizers", "FrameTokenizer"),
        LazyImport("sentryfuse_ros.model.tokenizer_config", "FrameTokenizerConfig"),
        LazyImport("sentryfuse_ros.runtime.onnx_tokenizers", "frame_tokenizer"),
    ),
    "patches": Stem(
        LazyImport("sentryfuse_ros.model.patch_tokenizer", "PatchTokenizer"),
        LazyImport("sentryfuse_ros.model.patch_config", "PatchTokenizerConfig"),
        LazyImport("sentryfuse_ros.runtime.onnx_patches", "picture_reader"),
    ),
}
_SERIES_STEMS = {
    "": Stem(
        LazyImport("sentryfuse_ros.model.tokenizers", "SeriesTokenizer"),
        LazyImport("sentryfuse_ros.model.tokenizer_config", "SeriesTokenizerConfig"),
        LazyImport("sentryfuse_ros.runtime.onnx_tokenizers", "series_tokenizer"),
    )
}

register(
    SensorKind(
        "camera",
        input_axes=("K", "C", "H", "W"),
        input_builder=LazyImport("sentryfuse_ros.preprocessing.camera", "model_input"),
        validity=LazyImport("sentryfuse_ros.preprocessing.camera", "valid_cells"),
        augmentation=LazyImport("sentryfuse_ros.training.augment", "augment_camera"),
        quantities=LazyImport("sentryfuse_ros.sensing.camera_quantities", "camera_quantities"),
        weather=LazyImport("sentryfuse_ros.training.made_up_weather", "camera_weather"),
        lies=LazyImport("sentryfuse_ros.training.made_up_lies", "camera_lies"),
        stems=_FRAME_STEMS,
        options=(*_FRAME_SLOT_OPTIONS, "relative_depth", "centre_columns"),
        former_options=_FORMER_FRAME_OPTIONS,
        encodings={"depth_m": 1, "rgb": 3, "mono": 1},
        rows_adjoin=True,
        decoders={
            "sensor_msgs/msg/Image": LazyImport("sentryfuse_ros.decoders.image", "CameraDecoder"),
            "sensor_msgs/msg/CompressedImage": LazyImport("sentryfuse_ros.decoders.compressed_image", "CompressedCameraDecoder"),
        },
        picture=LazyImport("sentryfuse_ros.decoders.picture", "read_picture"),
        default_topic="camera/image_raw",
        queue_depth=6,
        row_rate_hz=60.0,
    )
)
register(
    SensorKind(
        "imu",
        input_axes=("T", "C"),
        input_builder=LazyImport("sentryfuse_ros.preprocessing.series", "model_input"),
        validity=LazyImport("sentryfuse_ros.preprocessing.series", "valid_cells"),
        augmentation=LazyImport("sentryfuse_ros.training.augment", "augment_imu"),
        quantities=LazyImport("sentryfuse_ros.sensing.series_quantities", "imu_quantities"),
        weather=LazyImport("sentryfuse_ros.training.made_up_weather", "imu_weather"),
        lies=LazyImport("sentryfuse_ros.training.made_up_lies", "imu_lies"),
        stems=_SERIES_STEMS,
        options=("max_gap_s",),
        channels=6,
        channel_names="gyro xyz, accel xyz",
        decoders={"sensor_msgs/msg/Imu": LazyImport("sentryfuse_ros.decoders.imu", "ImuDecoder")},
        default_topic="imu/data",
        queue_depth=200,
        row_rate_hz=1000.0,
        turn_columns=(0, 1, 2),
    )
)
_AUDIO_DECODER = LazyImport("sentryfuse_ros.decoders.audio", "AudioDecoder")
register(
    SensorKind(
        "audio",
        input_axes=("T", "C"),
        input_builder=LazyImport("sentryfuse_ros.preprocessing.audio", "model_input"),
        input_stream=LazyImport("sentryfuse_ros.preprocessing.mel_frames", "MelFrames"),
        validity=LazyImport("sentryfuse_ros.preprocessing.series", "valid_cells"),
        augmentation=LazyImport("sentryfuse_ros.training.augment", "augment_audio"),
        quantities=LazyImport("sentryfuse_ros.sensing.audio_quantities", "audio_quantities"),
        weather=LazyImport("sentryfuse_ros.training.made_up_weather", "audio_weather"),
        lies=LazyImport("sentryfuse_ros.training.made_up_lies", "audio_lies"),
        stems=_SERIES_STEMS,
        options=("sample_rate_hz", "n_fft", "f_min_hz", "f_max_hz", "log_floor"),
        spec_check=LazyImport("sentryfuse_ros.preprocessing.audio", "check_spec"),
        row_shape=row_is_one_number,
        decoders={
            "sentryfuse_ros/msg/AudioChunk": _AUDIO_DECODER,
            "audio_common_msgs/msg/AudioData": _AUDIO_DECODER,
            "audio_common_msgs/msg/AudioDataStamped": _AUDIO_DECODER,
            "audio_common_msgs/msg/AudioStamped": _AUDIO_DECODER,
        },
        headerless_types=("audio_common_msgs/msg/AudioData",),
        queue_depth=50,
        row_rate_hz=16000.0,
        row_rate_option="sample_rate_hz",
    )
)
register(
    SensorKind(
        "lidar",
        input_axes=("K", "C", "H", "W"),
        input_builder=LazyImport("sentryfuse_ros.preprocessing.lidar", "model_input"),
        validity=LazyImport("sentryfuse_ros.preprocessing.lidar", "valid_cells"),
        augmentation=LazyImport("sentryfuse_ros.training.augment", "augment_lidar"),
        quantities=LazyImport("sentryfuse_ros.sensing.lidar_quantities", "lidar_quantities"),
        weather=LazyImport("sentryfuse_ros.training.made_up_weather", "lidar_weather"),
        lies=LazyImport("sentryfuse_ros.training.made_up_lies", "lidar_lies"),
        stems=_FRAME_STEMS,
        options=(
            *_FRAME_SLOT_OPTIONS,
            "polar",
            "min_range_m",
            "max_range_m",
            "min_elevation_deg",
            "max_elevation_deg",
            "azimuth_fov_deg",
            "intensity_scale",
            "relief_columns",
            "relief_limit_m",
            "max_points",
        ),
        former_options=_FORMER_FRAME_OPTIONS,
        spec_check=LazyImport("sentryfuse_ros.preprocessing.lidar", "check_spec"),
        decoders={
            "sensor_msgs/msg/PointCloud2": LazyImport("sentryfuse_ros.decoders.point_cloud", "CloudDecoder"),
            "sensor_msgs/msg/LaserScan": LazyImport("sentryfuse_ros.decoders.laser_scan", "ScanDecoder"),
        },
        default_topic="lidar/points",
        queue_depth=4,
        row_rate_hz=40.0,
    )
)
register(
    SensorKind(
        "series",
        input_axes=("T", "C"),
        input_builder=LazyImport("sentryfuse_ros.preprocessing.series", "model_input"),
        validity=LazyImport("sentryfuse_ros.preprocessing.series", "valid_cells"),
        augmentation=LazyImport("sentryfuse_ros.training.augment", "augment_series"),
        quantities=LazyImport("sentryfuse_ros.sensing.series_quantities", "series_quantities"),
        weather=LazyImport("sentryfuse_ros.training.made_up_weather", "series_weather"),
        stems=_SERIES_STEMS,
        options=("max_gap_s",),
        field_decoder=LazyImport("sentryfuse_ros.decoders.series", "SeriesDecoder"),
        queue_depth=200,
        row_rate_hz=1000.0,
    )
)
