"""ONNX Runtime gives torch's numbers: every backbone, mask and ratio, every option of the tokenisers."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from model_family import ELASTIC, FAMILY, random_config
from tiny_model import tiny_config, tiny_model

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.model.fuse import SentryFuse
from sentryfuse_ros.model.saved import checkpoint_of, load_checkpoint
from sentryfuse_ros.model.subnetwork import Subnetwork, all_codes, of_code, whole_stems
from sentryfuse_ros.model.tensor_shapes import token_counts
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.pruning.gate_scores import gate_scores
from sentryfuse_ros.pruning.slicing import slice_weights
from sentryfuse_ros.pruning.units import SiteKeep, subnetwork_units

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: make setup brings it")

from sentryfuse_ros.runtime.onnx_backend import OnnxBackend, PictureSession  # noqa: E402
from sentryfuse_ros.runtime.torch_backend import TorchBackend  # noqa: E402

CLOSE = 1e-4  # promised; measured differences are below 5e-6


def backend_of(model: SentryFuse) -> OnnxBackend:
    return OnnxBackend(checkpoint_of(model))


def random_model(config, seed=0) -> SentryFuse:
    torch.manual_seed(seed)
    model = SentryFuse(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and gains that are not 0 and 1
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def window(spec: ModalitySpec, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Noise; with holes, an empty first half, or nothing at all."""
    x = rng.standard_normal(spec.shape).astype(np.float32)
    if kind == "holes" and len(spec.shape) == 4:
        x *= rng.random((spec.shape[0], 1, *spec.shape[2:])) > 0.4
    if kind in ("half", "holes"):
        x[: spec.shape[0] // 2] *= kind == "holes" and len(spec.shape) == 4
    return x * np.float32(kind != "nothing")


def kept_units(model: SentryFuse, part: Subnetwork) -> list[SiteKeep]:
    config = model.config
    scores = gate_scores(config, checkpoint_of(model).tensors, part.used)
    return subnetwork_units(config, token_counts(config), part, scores)


KINDS = ("noise", "holes", "half", "nothing", "noise")  # in turn, in the same arrays


def assert_same(model: SentryFuse, backend: OnnxBackend, mask, ratio, seed=0, kinds=KINDS):
    assert_same_part(model, backend, whole_stems(model.config, mask, ratio), seed, kinds)


def assert_same_part(model: SentryFuse, backend: OnnxBackend, part: Subnetwork, seed=0, kinds=KINDS):
    rng = np.random.default_rng(seed)
    units = kept_units(model, part)
    compiled = backend.compile(part, units)
    for kind in kinds:
        inputs = {spec.name: window(spec, rng, kind) for spec in model.config.modalities}
        with torch.inference_mode():
            batch = {name: torch.from_numpy(x).unsqueeze(0) for name, x in inputs.items()}
            out = model.fuse(model.tokens(batch, part.used, part.stems), slice_weights(model, units))
        ours = backend.run(compiled, inputs)
        # Logits are of any size; what is promised is of the probabilities.
        torch_probabilities = torch.softmax(out.logits[0].double(), 0).numpy()
        probabilities = torch.softmax(torch.from_numpy(ours.logits).double(), 0).numpy()
        np.testing.assert_allclose(probabilities, torch_probabilities, atol=CLOSE)
        np.testing.assert_allclose(ours.attention_share, out.attention_share[0].numpy(), atol=CLOSE)


@pytest.mark.parametrize("name", FAMILY)
def test_every_subnetwork_of_each_backbone(name):
    changes = {**FAMILY[name], **ELASTIC}
    if name == "bottleneck":  # the tokens that streams share are written by the second layer and read by the third
        changes |= dict(layers=4, fusion_sizes=[[4, 0.0], [3, 0.5], [4, 0.9]])
    model = random_model(tiny_config(**changes))
    backend = backend_of(model)
    for i, code in enumerate(all_codes(model.config)):
        for size in model.config.fusion_sizes:
            assert_same_part(model, backend, of_code(code, size), seed=i, kinds=("holes",))


@pytest.mark.parametrize("name", FAMILY)
def test_every_mask_and_level_of_each_backbone(name):
    model = random_model(tiny_config(**FAMILY[name]))
    backend = backend_of(model)
    for mask, ratio in itertools.product(all_masks(3), model.config.ratio_levels):
        assert_same(model, backend, mask, ratio, kinds=("noise", "holes"))


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed):
    model = random_model(random_config(seed), seed)
    backend = backend_of(model)
    for mask in all_masks(len(model.config.modalities)):
        for ratio in (0.0, 0.4, 0.9):
            assert_same(model, backend, mask, ratio, seed, ("noise", "half"))


