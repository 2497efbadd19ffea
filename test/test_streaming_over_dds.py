"""A camera's stream in a real fuse_node: seen in ~/pruning and diagnostics, begun anew after a gap, off when told."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from ros_harness import NodeUnderTest
from sensor_msgs.msg import Image

from sentryfuse_ros.nanoseconds import stamp_to_ns
from sentryfuse_ros.sensing.liveness import State

CAMERA = "/camera/image_raw"


@pytest.fixture(scope="module")
def process(ros, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaming")
    shared = NodeUnderTest(
        folder,
        "fuse_node",
        *("-p", "autostart:=false", "-p", "warm_up:=false", "-p", "model:=utd_mhad_stream", "-p", "sensors:=[camera]"),
    )
    yield shared
    assert shared.alive(), f"the node ended by itself:\n{shared.log()}"
    assert shared.stop() == 0, shared.log()


@pytest.fixture
def node(probe, process):
    process.begin_log()
    probe.bring_to("active", process)
    yield process
    probe.bring_to("unconfigured", process)


class Scene:
    """A room as a depth camera sees it, and somebody in it from when on ``moves`` is set."""

    def __init__(self):
        self.random, self.moves, self.count = np.random.default_rng(0), False, 0

    def picture(self, stamp):
        self.count += 1
        metres = np.full((112, 112), 3.0, np.float32)
        metres[70:] = 2.4
        metres[20:40, 15:35] = 2.7
        if self.moves:
            left = 20 + 7 * (self.count % 9)
            metres[25:95, left : left + 18] = 2.0
        metres += 1.425e-3 * metres**2 * self.random.standard_normal(metres.shape)
        message = Image(height=112, width=112, encoding="16UC1", step=224, data=(metres * 1e3).astype(np.uint16).tobytes())
        message.header.stamp = stamp
        return message


@pytest.fixture
def scene(probe):
    made = Scene()
    probe.feed(CAMERA, Image, made.picture, 10.0)
    return made


def wait_stream(probe, node, condition, what):
    """A PruningState published from now on whose stream satisfies ``condition``."""
    start = len(probe.prunings)

    def found():
        return next((p for p in probe.prunings[start:] if p.streams and condition(p.streams[0])), None)

    return probe.wait(what, found, node)


def test_tokens_follow_the_scene_and_are_told(probe, node, scene):
    still = wait_stream(probe, node, lambda s: s.tokens_recent < 0.2 and s.tokens <= 0.1, "a still scene")
    stream = still.streams[0]
    assert len(still.streams) == 1 and stream.model_input == "camera" and stream.branch == "full" and not stream.moving
    assert stream.reuse == 0 and stream.full == 1 and stream.flops_share < 0.3
    scene.moves = True
    wait_stream(probe, node, lambda s: s.tokens >= 0.1, "a moving scene")
    told = probe.wait(
        "the stream in diagnostics",
        lambda: next(
            (v.value for d in probe.diagnostics[-1:] for s in d.status for v in s.values if v.key == "stream_camera"), None
        ),
        node,
    )
    assert "of the tokens encoded anew" in told and "streams: camera" in node.log()


def test_the_router_chooses_when_something_is_to_be_saved(probe, node, scene):
    wait_stream(probe, node, lambda s: s.tokens <= 0.1, "a still scene")
    assert probe.set_parameter("pruning_ratio_override", 0.5).successful
    wait_stream(probe, node, lambda s: s.branch == "reuse" and s.tokens == 0 and s.flops_share == 0, "reuse")
    scene.moves = True
    wait_stream(probe, node, lambda s: s.branch in ("light", "full") and s.tokens > 0, "a dearer branch")
    assert probe.set_parameter("pruning_ratio_override", -1.0).successful


def test_a_camera_that_comes_back_is_encoded_whole(probe, node, scene):
    wait_stream(probe, node, lambda s: s.whole_recent == 0, "ten seconds without a picture that was encoded whole")
    probe.silence(CAMERA)
    probe.wait_state("camera", State.STALE, node)
    probe.wait_new_prediction(lambda p: not p.valid, "an invalid prediction", node)
    probe.feed(CAMERA, Image, scene.picture, 10.0)
    back = probe.wait_new_prediction(lambda p: p.valid, "a prediction of the camera that is back", node)
    since_ns = stamp_to_ns(back.tick.sec, back.tick.nanosec)

    def of_the_camera_that_is_back(p):
        return p.streams and stamp_to_ns(p.header.stamp.sec, p.header.stamp.nanosec) >= since_ns

    state = probe.wait("a stream", lambda: next(filter(of_the_camera_that_is_back, probe.prunings), None), node)
    assert state.streams[0].whole_recent == 1


def test_off_means_off(probe, process, scene):
    process.begin_log()
    assert probe.set_parameter("streaming", "off").successful
    probe.bring_to("active", process)
    start = len(probe.prunings)
    probe.wait_new_prediction(lambda p: p.valid, "a prediction", process)
    state = probe.wait("a pruning state", lambda: probe.prunings[start:], process)[-1]
    assert list(state.streams) == [] and "streams:" not in process.log()
    probe.bring_to("unconfigured", process)
    assert probe.set_parameter("streaming", "auto").successful


def test_a_model_that_cannot_stream_says_so_and_runs(probe, process):
    process.begin_log()
    assert probe.set_parameter("streaming", "on").successful and probe.set_parameter("model", "husky_terrain").successful
    assert probe.change_state(1, process)  # configure
    assert "no camera of model husky_terrain can be a stream on onnxruntime" in process.log()
    probe.bring_to("unconfigured", process)
    assert probe.set_parameter("streaming", "auto").successful and probe.set_parameter("model", "utd_mhad_stream").successful
