"""The worker with a mailbox for one job: the newest job wins, an error does not end the thread, stop returns."""

import threading

from sentryfuse_ros.runtime.worker import LatestJobWorker


def test_newest_job_wins_while_one_is_running():
    started, release, seen, finished = threading.Event(), threading.Event(), [], threading.Event()

    def work(job):
        seen.append(job)
        if job == 0:
            started.set()
            assert release.wait(180)
        else:
            finished.set()

    worker = LatestJobWorker(work, lambda error: seen.append(error))
    worker.put(0)
    assert started.wait(180)
    for job in (1, 2, 3):
        worker.put(job)
    release.set()
    assert finished.wait(180)
    assert worker.stop()
    assert seen == [0, 3] and worker.replaced == 2


def test_error_is_reported_and_the_next_job_runs():
    errors, done = [], threading.Event()
    failed = threading.Event()

    def work(job):
        if job == "bad":
            raise RuntimeError("boom")
        done.set()

    def on_error(error):
        errors.append(str(error))
        failed.set()

    worker = LatestJobWorker(work, on_error)
    worker.put("bad")
    assert failed.wait(180)
    worker.put("good")
    assert done.wait(180) and worker.stop()
    assert errors == ["boom"]


def test_stop_works_without_jobs_and_from_within_a_job():
    worker = LatestJobWorker(lambda job: inside.append(worker.stop(0.1)) or stopped.set(), lambda error: None)
    inside, stopped = [], threading.Event()
    worker.put(1)
    assert stopped.wait(180)
    assert worker.stop()
    assert LatestJobWorker(print, print).stop()