@pytest.mark.parametrize("name", ("ground_robot", "husky_terrain", "utd_mhad_depth_imu"))
def test_the_shipped_models(name):
    model, _ = load_checkpoint(model_path(name))
    backend = backend_of(model)
    for mask in all_masks(len(model.config.modalities)):
        for ratio in (0.0, 0.5, 0.9):
            assert_same(model, backend, mask, ratio, kinds=("noise", "holes"))


@pytest.mark.parametrize("name", FAMILY)
def test_the_tokens_before_and_behind_the_backbone(name):
    """For a caption head: both libraries give the same ones, which change nothing else."""
    model = random_model(tiny_config(**FAMILY[name]))
    checkpoint, rng = checkpoint_of(model), np.random.default_rng(0)
    giving, plain = OnnxBackend(checkpoint, gives_tokens=True), OnnxBackend(checkpoint)
    ours = TorchBackend(model, gives_tokens=True)
    for mask, ratio in itertools.product(all_masks(3), (0.0, 0.5)):
        part = whole_stems(model.config, mask, ratio)
        units = kept_units(model, part)
        inputs = {spec.name: window(spec, rng, "noise") for spec in model.config.modalities}
        got, expected = giving.run(giving.compile(part, units), inputs), ours.run(ours.compile(part, units), inputs)
        without = plain.run(plain.compile(part, units), inputs)
        count = sum(n for n, here in zip(model.lengths, mask) if here)
        assert got.tokens.stem.shape == got.tokens.fused.shape == (count, model.config.d_model)
        scale = np.abs(expected.tokens.fused).max()  # of any size, as these weights are random
        np.testing.assert_allclose(got.tokens.stem, expected.tokens.stem, atol=CLOSE * scale)
        np.testing.assert_allclose(got.tokens.fused, expected.tokens.fused, atol=CLOSE * scale)
        assert np.abs(got.tokens.fused - got.tokens.stem).max() > 0.01 * scale
        np.testing.assert_allclose(got.logits, without.logits, atol=CLOSE * np.abs(without.logits).max())
        assert without.tokens is None


PICTURES = {
    "camera": ModalitySpec("m", "camera", 1.0, (4, 3, 18, 26), "rgb"),
    "depth": ModalitySpec("m", "camera", 1.0, (4, 1, 17, 24), "depth_m"),
    "lidar": ModalitySpec("m", "lidar", 1.0, (4, 5, 6, 32)),
}


def one_modality(spec: ModalitySpec, **options) -> SentryFuse:
    return random_model(tiny_config(modalities=(spec,), kv_stride={}, tokenizer={"m": options}))


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("motion", ("none", "also", "only"))
@pytest.mark.parametrize("validity_mask", ("each", "one", "none"))
@pytest.mark.parametrize("frames_per_token", (1, 2))
def test_picture_tokeniser(kind, motion, validity_mask, frames_per_token):
    model = one_modality(
        PICTURES[kind], frames_per_token=frames_per_token, motion=motion, validity_mask=validity_mask, stem_channels=[4, 6],
        grid=[2, 3], statistics=[6 if kind == "lidar" else 2, 1 if kind == "lidar" else 3],
    )  # fmt: skip
    assert_same(model, backend_of(model), (True,), 0.0)


@pytest.mark.parametrize("crop_columns", (0, 9, 10))
@pytest.mark.parametrize("grid", ([4, 3], [5, 7], [1, 1]))
def test_picture_tokeniser_with_a_crop_and_grids_that_do_not_divide(crop_columns, grid):
    model = one_modality(PICTURES["camera"], crop_columns=crop_columns, grid=grid, stem_channels=[4])
    assert_same(model, backend_of(model), (True,), 0.0)


@pytest.mark.parametrize("shape", ((2, 1, 4, 24), (2, 1, 9, 40), (2, 2, 11, 64)))
@pytest.mark.parametrize("kind", ("camera", "lidar"))
def test_statistics_of_pictures_too_low_for_the_coarsest_scale(kind, shape):
    spec = ModalitySpec("m", "lidar", 1.0, shape) if kind == "lidar" else ModalitySpec(
        "m", "camera", 1.0, (shape[0], 1, *shape[2:]), "mono")  # fmt: skip
    model = one_modality(spec, frames_per_token=1, stem_channels=[4], grid=[1, 2], statistics=[2, 3])
    assert_same(model, backend_of(model), (True,), 0.0)


