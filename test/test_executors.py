"""Tasks on processes and on a Dask cluster of two real workers: the same bytes, and no task lost with a worker."""

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
from dask_cluster import dask_cluster

from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import BagError, ParameterError
from sentryfuse_ros.executors import executor


def double(number):
    return 2 * number


def refuse(number):
    raise BagError("bag", number, "another")


def die_once(folder):
    """Ends its own worker at the first call."""
    mark = Path(folder) / "died"
    if not mark.exists():
        mark.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs):
    with executor(jobs) as workers:
        assert list(workers.run(double, range(7))) == [2 * n for n in range(7)]
        with pytest.raises(BagError, match="bag: saw 1, expected another"):
            list(workers.run(refuse, [1]))


def pause_until_stopped(place):
    """A task that never ends by itself, and cleans up when it is stopped."""
    folder, number = place
    try:
        (folder / f"began {number}").touch()
        signal.pause()
    finally:
        (folder / f"cleaned up {number}").touch()


def test_an_interrupt_stops_the_tasks_that_run_and_begins_no_other(tmp_path):
    with pytest.raises(KeyboardInterrupt), executor(2) as workers:
        workers.run(pause_until_stopped, [(tmp_path, number) for number in range(6)])
        deadline = time.monotonic() + 180
        while len(list(tmp_path.iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == ["began 0", "began 1", "cleaned up 0", "cleaned up 1"]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a Dask scheduler with two workers."""
    pytest.importorskip("distributed", reason="pip install distributed")
    with dask_cluster(tmp_path_factory.mktemp("cluster"), [Path(__file__).parent]) as address:
        yield address


def test_a_cluster_gives_the_same_results_and_errors(scheduler):
    with executor(1, scheduler) as workers:
        assert list(workers.run(double, range(40))) == [2 * n for n in range(40)]
        with pytest.raises(BagError, match="bag: saw 1, expected another"):
            list(workers.run(refuse, [1]))


def test_a_task_whose_worker_dies_is_given_to_another(scheduler, tmp_path):
    with executor(1, scheduler) as workers:
        assert list(workers.run(die_once, [str(tmp_path)])) == ["done"]
    assert (tmp_path / "died").exists()


def test_simulated_drives_and_windows_are_the_same_bytes_as_those_of_this_machine(scheduler, tmp_path, monkeypatch, capsys):
    pytest.importorskip("mujoco", reason="the recordings are simulated")
    monkeypatch.chdir(tmp_path)
    simulate = ["simulate", "--seed", "0", "--count", "2", "--duration", "3"]
    assert main([*simulate, "--out", "far", "--scheduler", scheduler]) == 0
    assert main([*simulate, "--out", "near"]) == 0
    assert digests(tmp_path / "far") == digests(tmp_path / "near") and len(digests(tmp_path / "far")) >= 8
    assert main(["train", "--example", "near", "--out", "recipe.yaml"]) == 0
    dataset = ["dataset", "near", "--labels", "intervals.csv", "--config", "recipe.yaml", "--stride", "0.2"]
    assert main([*dataset, "--out", "windows_far", "--scheduler", scheduler]) == 0
    assert main([*dataset, "--out", "windows_near"]) == 0
    far, near = digests(tmp_path / "windows_far"), digests(tmp_path / "windows_near")
    assert far == near and {"windows.csv", "imu.npy", "dataset.json"} <= set(far)


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_without_a_process_nothing_can_run():
    with pytest.raises(ParameterError, match="--jobs: saw 0, expected 1 or more"), executor(0):
        pass


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="pip install distributed")
    monkeypatch.setattr("sentryfuse_ros.executors.CONNECT_S", 1)
    with pytest.raises(ParameterError, match="--scheduler: saw '127.0.0.1:9'"), executor(1, "127.0.0.1:9"):
        pass
