"""~/caption over real DDS: what is said belongs to a prediction, comes at its rate, and holds up no prediction."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from caption_head_maker import model_with_head
from rclpy.lifecycle import LifecycleNode
from ros_harness import QUICK, NodeUnderTest
from std_msgs.msg import String

from sentryfuse_ros.language.checkpoint import captions_path, model_digest, read_captions
from sentryfuse_ros.language.facts import SENSOR_STATES, USED, sensor_statements
from sentryfuse_ros.language.grammar import parse
from sentryfuse_ros.language.speaker import FusedWindow, Speaker
from sentryfuse_ros.msg import Caption
from sentryfuse_ros.nanoseconds import NS_PER_S, stamp_to_ns
from sentryfuse_ros.nodes.captions import NOTHING, CaptionPublisher, caption_message, least_gap_s
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.preprocessing import empty_input
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.runtime.tick import Prediction
from sentryfuse_ros.settings import build_settings

RATE_HZ = 4.0


@pytest.fixture(scope="module")
def process(ros, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    model = model_with_head(folder, "utd_mhad_depth_imu")
    arguments = ("-p", "autostart:=false", *QUICK[:2], "-p", f"model:={model}", "-p", f"caption_rate_hz:={RATE_HZ}")
    shared = NodeUnderTest(folder, "fuse_node", *arguments)
    yield shared
    assert shared.alive(), f"the node ended by itself:\n{shared.log()}"
    assert shared.stop() == 0, shared.log()


@pytest.fixture
def node(probe, process):
    process.begin_log()
    assert probe.set_parameter("captions", True).successful
    probe.bring_to("active", process)
    yield process
    probe.bring_to("unconfigured", process)


@pytest.fixture
def fed(probe, node):
    probe.feed_camera()
    probe.feed_imu()
    probe.wait_new_prediction(lambda p: p.valid and list(p.mask) == [True, True], "a prediction from both sensors", node)
    return node


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_a_sentence_belongs_to_a_prediction_and_is_said_twice(probe, fed):
    texts, captions = probe.listen(String, "/fuse_node/caption"), probe.listen(Caption, "/fuse_node/caption_stamped")
    probe.wait("both topics", lambda: captions and texts, fed)  # one may be discovered before the other
    begin = len(captions)
    probe.wait("captions", lambda: len(captions) >= begin + 3, fed)
    for caption in captions[begin : begin + 3]:
        prediction = probe.wait(
            "the prediction of a caption",
            lambda caption=caption: next((p for p in probe.predictions if p.sequence == caption.sequence), None),
            fed,
        )
        assert stamp(caption) == stamp(prediction) and caption.header.frame_id == prediction.header.frame_id
        assert caption.valid and caption.text.endswith(".") and caption.text[0].isupper()
        assert 0 < caption.confidence <= 1 and caption.duration_ms > 0 and caption.ratio == 0
        words = caption.text
        probe.wait("the text alone", lambda words=words: words in {text.data for text in texts}, fed)


def test_sentences_come_no_more_often_than_they_may(probe, fed):
    captions = probe.listen(Caption, "/fuse_node/caption_stamped")
    probe.wait("captions", lambda: len(captions) > 12, fed)
    first_ns, last_ns = (stamp_to_ns(*stamp(caption)) for caption in (captions[0], captions[12]))
    # At 10 predictions a second these would be 1.2 s; the last of them may be behind its stamp where the machine is busy.
    assert (last_ns - first_ns) / NS_PER_S > 12 / RATE_HZ - 1.0


@pytest.mark.parametrize(("rate_hz", "every"), [(10.0, 1), (5.0, 2), (4.0, 3), (0.5, 20)])
def test_predictions_that_come_a_little_early_do_not_slow_the_sentences_down(rate_hz, every):
    ticks_s = np.arange(200) / 10 + np.random.default_rng(0).uniform(-0.005, 0.005, 200)
    described, last_s = [], -np.inf
    for number, now_s in enumerate(ticks_s):
        if now_s - last_s >= least_gap_s(rate_hz, 10.0):
            described.append(number)
            last_s = now_s
    assert set(np.diff(described)) == {every}


def test_a_pruned_head_mixes_up_no_states_of_sensors():
    """Alone, the head that ships is wrong of them in every second sentence with three sensors lost at a ratio of 0.9."""
    model = model_path("ground_robot")
    engine, rng = Engine.load(model, gives_tokens=True), np.random.default_rng(0)
    speaker, pipeline = Speaker.load(model, model_digest(model)), Pipeline(build_settings({}), engine)
    tick, alone = pipeline.snapshot(NS_PER_S, NS_PER_S), 0
    for _ in range(40):
        window = {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in engine.specs}
        mask = np.arange(4) == rng.integers(4)
        inference = engine.infer(window, mask, 0.9)
        states = {
            name: USED if live else str(rng.choice(SENSOR_STATES[1:])) for name, live in zip(engine.modalities, mask, strict=True)
        }
        wanted = {" ".join(filter(None, statement)) for statement in sensor_statements(states)}
        said = set(caption_message(Prediction(tick, True, "", inference, 0), states, speaker, "").statements)
        about = {statement for statement in said if statement.split()[0] in ("sensor", "rests")}
        assert about <= wanted and {w for w in wanted if w.startswith("sensor")} <= about
        by_head = speaker.say(FusedWindow(inference.part, *inference.tokens, inference.probabilities), states, inference.ratio)
        alone += not {s for s in parse(by_head.words).statements if s.kind == "sensor"} <= set(sensor_statements(states))
    assert alone > 10


class WaitingSpeaker(Speaker):
    """Says nothing before it may."""

    def __init__(self, checkpoint):
        super().__init__(checkpoint)
        self.may_speak, self.begun = threading.Event(), threading.Event()

    def say(self, window, states, ratio=0.0):
        self.begun.set()
        assert self.may_speak.wait(180)
        return super().say(window, states, ratio)


def test_who_offers_a_prediction_does_not_wait_for_the_sentence(probe, ros, tmp_path):
    """Predictions that come while a sentence is being made are not waited for, and only the newest of them is described."""
    model = model_with_head(tmp_path, "ground_robot")
    speaker, settings = WaitingSpeaker(read_captions(captions_path(model))), build_settings({"caption_rate_hz": 10.0})
    engine = Engine.load(model, gives_tokens=True)
    pipeline = Pipeline(settings, engine)
    blank = {spec.name: empty_input(spec) for spec in engine.specs}
    inference = engine.infer(blank, np.ones(4, bool), 0.0)
    offered = [Prediction(pipeline.snapshot(10**9 * k, 10**9 * k), True, "", inference, 10**9 * k) for k in (1, 2, 3)]
    node = LifecycleNode("speaking_node")
    captions = CaptionPublisher(node, speaker, engine.modalities, settings)
    captions._least_gap_s = 0.0  # every prediction is due
    heard = probe.listen(Caption, "/speaking_node/caption_stamped")
    try:
        node.trigger_configure()
        node.trigger_activate()
        probe.wait("a subscriber", lambda: node.count_subscribers("/speaking_node/caption_stamped") and captions._is_heard())
        captions.offer(offered[0])
        assert speaker.begun.wait(180)
        for prediction in offered[1:]:
            captions.offer(prediction)  # returns, though nobody may speak yet
        assert not heard
        speaker.may_speak.set()
        probe.wait("two captions", lambda: len(heard) == 2)
        assert [caption.sequence for caption in heard] == [1, 3]
    finally:
        speaker.may_speak.set()
        captions.destroy()
        captions.destroy()
        node.destroy_node()


def test_the_head_is_pruned_with_the_model(probe, fed):
    captions = probe.listen(Caption, "/fuse_node/caption_stamped")
    assert probe.set_parameter("pruning_ratio_override", 0.6).successful
    probe.wait("a caption of the pruned head", lambda: [c for c in captions if c.ratio == 0.75], fed)
    assert probe.set_parameter("pruning_ratio_override", -1.0).successful
    probe.wait("a caption of the whole head", lambda: captions[-1].ratio == 0, fed)


def test_without_a_live_sensor_it_says_so(probe, node):
    captions = probe.listen(Caption, "/fuse_node/caption_stamped")
    caption = probe.wait("a caption", lambda: captions[-1] if captions else None, node)
    assert not caption.valid and caption.text.startswith(NOTHING.format(reason="no live sensor: camera NEVER_SEEN")[:-1])
    assert not caption.statements and caption.confidence == 0


def test_nothing_is_said_unless_it_is_asked_for(probe, process):
    process.begin_log()
    assert probe.set_parameter("captions", False).successful
    probe.bring_to("active", process)

    def publishes_no_caption():  # that the publisher of the test before has gone may be heard late
        graph = probe.graph_of("fuse_node")
        return graph and "/fuse_node/prediction" in graph["publish"] and "/fuse_node/caption" not in graph["publish"]

    probe.wait("a graph with its predictions and without captions", publishes_no_caption, process)
    probe.bring_to("unconfigured", process)


def test_a_model_without_a_head_cannot_be_configured_for_captions(probe, process):
    process.begin_log()
    model = probe.get_parameter("model").string_value
    assert probe.set_parameter("captions", True).successful and probe.set_parameter("model", "utd_mhad_depth_imu").successful
    assert not probe.change_state(1, process)  # configure
    assert "caption head" in process.log() and "no such file" in process.log()
    assert probe.set_parameter("model", model).successful and probe.set_parameter("captions", False).successful
