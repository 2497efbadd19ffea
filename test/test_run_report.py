"""The truth, the judging against it, and the page that shows a run. No ROS."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from types import SimpleNamespace as N
from xml.etree import ElementTree

import numpy as np
import pytest
from bag_maker import write_bag
from rosbags.highlevel import AnyReader
from run_record_maker import CLASSES, NAMES, made_up_record, result_of

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.bags.run_description import read_run_description
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.paths import share_path
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault, read_script
from sentryfuse_ros.replay.frames import Frame, frames_at, frames_of_run, small_picture
from sentryfuse_ros.replay.losses import losses
from sentryfuse_ros.replay.run_record import ModelFacts, PowerRow, PredictionRow, RunRecord
from sentryfuse_ros.replay.scores import is_steady, labels_of_run, score_run, segments
from sentryfuse_ros.replay.session import read_truth
from sentryfuse_ros.reporting.narrator import Narrator
from sentryfuse_ros.reporting.run_files import write_results
from sentryfuse_ros.reporting.run_plots import draw_run, stretches
from sentryfuse_ros.reporting.style import RED, STATE_COLOURS
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.simulation.run import simulate

NS = 10**9
LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))
SCRIPT = FaultScript((InjectedFault("camera", "off", 2.0, 5.0), InjectedFault("imu", "slow", 4.0, 5.0, keep_every=8)))
ALL_OFF = FaultScript(tuple(InjectedFault(name, "off", 6.0, 8.0) for name in NAMES))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "drive"
    simulate(5, 3.0, folder, "test", battery_wh=1.0, battery_start=0.9)
    return folder


def scored(predictions, labels, script, modalities, classes, window_s, end_s):
    model = ModelFacts(modalities=tuple(modalities), classes=tuple(classes), window_s=window_s)
    return score_run(RunRecord("run", predictions, [], script, end_s, labels=labels, model=model))


def counts(score):
    return score.judged, score.correct


def prediction(t_s, name, mask=(True, True), confidence=0.8, ratio=0.0):
    return PredictionRow(t_s, t_s, bool(name), "", name, confidence if name else 0.0, mask, ratio, 3.0, 9.0, 2.0, 1)


# --- labels ------------------------------------------------------------------------------------------------


def test_labels_at_between_and_steady():
    assert [LABELS.at_s(t) for t in (-0.1, 0.0, 3.999, 4.0, 6.5, 7.0, 10.0)] == ["", "sand", "sand", "grass", "", "sand", ""]
    assert LABELS.between(3 * NS, 8 * NS) == ("sand", "grass", "sand") and LABELS.between(62 * NS // 10, 68 * NS // 10) == ()
    steady = [is_steady(LABELS, t, NS) for t in (0.5, 1.0, 4.5, 5.0, 6.5, 7.5, 8.5)]
    assert steady == [False, True, False, True, False, False, True]
    assert LABELS.repeated(2, 20 * NS).at_s(25.0) == "grass"


def test_labels_of_stamps_become_times_of_the_recording():
    labels = Labels.of([(5 * NS, 6 * NS, "sand"), (6 * NS, 7 * NS, "sand"), (7 * NS, 8 * NS, "grass")])
    found = labels_of_run(labels, "x", 4 * NS, 10.0)
    assert found.seconds() == [(1.0, 3.0, "sand"), (3.0, 4.0, "grass")]
    with pytest.raises(DataError, match="truth x.*-95.0 to -92.0 s.*0 to 10.0 s"):
        labels_of_run(labels, "x", 100 * NS, 10.0)
    with pytest.raises(DataError, match="no interval"):
        labels_of_run(Labels(), "x", 0, 10.0)


def test_file_and_topic_tell_the_same_truth(simulated, tmp_path):
    with Bag(simulated) as bag:
        of_file = read_truth(bag, None)  # intervals.csv beside the bag
        of_topic = read_truth(bag, "/ground_truth/ground")
        for t in np.arange(0.3, 2.9, 0.1):
            assert of_file.at_s(t) == of_topic.at_s(t - 0.01) or of_file.at_s(t) != of_file.at_s(t - 0.2)
        assert of_file.at_s(1.0) in CLASSES and len(of_topic.intervals) < 5
    with Bag(write_bag(tmp_path / "unlabelled", 0.5)) as bag:
        assert read_truth(bag, None) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--truth", "/no/such.csv"], ["/no/such.csv", "No such file"]),
        (["--truth", "WRONG"], ["t_from,t_to,label"]),
    ],
)
def test_truth_that_cannot_be_read_is_one_clear_line(simulated, tmp_path, capsys, arguments, words):
    (tmp_path / "wrong.csv").write_text("from,to,what\n1,2,sand\n")
    assert main(["replay", str(simulated), *[str(tmp_path / "wrong.csv") if a == "WRONG" else a for a in arguments]]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(word in err for word in words), err


# --- scores -----------------------------------------------------------------------------------------------


def test_predictions_are_judged_where_there_is_something_to_judge():
    rows = [
        prediction(1.0, "sand"),  # right
        prediction(2.5, "grass", (False, True), 0.4, 0.3),  # wrong, camera missing
        prediction(3.5, "sand", (False, True), 0.6, 0.3),  # right, camera missing
        prediction(4.2, "grass", (False, True), 0.9, 0.3),  # right, just after a border
        prediction(4.5, "", (False, False)),  # nothing said
        prediction(6.5, "sand"),  # no label there
        prediction(8.5, "sand"),  # right
    ]
    found = scored(rows, LABELS, SCRIPT, ("camera", "imu"), CLASSES, 1.0, 10.0)
    assert (*counts(found.overall), found.overall.silent) == (5, 4, 1)
    assert found.overall.accuracy == 0.8
    assert counts(found.all_sensors) == (2, 2)
    assert (*counts(found.sensor_missing), found.sensor_missing.ticks) == (3, 2, 4)
    assert counts(found.steady) == (4, 3)
    assert {entry.missing: (entry.score.correct, entry.score.judged) for entry in found.by_missing} == {
        (): (2, 2),
        ("camera",): (2, 3),
        ("camera", "imu"): (0, 0),
    }
    second = found.segments[1]
    assert (second.from_s, second.to_s, second.faults, second.labels) == (2.0, 4.0, ("camera off",), ("sand",))
    assert second.predicted == {"grass": 1, "sand": 1} and second.ratios == (0.3,) and second.score.confidence_p50 == 0.5
    assert found.to_dict()["segments"][1]["said"] == {"grass": 1, "sand": 1} and found.to_dict()["overall"]["right"] == 4


def test_a_sensor_the_run_never_had_is_not_missing():
    rows = [prediction(1.0, "sand", (True, False)), prediction(2.0, "grass", (True, False))]
    found = scored(rows, LABELS, FaultScript(), ("camera", "imu"), CLASSES, 1.0, 10.0)
    assert found.all_sensors.judged == 2 and found.sensor_missing.ticks == 0


def test_labels_the_model_has_no_class_for_are_not_held_against_it():
    found = scored(
        [prediction(1.0, "wave"), prediction(5.0, "grass")], LABELS, FaultScript(), ("a", "b"), ("wave", "grass"), 1.0, 10.0
    )
    assert found.labels_without_class == ("sand",) and found.overall.judged == found.overall.correct == 1


def test_without_truth_nothing_is_judged():
    found = scored([prediction(1.0, "sand")], None, SCRIPT, ("camera", "imu"), CLASSES, 1.0, 10.0)
    assert found.overall.accuracy is None and found.overall.confidence_p50 == 0.8
    assert scored([], None, SCRIPT, (), (), 1.0, 10.0).overall.ticks == 0


def test_segments_change_at_every_begin_and_end_of_a_fault():
    assert [(a, b, len(f)) for a, b, f in segments(SCRIPT, 9.0)] == [(0, 2, 0), (2, 4, 1), (4, 5, 2), (5, 9, 0)]
    assert segments(FaultScript(), 3.0) == [(0.0, 3.0, ())]
    assert [(a, b) for a, b, _ in segments(FaultScript((InjectedFault("imu", "off", 2.0, 99.0),)), 9.0)] == [(0, 2), (2, 9)]


def test_losses_tell_what_was_done_and_what_came_of_it():
    record = made_up_record(LABELS, SCRIPT, 10.0, wrong_share=0.0)
    first, second = losses(record, result_of(record).summary.faults)
    assert (first.number, first.done, first.verdict.seen_as) == (1, "nothing is delivered", ("STALE",))
    assert first.verdict.mask_clear_s == pytest.approx(0.31, abs=0.02) and first.back_s == pytest.approx(0.11, abs=0.02)
    assert first.reason == "no message <for> 0.3 s" and first.before.accuracy == first.during.accuracy == 1.0
    assert second.done == "only every 8th message passes" and second.during.ticks == 10


# --- pictures ----------------------------------------------------------------------------------------------


def test_frames_are_the_newest_before_each_time(simulated):
    with AnyReader([simulated]) as reader:
        chosen = [c for c in reader.connections if c.topic == "/camera/image_raw"]
        recorded = [(t, reader.deserialize(raw, c.msgtype)) for c, t, raw in reader.messages(chosen)]
    with Bag(simulated) as bag:
        topic = bag.topics["/camera/image_raw"]
        frames = frames_at(bag, topic, [0.0, 1.05, 1.06, 2.5, 3.5, 99.0])
        again = frames_of_run(bag, topic, [1.05, 11.05], 10.0)
        times = [(t - bag.start_ns) * 1e-9 for t, _ in recorded]
    # Before the first frame and long after the last there is none to show.
    assert [f.at_s for f in frames] == [1.05, 1.06, 2.5, 3.5]
    assert [f.recorded_s for f in frames] == pytest.approx([max(t for t in times if t <= f.at_s) for f in frames])
    message = recorded[times.index(min(times, key=lambda t: abs(t - frames[2].recorded_s)))][1]
    pixels = message.data.reshape(message.height, message.width, 3) / 255
    assert np.allclose(frames[2].pixels, pixels, atol=1e-6)
    assert [f.at_s for f in again] == [1.05, 11.05] and np.array_equal(again[0].pixels, again[1].pixels)


def test_a_black_picture_is_shown_and_a_broken_one_is_not(simulated):
    with Bag(simulated) as bag:
        raw = next(raw for _, _, raw in bag.messages(["/camera/image_raw"]))
    kind, pixels = "sensor_msgs/msg/Image", 3 * 54 * 72
    assert small_picture(kind, raw).max() > 0.1
    assert small_picture(kind, raw[:-pixels] + bytes(pixels)).max() == 0.0
    assert small_picture(kind, raw[:200]) is None and small_picture(kind, b"") is None


def test_depth_is_shown_in_grey(tmp_path):
    with Bag(write_bag(tmp_path / "bag", 1.0)) as bag:
        (frame,) = frames_at(bag, bag.topics["/cam/depth"], [0.5])
    assert frame.pixels.shape == (54, 72, 3) and np.ptp(frame.pixels) > 0.5
    assert np.array_equal(frame.pixels[..., 0], frame.pixels[..., 2])


def test_stretches():
    assert list(stretches("aabcc")) == [(0, 2, "a"), (2, 3, "b"), (3, 5, "c")] and list(stretches("")) == []


FRAMES = [Frame(t, t, np.full((6, 8, 3), 0.5, np.float32)) for t in (1.0, 3.0, 9.0)]


def test_drawing_shows_what_happened_and_nothing_else():
    calm = made_up_record(LABELS, FaultScript(), 10.0, wrong_share=0.0)
    calm = replace(calm, frames=FRAMES, camera="camera")
    broken = made_up_record(LABELS, SCRIPT, 10.0, wrong_share=0.5)
    broken = replace(broken, frames=FRAMES, camera="camera")
    quiet, loud = draw_run(calm), draw_run(broken)
    for text in (quiet, loud):
        assert ElementTree.fromstring(f'<p xmlns:xlink="x">{text}</p>')[0].tag.endswith("svg")
    stale = STATE_COLOURS["STALE"].figure
    assert RED not in quiet and stale not in quiet  # nothing wrong, no frame withheld, no sensor lost
    assert loud.count(stale) >= 2 and loud.count(RED) > quiet.count(RED) + 10


# --- the page ----------------------------------------------------------------------------------------------


class Checker(HTMLParser):
    """Counts what a page holds; fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.words, self.rows = [], [], [], 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.rows += tag == "tr"
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data", "action")]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def written(tmp_path, record):
    result = result_of(record)
    write_results(result, tmp_path, tmp_path / "deep" / "report.html")
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    return text, Checker(text), result


