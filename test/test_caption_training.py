"""A caption head learns on a frozen model: what its tokens show, and what the sensors' states say."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from bag_maker import labelled
from dataset_maker import build
from tiny_model import tiny_model

from sentryfuse_ros.datasets.window_folder import WindowFolder
from sentryfuse_ros.errors import CheckpointError, DataError, ParameterError, SentryFuseError
from sentryfuse_ros.language.checkpoint import CaptionCheckpoint, write_captions
from sentryfuse_ros.language.config import CaptionConfig
from sentryfuse_ros.language.controls import NearestSentence, template_sentence
from sentryfuse_ros.language.decoder import checkpoint_of
from sentryfuse_ros.language.facts import RESTING, SENSOR_STATES, USED, Facts, Statement, Truth
from sentryfuse_ros.language.grammar import parse
from sentryfuse_ros.language.sentence_scores import score_facts, score_wording
from sentryfuse_ros.language.situations import Situations
from sentryfuse_ros.language.speaker import Speaker
from sentryfuse_ros.language.trainer import CaptionSchedule, CaptionTrainer
from sentryfuse_ros.language.training import CaptionTask, train_captions
from sentryfuse_ros.language.vocabulary import learned_words
from sentryfuse_ros.language.window_tokens import FrozenModel, WindowTokens, kept_tokens_path
from sentryfuse_ros.model.saved import save_checkpoint
from sentryfuse_ros.model.subnetwork import whole_stems

CONDITIONS = ("fog", "mud")


@pytest.fixture(scope="module")
def frozen():
    return FrozenModel(tiny_model(), {})


def windows(frozen, count, seed):
    """Windows whose tokens show the class and whether there is fog or mud, under noise; and these facts."""
    rng = np.random.default_rng(seed)
    signs = np.random.default_rng(7).standard_normal((6, frozen.config.d_model))
    labels = rng.integers(4, size=count)
    there = rng.random((count, 2)) < 0.5
    shown = signs[labels] + there @ signs[4:]
    tokens, empty = {}, {}
    for place, length in enumerate(frozen.lengths):
        rows = shown[:, None] + 0.3 * rng.standard_normal((count, length, frozen.config.d_model))
        tokens[place, 0], empty[place] = rows.astype(np.float16), np.zeros((count, length), bool)
    stamps = np.arange(count)
    seen = WindowTokens(tokens, empty, ("drive",), np.zeros(count, int), stamps, np.ones((count, 3), bool))
    facts = [
        Facts(frozen.config.classes[label], conditions=frozenset(n for n, here in zip(CONDITIONS, row) if here))
        for label, row in zip(labels, there)
    ]
    return seen, facts


def truths_of(facts):
    none = frozenset()
    return [Truth(f, frozenset({f.ground}), none, none, none, none) for f in facts]


@pytest.fixture(scope="module")
def head(frozen):
    words = learned_words(frozen.config.classes, frozen.config.names)
    config = CaptionConfig.of(frozen.config, frozen.lengths, words, d_model=64, layers=2, ffn_dim=128)
    schedule = CaptionSchedule(steps=300, batch=48, learning_rate=4e-3, warm_up=20, dropout=0.0, report_every=50)
    often = Situations(not_live=(0.3, 0.5, 0.2))
    trainer = CaptionTrainer(frozen, config, *windows(frozen, 600, 0), windows(frozen, 64, 1), schedule, often)
    reports = []
    decoder = trainer.train(reports.append)
    return Speaker(checkpoint_of(decoder, {})), reports


def test_the_loss_falls_on_windows_that_were_not_learned(head):
    _, reports = head
    assert [report.step for report in reports] == [50, 100, 150, 200, 250, 300]
    assert reports[-1].validation < 0.9 and reports[-1].validation < reports[0].validation / 1.5


@pytest.mark.parametrize("used", [(True, True, True), (False, True, True), (True, False, True)])
def test_it_says_what_is_true_on_new_windows(frozen, head, used):
    speaker, _ = head
    seen, facts = windows(frozen, 60, 2)
    states = {name: USED if here else "frozen" for name, here in zip(frozen.config.names, used)}
    part = whole_stems(frozen.config, used, 0.0)
    sentences = [speaker.say(window, states).words for window in frozen.fused_windows(seen, part)]
    score = score_facts(sentences, [truth.with_sensors(states) for truth in truths_of(facts)])
    assert score.true > 0.9 and score.said["ground"] > 0.9 and score.said["condition"] > 0.6
    if not all(used):
        assert score.said["sensor"] > 0.9


def test_situations_reach_every_state_set_of_sensors_and_plan(frozen):
    rng = np.random.default_rng(0)
    drawn = [Situations().draw(frozen.config, rng) for _ in range(500)]
    assert {s.part.used for s in drawn} >= {(True, True, True), (False, True, True), (True, False, False)}
    assert {s.part.layers for s in drawn} == {1, 2} or {s.part.layers for s in drawn} == {2}
    assert all(live or not used for s in drawn for live, used in zip(s.live, s.part.used))
    states = [state for s in drawn for state in s.states(frozen.config.names, rng).values()]
    assert set(states) == set(SENSOR_STATES)
    for s in drawn:
        for state, used, live in zip(s.states(frozen.config.names, rng).values(), s.part.used, s.live):
            assert (state == USED) == used and (state == RESTING) == (live and not used)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_named(tmp_path):
    task = CaptionTask(tmp_path / "model", tmp_path / "windows", (), device="cuda")
    with pytest.raises(ParameterError, match="device: saw cuda, expected a CUDA device that torch can use; set it to cpu"):
        train_captions(task)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"out": "folder"}, "file .*folder: saw a folder, expected a file that can be written"),
        ({"tokens": "file"}, "folder .*file: saw .*, expected a folder that can be written"),
        ({"start_from": "none.safetensors"}, "caption head .*none.safetensors: saw no such file"),
        ({"drives": ("none",)}, "drives: saw no folder .*none, expected folders of simulated drives"),
    ],
    ids=["out", "tokens", "start_from", "drives"],
)
def test_what_cannot_be_read_or_written_is_named_before_the_work_begins(change, named, tmp_path):
    save_checkpoint(tiny_model(), tmp_path / "model")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    placed = {n: tuple(tmp_path / p for p in v) if isinstance(v, tuple) else tmp_path / v for n, v in change.items()}
    task = replace(CaptionTask(tmp_path / "model", tmp_path / "no data set", (tmp_path,)), **placed)
    with pytest.raises(SentryFuseError, match=named):
        train_captions(task)


def test_tokens_come_back_from_their_file(frozen, tmp_path):
    seen, _ = windows(frozen, 5, 0)
    seen.save(tmp_path / "tokens.npz")
    back = WindowTokens.read(tmp_path / "tokens.npz")
    assert back.bags == seen.bags and set(back.tokens) == set(seen.tokens)
    for stem, rows in seen.tokens.items():
        np.testing.assert_array_equal(back.tokens[stem], rows)
    np.testing.assert_array_equal(back.select(np.array([3])).stamp_ns, [3])
    (tmp_path / "tokens.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="tokens.npz"):
        WindowTokens.read(tmp_path / "tokens.npz")


def test_the_frozen_model_gives_what_the_engine_gives(frozen):
    """The tokens a head is trained on are those that the robot's engine gives."""
    from tiny_model import SPECS, tiny_batch

    from sentryfuse_ros.datasets.windows import WindowSet
    from sentryfuse_ros.runtime.engine import Engine

    batch = {name: x.numpy() for name, x in tiny_batch(3).items()}
    three = np.zeros(3, int)
    done = []
    windows_of_drive = WindowSet(batch, three, three.astype(str), three, ("drive",), three.astype(float))
    seen = frozen.stem_tokens(windows_of_drive, three, done.append)
    assert done == [1.0]  # the share that is done
    engine = Engine.from_model(frozen.model)
    engine.backend._gives_tokens = True
    for used in ((True, True, True), (False, True, True)):
        part = whole_stems(frozen.config, used, 0.0)
        for i, window in enumerate(frozen.fused_windows(seen, part)):
            inference = engine.infer({spec.name: batch[spec.name][i] for spec in SPECS}, np.array(used), 0.0)
            np.testing.assert_allclose(window.stem, inference.tokens.stem, atol=2e-3)  # tokens are kept in half precision
            np.testing.assert_allclose(window.fused, inference.tokens.fused, atol=2e-2)
            np.testing.assert_allclose(window.probabilities, inference.probabilities, atol=5e-3)
            assert inference.part == part


