"""The pruning benchmark as it runs: cells, a small run that is stopped, what is kept of it, the command."""

import json
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_application import MADE_UP, installed

from benchmarks.pruning import cells, nets
from benchmarks.pruning.applications import APPLICATIONS, held_examples, load_examples
from benchmarks.pruning.archive import read_archive, write_archive
from benchmarks.pruning.cells import Ranking, make_plans, plan_accuracies, read_cell, run_cell
from benchmarks.pruning.conditions import RATIOS, conditions
from benchmarks.pruning.criteria import Calibration
from benchmarks.pruning.nets import Net
from benchmarks.pruning.plots import save_pictures
from benchmarks.pruning.run import finished, report, run
from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.training.trainer import Trainer


@pytest.fixture
def made_up(monkeypatch):
    """The made-up set as one more application."""
    yield from installed(monkeypatch)


# cells


def test_a_cell_is_what_its_plans_give_on_the_test_split(made_up, tmp_path):
    net = Net("made_up", "early", "normal", 0)
    found = run_cell(net, tmp_path)
    model, _ = nets.trained(net, tmp_path)
    train, _ = load_examples("made_up", "train")
    rank = Ranking(model, Calibration.draw(train, model.config.modalities, cells.CALIBRATION), 0)
    validation, test = (held_examples("made_up", split, model.config.modalities) for split in ("validation", "test"))
    for name, ratio in (("taylor", 0.7), ("l1", 0.8)):
        right = {}
        for mode in ("even", "global"):
            asked = (name, mode, ratio)
            right[mode] = np.mean(
                [
                    plan_accuracies(model, validation, m, make_plans(model, m, [asked], rank))[asked]
                    for m in all_masks(3)
                    if sum(m) >= 2
                ]
            )
        mode = found["modes"][name][str(ratio)]
        assert right[mode] == max(right.values())
        mask, asked = (True, False, True), (name, mode, ratio)
        accuracy = plan_accuracies(model, test, mask, make_plans(model, mask, [asked], rank))[asked]
        assert found["test"][name][str(ratio)]["101"] == accuracy
    # All within one budget; at r = .8 one head and one channel step everywhere is already more, in a net this small.
    assert all(v <= 1 - float(r) for rows in found["spent"].values() for r, v in rows.items() if r != "0.8")
    assert "100" in found["whole"]["0.5"] and found["test"]["l1"]["0.5"]["100"] == found["dense"]["100"]
    assert found["dense"]["111"] == pytest.approx(found["accuracy"], abs=1e-4)
    assert json.loads((tmp_path / net.name / "cell.json").read_text()) == found


def test_mask_blind_plans_do_not_look_at_the_mask_nor_spend_what_it_frees(made_up, tmp_path):
    model, _ = nets.trained(Net("made_up", "early", "joint", 0), tmp_path)
    rank = Ranking(model, None, 0)
    one = (True, False, False)
    aware, blind = (make_plans(model, one, [(name, "even", 0.5)], rank)[name, "even", 0.5] for name in ("gate", "gate_blind"))
    everyone = make_plans(model, (True,) * 3, [("gate_blind", "even", 0.5)], rank)["gate_blind", "even", 0.5]
    assert all(keep.whole for keep in aware) and not any(keep.whole for keep in blind)
    _alike(blind, everyone, model.config.channel_step)


def _alike(one, other, channel_step):
    """The same units, give or take a step at each site."""
    for a, b in zip(one, other):
        smaller, larger = sorted((set(a.channels.tolist()), set(b.channels.tolist())), key=len)
        assert smaller <= larger and abs(len(a.channels) - len(b.channels)) <= channel_step


@pytest.mark.parametrize("backbone, mode", [("early", "even"), ("bottleneck", "global")])
def test_static_plans_of_a_criterion_are_its_plan_for_all_sensors(made_up, tmp_path, backbone, mode):
    model, _ = nets.trained(Net("made_up", backbone, "normal", 0), tmp_path)
    train, _ = load_examples("made_up", "train")
    rank = Ranking(model, Calibration.draw(train, model.config.modalities, cells.CALIBRATION), 0)
    everyone, one = (True,) * 3, (False, True, False)
    keys = [(name, mode, 0.5) for name in ("taylor", "taylor_one_plan")]
    plans = {mask: make_plans(model, mask, keys, rank) for mask in (everyone, one)}
    assert all(torch.equal(a.channels, b.channels) for a, b in zip(*plans[everyone].values()))
    assert all(keep.whole for keep in plans[one][keys[0]]) and not all(keep.whole for keep in plans[one][keys[1]])
    there = {keep.site: keep for keep in plans[everyone][keys[1]]}
    for keep in plans[one][keys[1]]:
        assert all(torch.equal(x, y) for x, y in zip(keep[:3], there[keep.site][:3]))
    streams = 1 if backbone == "early" else 3
    assert len(there) == streams * len(plans[one][keys[1]])