def test_page_is_whole_by_itself_and_tells_the_figures(tmp_path, simulated):
    script = FaultScript(SCRIPT.faults + ALL_OFF.faults)
    record = replace(
        made_up_record(LABELS, script, 10.0, wrong_share=0.2),
        description=read_run_description(simulated),
        environment="a machine & more",
    )
    text, page, result = written(tmp_path, record)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"@import|url\((?!#|&quot;#)|<script|<link", text)
    words = " ".join("".join(page.words).split())
    scores = result.scores
    for part in (scores.overall, scores.all_sensors, scores.sensor_missing):
        assert f"{part.correct} of {part.judged} correct" in words
    assert "world 2000005 of the test split" in words and "no message <for> 0.3 s" in words and "a machine & more" in words
    assert "100 % to 1" in words and "up to 90 % of the prunable part" in words
    assert page.rows >= len(script.faults) + len(scores.segments) + len(scores.by_missing) + 3  # and the heads
    assert "All kept" in words


def test_page_of_a_broken_promise_says_so(tmp_path):
    late = FaultScript((InjectedFault("camera", "off", 2.0, 2.2),))  # over before it is noticed: it never clears
    record = made_up_record(LABELS, late, 10.0)
    words = "".join(written(tmp_path, record)[1].words)
    assert "Broken:" in words and "camera off at 2 s" in words and "All kept" not in words


