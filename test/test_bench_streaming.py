"""`sentryfuse bench streaming` and `train-stream` from the command line, on a made-up data set in the layout of UTD-MHAD."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from stream_maker import STEM

from sentryfuse_ros.cli import bench_streaming, main
from sentryfuse_ros.datasets.utd_mhad import SPLIT
from sentryfuse_ros.evaluation.caption_figures import STREAMED_KEYS, read_streamed_captions
from sentryfuse_ros.evaluation.people_streams import PAN_ONSET, CameraMotion, people_streams, whole_pixels
from sentryfuse_ros.evaluation.stream_accuracy import _score, _Tally, kept_interval
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.reporting.streaming_page import MARK, streaming_parts
from sentryfuse_ros.training import stream_run
from sentryfuse_ros.training.stream_readout import ENCODER, ReadoutTrainer
from sentryfuse_ros.training.stream_run import load_frames

SUMMARY = {
    "sttf_token_reduction",
    "sttf_accuracy_kept",
    "sttf_latency_ratio_64",
    "sttf_latency_ratio_64_vs_global",
    "anc_flops_reduction_low_motion",
    "anc_accuracy_loss_points",
    "anc_switches_per_s",
    "moving_camera_latency_ratio",
    "together_latency_ratio",
}
RECIPE = {
    "steps": 2,
    "camera": {
        "name": "camera",
        "kind": "camera",
        "encoding": "depth_m",
        "window_s": 1.2,
        "shape": [12, 1, 64, 64],
        "mean": [2.8],
        "std": [0.8],
    },
    "model": {
        "d_model": 16,
        "layers": 2,
        "head_dim": 4,
        "ffn_dim": 32,
        "fusion_sizes": [[2, 0.0], [1, 0.5]],
        "tokenizer": {"camera": {**STEM, "grid": [2, 2]}},
    },
    "streaming": {"policy": {"kind": "top_k", "most_windows": 3}, "router": "threshold"},
    "recipe": {"batch": 4},
}


@pytest.fixture
def people(tmp_path, monkeypatch):
    """16 recordings of 42 frames at 30 Hz: a body that stands, and in the odd ones an arm that swings."""
    folder = tmp_path / "data" / "utd_mhad"
    folder.mkdir(parents=True)
    depth, joints = np.zeros((16, 42, 60, 80), np.uint16), np.zeros((16, 42, 20, 3), np.float32)
    depth[:, :, 15:55, 35:45] = 2500
    for i in range(1, 16, 2):
        for t in range(42):
            depth[i, t, 17 + t // 2 : 22 + t // 2, 45:60] = 2400
            joints[i, t, 0, 1] = -0.05 * t
    ids = np.array([(1 + i % 2, 1 + i // 2, 1) for i in range(16)], np.int16)
    offset = np.arange(17) * 42
    for name, data in (("depth_60x80_u16mm", depth), ("skeleton", joints)):
        np.savez(folder / f"{name}.npz", data=data.reshape(-1, *data.shape[2:]), offset=offset, ids=ids)
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    return tmp_path


def trained(folder, *options):
    config = folder / "recipe.yaml"
    config.write_text(yaml.safe_dump(RECIPE))
    assert main(["train-stream", "--config", str(config), "--out", str(folder / "model"), *options]) == 0
    return folder / "model"


def test_a_stream_is_trained_and_its_checkpoint_says_how_it_streams(people):
    checkpoint = read_checkpoint(trained(people, "--validate-on", "7"))
    assert checkpoint.info["data"]["train_groups"] == [1, 3, 5]
    assert set(checkpoint.info["metrics"]) == {f"validation_accuracy_{name}" for name in ("whole", "light", "streamed")}
    assert checkpoint.info["streaming"]["router"] == "threshold"


def test_a_second_stage_begins_with_a_given_network_and_goes_on_after_a_kill(people, capsys, monkeypatch):
    first, folder = trained(people, "--validate-on", "7"), people / "second"
    config = people / "two_stages.yaml"
    config.write_text(yaml.safe_dump({**RECIPE, "readout": {"augmentations": 2, "steps": 6, "batch": 3}}))
    command = ["train-stream", "--config", str(config), "--validate-on", "7", "--start-from", str(first), "--out"]
    monkeypatch.setattr(stream_run, "REPORT_EVERY", 2)

    assert main([*command, str(people / "at_once")]) == 0
    step = ReadoutTrainer.step

    def killed(trainer):
        if trainer.steps == 5:
            raise KeyboardInterrupt
        return step(trainer)

    with monkeypatch.context() as kill:
        kill.setattr(ReadoutTrainer, "step", killed)
        assert main([*command, str(folder)]) == 130
    capsys.readouterr()
    assert main([*command, str(folder)]) == 0
    told = capsys.readouterr().out
    assert "goes on after step 4" in told and "augmentations" not in told  # the codes were there already
    at_once, resumed, before = (read_checkpoint(f) for f in (people / "at_once", folder, first))
    for name, values in resumed.tensors.items():
        np.testing.assert_array_equal(values, at_once.tensors[name], err_msg=name)
        learnt = not name.startswith(ENCODER)
        assert learnt or np.array_equal(values, before.tensors[name]), name
    assert not np.array_equal(resumed.tensors["tokenizers.0.read.weight"], before.tensors["tokenizers.0.read.weight"])
    assert sorted(f.name for f in folder.iterdir()) == ["model.json", "model.safetensors"]  # the codes are gone


def test_a_second_stage_follows_the_router_of_the_network_it_begins_with(people, capsys):
    config, router = people / "second.yaml", read_checkpoint(model_path("utd_mhad_stream")).info["streaming"]
    config.write_text(yaml.safe_dump({**RECIPE, "streaming": router}))
    command = ["train-stream", "--config", str(config), "--validate-on", "7", "--out"]
    assert main([*command, str(people / "first")]) == 0
    readout = {"augmentations": 1, "steps": 2, "batch": 3, "routed": 1.0, "tokens": 0.5, "parts": 2, "parts_weight": 1.5}
    # What the first stage would begin with is not read where there is none.
    config.write_text(yaml.safe_dump({**RECIPE, "streaming": {}, "begin_with": str(people / "none"), "readout": readout}))
    assert main([*command, str(people / "second"), "--start-from", str(people / "first")]) == 0
    assert read_checkpoint(people / "second").info["streaming"] == router
    config.write_text(yaml.safe_dump({**RECIPE, "readout": readout}))  # fixed thresholds
    capsys.readouterr()
    assert main([*command, str(people / "third"), "--start-from", str(people / "first")]) == 2
    assert "learned router" in capsys.readouterr().err


def test_a_second_stage_needs_its_section_and_a_network_of_the_recipe(people, capsys):
    first, config = trained(people), people / "other.yaml"
    assert (
        main(["train-stream", "--config", str(people / "recipe.yaml"), "--out", str(people / "x"), "--start-from", str(first)])
        == 2
    )
    assert "readout" in capsys.readouterr().err
    config.write_text(yaml.safe_dump({**RECIPE, "model": {**RECIPE["model"], "ffn_dim": 48}, "readout": {}}))
    assert main(["train-stream", "--config", str(config), "--out", str(people / "x"), "--start-from", str(first)]) == 2
    assert "another network" in capsys.readouterr().err


def test_a_training_begins_with_what_fits_of_another_model_that_has_not_seen_the_validation_subjects(people, capsys):
    first, config = trained(people, "--validate-on", "7"), people / "larger.yaml"
    tensors = read_checkpoint(first).tensors
    stem = {**STEM, "read_channels": [5, 5], "grid": [2, 2]}
    model = {**RECIPE["model"], "tokenizer": {"camera": stem}}
    camera = {**RECIPE["camera"], "shape": [12, 1, 96, 128]}
    recipe = {"batch": 2, "paired": True, "learning_rate": 1e-9}
    config.write_text(yaml.safe_dump({**RECIPE, "camera": camera, "model": model, "recipe": recipe}))
    command = ["train-stream", "--config", str(config), "--out", str(people / "larger"), "--steps", "1", "--begin-with"]

    capsys.readouterr()
    assert main([*command, str(first), "--validate-on", "7"]) == 0
    assert f"begun with {len(tensors)} of {len(tensors) + 2} tensors" in capsys.readouterr().out
    larger = read_checkpoint(people / "larger").tensors
    assert all(np.allclose(larger[name], values, atol=1e-5) for name, values in tensors.items())

    assert main([*command, str(first), "--validate-on", "5"]) == 2
    assert "begin_with" in (error := capsys.readouterr().err) and "[5]" in error


def test_a_training_begins_with_another_network_and_follows_its_router(people, capsys):
    config, router = people / "routed.yaml", read_checkpoint(model_path("utd_mhad_stream")).info["streaming"]
    first = {**RECIPE, "streaming": router}
    config.write_text(yaml.safe_dump(first))
    command = ["train-stream", "--config", str(config), "--validate-on", "7", "--out"]
    assert main([*command, str(people / "first")]) == 0
    routed = {"recipe": {"batch": 4, "paired": True, "routed": 1.0, "tokens": 0.5, "parts": 2}, "streaming": {}}
    config.write_text(yaml.safe_dump({**RECIPE, **routed, "begin_with": str(people / "first")}))
    capsys.readouterr()
    assert main([*command, str(people / "second")]) == 0
    assert "begun with" in capsys.readouterr().out
    before, found = (read_checkpoint(people / name) for name in ("first", "second"))
    assert found.info["streaming"] == before.info["streaming"]
    assert not np.array_equal(found.tensors["tokenizers.0.pack.weight"], before.tensors["tokenizers.0.pack.weight"])


def test_the_bench_reports_every_number_and_both_sides(people, capsys):
    model, out, captions = trained(people), people / "streaming.json", people / "captions.json"
    figures = {"caption_cider": 0.3, "caption_facts_true": 0.97, "caption_ms": 5.1}
    captions.write_text(json.dumps({"summary": {**figures, "other": 1.0}, "model_sha256": "abc"}))
    files = ["--json", str(out), "--captions", str(captions)]
    assert main(["bench", "streaming", "--model", str(model), "--quick", *files]) == 0
    report = json.loads(out.read_text())
    assert set(report["summary"]) >= {*SUMMARY, *figures} and report["captions_of"] == "abc"
    assert {key: report["summary"][key] for key in figures} == figures
    (found,) = report["by_model"].values()
    assert list(report["by_model"]) == ["model"] and found["tokens"] == 64 and found["rooms"] == 1
    assert {**report["summary"], **found["summary"]} == report["summary"]
    still = found["still"]
    assert still["plain"]["same_prediction"] == still["plain"]["windows_share"] == still["plain"]["flops_share"] == 1
    assert still["change detection"]["windows_share"] <= 3 / 16 + 1 / 60 + 0.05
    assert still["every change"]["windows_share"] < 0.5
    shares = [still["router"][name] for name in ("reuse", "light", "full")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    moving = found["moving"]["pan 2 px a picture"]
    assert moving["with a gyro"]["dense_pictures"] > 0.3 > still["change detection"]["dense_pictures"]
    assert set(found["latency_ms"]["camera still"]) >= {"encoder, dense", "encoder, stream", "encoder, global attention"}
    assert len(found["tick_ms"]) == 8 and report["summary"]["tick_ratio_nobody"] > 0
    told = capsys.readouterr()
    assert "summary" in told.out and "model, 64 tokens: people who stand still" in told.err
    assert "recordings, each in 1 room, camera still" in told.out

    assert main(["bench", "streaming", "--model", str(model), "--quick", "--brief", "--json", str(out)]) == 0
    brief = json.loads(out.read_text())["by_model"]["model"]
    assert len(brief["still"]) == 6 and "together" in brief["still"]
    assert all(brief["still"][name] == still[name] for name in brief["still"])
    assert not brief["steady"] and not brief["moving"] and "moving_camera_accuracy_loss_points" not in brief["summary"]
    told = capsys.readouterr()
    assert "people who stand still" not in told.out + told.err and "not measured" in told.out


def test_a_recording_is_the_same_in_every_room_and_looks_different(people):
    checkpoint = read_checkpoint(trained(people))
    spec, frames = checkpoint.config.modalities[0], load_frames()
    numbers = frames.recordings(SPLIT["test"])
    room, other = (list(people_streams(frames, numbers, spec, seed=seed)) for seed in (0, 1))
    assert [s.recording for s in other] == [s.recording for s in room] == numbers.tolist()
    assert [s.label for s in other] == [s.label for s in room]
    assert all(not np.array_equal(a.pictures, b.pictures) for a, b in zip(room, other))


def test_the_rooms_of_a_recording_count_as_one_recording_in_the_interval():
    rng = np.random.default_rng(3)
    reference, members = np.ones(60, bool), np.arange(60)
    correct = rng.random(60) < 0.8
    low, high = kept_interval(correct, reference, members)
    assert low < correct.mean() < high
    seen_four_times = [np.tile(array, 4) for array in (correct, reference, members)]
    assert kept_interval(*seen_four_times) == pytest.approx((low, high))  # the same answers again tell nothing new
    independent = kept_interval(*seen_four_times[:2], np.arange(240))
    assert independent[1] - independent[0] < 0.6 * (high - low)


def test_a_slow_pan_moves_people_steadily():
    pan_px = CameraMotion("pan", 0.5).pan_px(PAN_ONSET + 6, np.random.default_rng(0))
    right = whole_pixels(np.abs(pan_px))[PAN_ONSET - 1 :]
    assert right == [0, 1, 1, 2, 2, 3, 3]  # a step at every second picture, as the room has it
    assert whole_pixels(-np.abs(pan_px))[PAN_ONSET - 1 :] == [0, 0, -1, -1, -2, -2, -3]


def test_switches_are_counted_by_the_time_between_pictures():
    flops, windows, dense = np.array([4.0, 1, 1, 1, 1]), np.array([4, 1, 1, 1, 1]), np.array([True, *[False] * 4])
    branches, low = np.array([2, 1, 2, 1, 1]), np.ones(5, bool)
    tally = _Tally([True], [low], [windows], [flops], [low], [branches], [dense])
    score = _score(tally, np.array([True]), np.array([0]), 10.0, 4)
    assert score.switches_per_s == pytest.approx(2 / 0.3, abs=1e-3)  # the first picture, which is always whole, is left out


def test_one_run_measures_both_models_and_shows_them_beside_one_another_on_console_and_page(people, capsys, monkeypatch):
    small, config, out, page = trained(people), people / "large.yaml", people / "streaming.json", people / "page.md"
    camera = {**RECIPE["camera"], "shape": [12, 1, 96, 128]}
    config.write_text(yaml.safe_dump({**RECIPE, "camera": camera}))
    assert main(["train-stream", "--config", str(config), "--out", str(people / "large")]) == 0
    monkeypatch.setattr(bench_streaming, "MODELS", (str(small), str(people / "large")))
    capsys.readouterr()
    assert main(["bench", "streaming", "--quick", "--json", str(out)]) == 0
    told, report = capsys.readouterr(), json.loads(out.read_text())
    assert "model, 64 tokens: camera still" in told.err and "large, 192 tokens: camera still" in told.err
    summaries = {name: found["summary"] for name, found in report["by_model"].items()}
    assert list(summaries) == ["model", "large"]
    sized = {"sttf_latency_ratio_192", "sttf_latency_ratio_192_vs_global", "sttf_latency_ratio_192_whole_model"}
    assert set(summaries["large"]) - set(summaries["model"]) == sized
    assert {key: report["summary"][key] for key in sized} == {key: summaries["large"][key] for key in sized}
    assert {**report["summary"], **summaries["model"]} == report["summary"]  # keys without a size are of the first model

    parts = streaming_parts(report)
    page.write_text("".join(f"<!-- {MARK}{name} -->\n<!-- end {MARK}{name} -->\n" for name in parts))
    assert main(["bench", "streaming", "--read", str(out), "--page", str(page)]) == 0
    assert capsys.readouterr().out == told.out  # nothing was measured again
    text = page.read_text()
    assert "| measure | goal | 64 tokens | 192 tokens |" in text and all(part in text for part in parts.values())


def test_the_times_are_measured_again_on_another_machine_and_the_rest_is_kept(people, capsys, monkeypatch):
    model, first, again = trained(people), people / "first.json", people / "again.json"
    monkeypatch.setattr(bench_streaming, "model_path", lambda name: model)
    assert main(["bench", "streaming", "--model", str(model), "--quick", "--json", str(first)]) == 0
    known = json.loads(first.read_text())
    known["by_model"]["model"]["latency_ms"] = known["by_model"]["model"]["tick_ms"] = {}
    known["machine"], known["summary"]["together_latency_ratio"] = {}, 1000.0
    known["summary"]["caption_cider"] = 0.3
    first.write_text(json.dumps(known))

    assert main(["bench", "streaming", "--read", str(first), "--times", "--quick", "--json", str(again)]) == 0
    found, before = json.loads(again.read_text()), known["by_model"]["model"]
    after = found["by_model"]["model"]
    for part in ("still", "steady", "moving", "recordings", "rooms", "tokens"):
        assert after[part] == before[part]
    assert set(after["latency_ms"]) == {"camera still", "camera panning"} and len(after["tick_ms"]) == 8
    assert found["machine"]["cores"] and found["summary"]["caption_cider"] == 0.3
    ratio = after["summary"]["together_latency_ratio"]
    assert 0 < ratio == found["summary"]["together_latency_ratio"] < 1000
    (goal,) = (row for row in found["goals"] if row["measure"] == "together: whole model, dense over stream")
    assert goal["reached"] == {"model": f"{ratio:.2f}"}

    first.write_text(json.dumps({**known, "by_model": {"model": {**before, "sha256": "0" * 64}}}))
    capsys.readouterr()
    assert main(["bench", "streaming", "--read", str(first), "--times", "--quick"]) == 2
    assert "weights 000000000000" in capsys.readouterr().err
    first.write_text(json.dumps({**known, "by_model": {"model": {**before, "section_sha256": "1" * 64}}}))
    assert main(["bench", "streaming", "--read", str(first), "--times", "--quick"]) == 2
    assert "section streaming 111111111111" in capsys.readouterr().err
    assert main(["bench", "streaming", "--times"]) == 2
    assert "--read" in capsys.readouterr().err


def test_results_that_cannot_be_read_and_options_that_do_not_fit_are_named(tmp_path, capsys):
    for text in ("", "[]", '{"summary": {}}', '{"by_model": 3}'):
        (tmp_path / "old.json").write_text(text)
        assert main(["bench", "streaming", "--read", str(tmp_path / "old.json")]) == 2
        assert "old.json" in (error := capsys.readouterr().err) and "sentryfuse bench streaming --json" in error
    assert main(["bench", "streaming", "--model", "utd_mhad_stream", "--page", str(tmp_path / "page.md")]) == 2
    assert "--page" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--quick"], ["--brief"], ["--model", "utd_mhad_stream"], ["--captions", "c"]])
def test_options_of_a_measurement_are_refused_beside_results_that_are_read(option, capsys):
    results = Path(__file__).parents[1] / "benchmarks" / "results" / "streaming.json"
    assert main(["bench", "streaming", "--read", str(results), *option]) == 2
    assert f"{option[0]}: saw it beside --read, expected none" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "a page without places for tables"])
def test_a_page_that_takes_no_tables_is_refused_before_anything_is_measured(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "page.md").write_text(text)
    assert main(["bench", "streaming", "--quick", "--page", str(tmp_path / "page.md")]) == 2
    told = capsys.readouterr()
    assert f"page {tmp_path / 'page.md'}: saw " in told.err and "camera still" not in told.err


def test_the_numbers_are_kept_where_the_page_has_no_place_for_a_table(tmp_path, capsys):
    read, kept, page = tmp_path / "read.json", tmp_path / "kept.json", tmp_path / "page.md"
    read.write_text((Path(__file__).parents[1] / "benchmarks" / "results" / "streaming.json").read_text())
    page.write_text(f"<!-- {MARK}goals -->\n<!-- end {MARK}goals -->\n")
    assert main(["bench", "streaming", "--read", str(read), "--json", str(kept), "--page", str(page)]) == 2
    assert "saw 0 places for" in capsys.readouterr().err
    assert json.loads(kept.read_text()) == json.loads(read.read_text())


def test_captions_of_a_streamed_camera_are_read_from_the_results_that_ship():
    results = Path(__file__).parents[1] / "benchmarks" / "results" / "streamed_captions.json"
    report = json.loads(results.read_text())
    figures = read_streamed_captions(results)
    assert figures.model_sha256 == report["model_sha256"] and set(figures.summary) == set(STREAMED_KEYS)
    whole, streamed = (report["drives"][way]["all"]["cider_held_out"] for way in ("every picture whole", "STTF and ANC"))
    assert figures.summary["caption_cider_kept"] == pytest.approx(streamed / whole, abs=2e-3)


@pytest.mark.parametrize("text", ("", "[]", "{}", '{"summary": {"caption_cider": "high"}, "model_sha256": ""}'))
def test_caption_figures_that_cannot_be_read_are_named_before_anything_is_measured(tmp_path, text, capsys):
    (tmp_path / "captions.json").write_text(text)
    assert main(["bench", "streaming", "--quick", "--captions", str(tmp_path / "captions.json")]) == 2
    assert "captions.json" in (error := capsys.readouterr().err) and "benchmarks.captions" in error
    assert main(["bench", "streaming", "--quick", "--captions", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_a_model_that_does_not_stream_is_refused(people, capsys):
    assert main(["bench", "streaming", "--model", "ground_robot", "--quick"]) == 2
    assert "streaming" in capsys.readouterr().err
