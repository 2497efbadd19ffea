"""~/caption over real DDS: what is said belongs to a prediction, comes at its rate, and holds up no prediction."""

import itertools

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from caption_head_maker import model_with_head
from ros_harness import QUICK, NodeUnderTest
from std_msgs.msg import String

from sentryfuse_ros.msg import Caption
from sentryfuse_ros.nodes.captions import NOTHING

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
    probe.wait("captions", lambda: len(captions) > 3 and len(texts) > 3, fed)
    for caption in captions[:3]:
        prediction = probe.wait(
            "the prediction of a caption",
            lambda caption=caption: next((p for p in probe.predictions if p.sequence == caption.sequence), None),
            fed,
        )
        assert stamp(caption) == stamp(prediction) and caption.header.frame_id == prediction.header.frame_id
        assert caption.valid and caption.text.endswith(".") and caption.text[0].isupper()
        assert 0 < caption.confidence <= 1 and caption.duration_ms > 0 and caption.ratio == 0
        assert caption.text in {text.data for text in texts}


def test_sentences_come_no_more_often_than_they_may(probe, fed):
    captions = probe.listen(Caption, "/fuse_node/caption_stamped")
    probe.wait("captions", lambda: len(captions) > 6, fed)
    ticks = [caption.sequence for caption in captions]
    assert all(b - a >= 10 / RATE_HZ - 1 for a, b in itertools.pairwise(ticks)), ticks  # of 10 predictions a second


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
    topics = {name for name, _ in probe.node.get_publisher_names_and_types_by_node("fuse_node", "/")}
    assert "/fuse_node/prediction" in topics and "/fuse_node/caption" not in topics
    probe.bring_to("unconfigured", process)


def test_a_model_without_a_head_cannot_be_configured_for_captions(probe, process):
    process.begin_log()
    model = probe.get_parameter("model").string_value
    assert probe.set_parameter("captions", True).successful and probe.set_parameter("model", "utd_mhad_depth_imu").successful
    assert not probe.change_state(1, process)  # configure
    assert "caption head" in process.log() and "no such file" in process.log()
    assert probe.set_parameter("model", model).successful and probe.set_parameter("captions", False).successful
