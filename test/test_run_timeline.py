"""The timeline of a run, as a table and as a picture."""

from sentryfuse_ros.replay.faults import FaultScript, InjectedFault
from sentryfuse_ros.replay.run_record import PredictionRow, RunRecord, SensorStatus, StatusRow
from sentryfuse_ros.reporting.run_plots import draw_run
from sentryfuse_ros.reporting.run_timeline import write_timeline


def test_timeline_and_picture(tmp_path):
    predictions = [
        PredictionRow(0.1 * i, 0.1 * i, i % 7 != 0, "", "wave" if i < 20 else "clap", 0.8, (True, i < 20), 0.3, 2.0, 9.0, 3.0, i)
        for i in range(40)
    ]
    statuses = [
        StatusRow(
            0.1 * i,
            {"camera": SensorStatus("OK" if i < 20 else "STALE", 30.0, ""), "imu": SensorStatus("OK", 50.0, "")},
        )
        for i in range(40)
    ]
    script = FaultScript((InjectedFault("camera", "off", 2.0, 3.0),), ((0.0, 100.0), (4.0, 10.0)))
    record = RunRecord("run", predictions, statuses, script, 4.0)
    write_timeline(tmp_path / "t.csv", record)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 41 and lines[0].startswith("t_s,valid,class_name,confidence,mask") and ",STALE,OK," in lines[-1]
    draw_run(record, tmp_path / "t.png")
    import cv2

    assert cv2.imread(str(tmp_path / "t.png")).shape[0] > 800
    draw_run(RunRecord("empty", [], [], FaultScript(), 1.0), tmp_path / "empty.png")
