"""A camera as a stream in the pipeline: what is known is used again, and what cannot be compared begins anew."""

import numpy as np
import pytest
from cdr_messages import STORE, header, image, imu, make, raw
from stream_maker import SPEC, still_room, stream_model, with_box

from sentryfuse_ros.bags.message_types import definition_in
from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.model.saved import checkpoint_of
from sentryfuse_ros.model.subnetwork import Subnetwork
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.nodes.messages import pruning_message
from sentryfuse_ros.preprocessing import empty_input
from sentryfuse_ros.preprocessing.picture_window import Known, PictureWindow, Source, picture_window
from sentryfuse_ros.pruning.planner import PlanChoice
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.onnx_backend import OnnxBackend
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.settings import build_settings
from sentryfuse_ros.streaming.branches import Branch
from sentryfuse_ros.streaming.window_encoder import WindowEncoder

T0 = 1_700_000_000 * NS
TWIST = "geometry_msgs/msg/TwistStamped"
STILL = {"watch_motion": False, "policy": {"refresh_pictures": 0}, "by_default": True}
EXACT = {**STILL, "rule": {"factor": 0.0}}
BUDGET = {**STILL, "policy": {"kind": "budget", "most_share": 0.2, "refresh_pictures": 0}}
ROUTED = {**STILL, "router": "threshold", "route_from_ratio": 0.1}


def stream_engine(**section):
    checkpoint = checkpoint_of(stream_model(), {"streaming": section})
    return Engine(checkpoint, OnnxBackend(checkpoint))


