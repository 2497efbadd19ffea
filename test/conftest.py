"""Fixtures. Tests over DDS run on a ROS domain of their own, and on this machine only."""

import fcntl
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# For the tests of benchmarks/. Last, so that the installed package is tested and not the source tree beside it.
sys.path.append(str(Path(__file__).parents[1]))


pytest_plugins = ["launch_fixtures"]

# The same examples in every run, however long a busy machine takes for them. For others: pytest --hypothesis-profile=default
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")

DOMAINS = range(215, 233)  # Free on Linux as 0 to 101 are (the ports between are ephemeral); `sentryfuse replay` takes 1 to 100.


def claim_domain() -> tuple[int, Callable[[], None]]:
    """A ROS domain that no other test run on this machine uses while this process lives, and what gives it back before.

    Two runs on one domain would answer each other's services. Every worker of a parallel run is a process of its own.
    """
    for attempt in range(len(DOMAINS)):
        domain = DOMAINS[(os.getpid() + attempt) % len(DOMAINS)]
        try:
            lock = open(Path(tempfile.gettempdir()) / f"sentryfuse_test_domain_{domain}.lock", "w")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another run has it, or another user
            continue
        return domain, lock.close
    from sentryfuse_ros.replay.ros_domain import free_domain  # many test runs at once: take one of the replays' domains

    claimed = free_domain()
    return claimed.id, claimed.release


# Before any rclpy.init. A robot on the same network must not hear the tests, nor they it.
_domain, _give_domain_back = claim_domain()
os.environ["ROS_DOMAIN_ID"] = str(_domain)
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where it is anyhow: else Matplotlib would list all fonts anew in each cache of `own_cache`.
_cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
os.environ.setdefault("MPLCONFIGDIR", os.path.join(_cache, "matplotlib"))


def pytest_configure(config):
    """Where launch_testing is installed it registers this marker itself."""
    config.addinivalue_line("markers", "launch_test: a generate_test_description of launch_testing")


def pytest_collection_modifyitems(items):
    """Files of few tests first: the slowest are among them, and a parallel run is not to wait for one of them at its end."""
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: count[item.path])


def seed():
    """Begin all global random numbers anew: else they would depend on the tests that ran before in this process."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def without_nohup():
    """Let the processes that a test starts hear SIGHUP, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@pytest.fixture(scope="module", autouse=True)
def seeded_module():
    """For what is made once for a file."""
    seed()


@pytest.fixture(autouse=True)
def seeded_test(seeded_module):
    seed()


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """What a test measures of backends and plans on this machine is not known to other files, nor what they measured to it.

    A time that a busy machine has spoilt would otherwise decide from then on which backend runs a model.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def ros():
    """rclpy, initialised once; skips where there is no ROS 2."""
    rclpy = pytest.importorskip("rclpy", reason="no ROS 2 in this environment: source it, or run make setup")
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


@pytest.fixture
def probe(ros):
    from ros_harness import Probe

    made = Probe()
    yield made
    made.close()


@pytest.fixture
def start(ros, tmp_path):
    """Start nodes of the package: start("-p", "name:=value", ..., node="fuse_node"); they must end with exit status 0.

    ``expect_end``: the test ends it itself. ``shared_memory``: False for one that the test kills (`ros_harness.environment`).
    """
    from ros_harness import NodeUnderTest

    started = []

    def run(*arguments: str, node: str = "fuse_node", expect_end: bool = False, shared_memory: bool = True):
        process = NodeUnderTest(tmp_path, node, *arguments, shared_memory=shared_memory)
        started.append((process, expect_end))
        return process

    yield run
    for process, expect_end in started:
        if expect_end:  # its test says how it ends; one that failed before that must not leave it to answer later tests
            process.process.kill()
            process.process.wait()
            continue
        if process.process.poll() is None:
            assert process.stop() == 0, process.log()
        else:
            raise AssertionError(f"the node ended by itself with {process.process.returncode}:\n{process.log()}")


@pytest.fixture
def made_up(monkeypatch):
    """The made-up training set under the name its recipe asks for."""
    from made_up_training import Source

    from sentryfuse_ros.training import run

    monkeypatch.setattr(run, "dataset", lambda name: Source)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A recording of three seconds of the simulated robot, of the test split."""
    from sentryfuse_ros.simulation.run import simulate

    folder = tmp_path_factory.mktemp("simulated") / "drive"
    simulate(5, 3.0, folder, "test", battery_wh=1.0, battery_start=0.9)
    return folder
