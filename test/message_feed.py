"""A sensor that sends at a constant rate on both clocks, for the tests of liveness."""

import numpy as np

from sentryfuse_ros.decoders.batch import PayloadFault
from sentryfuse_ros.sensing.liveness import LivenessConfig, SensorLiveness, State

MS = 1_000_000
S = 1000 * MS
STEADY = 7_000 * S  # the steady clock and the node clock run at the same pace and share no origin
EPOCH = 1_700_000_000 * S


class Feed:
    """A sensor with a rate of rate_hz. Every call sends messages and advances the time of both clocks."""

    def __init__(self, rate_hz=30.0, config=None, **options):
        self.period_ns = round(S / rate_hz)
        self.liveness = SensorLiveness(config or LivenessConfig(expected_rate_hz=rate_hz, **options))
        self.now_ns = 0
        self.fingerprint = 1000

    def status(self):
        return self.liveness.update(STEADY + self.now_ns, EPOCH + self.now_ns)

    def wait(self, seconds):
        self.now_ns += round(seconds * S)
        return self.status()

    def send(self, n=1, fault=PayloadFault.NONE, same=False, stamp_offset_s=0.0, stamp_ns=None):
        """n messages, one period apart, observed one by one; returns the status after each."""
        states = []
        for _ in range(n):
            self.now_ns += self.period_ns
            self.fingerprint += not same
            stamp = EPOCH + self.now_ns + round(stamp_offset_s * S) if stamp_ns is None else stamp_ns
            self.batch([self.now_ns], [stamp], [fault], [self.fingerprint])
            states.append(self.status())
        return states

    def batch(self, arrival, stamp, fault, fingerprint, skipped=False):
        self.liveness.observe(
            STEADY + np.array(arrival, np.int64),
            EPOCH + int(arrival[-1]),
            np.array(stamp, np.int64),
            np.array(fault, np.uint8),
            np.array(fingerprint, np.uint64),
            skipped,
        )


def started(rate_hz=30.0, **options):
    feed = Feed(rate_hz, **options)
    feed.status()
    assert feed.send(5)[-1].state == State.OK
    return feed
