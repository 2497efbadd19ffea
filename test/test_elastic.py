"""Elastic networks: parts of them run on the leading weights, and the second stage of a training makes the parts useful."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_training import CLASSES, QUIET, RECIPE, recipe, recordings
from model_family import ELASTIC
from tiny_model import tiny_batch, tiny_config, tiny_model

from sentryfuse_ros.errors import CheckpointError, ParameterError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.model.saved import load_checkpoint
from sentryfuse_ros.model.subnetwork import all_codes, of_code
from sentryfuse_ros.model.tokenizer_config import StemSize, leading_weights
from sentryfuse_ros.model.tokenizers import make_tokenizer
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.training.elastic import Elastic
from sentryfuse_ros.training.elastic_trainer import ElasticTrainer
from sentryfuse_ros.training.examples import RecordingExamples
from sentryfuse_ros.training.logits import predict_subnetworks
from sentryfuse_ros.training.run import train
from sentryfuse_ros.training.trainer import Trainer

SIZES = dict(
    tokenizer={
        "imu": {"stem_channels": 8, "spectrum_steps": 20, "sizes": [{"channels": 0.5, "features": False}]},
        "wheel": {"steps_per_token": 5, "stem_channels": 8, "sizes": [{"channels": 0.5}]},
    },
    fusion_sizes=[[2, 0.0], [1, 0.5]],
)


def elastic_recipe(elastic_epochs=3, **changes):
    elastic = {"epochs": elastic_epochs, "learning_rate": 3e-3}  # higher than the default: these networks see few examples
    return recipe(model={**RECIPE["model"], **SIZES}, elastic=elastic, **changes)


def test_channels_are_kept_in_steps_and_never_all_of_them_lost():
    assert [StemSize(0.5).kept(c) for c in (2, 4, 16, 24, 30)] == [2, 4, 8, 12, 16]
    assert [StemSize(0.25).kept(c) for c in (4, 16, 48, 50)] == [4, 4, 12, 16]
    with pytest.raises(ParameterError, match="sizes.*channels: saw 0"):
        tiny_model(tokenizer={"imu": {"sizes": [{"channels": 0}]}})


@pytest.mark.parametrize(
    "sizes, why",
    [
        ([[1, 0.0]], r"\[2, 0.0\] first"),
        ([[2, 0.0], [3, 0.5]], "layers from 1 to 2"),
        ([[2, 0.0], [2, 0.0]], "distinct"),
        ([[2, 0.0], [1, 0.95]], "ratio up to 0.9"),
        ([[2, 0.0], [1]], "2 values"),
        ([[2, 0.0], [1, "all"]], "a finite number"),
    ],
)
def test_impossible_sizes_of_the_backbone_are_refused(sizes, why):
    with pytest.raises(ParameterError, match=f"fusion_sizes.*{why}"):
        tiny_model(fusion_sizes=sizes)


def test_sizes_survive_the_way_through_json():
    config = tiny_model(**ELASTIC).config
    assert FuseConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config and config.elastic
    assert not tiny_model().config.elastic


def test_a_smaller_stem_is_a_network_of_its_own_on_the_leading_weights():
    model, batch = tiny_model(**ELASTIC), tiny_batch()
    for place, spec in enumerate(model.config.modalities):
        options = model.config.tokenizer[spec.name]
        weights = {n: t.numpy() for n, t in model.tokenizers[place].state_dict().items()}
        for size in range(1 + len(options.sizes)):
            small = options.at_size(size)
            alone = make_tokenizer(spec, model.config.d_model, small).requires_grad_(False)
            kept = leading_weights(weights, small.tensor_shapes(spec, model.config.d_model))
            alone.load_state_dict({name: torch.from_numpy(values) for name, values in kept.items()})
            for found, expected in zip(model.tokenizers[place](batch[spec.name], size), alone(batch[spec.name])):
                torch.testing.assert_close(found, expected)


def test_sorting_channels_changes_their_order_and_not_what_the_network_answers():
    model, sorted_model, batch = tiny_model(**ELASTIC), tiny_model(**ELASTIC), tiny_batch()
    for stem in sorted_model.stems:
        stem.sort_channels([torch.arange(float(conv.out_channels)) for conv, _ in stem.convolutions()])
    torch.testing.assert_close(sorted_model(batch).logits, model(batch).logits)
    before, after = (m.tokenizers[0].convs[0].weight for m in (model, sorted_model))
    assert torch.equal(after, before.flip(0))


def test_every_drawn_part_is_one_that_may_be_deployed():
    config, rng = tiny_model(**ELASTIC).config, np.random.default_rng(0)
    mask = (True, False, True)
    drawn = [Elastic().draw(config, mask, 0.3, rng) for _ in range(300)]
    codes = {part.code for part in drawn}
    assert codes == {code for code in all_codes(config) if code[1] == "0" and code[0] != "0" and code[2] != "0"}
    assert {part.fusion_size for part in drawn} == {*config.fusion_sizes, (2, 0.3)}


def tiny_whole():
    """A network that the second stage can start from."""
    return Trainer(recipe(model={**RECIPE["model"], **SIZES}), RecordingExamples(recordings()), CLASSES).model


def test_the_second_stage_starts_from_the_first_and_makes_its_parts_useful(made_up, tmp_path):
    folder = train(elastic_recipe(40, epochs=40), tmp_path / "elastic", console=QUIET)
    whole, info = load_checkpoint(tmp_path / "elastic" / "whole")
    model, info = load_checkpoint(folder)
    assert torch.equal(model.gate.static, whole.gate.static)  # the order of heads and channels is the first stage's
    config = model.config
    codes = list(all_codes(config))
    for name in ("validation_plan_accuracy", "validation_plan_standard_error"):
        assert list(info["metrics"][name]) == codes and {len(row) for row in info["metrics"][name].values()} == {2}
    assert list(info["plan_temperatures"]) == codes
    held = RecordingExamples(recordings((3,), each=20))
    least = of_code("22", config.fusion_sizes[1])
    right = {
        name: (predict_subnetworks(network, held, [least])[least].argmax(1) == held.labels).mean()
        for name, network in (("whole", whole), ("elastic", model))
    }
    assert right["elastic"] > 0.9 and right["elastic"] > right["whole"] + 0.1, right
    engine = Engine.load(folder)
    assert engine.temperature(least) == info["plan_temperatures"]["22"][1]
    assert engine.temperature(least._replace(units_level=0.0)) == info["temperatures"]["11"][0]


def test_a_trained_model_can_stand_in_for_the_first_stage_and_a_killed_stage_is_resumed(made_up, tmp_path, monkeypatch):
    first = train(recipe(model={**RECIPE["model"], **SIZES}), tmp_path / "first", console=QUIET)
    unbroken = train(elastic_recipe(), tmp_path / "unbroken", start_from=first, console=QUIET)
    steps = ElasticTrainer.run_epoch

    def killed(self):
        for i, step in enumerate(steps(self)):
            if self.epoch == 1 and i == 1:
                raise KeyboardInterrupt  # in the middle of the second epoch
            yield step

    monkeypatch.setattr(ElasticTrainer, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(elastic_recipe(), tmp_path / "broken", start_from=first, console=QUIET)
    monkeypatch.setattr(ElasticTrainer, "run_epoch", steps)
    with pytest.raises(CheckpointError, match="a run that is there already"):
        train(elastic_recipe(), tmp_path / "broken", start_from=first, console=QUIET)
    broken = train(elastic_recipe(), tmp_path / "broken", start_from=first, resume=True, console=QUIET)
    a, b = (load_checkpoint(folder)[0].state_dict() for folder in (unbroken, broken))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not (tmp_path / "broken" / "state.safetensors").exists()  # there was no first stage


def test_pooled_folds_give_the_accuracies_of_parts_too(made_up, tmp_path):
    folds = [
        train(elastic_recipe(1, epochs=1, train_groups=[g], validation_groups=[3 - g]), tmp_path / str(g), console=QUIET)
        for g in (1, 2)
    ]
    both = elastic_recipe(1, epochs=1, train_groups=[1, 2], validation_groups=[])
    info = load_checkpoint(train(both, tmp_path / "all", calibrate_from=folds, console=QUIET))[1]
    pooled = [load_checkpoint(f)[1]["metrics"]["validation_plan_accuracy"]["21"][1] for f in folds]
    assert info["metrics"]["cross_validation_plan_accuracy"]["21"][1] == pytest.approx(np.mean(pooled), abs=1e-4)
    assert len(info["plan_temperatures"]) == 8


def test_what_ships_may_keep_a_share_of_the_weights_that_the_stage_began_with(made_up):
    elastic = Elastic(epochs=1, learning_rate=3e-3, start_share=0.25)
    trainer = ElasticTrainer(replace(elastic_recipe(), elastic=elastic), RecordingExamples(recordings()), CLASSES, tiny_whole())
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    list(trainer.run_epoch())
    after = {name: tensor.clone() for name, tensor in trainer.ema_model.state_dict().items()}
    shipped = trainer.shipped_network().state_dict()
    name = "backbone.layers.0.up.weight"
    assert not torch.allclose(before[name], after[name])
    torch.testing.assert_close(shipped[name], 0.25 * before[name] + 0.75 * after[name])


def test_the_first_stage_is_not_imitated_where_the_label_changes(made_up):
    examples = RecordingExamples(recordings())
    trainer = ElasticTrainer(elastic_recipe(1), examples, CLASSES, tiny_whole())
    assert next(trainer.run_epoch()).distill > 0
    examples.steady[:] = False
    assert next(trainer.run_epoch()).distill == 0


def test_a_first_stage_that_does_not_fit_is_named(made_up, tmp_path):
    first = train(recipe(epochs=1), tmp_path / "first", console=QUIET)
    with pytest.raises(ParameterError, match="another shape of tokenizers.0.spectrum"):
        train(elastic_recipe(), tmp_path / "x", start_from=first, console=QUIET)
    with pytest.raises(ParameterError, match="elastic epochs.*with --start-from"):
        train(recipe(), tmp_path / "y", start_from=first, console=QUIET)
    whole, wanted = load_checkpoint(first)[0], replace(recipe(), elastic=Elastic(epochs=1))
    with pytest.raises(ParameterError, match="classes of the network of the first stage"):
        ElasticTrainer(wanted, RecordingExamples(recordings()), CLASSES[::-1], whole)


def test_batches_that_are_drawn_ahead_are_those_that_are_drawn_in_turn(monkeypatch):
    trainer = Trainer(recipe(), RecordingExamples(recordings()), CLASSES)
    parts = np.array_split(np.arange(36), 9)
    in_turn = list(trainer._drawn_batches(parts))
    monkeypatch.setattr(trainer, "device", torch.device("cuda"))
    for a, b in zip(in_turn, trainer._drawn_batches(parts), strict=True):
        assert a.mask == b.mask and np.array_equal(a.chosen, b.chosen)
        assert all(np.array_equal(a.windows[n], b.windows[n]) for n in a.windows)


def test_more_sizes_of_a_stem_than_a_digit_can_tell_apart_are_refused():
    for count in (8, 9):
        sizes = [{"channels": 1 - 0.1 * i} for i in range(count)]
        options = {"imu": {"stem_channels": 48, "sizes": sizes}}
        if count == 8:
            codes = list(all_codes(tiny_config(tokenizer=options)))
            assert {len(code) for code in codes} == {3} and "090" in codes
        else:
            with pytest.raises(ParameterError, match="tokenizer 'imu' sizes: saw .*, expected a list of at most 8 sections"):
                tiny_config(tokenizer=options)
