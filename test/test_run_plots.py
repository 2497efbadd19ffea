"""The drawing of a run."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure
from run_record_maker import made_up_record

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.frames import Frame
from sentryfuse_ros.reporting.run_plots import classes_panel, draw_run, sensors_panel, stretches
from sentryfuse_ros.reporting.style import RED, STATE_COLOURS

LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))
SCRIPT = FaultScript((InjectedFault("camera", "off", 2.0, 5.0), InjectedFault("imu", "slow", 4.0, 5.0, keep_every=8)))


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


def test_the_states_speak_of_faults_only_where_there_are_some():
    for script, told in ((SCRIPT, True), (FaultScript(), False)):
        axis = Figure().subplots()
        sensors_panel(axis, made_up_record(LABELS, script, 10.0))
        assert ("black bars: injected faults" in axis.get_title(loc="left")) is told


def test_a_row_of_verdicts_is_drawn_where_there_are_any():
    unknown = Labels.of_seconds(((0.0, 10.0, "a label that the model has no class for"),))
    for labels, judged in ((LABELS, True), (unknown, False)):
        axis = Figure().subplots()
        classes_panel(axis, made_up_record(labels, FaultScript(), 10.0))
        rows = [text.get_text() for text in axis.get_yticklabels()]
        assert rows == ["truth", "prediction", *(["correct or wrong"] if judged else [])]


def test_a_prediction_whose_times_are_no_numbers_does_not_end_the_drawing():
    record = made_up_record(LABELS, SCRIPT, 10.0)
    for name in ("inference_ms", "overhead_ms", "confidence"):
        odd = [replace(p, **{name: float("nan")}) if i == 5 else p for i, p in enumerate(record.predictions)]
        assert "</svg>" in draw_run(replace(record, predictions=odd))


def test_labels_that_look_like_mathematics_are_drawn_as_they_are():
    labels = Labels.of_seconds(((0.0, 4.0, "$x^{$"), (4.0, 8.0, "$\\frac{1}$ of $"), (8.0, 10.0, "<script>")))
    text = draw_run(made_up_record(labels, FaultScript(), 10.0, wrong_share=0.1))
    assert ElementTree.fromstring(f'<p xmlns:xlink="x">{text}</p>')[0].tag.endswith("svg")
