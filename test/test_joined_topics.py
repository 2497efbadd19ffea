"""One model input from several topics: on one grid, live when all of its sensors are, from recordings and from messages."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_maker import T0
from cdr_messages import raw
from joined_maker import LEFT_HZ, PARAMETERS, RIGHT_HZ, SPEC, definitions, left, right, save_wheel_model, write_wheel_bag

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import read_intervals
from sentryfuse_ros.datasets.extract import NOTHING_LIVE, WindowSettings, extract_windows
from sentryfuse_ros.errors import BagError, ParameterError, SeveralParameterErrors
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec, model_input
from sentryfuse_ros.preprocessing.normalise import measure, normalise
from sentryfuse_ros.preprocessing.series import joined_input
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.settings import build_settings, flatten

SENTRYFUSE = Path(sys.prefix) / "bin" / "sentryfuse"


def settings_of(**changes):
    parameters = {name: dict(block) if isinstance(block, dict) else block for name, block in PARAMETERS.items()}
    for name, block in changes.items():
        parameters[name] |= block
    return build_settings(flatten(parameters))


# ---- on one grid ------------------------------------------------------------------------------------------------------


def rows(rate_hz, from_s, to_s, value):
    stamps = np.arange(round(from_s * NS), round(to_s * NS) + 1, NS // rate_hz)
    return stamps, np.array([[value(stamp / NS)] for stamp in stamps], np.float32)


def test_every_topic_is_put_on_the_grid_as_if_it_were_alone():
    spec = ModalitySpec("wheels", "series", 1.0, (10, 2), mean=(1.0, 2.0), std=(2.0, 4.0))
    fast, slow = rows(100, 0.0, 2.0, lambda t: 3 * t + 1), rows(13, 0.003, 2.0, lambda t: -t - 1)
    x = joined_input([fast, slow], 2 * NS, spec)
    for column, (stamps, values) in enumerate((fast, slow)):
        alone = ModalitySpec(
            "one", "series", 1.0, (10, 1), mean=spec.mean[column : column + 1], std=spec.std[column : column + 1]
        )
        np.testing.assert_array_equal(x[:-1, column : column + 1], model_input(alone, stamps, values, 2 * NS)[:-1])


def test_a_step_that_one_topic_leaves_empty_is_empty():
    spec = ModalitySpec("wheels", "series", 1.0, (10, 2))
    x = joined_input([rows(100, 0.0, 1.8, lambda t: 5.0), rows(20, 1.4, 2.0, lambda t: 7.0)], 2 * NS, spec)
    assert x[:, 0].tolist() == [0.0] * 3 + [5.0] * 5 + [0.0] * 2  # 1.4 s is the end of the fourth step
    assert x[:, 1].tolist() == [0.0] * 3 + [7.0] * 5 + [0.0] * 2


def test_zero_is_a_value_of_a_topic():
    spec = ModalitySpec("wheels", "series", 1.0, (10, 2))
    x = joined_input([rows(20, 0.0, 2.0, lambda t: 0.0), rows(20, 0.0, 2.0, lambda t: 0.0)], 2 * NS, spec)
    assert x.any(axis=1).all() and np.abs(x).max() < 1e-5


@pytest.mark.parametrize("level", [0.0, 24.0])
def test_a_topic_that_always_sends_its_mean_is_there(level):
    """As a joint that did not move in any recording: what training normalises it to, the robot must see as well."""
    spec = ModalitySpec("wheels", "series", 1.0, (10, 2))
    topics = [rows(100, 0.0, 2.0, np.sin), rows(20, 0.0, 2.0, lambda t: level)]
    plain = joined_input(topics, 2 * NS, spec)
    measured = measure(spec, [plain[None]])
    x = joined_input(topics, 2 * NS, measured)
    assert not x[:, 1].any() and x[:, 0].all()
    np.testing.assert_array_equal(x, normalise(measured, plain[None])[0])


# ---- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"wheel_right": {"part": 0}}, "wheel_left 1, wheel_right 0, expected 1 to 2 for the sensors of the model input wheels"),
        ({"wheel_right": {"part": 1}}, "wheel_left 1, wheel_right 1, expected 1 to 2"),
        ({"wheel_right": {"part": 3}}, "wheel_left 1, wheel_right 3, expected 1 to 2"),
        ({"wheel_right": {"kind": "imu"}}, "2 of kind imu, expected 0; only sensors with fields are parts"),
    ],
)
def test_parts_are_numbered_and_read_fields(changes, told):
    with pytest.raises((ParameterError, SeveralParameterErrors), match=told):
        settings_of(**changes)


def test_parts_have_the_channels_of_their_input_together(tmp_path):
    settings = settings_of(wheel_right={"fields": ["wrench.force.x", "wrench.force.y"]})
    told = "3 values of kind series: wheel_left data, wheel_right wrench.force.x, wheel_right wrench.force.y, expected 2 channels"
    with pytest.raises(ParameterError, match=told):
        Pipeline(settings, Engine.load(save_wheel_model(tmp_path / "model")), definitions=definitions(tmp_path))


# ---- from recordings to windows ---------------------------------------------------------------------------------------


def test_windows_hold_the_columns_of_both_topics_at_the_time_of_their_stamps(tmp_path):
    folder = write_wheel_bag(tmp_path / "b")
    with Bag(folder) as bag:
        found = extract_windows(
            bag, read_intervals(folder / "intervals.csv"), WindowSettings((SPEC,), settings_of().sensors, 0.5)
        )
    assert found.topics == {"wheel_left": "/wheel_left", "wheel_right": "/wheel_right"}
    assert found.live.all() and len(found.labels) >= 5 and not found.faults
    assert found.rates_hz == pytest.approx({"wheel_left": LEFT_HZ, "wheel_right": RIGHT_HZ}, rel=0.02)
    step_s, length_s = SPEC.window_s / SPEC.shape[0], SPEC.window_s
    for x, end_ns in zip(found.inputs["wheels"], found.end_ns):
        filled = np.flatnonzero(x.any(axis=1))
        assert len(filled) >= SPEC.shape[0] - 2 and (np.diff(filled) == 1).all()
        t_s = (end_ns - T0) / NS - length_s + (filled + 0.5) * step_s
        np.testing.assert_allclose(x[filled, 0], left(t_s), atol=0.06)  # a step holds 5 messages, or 1 to 2
        np.testing.assert_allclose(x[filled, 1], right(t_s), atol=0.06)


def test_a_recording_without_one_topic_has_no_such_input_and_says_which_is_missing(tmp_path):
    folder = write_wheel_bag(tmp_path / "b", with_right=False)
    with Bag(folder) as bag:
        found = extract_windows(
            bag, read_intervals(folder / "intervals.csv"), WindowSettings((SPEC,), settings_of().sensors, 0.5)
        )
    assert (
        not len(found.labels)
        and found.skipped[NOTHING_LIVE]
        and "/wheel_right is not in the recording" in found.absent["wheel_right"]
    )


def test_a_topic_slower_than_the_grid_is_refused(tmp_path):
    folder = write_wheel_bag(tmp_path / "b", right_hz=4)
    with Bag(folder) as bag, pytest.raises(BagError, match="wheel_right: saw 4 messages per second, expected at least 10"):
        extract_windows(bag, read_intervals(folder / "intervals.csv"), WindowSettings((SPEC,), settings_of().sensors))


def test_dataset_and_a_proposed_recipe_know_both_topics(tmp_path):
    for i in range(3):
        write_wheel_bag(tmp_path / "bags" / f"b{i}")
    write_wheel_bag(tmp_path / "bags" / "b3", with_right=False)
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": PARAMETERS}}))

    def sentryfuse(*arguments):
        done = subprocess.run([SENTRYFUSE, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    sentryfuse("train", "--example", "bags/b0", "--params", "robot.yaml", "--out", "recipe.yaml")
    (modality,) = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["modalities"]
    assert modality["name"] == "wheels" and modality["shape"][1] == 2
    assert modality["shape"][0] / modality["window_s"] <= RIGHT_HZ
    labels = ("--labels", "intervals.csv", "--config", "recipe.yaml", "--params", "robot.yaml", "--out", "windows")
    told = sentryfuse("dataset", "bags", *labels)
    assert "wheel_left: /wheel_left (std_msgs/msg/Float32), 50 Hz in 3 bags; the input wheels" in told, told
    assert "wheel_right: /wheel_right (geometry_msgs/msg/WrenchStamped), 13 Hz in 3 bags; the input wheels" in told, told
    assert "left out bag b3" in told, told


# ---- from messages to predictions -------------------------------------------------------------------------------------


@pytest.fixture
def robot(tmp_path):
    """A pipeline of the wheel model, and a function that feeds both topics for some seconds and then predicts."""
    from joined_maker import left_message, right_message

    pipeline = Pipeline(settings_of(), Engine.load(save_wheel_model(tmp_path / "model")), definitions=definitions(tmp_path))
    clock = [T0]

    def drive(seconds, sends=("wheel_left", "wheel_right")):
        prediction = None
        for i in range(round(seconds * LEFT_HZ)):
            clock[0] += NS // LEFT_HZ
            now_ns, t_s = clock[0], (clock[0] - T0) / NS
            if "wheel_left" in sends:
                pipeline.feed("wheel_left", [raw(left_message(t_s))], np.array([now_ns]), now_ns, now_ns)
            if "wheel_right" in sends and i % 4 == 0:
                pipeline.feed("wheel_right", [raw(right_message(t_s, now_ns))], np.array([now_ns]), now_ns, now_ns)
            if i % 5 == 4:
                prediction = pipeline.tick(now_ns)
        return prediction

    return drive


def test_the_input_is_live_when_both_topics_are_and_says_which_one_is_silent(robot):
    prediction = robot(2.0)
    assert prediction.valid and prediction.tick.serving == ("wheel_left+wheel_right",)
    assert prediction.tick.inputs["wheels"].any(axis=1).sum() >= SPEC.shape[0] - 1
    for silent, sends in (("wheel_right", "wheel_left"), ("wheel_left", "wheel_right")):
        lost = robot(1.0, (sends,))
        statuses = lost.tick.statuses
        assert not lost.valid and f"{silent} STALE" in lost.reason and lost.tick.serving == ("",)
        assert statuses[silent].state == State.STALE and "no message for" in statuses[silent].reason
        assert statuses[sends].state == State.OK
        assert statuses[sends].reason == f"the input wheels is left out, because {silent} is STALE"
        back = robot(1.5)
        assert back.valid and [status.reason for status in back.tick.statuses.values()] == ["", ""]


def test_after_a_silence_the_input_holds_only_steps_that_both_topics_fill(robot):
    robot(2.0)
    robot(1.0, ("wheel_left",))
    x = robot(0.5).tick.inputs["wheels"]
    filled = np.flatnonzero(x.any(axis=1))
    assert 3 <= len(filled) <= 6 and filled[-1] >= SPEC.shape[0] - 2  # half a second of a grid of 10 Hz


def test_parts_that_have_never_met_keep_the_input_out_with_a_reason(robot):
    """The left wheel sends five messages after the newest one of the right wheel: both are OK, and no step has both."""
    robot(2.0, ("wheel_right",))
    prediction = robot(0.1, ("wheel_left",))
    told = "the input wheels is left out, until wheel_left+wheel_right fill a step of it together"
    assert not prediction.tick.mask.any()
    assert [(s.state, s.reason) for s in prediction.tick.statuses.values()] == [(State.OK, told)] * 2
    assert robot(1.0).valid