def test_page_without_truth_without_faults_and_of_nothing_at_all(tmp_path):
    plain = made_up_record(None, FaultScript(), 5.0)
    words = "".join(written(tmp_path, plain)[1].words)
    assert "Nothing was broken." in words and "accuracy over the run" not in words and "The losses" not in words
    empty = RunRecord("empty", [], [], SCRIPT, 0.0)
    assert "no predictions came" in "".join(written(tmp_path, empty)[1].words)


def test_battery_as_the_node_read_it_else_as_scripted():
    script = FaultScript((), ((0.0, 100.0), (10.0, 0.0)))
    record = RunRecord("x", [], [], script, 10.0, [PowerRow(1.0, float("nan"), 0, 1, 1), PowerRow(5.0, 33.0, 0, 1, 1)])
    assert [record.battery_percent(t) for t in (0.5, 2.0, 5.0, 9.0)] == [95.0, 80.0, 33.0, 33.0]


def test_the_demos_faults_name_the_models_sensors_and_leave_time_to_recover():
    script = read_script(share_path("config", "faults", "ground_demo.yaml"))
    assert set(script.sensors()) == set(NAMES) and not script.battery
    assert max(f.to_s for f in script.faults) < 59.0
    alone = [f for _, _, f in segments(script, 60.0)]
    assert any(len(f) == 4 for f in alone) and any(len(f) == 2 for f in alone) and alone[-1] == ()


