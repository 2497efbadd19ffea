"""The live view in the terminal."""

from sentryfuse_ros.replay.faults import FaultScript, InjectedFault


def test_live_view_renders_every_state():
    from types import SimpleNamespace as N

    from rich.console import Console

    from sentryfuse_ros.reporting.live_view import render
    from sentryfuse_ros.sensing.liveness import State

    sensors = [N(name=s.name.lower(), state=int(s), reason="why", rate_hz=3.0, age_s=0.1, model_input="camera") for s in State]
    prediction = N(
        valid=True,
        class_name="wave",
        confidence=0.7,
        modalities=["camera"],
        attention_share=[1.0],
        inference_ms=2.0,
        overhead_ms=3.0,
        reason="",
    )
    stream = N(
        model_input="camera",
        branch="light",
        tokens=0.125,
        change=7.0,
        flops_share=0.08,
        moving=False,
        flops_share_recent=0.03,
        reuse=0.7,
        light=0.3,
        full=0.0,
        switches_per_s=0.4,
    )
    pruning = N(battery_percentage=0.4, ratio=0.5, flops=1e6, flops_dense=2e6, reason="battery 40 % asks 0.50", streams=[stream])
    latest = N(
        t_s=2.5, prediction=prediction, mask=N(sensors=sensors), pruning=pruning, info=None, caption=N(text="Driving on sand.")
    )
    script = FaultScript((InjectedFault("ok", "freeze", 2.0, 3.0),))
    console = Console(width=160, record=True, file=open("/dev/null", "w"))
    console.print(render(latest, script))
    text = console.export_text()
    assert all(s.name in text for s in State) and "wave" in text and "freeze" in text and "40 %" in text
    assert "Driving on sand." in text
    assert "12 % of the tokens" in text and "light" in text and "97 % of the encoder saved" in text and "0.4 switches/s" in text
    latest.caption, latest.info = None, N(classes=["wave", "clap"])
    console.print(render(latest, script))
    assert (
        "Something moves." in (text := console.export_text())
        and "of the 2 classes that the model knows, it looks like wave" in text
    )
    latest.prediction = N(valid=False, reason="no live sensor")
    console.print(render(latest, script))
    latest.prediction = latest.mask = latest.pruning = latest.caption = None
    console.print(render(latest, script))
    text = console.export_text()
    assert "no prediction: no live sensor" in text and "no prediction yet" in text


def test_brackets_in_a_reason_are_no_markup():
    from types import SimpleNamespace as N

    from rich.console import Console

    from sentryfuse_ros.reporting.live_view import render

    sensor = N(name="camera", state=1, reason="encoding [/bold] or [red]", rate_hz=3.0, age_s=0.1, model_input="camera")
    latest = N(t_s=2.5, prediction=None, mask=N(sensors=[sensor]), pruning=None, info=None, caption=None)
    console = Console(width=160, record=True, file=open("/dev/null", "w"))
    console.print(render(latest, FaultScript()))
    assert "encoding [/bold] or [red]" in console.export_text()