@pytest.mark.parametrize("spectrum_steps", (0, 5, 8, 13))
def test_series_tokeniser(spectrum_steps):
    spec = ModalitySpec("m", "series", 1.0, (40, 3))
    model = one_modality(spec, steps_per_token=5, stem_channels=6, spectrum_steps=spectrum_steps)
    assert_same(model, backend_of(model), (True,), 0.0)


def test_tokens_of_earlier_pictures_are_kept_and_change_nothing(monkeypatch):
    spec = ModalitySpec("m", "camera", 1.0, (3, 3, 18, 26), "rgb")
    model = one_modality(spec, frames_per_token=1, stem_channels=[4], grid=[1, 2])
    backend = backend_of(model)
    ran: list[int] = []
    part = whole_stems(model.config, (True,), 0.0)
    compiled = backend.compile(part, kept_units(model, part))
    (tokenizer,) = compiled.pictures
    assert isinstance(tokenizer, PictureSession)
    real = tokenizer._tokens

    def counted(pictures):
        ran[-1] += len(pictures)
        return real(pictures)

    monkeypatch.setattr(tokenizer, "_tokens", counted)
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((8, 3, 18, 26)).astype(np.float32)
    pictures[5] = pictures[4]
    pictures[5, 2, 17, 25] += 1  # the probe cannot tell these two apart, the whole picture can
    for last in range(2, 8):
        shown = pictures[last - 2 : last + 1]
        ran.append(0)
        ours = backend.run(compiled, {"m": shown})
        other = backend_of(model)
        fresh = other.run(other.compile(part, kept_units(model, part)), {"m": shown})
        np.testing.assert_array_equal(ours.logits, fresh.logits)
    assert ran == [3, 1, 1, 1, 3, 1]  # the two that share a probe push each other out


@pytest.mark.parametrize("size", [(18, 26), (7, 9), (54, 72), (12, 8)])
def test_a_picture_in_which_every_pixel_is_valid_runs_a_graph_of_its_own(monkeypatch, size):
    """With the same tokens as torch's; one empty pixel is enough for the graph that looks at the mask."""
    spec = ModalitySpec("m", "camera", 1.0, (2, 3, *size), "rgb")
    model = one_modality(
        spec, frames_per_token=1, stem_channels=[4, 8], grid=[1, 1], statistics=[min(3, size[0]), 1], validity_mask="none"
    )
    backend, part = backend_of(model), whole_stems(model.config, (True,), 0.0)
    (pictures,) = backend.compile(part, kept_units(model, part)).pictures
    ran = []

    class Watched:
        def __init__(self, session, name):
            self.session, self.name = session, name

        def run(self, *args):
            ran.append(self.name)
            return self.session.run(*args)

    assert "_session" not in vars(pictures)  # it is made when a picture needs it
    monkeypatch.setattr(pictures, "_session", Watched(pictures._session, "any"))
    monkeypatch.setattr(pictures, "_whole", Watched(pictures._whole, "whole"))
    rng = np.random.default_rng(0)
    for holes in (0, 1, 30):
        window = rng.standard_normal(spec.shape).astype(np.float32)
        window.reshape(2, 3, -1)[:, :, :holes] = 0
        tokens, seen = pictures.run(window)
        with torch.inference_mode():
            wanted, empty = model.tokenizers[0](torch.from_numpy(window)[None])
        np.testing.assert_allclose(seen, ~empty[0].numpy())
        np.testing.assert_allclose(tokens[seen > 0], wanted[0].numpy()[seen > 0], atol=2e-5)
    assert ran == ["whole"] * 2 + ["any"] * 4


