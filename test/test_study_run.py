"""The pruning study as it runs: results, a small study that is stopped, what is kept of it, the command."""

import json
import os
import re
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dask_cluster import dask_cluster
from made_up_task import MADE_UP, installed

from benchmarks.pruning import measurement, store
from benchmarks.pruning.__main__ import main
from benchmarks.pruning.archive import read_archive, write_archive
from benchmarks.pruning.conditions import RATIOS, conditions
from benchmarks.pruning.criteria import Calibration
from benchmarks.pruning.examples import held_examples, load_examples
from benchmarks.pruning.plans import Asked, Ranking, make_plans, plan_accuracies
from benchmarks.pruning.plots import save_pictures
from benchmarks.pruning.run_result import RunResult
from benchmarks.pruning.runs import Run, all_runs
from benchmarks.pruning.store import read_result, run_or_read
from benchmarks.pruning.study import execute, finished, report
from benchmarks.pruning.tasks import TASKS
from benchmarks.pruning.training import trained
from sentryfuse_ros.errors import DataError, ParameterError
from sentryfuse_ros.masks import all_masks
from sentryfuse_ros.training.trainer import Trainer


@pytest.fixture
def made_up(monkeypatch):
    """The made-up set as one more task."""
    yield from installed(monkeypatch)


# results


def test_a_result_is_what_its_plans_give_on_the_test_split(made_up, tmp_path):
    run = Run("made_up", "early", "normal", 0)
    found = run_or_read(run, tmp_path)
    model = trained(run, tmp_path)
    train, _ = load_examples("made_up", "train")
    rank = Ranking(model, Calibration.draw(train, model.config.modalities, measurement.CALIBRATION), 0)
    validation, test = (held_examples("made_up", split, model.config.modalities) for split in ("validation", "test"))
    for name, ratio in (("taylor", 0.7), ("l1", 0.8)):
        correct = {}
        for mode in ("even", "global"):
            asked = Asked(name, mode, ratio)
            correct[mode] = np.mean(
                [
                    plan_accuracies(model, validation, m, make_plans(model, m, [asked], rank))[asked]
                    for m in all_masks(3)
                    if sum(m) >= 2
                ]
            )
        mode = found.plans.modes[name][str(ratio)]
        assert correct[mode] == max(correct.values())
        mask, asked = (True, False, True), Asked(name, mode, ratio)
        accuracy = plan_accuracies(model, test, mask, make_plans(model, mask, [asked], rank))[asked]
        assert found.plans.test[name][str(ratio)]["101"] == accuracy
    # All within one budget; at r = .8 one head and one channel step everywhere is already more, in a net this small.
    assert all(v <= 1 - float(r) for rows in found.plans.spent.values() for r, v in rows.items() if r != "0.8")
    assert "100" in found.plans.whole["0.5"] and found.plans.test["l1"]["0.5"]["100"] == found.plans.dense["100"]
    assert found.plans.dense["111"] == pytest.approx(found.accuracy, abs=1e-4)
    assert RunResult.from_dict(json.loads((tmp_path / run.name / store.RESULT_FILE).read_text())) == found


def test_mask_blind_plans_do_not_look_at_the_mask_nor_spend_what_it_frees(made_up, tmp_path):
    model = trained(Run("made_up", "early", "joint", 0), tmp_path)
    rank = Ranking(model, None, 0)
    one = (True, False, False)
    asked = [Asked(name, "even", 0.5) for name in ("gate", "gate_blind")]
    aware, blind = make_plans(model, one, asked, rank).values()
    (everyone,) = make_plans(model, (True,) * 3, asked[1:], rank).values()
    assert all(keep.whole for keep in aware) and not any(keep.whole for keep in blind)
    _alike(blind, everyone, model.config.channel_step)


def _alike(one, other, channel_step):
    """The same units, give or take a step at each site."""
    for a, b in zip(one, other):
        smaller, larger = sorted((set(a.channels.tolist()), set(b.channels.tolist())), key=len)
        assert smaller <= larger and abs(len(a.channels) - len(b.channels)) <= channel_step


@pytest.mark.parametrize("backbone, mode", [("early", "even"), ("bottleneck", "global")])
def test_static_plans_of_a_criterion_are_its_plan_for_all_sensors(made_up, tmp_path, backbone, mode):
    model = trained(Run("made_up", backbone, "normal", 0), tmp_path)
    train, _ = load_examples("made_up", "train")
    rank = Ranking(model, Calibration.draw(train, model.config.modalities, measurement.CALIBRATION), 0)
    everyone, one = (True,) * 3, (False, True, False)
    keys = [Asked(name, mode, 0.5) for name in ("taylor", "taylor_one_plan")]
    plans = {mask: make_plans(model, mask, keys, rank) for mask in (everyone, one)}
    assert all(np.array_equal(a.channels, b.channels) for a, b in zip(*plans[everyone].values()))
    assert all(keep.whole for keep in plans[one][keys[0]]) and not all(keep.whole for keep in plans[one][keys[1]])
    there = {keep.site: keep for keep in plans[everyone][keys[1]]}
    for keep in plans[one][keys[1]]:
        assert all(np.array_equal(x, y) for x, y in zip(keep[:3], there[keep.site][:3]))
    streams = 1 if backbone == "early" else 3
    assert len(there) == streams * len(plans[one][keys[1]])