class Camera:
    """A pipeline with one depth camera or two, on a virtual clock; a tick comes 20 ms after every picture."""

    def __init__(self, section=STILL, sensors=("depth",), **parameters):
        flat = {"sensors": list(sensors), "budget": "flops", **parameters}
        for name in sensors:
            flat |= {f"{name}.kind": "camera", f"{name}.model_input": "depth"} if name not in ("imu", "odometry") else {}
        self.engine = stream_engine(**section)
        definitions = {TWIST: definition_in(STORE, TWIST)}
        self.pipeline = Pipeline(build_settings(flat), self.engine, definitions=definitions)
        self.now_ns = T0

    def feed(self, metres, sensor="depth", after_s=0.1):
        """Send a picture ``after_s`` after the one before."""
        self.now_ns += round(after_s * NS)
        message = raw(image((metres * 1e3).round().astype(np.uint16), "16UC1", stamp_ns=self.now_ns))
        self.pipeline.feed(sensor, [message], np.array([self.now_ns]), self.now_ns, self.now_ns)

    def turn(self, rad_s):
        """Samples of an IMU for the next tenth of a second."""
        stamps = self.now_ns + np.arange(1, 11) * NS // 100
        noise = np.random.default_rng(int(stamps[0])).normal(0, 0.02, (10, 6))
        messages = [
            raw(imu(noisy[:3] + (0, rad_s, 0), noisy[3:] + (0, 0, 9.8), stamp_ns=int(stamp)))
            for stamp, noisy in zip(stamps, noise)
        ]
        self.pipeline.feed("imu", messages, stamps, int(stamps[-1]), int(stamps[-1]))

    def drive(self, m_s, rad_s=0.0):
        """Odometry for the next tenth of a second."""
        stamps = self.now_ns + np.arange(1, 6) * NS // 50
        vectors = [make("geometry_msgs/Vector3", *values) for values in ((m_s, 0.0, 0.0), (0.0, 0.0, rad_s))]
        messages = [
            raw(make("geometry_msgs/TwistStamped", header(int(stamp)), make("geometry_msgs/Twist", *vectors))) for stamp in stamps
        ]
        self.pipeline.feed("odometry", messages, stamps, int(stamps[-1]), int(stamps[-1]))

    def snapshot(self):
        return self.pipeline.snapshot(self.now_ns + NS // 50, self.now_ns + NS // 50)

    def show(self, metres, **where):
        """Send a picture and tick; what the stream did with it, and the probabilities."""
        self.feed(metres, **where)
        prediction = self.pipeline.infer(self.snapshot())
        if not prediction.valid:
            return None, None
        return prediction.inference.streams.get("depth"), prediction.inference.probabilities

    def run(self, frames, **where):
        return [self.show(frame[0], **where) for frame in frames]


def room(count=20, seed=0):
    return still_room(count, np.random.default_rng(seed))


def test_with_threshold_0_the_predictions_are_those_without_streaming():
    frames = with_box(room(), [2 * t for t in range(20)])
    streamed, plain = Camera(EXACT), Camera(EXACT, streaming="off")
    assert streamed.pipeline.streamed == ("depth",) and plain.pipeline.streamed == ()
    for (use, ours), (nothing, theirs) in zip(streamed.run(frames), plain.run(frames)):
        if ours is not None:
            assert use.encoded == use.windows == 36 and nothing is None
            np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_a_still_camera_costs_little_and_the_newest_ten_seconds_are_told():
    uses = [use for use, _ in Camera().run(room()) if use]
    # The first tick with a live camera takes the three pictures so far, of which the first is encoded whole.
    assert uses[0].recent_encoded == pytest.approx(1 / 3, abs=0.1) and uses[0].encoded <= 3
    assert all(use.encoded <= 3 for use in uses) and all(use.branch == Branch.FULL for use in uses)
    assert 1 / 20 <= uses[-1].recent_encoded < 0.1 and 1 / 20 <= uses[-1].recent_flops < 0.2 and uses[-1].recent.full == 1


def test_what_was_encoded_is_held_against_encoding_the_same_pictures_whole():
    """Also where one inference takes several pictures, as the first one does, or none."""
    exact, still = Camera(EXACT), Camera()
    dense = exact.engine.infer({"depth": empty_input(SPEC)}, np.array([True]), 0.0)
    picture = WindowEncoder(exact.engine.checkpoint, "depth").flops(36)
    fusion = dense.flops - SPEC.shape[0] * picture
    for seed, new in enumerate((3, 1, 0, 2)):
        messages = []
        for camera in (exact, still):
            for metres in room(new, seed):
                camera.feed(metres[0])
            messages.append(pruning_message(camera.pipeline.infer(camera.snapshot()), camera.engine, dense, 1.0))
        whole, saving = messages
        assert whole.flops == whole.flops_dense == saving.flops_dense == pytest.approx(fusion + new * picture, abs=2)
        assert saving.flops < saving.flops_dense or not new


def test_only_new_pictures_are_copied_and_a_snapshot_that_was_replaced_loses_none():
    camera = Camera()
    camera.run(room(8))
    frames = room(3, seed=1)
    for frame in frames:
        camera.feed(frame[0])
        window = camera.snapshot().inputs["depth"]
    assert isinstance(window, PictureWindow) and len(window.new) == 3 and len(window.row_stamp_ns) == 8
    np.testing.assert_allclose(window.new, (frames * 1e3).round() * 1e-3, atol=1e-6)
    camera.pipeline.infer(camera.snapshot())
    assert len(camera.snapshot().inputs["depth"].new) == 0


def test_windows_that_overlap_encode_every_picture_once():
    camera = Camera()
    camera.run(room(8))
    camera.feed(room(1, seed=1)[0, 0])
    first, second = camera.snapshot(), camera.snapshot()
    assert len(first.inputs["depth"].new) == len(second.inputs["depth"].new) == 1
    np.testing.assert_array_equal(*(camera.pipeline.infer(tick).inference.probabilities for tick in (first, second)))


def test_after_a_jump_of_the_clock_the_first_picture_is_whole_and_no_old_one_is_used():
    camera, fresh = Camera(), Camera()
    camera.run(with_box(room(10), [40] * 10))
    camera.feed(room(1)[0, 0])
    old = camera.snapshot()
    camera.pipeline.reset()
    fresh.now_ns = camera.now_ns = T0 - 100 * NS
    camera.pipeline.infer(old)  # a job that was waiting when the clock jumped
    frames = room(10, seed=1)
    for (use, ours), (expected, theirs) in zip(camera.run(frames), fresh.run(frames)):
        assert (use and use.encoded) == (expected and expected.encoded)
        if use:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("away_s, timeout_s, whole", [(0.2, 5.0, 0), (0.6, 5.0, 1), (0.4, 0.35, 1)])
def test_a_camera_that_was_away_begins_anew(away_s, timeout_s, whole):
    """After a gap in the pictures, and after a shorter one in which the camera counted as lost."""
    camera = Camera(**{"depth.timeout_s": timeout_s})
    camera.run(room(12))
    camera.now_ns += round((away_s - 0.02) * NS)
    camera.pipeline.tick(camera.now_ns)
    uses = [camera.show(room(1, seed=1)[0, 0], after_s=0.02)[0], *(use for use, _ in camera.run(room(5, seed=2)))]
    assert uses[-1].recent_whole == 1 + whole


WATCHING = {**STILL, "watch_motion": True}


def test_a_gyro_on_the_camera_says_whether_it_moves():
    """The windows take a box that passes through a bare room for a moving camera; the gyro knows better, while it is there."""
    box = with_box(room(30), [None] * 10 + [4 * t for t in range(20)], size=40)

    def run(turn_rad_s, silent_from=99):
        gyro = {"depth.motion_sensor": "imu"} if turn_rad_s is not None else {}
        camera = Camera(WATCHING, ("depth", "imu"), **gyro)
        uses = []
        for t, frame in enumerate(box):
            if turn_rad_s is not None and t < silent_from:
                camera.turn(turn_rad_s[t])
            uses.append(camera.show(frame[0])[0])
        return [use.moving for use in uses if use]

    assert any(run(None)[10:])  # the vote alone
    assert not any(run([0.0] * 30))
    assert any(run([0.0] * 30, silent_from=10)[15:])  # the vote takes over
    turning = run([0.0] * 12 + [0.2] * 5 + [0.0] * 13)
    first = 12 - (30 - len(turning))
    assert turning.index(True) in (first, first + 1) and not turning[-1] and 5 <= sum(turning) <= 8


ODOMETRY = {"odometry.kind": "series", "odometry.type": TWIST, "odometry.frozen_samples": 0}  # standing, it repeats itself
BOTH = ["twist.linear.x", "twist.angular.z"]


@pytest.mark.parametrize(
    "fields, speeds, turns",
    [(BOTH, (0.5, 0.0), (0.0, 0.0)), (BOTH, (0.0, 0.0), (0.3, 0.0)), (["twist.linear.*"], (0.5, 0.0), (0.0, 0.0))],
)
def test_odometry_says_whether_the_camera_moves(fields, speeds, turns):
    """A still room: neither the windows nor a gyro would tell of a drive straight on along it."""
    camera = Camera(WATCHING, ("depth", "odometry"), **ODOMETRY, **{"odometry.fields": fields, "depth.motion_sensor": "odometry"})
    uses = []
    for t, frame in enumerate(room(40)):
        now = 0 if 15 <= t < 25 else 1
        camera.drive(speeds[now], turns[now])
        uses.append(camera.show(frame[0])[0])
    first = next(t for t, use in enumerate(uses) if use)
    assert first < 10 and not any(use.moving for use in uses[first:15])
    assert all(use.moving and use.encoded == 36 for use in uses[16:25]) and not any(use.moving for use in uses[29:])


def test_odometry_that_stands_is_believed_where_somebody_fills_the_picture():
    camera = Camera(WATCHING, ("depth", "odometry"), **ODOMETRY, **{"odometry.fields": BOTH, "depth.motion_sensor": "odometry"})
    uses = []
    for frame in with_box(room(30), [None] * 10 + [4 * t for t in range(20)], size=40):
        camera.drive(0.0)
        uses.append(camera.show(frame[0])[0])
    assert not any(use.moving for use in uses if use)


def test_a_motion_sensor_must_measure_motion():
    flat = {"sensors": ["depth", "imu", "other", "odometry"], "depth.kind": "camera", "other.kind": "camera", **ODOMETRY}
    accelerations = {"odometry.fields": ["accel.linear.x", "position.x"]}
    for wrong in ("gyro", "other"):
        with pytest.raises(
            ParameterError, match="depth.motion_sensor.*IMU, or of a series with fields of a twist: imu, odometry"
        ):
            build_settings({**flat, "odometry.fields": BOTH, "depth.motion_sensor": wrong})
    with pytest.raises(ParameterError, match="depth.motion_sensor.*: imu"):
        build_settings({**flat, **accelerations, "depth.motion_sensor": "odometry"})


def test_another_resolution_begins_anew():
    camera = Camera()
    camera.run(room(8))
    large = np.repeat(np.repeat(room(1, seed=1)[0, 0], 2, 0), 2, 1)
    use, _ = camera.show(large)
    assert use.encoded == 36
    assert camera.show(large)[0].encoded == 0


def test_a_spare_camera_does_not_continue_the_stream_of_the_first():
    camera = Camera(sensors=("front", "back"))
    frames = room(30)
    for frame in frames[:10]:
        camera.feed(frame[0], "front")
        camera.show(frame[0] * 0.5, sensor="back", after_s=0.0)
    ticks, uses = [], []
    for frame in frames[10:]:
        camera.feed(frame[0] * 0.5, "back")
        ticks.append(camera.snapshot())
        prediction = camera.pipeline.infer(ticks[-1])
        uses.append(prediction.inference.streams["depth"])
    first = next(i for i, tick in enumerate(ticks) if tick.serving == ("back",))
    assert 0 < first < 10 and uses[first].encoded < 36  # it has caught up with the whole window
    assert {done.stamp_ns for done in camera.engine._streams._inputs["depth"]._done} >= set(
        ticks[first].inputs["depth"].new_stamp_ns.tolist()
    )
    assert len(ticks[first].inputs["depth"].new) == 8


def test_a_higher_ratio_means_fewer_tokens():
    encoded = []
    for ratio in (0.0, 0.5, 0.9):
        camera = Camera(BUDGET, pruning_ratio_override=ratio)
        camera.run(room(8))
        changed = room(1, seed=1)[0, 0]
        changed[:48] -= 0.5  # half of the picture
        encoded.append(camera.show(changed)[0].encoded)
    assert encoded == [7, 6, 5]


@pytest.mark.parametrize("ratio, branch", [(0.0, Branch.FULL), (0.5, Branch.REUSE)])
def test_the_router_chooses_only_where_something_is_to_be_saved(ratio, branch):
    uses = [use for use, _ in Camera(ROUTED, pruning_ratio_override=ratio).run(room(20)) if use]
    assert uses[-1].branch == branch


def test_a_larger_encoder_than_before_begins_anew():
    engine = stream_engine(**STILL)
    engine.stream("auto")
    frames, source = room(12), Source("depth", (96, 96))
    encoded = []
    for t in range(len(frames)):
        stamps = T0 + np.arange(t + 1) * NS // 10
        part = Subnetwork((True,), (1 if t < 8 else 0,), 2, 0.0)
        known = engine.known_pictures["depth"](source)
        window = picture_window(stamps, frames[: t + 1], int(stamps[-1]), SPEC, known, source)
        encoded.append(engine.run(PlanChoice(part), {"depth": window}).streams["depth"])
    assert [use.encoded == 36 for use in encoded] == [t in (0, 8) for t in range(12)]
    assert encoded[0].flops_share < 0.7 and encoded[8].flops_share == 1


def test_pictures_of_a_sensor_that_failed_are_not_used_again():
    camera, fresh = Camera(), Camera()
    camera.run(room(8))
    camera.pipeline.robot_sensors._sensors["depth"]._forget_rows()
    fresh.now_ns = camera.now_ns
    frames = room(8, seed=3)
    ours, theirs = camera.run(frames), fresh.run(frames)
    np.testing.assert_allclose(ours[-1][1], theirs[-1][1], atol=2e-2)
    assert camera.engine._streams._inputs["depth"]._tokens.keys() == fresh.engine._streams._inputs["depth"]._tokens.keys()


def test_a_fast_camera_is_encoded_at_the_rate_of_the_slots():
    stamps = T0 + np.arange(64) * NS // 30
    rows = np.zeros((64, 1, 96, 96), np.float32)
    known, source, taken = Known(), Source("depth"), []
    for end in range(30, 64, 3):  # ten windows a second, now and then a picture later
        last = end - end // 3 % 2
        window = picture_window(stamps[: last + 1], rows[: last + 1], int(stamps[last]), SPEC, known, source)
        known = Known(int(window.new_stamp_ns[-1]))
        taken.append(len(window.new))
    assert taken[0] == 8 and taken[1:] == [1] * (len(taken) - 1)


def test_a_model_that_does_not_say_that_it_wins_streams_only_when_told_to():
    section = {**STILL, "by_default": False}
    assert Camera(section).pipeline.streamed == ()
    assert Camera(section, streaming="on").pipeline.streamed == ("depth",)


def test_a_model_without_patch_encoder_and_torch_run_as_before(tmp_path):
    from virtual_robot import tiny_engine

    engine = tiny_engine()
    assert engine.stream("on") == () and engine.known_pictures == {}
    model = stream_model()
    in_torch = Engine.from_model(model, {"streaming": STILL})
    assert in_torch.stream("on") == ()


def test_a_plan_that_is_prepared_leaves_the_streams_alone():
    """Between two inferences the engine runs plans on empty windows; a router must not be told how sure these were."""
    camera = Camera(ROUTED)
    camera.run(room(10))
    streams = camera.engine._streams
    before, tokens = streams.confidence, dict(streams._inputs["depth"]._tokens)
    assert camera.engine.prepare((True,), 0.0)
    assert streams.confidence == before and streams._inputs["depth"]._tokens == tokens


def test_a_stream_that_begins_anew_knows_no_confidence_of_the_time_before():
    camera, told = Camera(ROUTED, pruning_ratio_override=0.5), []
    stream = camera.engine._streams._inputs["depth"]._stream
    choose = stream._router.choose
    stream._router.choose = lambda given: told.append(given.confidence) or choose(given)
    camera.run(room(8))
    assert camera.engine._streams.confidence < 1 and told[-1] < 1
    late = camera.snapshot()
    camera.pipeline.reset()
    camera.pipeline.infer(late)  # it was with the worker when the clock jumped
    told.clear()
    camera.run(room(8, seed=1))
    # The first window has several pictures, and no prediction was made from any before them.
    assert told[0] == 1 and told[-1] < 1


def test_a_stream_whose_camera_is_silent_is_not_said_to_do_anything():
    camera = Camera()
    camera.run(room(8))
    assert camera.pipeline.streams["depth"].branch == Branch.FULL
    camera.now_ns += 5 * NS
    assert not camera.pipeline.infer(camera.snapshot()).valid and camera.pipeline.streams == {}
