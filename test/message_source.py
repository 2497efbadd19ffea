"""Message sources without ROS for the tests of the synchroniser."""

from types import SimpleNamespace

from sentryfuse_ros.sensing.snapshot_synchronizer import SnapshotSynchronizer

MS = 1_000_000
S = 1000 * MS


class Source:
    """The smallest possible filter: callbacks can be registered with it."""

    def __init__(self):
        self.connections = []

    def registerCallback(self, cb, *args):
        self.connections.append((cb, args))
        return len(self.connections) - 1

    def send(self, stamp_ms, **fields):
        msg = message(stamp_ms, **fields)
        for cb, args in self.connections:
            cb(msg, *args)
        return msg


def message(stamp_ms, **fields):
    sec, nanosec = divmod(round(stamp_ms * MS), S)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec))
    return SimpleNamespace(header=header, ms=stamp_ms, **fields)


class Clock:
    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns


def synchronizer(n, **options):
    sources = [Source() for _ in range(n)]
    sets = []
    clock = options.setdefault("clock_ns", Clock())
    sync = SnapshotSynchronizer(sources, **options)
    sync.registerCallback(lambda *messages: sets.append(tuple(m and m.ms for m in messages)))
    return sync, sources, sets, clock