# --- plain lines -------------------------------------------------------------------------------------------


def test_narrator_speaks_where_mask_or_ratio_change():
    out = StringIO()
    narrator = Narrator(out, LABELS.at_s)
    sensors = [N(name="camera", state=State.OK), N(name="imu", state=State.OK)]

    def latest(t_s, mask, ratio, valid=True):
        p = N(mask=mask, pruning_ratio=ratio, valid=valid, class_name="sand", confidence=0.91, reason="no live sensor")
        return N(t_s=t_s, prediction=p, mask=N(sensors=sensors))

    narrator.show(N(t_s=0.0, prediction=None, mask=None))
    narrator.show(latest(1.0, [True, True], 0.0))
    narrator.show(latest(1.1, [True, True], 0.0))
    sensors[0].state = State.STALE
    narrator.show(latest(2.0, [False, True], 0.0))
    narrator.show(latest(3.0, [False, True], 0.3, valid=False))
    assert out.getvalue().splitlines() == [
        "   1.0 s  all sensors live; ratio 0.0; prediction sand 91 % (truth: sand)",
        "   2.0 s  camera STALE; ratio 0.0; prediction sand 91 % (truth: sand)",
        "   3.0 s  camera STALE; ratio 0.3; prediction none (no live sensor) (truth: sand)",
    ]