@pytest.mark.parametrize("apart", (2, 5, 11))
def test_tokens_are_kept_for_as_long_as_a_later_window_may_need_them(monkeypatch, apart):
    spec = ModalitySpec("m", "camera", 1.0, (3, 3, 18, 26), "rgb")
    model = one_modality(spec, frames_per_token=1, stem_channels=[4], grid=[1, 2])
    backend, part = backend_of(model), whole_stems(model.config, (True,), 0.0)
    compiled = backend.compile(part, kept_units(model, part))
    (tokenizer,) = compiled.pictures
    pictures = np.random.default_rng(0).standard_normal((100, 3, 18, 26)).astype(np.float32)
    made, real = [], tokenizer._tokens
    monkeypatch.setattr(tokenizer, "_tokens", lambda some: made.append(float(some[0, 0, 0, 0])) or real(some))
    for newest in range(100):  # the slots fill one after the other; every ninth window is taken twice
        for _ in range(1 + (newest % 9 == 0)):
            backend.run(compiled, {"m": pictures[[max(newest - 2 * apart, 0), max(newest - apart, 0), newest]]})
    assert made == pictures[:, 0, 0, 0].tolist()  # each one once
    assert len(tokenizer._kept) <= 4 * apart + 8


def test_tokens_are_bounded_where_the_older_pictures_stay_the_same():
    spec = ModalitySpec("m", "camera", 1.0, (2, 3, 18, 26), "rgb")
    model = one_modality(spec, frames_per_token=1, stem_channels=[4], grid=[1, 2])
    backend, part = backend_of(model), whole_stems(model.config, (True,), 0.0)
    compiled = backend.compile(part, kept_units(model, part))
    (tokenizer,) = compiled.pictures
    pictures = np.random.default_rng(0).standard_normal((90, 3, 18, 26)).astype(np.float32)
    pictures[0] = 0
    for newest in range(1, 90):
        backend.run(compiled, {"m": pictures[[0, newest]]})
    assert len(tokenizer._kept) <= 66
    shown = [backend.run(compiled, {"m": pictures[[5, 6]]}).logits for _ in range(90)]  # and a stream that has stopped
    np.testing.assert_array_equal(shown, [shown[0]] * 90)


def test_weights_of_plans_are_held_once_and_freed_with_the_last_plan():
    backend = backend_of(model := tiny_model())
    parts = [whole_stems(model.config, (True, True, wheel), 0.0) for wheel in (True, False)]
    first, second = (backend.compile(part, kept_units(model, part)) for part in parts)
    shared = {id(v): v for v in first.session.shared_weights.values()}
    other = [id(v) for v in second.session.shared_weights.values()]
    assert len(set(other) & set(shared)) >= len(set(other)) - 2  # all but what depends on the sensors
    weight = model.backbone.layers[0].up.weight.detach().numpy().T
    assert any(v.shape() == list(weight.shape) and np.array_equal(v.numpy(), weight) for v in shared.values())
    del first, second, shared
    backend._pictures.clear()
    assert not len(backend._shared._values)


def test_a_plan_keeps_nothing_in_python_but_shared_weights_and_small_arrays():
    backend = backend_of(model := tiny_model(ffn_dim=512))
    part = whole_stems(model.config, (True, True, True), 0.0)
    units, kept = kept_units(model, part), []
    kept.append(backend.compile(part, units))
    tracemalloc.start()
    for _ in range(10):
        kept.append(backend.compile(part, units))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    weights = sum(v.numpy().nbytes for v in kept[0].session.shared_weights.values())
    assert grown / 10 < 0.25 * weights


@pytest.mark.parametrize(
    "spec, options",
    [
        (PICTURES["camera"], {"crop_columns": 27}),
        (PICTURES["camera"], {"statistics": [19, 3]}),
        (PICTURES["camera"], {"statistics": [2, 4]}),
        (PICTURES["camera"], {"statistics": [2, 3], "crop_columns": 16}),
        (ModalitySpec("m", "series", 1.0, (40, 3)), {"spectrum_steps": 41, "steps_per_token": 5}),
        (ModalitySpec("m", "series", 1.0, (40, 3)), {"spectrum_steps": 3, "steps_per_token": 5}),
    ],
)
def test_options_that_do_not_fit_the_window_are_refused_before_any_backend_runs(spec, options):
    config = tiny_config(modalities=(spec,), kv_stride={}, tokenizer={"m": options})
    with pytest.raises(ParameterError, match=next(iter(options))):
        token_counts(config)
    with pytest.raises(ParameterError, match=next(iter(options))):
        SentryFuse(config)


def test_a_stem_output_smaller_than_the_grid():
    spec = ModalitySpec("m", "camera", 1.0, (2, 1, 12, 16), "depth_m")
    model = one_modality(spec, frames_per_token=1, stem_channels=[4, 4, 4, 4, 4], grid=[2, 2])
    assert_same(model, backend_of(model), (True,), 0.0)