def test_stopped_run_goes_on_without_training_again(made_up, tmp_path, monkeypatch):
    wanted = nets.nets(("made_up",), ("early",), (0,), ("joint", "normal", "dense_attention"))
    whole = list(run(wanted, tmp_path / "whole"))[-1]

    epochs, run_epoch = [], Trainer.run_epoch

    def counted(self):
        epochs.append((self.recipe.second_pass, self.epoch))
        yield from run_epoch(self)

    def stopped_in_training(self):
        yield from counted(self)
        if self.epoch == 3 and self.recipe.second_pass == "none":
            raise KeyboardInterrupt  # the last epoch is done, but not on disk

    def stopped_in_measuring(net, model):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run_epoch", stopped_in_training)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cells, "measure", stopped_in_measuring)
        list(run(wanted, tmp_path / "broken"))
    assert not finished(wanted, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        list(run(wanted, tmp_path / "broken"))
    assert [n.variant for n in finished(wanted, tmp_path / "broken")] == ["joint"]
    monkeypatch.setattr(Trainer, "run_epoch", counted)
    broken = list(run(wanted, tmp_path / "broken"))[-1]
    assert epochs == [
        ("pruned", 0),
        ("pruned", 1),
        ("pruned", 2),
        ("none", 0),
        ("none", 1),
        ("none", 2),
        ("none", 2),
        ("pruned", 0),
        ("pruned", 1),
        ("pruned", 2),
    ]

    def timeless(found):
        return [{k: v for k, v in found[net].items() if not k.endswith("_s")} for net in wanted]

    assert timeless(broken) == timeless(whole)
    epochs.clear()
    assert timeless(list(run(wanted, tmp_path / "broken"))[0]) == timeless(whole) and not epochs
    result = report(wanted, broken, "x", {})
    assert result["finished"] == 3 and result["summary"]["combinations"] == len(conditions(3)) * len(RATIOS)
    save_pictures(result, tmp_path)
    assert all((tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("pruning", "pruning_controls"))


def test_damaged_or_outdated_cell_is_measured_again_on_the_same_net(made_up, tmp_path, monkeypatch):
    net = Net("made_up", "early", "dense_attention", 0)
    first = run_cell(net, tmp_path)
    file = tmp_path / net.name / "cell.json"
    file.write_text(file.read_text()[:100])
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert read_cell(net, tmp_path) is None and run_cell(net, tmp_path)["test"] == first["test"]
    monkeypatch.setattr(cells, "VERSION", cells.VERSION + 1)
    assert read_cell(net, tmp_path) is None


def test_a_plan_that_a_cell_lacks_is_added_and_the_others_stay(made_up, tmp_path, monkeypatch):
    net = Net("made_up", "early", "normal", 0)
    whole = run_cell(net, tmp_path)
    assert whole["train_s"] > 0
    file = tmp_path / net.name / "cell.json"
    less = json.loads(file.read_text())
    for name in ("l1", "taylor_one_plan"):
        for part in ("test", "modes", "spent"):
            del less[part][name]
    less["test"]["measured_elsewhere"] = {"0.5": {"111": 0.125}}
    file.write_text(json.dumps(less))
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert read_cell(net, tmp_path) is None
    again = run_cell(net, tmp_path)
    assert again["test"] == whole["test"] | {"measured_elsewhere": {"0.5": {"111": 0.125}}}
    assert again["modes"] == whole["modes"] and again["spent"] == whole["spent"] and again["train_s"] == whole["train_s"]
    assert read_cell(net, tmp_path) == again


# finished nets beside the results


def test_finished_nets_are_taken_from_the_archive_without_a_cache(made_up, tmp_path, monkeypatch):
    wanted = nets.nets(("made_up",), ("early",), (0,), ("one_order", "mask_blind"))
    whole = list(run(wanted, tmp_path / "cache"))[-1]
    file = tmp_path / "results" / "nets.jsonl"
    write_archive(file, {net.name: cell for net, cell in whole.items()})
    assert len(file.read_text().splitlines()) == 2
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert list(run(wanted, tmp_path / "none", archive=read_archive(file)))[-1] == whole
    assert not (tmp_path / "none").exists()
    # What is measured otherwise now, or lacks a plan, is not taken.
    less = read_archive(file)
    del less[wanted[0].name]["test"]["gate"]
    assert list(finished(wanted, tmp_path / "none", less)) == [wanted[1]]
    monkeypatch.setattr(cells, "VERSION", cells.VERSION + 1)
    assert not finished(wanted, tmp_path / "none", read_archive(file))


def test_archive_keeps_other_nets_but_not_those_of_recipes_that_are_gone(made_up, tmp_path, monkeypatch):
    file = tmp_path / "nets.jsonl"
    one, other = (Net("made_up", "early", variant, 0) for variant in ("joint", "normal"))
    write_archive(file, {one.name: {"net": one._asdict(), "accuracy": 0.5}})
    write_archive(file, {other.name: {"net": other._asdict(), "accuracy": 0.25}})
    assert {n: c["accuracy"] for n, c in read_archive(file).items()} == {one.name: 0.5, other.name: 0.25}
    monkeypatch.setitem(APPLICATIONS, "made_up", replace(MADE_UP, training={"epochs": 4, "batch": 16}))
    now = other._replace(seed=1)
    write_archive(file, {now.name: {"net": now._asdict(), "accuracy": 0.75}})
    assert list(read_archive(file)) == [now.name]
    file.write_text(file.read_text() + '{"accuracy": 1}\n')
    with pytest.raises(DataError, match=r"line 2.*its name"):
        read_archive(file)


# command line


def test_command_runs_resumes_and_writes(made_up, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sentryfuse", "bench", "pruning"])
    page = tmp_path / "PRUNING.md"
    page.write_text(
        "".join(
            f"<!-- {n} -->\n<!-- end {n} -->\n"
            for n in (
                "progress",
                "figures",
                "criteria",
                "controls",
                "controls_explained",
                "combinations",
                "attend",
                "groups",
                "accuracy",
            )
        )
    )
    arguments = [
        "bench",
        "pruning",
        "--quick",
        "--applications",
        "made_up",
        "--cache",
        str(tmp_path / "cache"),
        "--json",
        str(tmp_path / "out" / "pruning.json"),
        "--docs",
        str(tmp_path),
    ]
    assert main([*arguments, "--no-run"]) == 0 and "0 of 2" in capsys.readouterr().out
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "1 of 2 nets finished, about 0 min left" in out and "2 of 2 nets finished\n" in out and "strongest baseline" in out
    written = json.loads((tmp_path / "out" / "pruning.json").read_text())
    assert written["summary"]["combinations"] == 20 and written["summary"]["seeds"] == 1
    assert "2 of 2 nets" in page.read_text() and (tmp_path / "pruning.png").exists()
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert main(arguments) == 0
    # A part of the nets, or none of them, does not take the place of the results that are there.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.pruning.__main__.RESULTS", tmp_path / "results.json")
    assert main(["bench", "pruning", "--quick", "--applications", "made_up", "--cache", str(tmp_path / "cache")]) == 0
    assert main(["bench", "pruning", "--no-run", "--cache", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "results.json").exists()


def test_worker_processes_can_read_the_start_script(monkeypatch):
    """--jobs 2 starts fresh ones, and each of these runs the script again by another name: it must not begin a run then."""
    script = Path(sys.executable).parent / "sentryfuse"
    if not script.exists():
        pytest.skip("no start script beside this Python: run make setup")
    monkeypatch.setattr("sys.argv", ["sentryfuse", "--help"])
    assert "main" in runpy.run_path(str(script), run_name="__mp_main__")
    with pytest.raises(SystemExit):
        runpy.run_path(str(script), run_name="__main__")


POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from sentryfuse_ros.bench.run import end_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while alive(worker):
        assert time.monotonic() < deadline, "the worker goes on without its parent"
        time.sleep(0.05)


def alive(pid):
    """Not ended; one that nobody has asked about yet (a zombie) has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "wrong", (["--backbones", "late"], ["--variants", "good"], ["--applications", "imagenet"], ["--jobs", "0"])
)
def test_command_names_what_there_is_none_of(wrong, capsys):
    assert main(["bench", "pruning", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err
