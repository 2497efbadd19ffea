"""The shipped caption head on a simulated drive, through the pipeline that a robot runs, without ROS and without torch."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the recording is simulated")

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.sensor_topics import match_sensors
from sentryfuse_ros.errors import CheckpointError
from sentryfuse_ros.language.checkpoint import captions_path, model_digest, read_captions
from sentryfuse_ros.language.facts import RESTING, USED, Statement
from sentryfuse_ros.language.grammar import parse
from sentryfuse_ros.language.scenes import Scenes
from sentryfuse_ros.language.sensor_states import sensor_states
from sentryfuse_ros.language.sentence_scores import score_facts
from sentryfuse_ros.language.speaker import FusedWindow, Speaker
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings

MODEL = model_path("ground_robot")
DURATION_S = 14.0
LOST = {"lidar": (5.0, 8.0), "camera": (9.0, 14.0)}  # withheld between these seconds


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    from sentryfuse_ros.simulation.run import simulate

    folder = tmp_path_factory.mktemp("captions") / "drive"
    simulate(seed=3, duration_s=DURATION_S, out=folder, split="test")
    return folder


@pytest.fixture(scope="module")
def speaker():
    return Speaker.load(MODEL, model_digest(MODEL))


def predictions_of(drive, ratio=0.0):
    """Predictions of a drive with two losses, twice a second once every window is full."""
    settings = build_settings({"pruning_ratio_override": ratio})
    pipeline = Pipeline(settings, Engine.load(MODEL, gives_tokens=True))
    with Bag(drive) as bag:
        sensor_of = {topic.name: sensor for sensor, topic in match_sensors(bag, settings.sensors).topics.items()}
        tick_ns = bag.start_ns + 2 * 10**9
        for topic, time_ns, message in bag.messages(list(sensor_of)):
            sensor = sensor_of[topic]
            while time_ns >= tick_ns:
                yield pipeline, pipeline.tick(tick_ns)
                tick_ns += 10**9 // 2
            from_s, to_s = LOST.get(sensor, (0.0, 0.0))
            if not from_s <= (time_ns - bag.start_ns) * 1e-9 < to_s:
                pipeline.feed(sensor, [message], np.array([time_ns]), time_ns, time_ns)


def said_on(drive, speaker, ratio=0.0):
    """(what is said, what is true) of each prediction."""
    scenes, found = Scenes(drive), []
    for pipeline, prediction in predictions_of(drive, ratio):
        inference = prediction.inference
        states = sensor_states(prediction.tick, pipeline.modalities, {name: [name] for name in pipeline.modalities})
        window = FusedWindow(inference.part, *inference.tokens, inference.probabilities)
        truth = scenes.at(prediction.stamp_ns, states)
        found.append((speaker.say(window, states, ratio).words, truth))
    return found


@pytest.mark.parametrize("ratio, least", [(0.0, 0.85), (0.5, 0.75)])
def test_what_is_said_on_a_drive_with_losses_is_mostly_true(drive, speaker, ratio, least):
    found = said_on(drive, speaker, ratio)
    sentences, truths = zip(*found)
    score = score_facts(sentences, truths)
    assert len(found) > 20 and score.true > least, score
    assert score.said["ground"] > 0.7 and score.said["sensor"] > 0.9 and score.said["rests"] > 0.9


def test_lost_sensors_are_named_and_those_that_work_are_not(drive, speaker):
    said = [set(parse(sentence).statements) for sentence, _ in said_on(drive, speaker)]
    silent = [{s.value for s in statements if s.kind == "sensor" and s.detail == "silent"} for statements in said]
    assert {"lidar"} in silent and {"camera"} in silent and set() in silent
    during = next(statements for statements in said if Statement("sensor", "camera", "silent") in statements)
    assert Statement("rests", "audio imu lidar") in during


def test_states_of_sensors_in_words(drive):
    words = set()
    for pipeline, prediction in predictions_of(drive, 0.9):
        candidates = {name: [name] for name in pipeline.modalities}
        states = sensor_states(prediction.tick, pipeline.modalities, {**candidates, "imu": []})
        assert [states[name] == USED for name in pipeline.modalities] == list(prediction.tick.used)
        words |= set(states.values())
    assert {USED, "silent"} <= words
    nobody = sensor_states(prediction.tick, ("camera", "imu", "audio", "lidar"), {})
    assert set(nobody.values()) <= {USED, RESTING, "missing"}


def test_the_head_belongs_to_the_weights_beside_it():
    head = read_captions(captions_path(MODEL))
    assert 1e6 <= sum(values.size for values in head.tensors.values()) <= 5e6
    with pytest.raises(CheckpointError, match="train it again"):
        Speaker.load(MODEL, "another model's digest")


def test_a_robot_speaks_without_torch():
    code = (
        "import sys\n"
        "from sentryfuse_ros.language.checkpoint import model_digest\n"
        "from sentryfuse_ros.language import sensor_states, speaker\n"
        f"speaker.Speaker.load({str(MODEL)!r}, model_digest({str(MODEL)!r})).warm()\n"
        "assert 'torch' not in sys.modules\nprint('spoke')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0 and "spoke" in done.stdout, done.stderr
