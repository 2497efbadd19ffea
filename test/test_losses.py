"""What is told about every injected fault."""

import pytest
from run_record_maker import made_up_record, result_of

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.losses import losses

LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))
SCRIPT = FaultScript((InjectedFault("camera", "off", 2.0, 5.0), InjectedFault("imu", "slow", 4.0, 5.0, keep_every=8)))


def test_losses_report_the_fault_and_its_consequences():
    record = made_up_record(LABELS, SCRIPT, 10.0, wrong_share=0.0)
    first, second = losses(record, result_of(record).summary.faults)
    assert (first.number, first.done, first.verdict.seen_as) == (1, "nothing is delivered", ("STALE",))
    assert first.verdict.mask_clear_s == pytest.approx(0.31, abs=0.02) and first.back_s == pytest.approx(0.11, abs=0.02)
    assert first.reason == "no message <for> 0.3 s" and first.before.accuracy == first.during.accuracy == 1.0
    assert second.done == "only every 8th message passes" and second.during.ticks == 10