def test_a_cluster_gives_the_same_results(made_up, tmp_path):
    pytest.importorskip("distributed", reason="pip install distributed")
    wanted = all_runs(("made_up",), ("early",), (0,), ("joint", "normal"))
    near = list(execute(wanted, tmp_path / "near"))[-1]
    (tmp_path / "preload.py").write_text(
        "from pytest import MonkeyPatch\nfrom made_up_task import installed\nkept = installed(MonkeyPatch())\nnext(kept)\n"
    )
    here = Path(__file__).parent
    said = []
    with dask_cluster(tmp_path, [here, here.parent], "--preload", str(tmp_path / "preload.py")) as address:
        far = list(execute(wanted, tmp_path / "far", on_result=said.append, scheduler=address))[-1]
    assert [result.run for result in said] == wanted and finished(wanted, tmp_path / "far") == far

    def untimed(results):
        return {run: replace(result, train_s=0.0, measure_s=0.0) for run, result in results.items()}

    assert untimed(far) == untimed(near)
    with pytest.raises(ParameterError, match="--scheduler: saw '127.0.0.1:9'"):
        list(execute([*wanted, Run("made_up", "early", "joint", 1)], tmp_path / "far", scheduler="127.0.0.1:9"))


def test_stopped_study_is_resumed_without_training_again(made_up, tmp_path, monkeypatch):
    wanted = all_runs(("made_up",), ("early",), (0,), ("joint", "normal", "dense_attention"))
    whole = list(execute(wanted, tmp_path / "whole"))[-1]

    epochs, run_epoch = [], Trainer.run_epoch

    def counted(self):
        epochs.append((self.recipe.second_pass, self.epoch))
        yield from run_epoch(self)

    def stopped_in_training(self):
        yield from counted(self)
        if self.epoch == 3 and self.recipe.second_pass == "none":
            raise KeyboardInterrupt  # the last epoch is done, but not on disk

    def stopped_in_measuring(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run_epoch", stopped_in_training)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "measure", stopped_in_measuring)
        list(execute(wanted, tmp_path / "broken"))
    assert not finished(wanted, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        list(execute(wanted, tmp_path / "broken"))
    assert [n.variant for n in finished(wanted, tmp_path / "broken")] == ["joint"]
    monkeypatch.setattr(Trainer, "run_epoch", counted)
    broken = list(execute(wanted, tmp_path / "broken"))[-1]
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
        return [replace(found[run], train_s=0.0, measure_s=0.0) for run in wanted]

    assert timeless(broken) == timeless(whole)
    epochs.clear()
    assert timeless(list(execute(wanted, tmp_path / "broken"))[0]) == timeless(whole) and not epochs
    result = report(wanted, broken, "x", {})
    assert result["finished"] == 3 and result["summary"]["combinations"] == len(conditions(3)) * len(RATIOS)
    save_pictures(result, tmp_path)
    assert all((tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in ("pruning", "pruning_controls"))


def test_damaged_or_outdated_result_is_measured_again_on_the_same_network(made_up, tmp_path, monkeypatch):
    run = Run("made_up", "early", "dense_attention", 0)
    first = run_or_read(run, tmp_path)
    file = tmp_path / run.name / store.RESULT_FILE
    file.write_text(file.read_text()[:100])
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert read_result(run, tmp_path) is None and run_or_read(run, tmp_path).plans.test == first.plans.test
    monkeypatch.setattr(measurement, "VERSION", measurement.VERSION + 1)
    assert read_result(run, tmp_path) is None


def test_a_plan_that_a_result_lacks_is_added_and_the_others_stay(made_up, tmp_path, monkeypatch):
    run = Run("made_up", "early", "normal", 0)
    whole = run_or_read(run, tmp_path)
    assert whole.train_s > 0
    file = tmp_path / run.name / store.RESULT_FILE
    less = json.loads(file.read_text())
    for name in ("l1", "taylor_one_plan"):
        for part in ("test", "modes", "spent"):
            del less[part][name]
    less["test"]["measured_elsewhere"] = {"0.5": {"111": 0.125}}
    file.write_text(json.dumps(less))
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert read_result(run, tmp_path) is None
    again = run_or_read(run, tmp_path)
    assert again.plans.test == whole.plans.test | {"measured_elsewhere": {"0.5": {"111": 0.125}}}
    assert again.plans.modes == whole.plans.modes and again.plans.spent == whole.plans.spent
    assert again.train_s == whole.train_s
    assert read_result(run, tmp_path) == again


# finished runs beside the results


def test_finished_runs_are_taken_from_the_archive_without_a_cache(made_up, tmp_path, monkeypatch):
    wanted = all_runs(("made_up",), ("early",), (0,), ("one_order", "mask_blind"))
    whole = list(execute(wanted, tmp_path / "cache"))[-1]
    file = tmp_path / "results" / "nets.jsonl"
    write_archive(file, {run.name: result for run, result in whole.items()})
    assert len(file.read_text().splitlines()) == 2
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert list(execute(wanted, tmp_path / "none", archive=read_archive(file)))[-1] == whole
    assert not (tmp_path / "none").exists()
    # What is measured otherwise now, or lacks a plan, is not taken.
    less = read_archive(file)
    del less[wanted[0].name].plans.test["gate"]
    assert list(finished(wanted, tmp_path / "none", less)) == [wanted[1]]
    monkeypatch.setattr(measurement, "VERSION", measurement.VERSION + 1)
    assert not finished(wanted, tmp_path / "none", read_archive(file))


def result_of(run, accuracy):
    """A result without plans."""
    return RunResult(run, "", 1.0, 1.0, 3, 1, 1, 1, 1, accuracy, None)


def test_archive_keeps_other_runs_but_not_those_that_would_be_trained_differently_now(made_up, tmp_path, monkeypatch):
    file = tmp_path / "nets.jsonl"
    one, other = (Run("made_up", "early", variant, 0) for variant in ("joint", "normal"))
    write_archive(file, {one.name: result_of(one, 0.5)})
    write_archive(file, {other.name: result_of(other, 0.25)})
    assert {n: r.accuracy for n, r in read_archive(file).items()} == {one.name: 0.5, other.name: 0.25}
    monkeypatch.setitem(TASKS, "made_up", replace(MADE_UP, training={"epochs": 4, "batch": 16}))
    now = other._replace(seed=1)
    write_archive(file, {now.name: result_of(now, 0.75)})
    assert list(read_archive(file)) == [now.name]
    file.write_text(file.read_text() + '{"accuracy": 1}\n')
    with pytest.raises(DataError, match=r"line 2.*its name"):
        read_archive(file)


# command line


def test_command_runs_resumes_and_writes(made_up, tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
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
        "--quick",
        "--tasks",
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
    assert re.search(r"1 of 2 runs finished, about \d+ min left", out)
    assert "2 of 2 runs finished\n" in out and "strongest baseline" in out
    written = json.loads((tmp_path / "out" / "pruning.json").read_text())
    assert written["summary"]["combinations"] == 20 and written["summary"]["seeds"] == 1
    assert "2 of 2 runs" in page.read_text() and (tmp_path / "pruning.png").exists()
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: pytest.fail("trained again"))
    assert main(arguments) == 0
    # A part of the runs, or none of them, does not take the place of the results that are there.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.pruning.__main__.RESULTS", tmp_path / "results.json")
    assert main(["--quick", "--tasks", "made_up", "--cache", str(tmp_path / "cache")]) == 0
    assert main(["--no-run", "--cache", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "results.json").exists()


def test_worker_processes_can_read_the_program(monkeypatch):
    """--jobs 2 starts fresh processes, each of which runs __main__.py again by another name: it must not start a study then."""
    program = Path(__file__).parents[1] / "benchmarks" / "pruning" / "__main__.py"
    monkeypatch.setattr("sys.argv", [str(program), "--help"])
    monkeypatch.delitem(sys.modules, "benchmarks.pruning.__main__")  # each is a process of its own
    assert "main" in runpy.run_module("benchmarks.pruning.__main__", run_name="__mp_main__")
    with pytest.raises(SystemExit):
        runpy.run_module("benchmarks.pruning.__main__", run_name="__main__")


POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from benchmarks.pruning.study import end_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    clone = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([clone, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60
    while alive(worker):
        assert time.monotonic() < deadline, "the worker goes on without its parent"
        time.sleep(0.05)


def alive(pid):
    """Not ended; one that nobody has asked about yet (a zombie) has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("wrong", (["--backbones", "late"], ["--variants", "good"], ["--tasks", "imagenet"], ["--jobs", "0"]))
def test_command_names_the_argument_that_is_unknown(wrong, capsys):
    assert main(wrong) == 2
    assert wrong[0] in capsys.readouterr().err
