"""The page that shows a run."""

import re
import resource
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import Markup
from run_record_maker import NAMES, made_up_record, result_of

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.bags.run_description import read_run_description
from sentryfuse_ros.cli.replay import report
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.losses import losses
from sentryfuse_ros.replay.run_record import CaptionRow, RunRecord
from sentryfuse_ros.reporting.run_files import RunFiles
from sentryfuse_ros.reporting.run_page import page
from sentryfuse_ros.reporting.run_tables import STATE_WORDS, meanwhile
from sentryfuse_ros.sensing.liveness import State

LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))
SCRIPT = FaultScript((InjectedFault("camera", "off", 2.0, 5.0), InjectedFault("imu", "slow", 4.0, 5.0, keep_every=8)))
ALL_OFF = FaultScript(tuple(InjectedFault(name, "off", 6.0, 8.0) for name in NAMES))


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
    RunFiles(tmp_path, tmp_path / "deep" / "report.html").write(result)
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    return text, Checker(text), result


def test_a_full_disk_does_not_lose_the_verdict(tmp_path, capsys):
    result = result_of(made_up_record(LABELS, SCRIPT, 10.0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))  # no file may be larger; the page is
    try:
        with pytest.raises(OSError, match="File too large"):
            report(result, RunFiles(tmp_path, tmp_path / "report.html"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = capsys.readouterr().out
    assert "predictions " in told and ("promises kept" in told or "PROMISES BROKEN" in told)
    assert (tmp_path / "summary.json").is_file() and f"timeline: {tmp_path / 'timeline.csv'}" in told and "picture" not in told
    assert not (tmp_path / "report.html").exists()


def test_page_is_self_contained_and_shows_the_figures(tmp_path, simulated):
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
    assert "100 % to 1" in words and "up to 90 % of an inference" in words
    assert page.rows >= len(script.faults) + len(scores.segments) + len(scores.by_missing) + 3  # and the heads
    assert "All kept" in words


def test_page_shows_what_was_said(tmp_path):
    said = [
        CaptionRow(1.0, "Driving on sand & gravel."),
        CaptionRow(3.0, "Driving on sand & gravel."),
        CaptionRow(5.0, "On grass."),
    ]
    text, page, _ = written(tmp_path, replace(made_up_record(LABELS, SCRIPT, 10.0), captions=said))
    words = " ".join("".join(page.words).split())
    assert words.count("Driving on sand & gravel.") == 1 and "In sentences" in words
    row = re.search(r"<tr>(?:(?!</tr>).)*On grass\.", text, re.DOTALL)[0]
    assert "5.0 s" in row and "grass" in row
    assert "In sentences" not in written(tmp_path, made_up_record(LABELS, SCRIPT, 10.0))[0]


@pytest.mark.parametrize(
    "trained_on, shown",
    [
        ('{"dataset": "windows", "train_groups": ["a", "b"], "origins": {}}', "dataset windows; train groups a b"),
        ("from a colleague", "from a colleague"),
    ],
)
def test_page_says_in_words_what_the_model_was_trained_on(tmp_path, trained_on, shown):
    record = made_up_record(LABELS, SCRIPT, 10.0)
    trained = replace(record, model=replace(record.model, trained_on=trained_on))
    words = "".join(written(tmp_path, trained)[1].words)
    assert shown in words and "{" not in words.partition("What was run")[2]


@pytest.mark.parametrize(
    ("speed", "pace"), [(1.0, "its own rate"), (2.0, "2 times its own rate"), (0.5, "0.5 times its own rate")]
)
def test_page_says_how_fast_the_recording_was_played(speed, pace):
    result = replace(result_of(made_up_record(None, FaultScript(), 2.0)), speed=speed)
    assert f"was played at {pace} over ROS 2 topics" in page(result, Markup("")) and result.to_dict()["speed"] == speed


def test_page_does_not_take_an_inference_that_failed_for_a_lost_sensor():
    made = made_up_record(None, FaultScript(), 2.0)
    failed = [replace(p, valid=False, class_name="", confidence=0.0, reason="inference failed") for p in made.predictions]
    text = page(result_of(replace(made, predictions=failed)), Markup(""))
    assert "20 ticks, 20 of them without a prediction" in text and "no prediction 20" in text and "live sensor" not in text


def test_page_names_a_broken_promise(tmp_path):
    late = FaultScript((InjectedFault("camera", "off", 2.0, 2.2),))  # over before it is noticed: it never clears
    record = made_up_record(LABELS, late, 10.0)
    words = "".join(written(tmp_path, record)[1].words)
    assert "Broken:" in words and "camera off 2-2.2 s" in words and "All kept" not in words


def test_page_explains_the_states_that_occurred(tmp_path):
    assert set(STATE_WORDS) == {state.name for state in State} - {"OK"}
    record = made_up_record(LABELS, SCRIPT, 10.0)
    occurred = {status.state for row in record.statuses for status in row.states.values()}
    words = " ".join("".join(written(tmp_path, record)[1].words).split())
    assert {state for state in STATE_WORDS if f"{state}: {STATE_WORDS[state]}" in words} == occurred - {"OK"} != set()
    assert "a fault is being injected. " in words and not re.search(r"[a-z][.;:][A-Z]", words), "a space between sentences"


def test_page_says_which_confidence_was_before_a_fault(tmp_path):
    result = result_of(made_up_record(LABELS, SCRIPT, 10.0))
    loss = losses(result.record, result.summary.faults)[0]
    note = f"median confidence {loss.during.confidence_p50:.2f}; before: {loss.before.confidence_p50:.2f}"
    assert meanwhile(loss).note == note


def test_page_without_labels_faults_or_predictions(tmp_path):
    plain = made_up_record(None, FaultScript(), 5.0)
    words = "".join(written(tmp_path, plain)[1].words)
    assert "No fault was injected." in words and "accuracy over the run" not in words and "The losses" not in words
    empty = RunRecord("empty", [], [], SCRIPT, 0.0)
    assert "no predictions came" in "".join(written(tmp_path, empty)[1].words)
