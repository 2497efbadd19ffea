"""The record of a run."""

from sentryfuse_ros.replay.faults import FaultScript
from sentryfuse_ros.replay.run_record import PowerRow, RunRecord


def test_battery_is_what_the_node_read_otherwise_the_script():
    script = FaultScript((), ((0.0, 100.0), (10.0, 0.0)))
    record = RunRecord("x", [], [], script, 10.0, [PowerRow(1.0, float("nan"), 0, 1, 1), PowerRow(5.0, 33.0, 0, 1, 1)])
    assert [record.battery_percent(t) for t in (0.5, 2.0, 5.0, 9.0)] == [95.0, 80.0, 33.0, 33.0]
