"""The registry of sensor kinds, and a kind from outside the package on its way from message to prediction."""

import ast
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from series_maker import save_series_model

import sentryfuse_ros
from sentryfuse_ros.decoders.decoder import MessageDecoder, PayloadFault, Rejected
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.tokenizer_config import SeriesTokenizerConfig
from sentryfuse_ros.model.tokenizers import SeriesTokenizer
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.parameters import SENSOR_PARAMETERS
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.normalise import normalise, valid_cells
from sentryfuse_ros.preprocessing.series import rows_since_gap
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.sensor_kind import SensorKind, Stem
from sentryfuse_ros.sensor_kinds import (
    RECEIVABLE_KINDS,
    kind_of_message,
    register,
    registered,
    sensor_kind,
    sensor_kinds,
    unregister,
)
from sentryfuse_ros.settings import build_settings
from sentryfuse_ros.training.augment import Augment, augment_windows

RANGE = "sensor_msgs/msg/Range"
NOW_NS = 1_700_000_000 * NS_PER_S

# ---- a range finder, as another package would add it ------------------------------------------------------------------


@dataclass
class RangeReading:
    stamp_ns: int
    min_range: float
    max_range: float
    range: float


class RangeDecoder(MessageDecoder[RangeReading]):
    """sensor_msgs/Range -> rows (k, 1): the distance [m]."""

    kind = "rangefinder"
    msg_types = (RANGE,)
    default_limits = {"nearest_m": 0.02}

    def read_raw(self, reader):
        stamp_ns = reader.header()
        reader.uint8()  # radiation_type
        _, low, high, distance = reader.unpack(struct.Struct("<4f"), 4)
        return RangeReading(stamp_ns, low, high, distance)

    def read_object(self, message):
        raise NotImplementedError("only serialised messages reach this test")

    def fingerprint(self, reading):
        return struct.unpack("<I", struct.pack("<f", reading.range))[0]

    def check(self, reading):
        if not max(reading.min_range, self.limits["nearest_m"]) <= reading.range <= reading.max_range:
            raise Rejected(PayloadFault.OUT_OF_RANGE, RANGE, reading.range, "a distance the sensor can measure")

    def rows(self, reading, spec):
        return np.array([reading.stamp_ns], np.int64), np.array([[reading.range]], np.float32)


def newest_distance(row_stamp_ns, rows, end_ns, spec):
    """In every step of the window the newest distance that had been measured by its end."""
    steps = spec.shape[0]
    used = rows_since_gap(row_stamp_ns, end_ns - round(spec.window_s * NS_PER_S), end_ns, 10.0)
    step_end_ns = end_ns - np.arange(steps)[::-1] * round(spec.window_s * NS_PER_S / steps)
    index = np.searchsorted(row_stamp_ns[used], step_end_ns, side="right") - 1
    out = np.where(index[:, None] >= 0, rows[used][index], 0).astype(np.float32)
    return normalise(spec, out[None])[0]


def nonzero(spec, x):
    return x != 0


def scale(x, spec, augment, rng):
    return x * rng.uniform(0.9, 1.1, (len(x), 1, 1)).astype(np.float32)


RANGE_FINDER = SensorKind(
    "rangefinder",
    input_axes=("T", "C"),
    input_builder=newest_distance,
    validity=nonzero,
    augmentation=scale,
    stems={"": Stem(SeriesTokenizer, SeriesTokenizerConfig)},
    options=("tilt_deg",),
    channels=1,
    channel_names="distance",
    decoders={RANGE: RangeDecoder},
    default_topic="range",
    queue_depth=20,
    row_rate_hz=50.0,
    name_words=("rangefinder", "sonar"),
)