def test_the_controls_say_what_they_know(frozen):
    rng = np.random.default_rng(0)
    sensors = {"camera": USED, "imu": "silent", "wheel": USED}
    said = parse(template_sentence("jump", sensors, rng)).statements
    assert Statement("ground", "jump") in said and Statement("sensor", "imu", "silent") in said
    seen, facts = windows(frozen, 200, 3)
    part = whole_stems(frozen.config, (True, False, True), 0.0)
    known = list(frozen.fused_windows(seen, part))
    nearest = NearestSentence(frozen.lengths, known, facts)
    own = [parse(nearest.say(window, sensors, rng)).statements for window in known[:30]]
    assert all(Statement("ground", f.ground) in said for said, f in zip(own, facts))
    again, others = windows(frozen, 30, 4)
    new = [nearest.say(window, sensors, rng) for window in frozen.fused_windows(again, part)]
    assert score_facts(new, [t.with_sensors(sensors) for t in truths_of(others)]).true > 0.8


def test_scores_of_facts_count_what_is_stated_and_what_is_left_unsaid():
    facts = Facts("sand", conditions=frozenset({"fog"}), sensors={"camera": USED})
    truths = truths_of([facts] * 3)
    score = score_facts(["driving on sand in fog", "driving on grass", "driving on sand purple"], truths)
    assert score.statements == 5 and score.true == pytest.approx(3 / 5) and score.all_true == pytest.approx(1 / 3)
    assert score.by_kind == {"condition": (1, 1), "ground": (3, 2), "strange word": (1, 0)}
    assert score.said == {"condition": pytest.approx(1 / 3), "ground": pytest.approx(2 / 3)}


