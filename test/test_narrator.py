"""A run in plain lines."""

from io import StringIO
from types import SimpleNamespace as N

from sentryfuse_ros.bags.labels import Labels
from sentryfuse_ros.reporting.narrator import Narrator
from sentryfuse_ros.sensing.liveness import State

LABELS = Labels.of_seconds(((0.0, 4.0, "sand"), (4.0, 6.0, "grass"), (7.0, 10.0, "sand")))


def test_narrator_prints_a_line_when_mask_or_ratio_change():
    out = StringIO()
    narrator = Narrator(out, LABELS.at_s)
    sensors = [N(name="camera", state=State.OK), N(name="imu", state=State.OK)]

    def latest(t_s, mask, ratio, valid=True, streams=()):
        p = N(mask=mask, pruning_ratio=ratio, valid=valid, class_name="sand", confidence=0.91, reason="no live sensor")
        return N(t_s=t_s, prediction=p, mask=N(sensors=sensors), pruning=N(streams=streams))

    narrator.show(N(t_s=0.0, prediction=None, mask=None))
    narrator.show(latest(1.0, [True, True], 0.0))
    narrator.show(latest(1.1, [True, True], 0.0))
    sensors[0].state = State.STALE
    narrator.show(latest(2.0, [False, True], 0.0))
    narrator.show(latest(3.0, [False, True], 0.25, valid=False))
    sensors[0].state = State.OK
    for t_s, branch, tokens in ((4.0, "reuse", 0.0), (4.1, "reuse", 0.02), (5.0, "light", 0.1)):
        narrator.show(latest(t_s, [True, True], 0.25, streams=[N(model_input="camera", branch=branch, tokens=tokens)]))
    assert out.getvalue().splitlines() == [
        "   1.0 s  all sensors live; ratio 0.00; prediction sand 91 % (truth: sand)",
        "   2.0 s  camera STALE; ratio 0.00; prediction sand 91 % (truth: sand)",
        "   3.0 s  camera STALE; ratio 0.25; prediction none (no live sensor) (truth: sand)",
        "   4.0 s  all sensors live; ratio 0.25; prediction sand 91 % (truth: grass); camera reuse, 0 % of its tokens",
        "   5.0 s  all sensors live; ratio 0.25; prediction sand 91 % (truth: grass); camera light, 10 % of its tokens",
    ]