def range_message(stamp_ns, distance_m):
    """CDR bytes of a sensor_msgs/Range: header, radiation_type, field of view, limits and distance."""
    frame = b"sonar\0"
    body = struct.pack("<iII", stamp_ns // NS_PER_S, stamp_ns % NS_PER_S, len(frame)) + frame
    body += struct.pack("<B", 0)
    body += bytes(-len(body) % 4) + struct.pack("<4f", 0.3, 0.05, 5.0, distance_m)
    return b"\0\1\0\0" + body


@pytest.fixture
def range_finder():
    with registered(RANGE_FINDER) as kind:
        yield kind


def range_spec(**changes):
    fields = dict(name="front_sonar", kind="rangefinder", window_s=1.0, shape=(20, 1), mean=(2.0,), std=(1.0,))
    return ModalitySpec(**{**fields, **changes})


# ---- from message to prediction ---------------------------------------------------------------------------------------


@pytest.fixture
def pipeline(range_finder, tmp_path):
    """A fuser whose model has one input: the range finder's."""
    save_series_model(tmp_path / "model", [range_spec()], ("clear", "blocked"))
    settings = build_settings({"sensors": ["front_sonar"], "front_sonar.limits.nearest_m": 0.1})
    return Pipeline(settings, Engine.load(tmp_path / "model"))


def feed(pipeline, distances_m, from_ns=NOW_NS, rate_hz=20):
    """One message per distance and then a prediction; returns it."""
    for k, distance in enumerate(distances_m):
        now_ns = from_ns + k * NS_PER_S // rate_hz
        pipeline.feed("front_sonar", [range_message(now_ns, distance)], np.array([now_ns]), now_ns, now_ns)
    return pipeline.tick(now_ns)


def test_foreign_kind_runs_from_message_to_prediction(pipeline):
    distances = np.linspace(1.0, 3.0, 40)
    prediction = feed(pipeline, distances)
    assert prediction.valid and prediction.tick.serving == ("front_sonar",)
    assert prediction.tick.statuses["front_sonar"].state == State.OK
    np.testing.assert_allclose(prediction.tick.inputs["front_sonar"][:, 0], distances[20:] - 2.0, atol=1e-6)
    assert prediction.inference.probabilities.sum() == pytest.approx(1.0)


def test_foreign_kind_is_left_out_when_its_payload_is_bad(pipeline):
    assert feed(pipeline, np.linspace(1.0, 3.0, 20)).valid
    bad = feed(pipeline, [0.07] * 5, from_ns=NOW_NS + NS_PER_S)  # nearer than the limit in the settings
    assert not bad.valid and "OUT_OF_RANGE" in bad.tick.statuses["front_sonar"].reason


def test_settings_know_a_foreign_kind(range_finder):
    (sensor,) = build_settings({"sensors": ["front_sonar"]}).sensors
    assert (sensor.kind, sensor.topic, sensor.msg_type, sensor.queue_depth) == ("rangefinder", "front_sonar", RANGE, 20)
    (sensor,) = build_settings({"sensors": ["bumper"], "bumper.kind": "rangefinder"}).sensors
    assert sensor.kind == "rangefinder"
    assert build_settings({"sensors": ["rangefinder"]}).sensors[0].topic == "range"
    assert "rangefinder" in next(p for p in SENSOR_PARAMETERS if p.name == "kind").choices
    assert kind_of_message(RANGE) is range_finder


def test_foreign_kind_is_checked_augmented_and_tokenised(range_finder):
    spec = range_spec(options={"tilt_deg": 3.0})
    with pytest.raises(ParameterError, match="1 channels: distance"):
        range_spec(shape=(20, 2), mean=(), std=())
    with pytest.raises(ParameterError, match="tilt_deg"):
        range_spec(options={"tilt": 3.0})
    assert spec.row_shape == (1,)
    x = np.ones((4, 20, 1), np.float32)
    x[:, :5] = 0
    assert (valid_cells(spec, x) == (x != 0)).all()
    changed = augment_windows({"front_sonar": x}, [spec], Augment(erase=0.0), np.random.default_rng(0))["front_sonar"]
    assert (changed[:, :5] == 0).all() and len(np.unique(changed[:, 5:])) == 4


def test_a_kind_is_forgotten_when_it_is_unregistered():
    with registered(RANGE_FINDER):
        assert "rangefinder" in RECEIVABLE_KINDS
    assert "rangefinder" not in RECEIVABLE_KINDS
    for call in (lambda: sensor_kind("rangefinder"), lambda: unregister("rangefinder"), range_spec):
        with pytest.raises(ParameterError, match="rangefinder"):
            call()
    with pytest.raises(ParameterError, match="rangefinder"):
        build_settings({"sensors": ["x"], "x.kind": "rangefinder"})


# ---- the registry -----------------------------------------------------------------------------------------------------


def test_a_kind_is_registered_once(range_finder):
    with pytest.raises(ParameterError, match="not registered yet"):
        register(RANGE_FINDER)


def test_unknown_kind_is_named_with_those_that_exist():
    with pytest.raises(ParameterError, match="'sonar', expected one of camera, imu, audio, lidar, series"):
        sensor_kind("sonar")


@pytest.mark.parametrize(
    "change, word",
    [
        ({"name": "range finder"}, "letters"),
        ({"headerless_types": ("a/msg/B",)}, "headerless_types"),
        ({"row_rate_option": "rate_hz"}, "row_rate_option"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change, word):
    with pytest.raises(ParameterError, match=word):
        SensorKind(**{**{name: getattr(RANGE_FINDER, name) for name in RANGE_FINDER.__dataclass_fields__}, **change})


@pytest.mark.parametrize("kind", sensor_kinds(), ids=lambda kind: kind.name)
def test_every_part_of_a_kind_can_be_imported(kind):
    for stem in kind.stems.values():
        assert all(callable(part) for part in (stem.tokenizer_class(), stem.options_class(), stem.onnx_builder()))
    for part in (kind.input_builder, kind.validity, kind.augmentation, *([kind.spec_check] if kind.spec_check else [])):
        assert callable(part.load())
    for msg_type in kind.msg_types:
        decoder = kind.decoder_class(msg_type)
        assert decoder.kind == kind.name and msg_type in decoder.msg_types


def test_a_kind_without_decoder_cannot_be_received():
    with registered(replace(RANGE_FINDER, name="gas_meter", decoders={})) as kind:
        assert "gas_meter" not in RECEIVABLE_KINDS and not kind.reads(RANGE)
        with pytest.raises(ParameterError, match="no decoder"):
            kind.decoder_class(RANGE)


def test_a_series_is_of_any_message_type():
    assert "series" in RECEIVABLE_KINDS and kind_of_message("std_msgs/msg/Float32") is None
    assert sensor_kind("series").reads("my_robot_msgs/msg/Torque")


@pytest.mark.parametrize(
    "room", ["parameters.py", "settings.py", "preprocessing", "sensing", "model", "pruning", "runtime", "nodes"]
)
def test_rooms_for_all_kinds_do_not_name_one(room):
    """A kind's name in quotes in one of these rooms would be a second place that must know it."""
    path = Path(sentryfuse_ros.__file__).parent / room
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    found = [
        f"{file.name}:{node.lineno} {node.value!r}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in {kind.name for kind in sensor_kinds()}
    ]
    assert files and not found


def test_a_robot_with_an_imu_alone_does_not_load_opencv_or_torch():
    code = (
        "import sys\n"
        "from sentryfuse_ros.settings import build_settings\n"
        "from sentryfuse_ros.sensing.sensor import Sensor\n"
        "from sentryfuse_ros.preprocessing import ModalitySpec\n"
        "sensor = build_settings({'sensors': ['imu']}).sensors[0]\n"
        "Sensor(sensor, [ModalitySpec('imu', 'imu', 1.0, (20, 6))], None)\n"
        "print([name for name in ('cv2', 'torch') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