def test_scores_of_wording(monkeypatch):
    monkeypatch.setenv("PATH", "")  # no Java, which METEOR would need half a minute to start
    pytest.importorskip("pycocoevalcap", reason="pip install pycocoevalcap==1.2")
    references = [["driving slowly on sand in fog", "slowly over sand in fog"], ["moving fast on grass", "fast over grass"]]
    same = score_wording(["driving slowly on sand in fog", "moving fast on grass"], references)
    other = score_wording(["driving fast on wood", "slowly over tiles"], references)
    assert same["bleu4"] == pytest.approx(1) and same["rouge_l"] == pytest.approx(1) and same["cider"] > 1
    assert all(other[name] < same[name] for name in ("bleu4", "rouge_l", "cider")) and "meteor" not in same


def test_training_goes_on_from_a_head(frozen, head):
    speaker, reports = head
    checkpoint = CaptionCheckpoint(speaker.config, speaker._weights, {})
    schedule = CaptionSchedule(steps=1, batch=4, learning_rate=1e-9, report_every=1)
    again = CaptionTrainer(frozen, speaker.config, *windows(frozen, 20, 0), windows(frozen, 64, 1), schedule)
    again.start_from(checkpoint)
    assert again.validation_loss() == pytest.approx(reports[-1].validation, abs=1e-4)
    other = replace(checkpoint, config=replace(checkpoint.config, words=(*checkpoint.config.words, "purple")))
    with pytest.raises(CheckpointError, match="words"):
        again.start_from(other)


def test_training_uses_no_more_than_its_time(frozen):
    words = learned_words(frozen.config.classes, frozen.config.names)
    config = CaptionConfig.of(frozen.config, frozen.lengths, words, d_model=32, layers=1, head_dim=8, ffn_dim=32)
    schedule = CaptionSchedule(steps=10**6, batch=4, stop_after_s=0.5, report_every=1)
    steps = []
    CaptionTrainer(frozen, config, *windows(frozen, 20, 0), windows(frozen, 8, 1), schedule).train(steps.append)
    assert 0 < len(steps) < 10**5
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"warm_up": 0}, {"stop_after_s": 0.0}, {"seed": -1}]
)
def test_a_schedule_that_cannot_be_trained_by_is_refused(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ParameterError, match=f"caption training {name}: saw {value}, expected"):
        CaptionSchedule(**wrong)


def test_a_training_that_diverges_ends_with_an_error(frozen):
    words = learned_words(frozen.config.classes, frozen.config.names)
    config = CaptionConfig.of(frozen.config, frozen.lengths, words, d_model=32, layers=1, head_dim=8, ffn_dim=32)
    schedule = CaptionSchedule(steps=30, batch=4, learning_rate=1e9, warm_up=1)
    trainer = CaptionTrainer(frozen, config, *windows(frozen, 20, 0), windows(frozen, 8, 1), schedule)
    with pytest.raises(SentryFuseError, match="caption training loss by step 30: saw .*lower the learning rate"):
        trainer.train()


def test_a_head_that_could_not_be_read_back_is_not_written(head, tmp_path):
    speaker, _ = head
    tensors = {**speaker._weights, "reader.answer.bias": speaker._weights["reader.answer.bias"] + np.float32(1e5)}
    with pytest.raises(CheckpointError, match="caption head to be written .*NaN or infinity in tensor reader.answer.bias"):
        write_captions(speaker.config, tensors, tmp_path / "captions.safetensors", {"model_sha256": ""})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(50)])
def test_damaged_tokens_are_named(content, tmp_path):
    (tmp_path / "tokens.npz").write_bytes(content)
    with pytest.raises(DataError, match="window tokens .*tokens.npz: saw .*; remove it, and run again"):
        WindowTokens.read(tmp_path / "tokens.npz")


def test_tokens_are_kept_for_one_model_one_data_set_and_one_share_of_its_windows(tmp_path):
    folders = []
    for name in ("a", "b"):
        run = labelled(tmp_path / name / "run", (0, 2, "sand"), (2, 4, "wood"), seconds=4)  # recordings of one name
        build([run], "intervals.csv", tmp_path / f"set_{name}")
        folders.append(WindowFolder(tmp_path / f"set_{name}"))
    one, other = folders
    kept = kept_tokens_path(tmp_path, "m" * 64, one, "train", 2)
    assert kept == kept_tokens_path(tmp_path, "m" * 64, WindowFolder(one.folder), "train", 2)
    others = {
        kept_tokens_path(tmp_path, "n" * 64, one, "train", 2),
        kept_tokens_path(tmp_path, "m" * 64, other, "train", 2),
        kept_tokens_path(tmp_path, "m" * 64, one, "val", 2),
        kept_tokens_path(tmp_path, "m" * 64, one, "train", 1),
    }
    assert len(others) == 4 and kept not in others
    shutil.rmtree(one.folder)
    build([tmp_path / "b" / "run"], "intervals.csv", one.folder, stride_s=1.0)  # made again in the same place
    assert kept_tokens_path(tmp_path, "m" * 64, WindowFolder(one.folder), "train", 2) != kept
