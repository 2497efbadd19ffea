"""/diagnostics: one status for the node in every lifecycle state, and while it is active one for each sensor, and one each for
model, power and loop (levels as in REP 107)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from ..runtime.loop_health import Health, LoopHealth
from ..runtime.pipeline import Pipeline
from ..runtime.power_governor import GovernorState
from ..runtime.tick import SensorView
from ..sensing.liveness import Status
from .messages import age_s

if TYPE_CHECKING:
    from ..streaming.streamed_input import StreamUse

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
WAITING_FOR = {"unconfigured": ": waiting to be configured", "inactive": ": waiting to be activated"}

NAMESAKE = (
    "another node has the same name, so that its topics and services are mixed with those of this one: give each a name or "
    "namespace of its own (a node that was killed is still counted for some 20 s)"
)


class NodeDiagnostics:
    """Publishes /diagnostics at ``rate_hz`` as long as the node lives, whatever its lifecycle state.

    ``trouble`` is why the last transition failed, "" if it did not. ``active_statuses`` gives the statuses of the running loop.
    """

    def __init__(self, node: LifecycleNode, rate_hz: float, active_statuses: Callable[[], list[DiagnosticStatus]]):
        self.trouble = ""
        self._namesakes = 0
        self._node, self._active_statuses = node, active_statuses
        # Not a managed publisher, because it also speaks of a node that is not active.
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0 / rate_hz, self.publish, clock=self._steady)

    def restart(self, rate_hz: float) -> None:
        """Publish at ``rate_hz``, for the first time one period from now: the graph of a new subscription is not complete."""
        self._node.destroy_timer(self._timer)
        self._timer = self._node.create_timer(1.0 / rate_hz, self.publish, clock=self._steady)

    def publish(self) -> None:
        """Publish now, for example at the beginning of a transition that takes long."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [self._node_status(), *self._statuses_of_loop()]
        name = self._node.get_fully_qualified_name().lstrip("/")
        for status in array.status:
            status.name = f"{name}: {status.name}"
        self._publisher.publish(array)

    def _statuses_of_loop(self) -> list[DiagnosticStatus]:
        try:
            return self._active_statuses()
        except Exception as error:  # out of a timer's callback it would end the node
            text = f"the diagnosis failed: {type(error).__name__}: {error}"
            self._node.get_logger().error(text, throttle_duration_sec=10.0)
            return [_status(ERROR, "loop", text)]

    def _node_status(self) -> DiagnosticStatus:
        state = self._node._state_machine.current_state[1]
        if self.trouble:
            return _status(ERROR, "node", f"{state}: {self.trouble}", lifecycle_state=state)
        text = state + WAITING_FOR.get(state, "")
        if self._count_namesakes():
            return _status(WARN, "node", f"{text}; {NAMESAKE}", lifecycle_state=state)
        return _status(OK, "node", text, lifecycle_state=state)

    def _count_namesakes(self) -> int:
        """How many others have this node's name: every managed node publishes its transitions below it. Logs when one comes."""
        before, self._namesakes = self._namesakes, self._node.count_publishers("~/transition_event") - 1
        if self._namesakes > max(before, 0):
            self._node.get_logger().warning(NAMESAKE)
        return max(self._namesakes, 0)


def loop_statuses(
    pipeline: Pipeline,
    topics: Mapping[str, str],
    unheard: Mapping[str, str],
    health: LoopHealth,
    verdict: Health,
    replaced: int,
    power_unheard: str = "",
) -> list[DiagnosticStatus]:
    """The statuses of an active node.

    topics: resolved topic of each sensor. unheard: by sensor, why existing publishers of its topic are not heard, "" if they are.
    replaced: snapshots that a newer one displaced before inference. power_unheard: why a publisher of battery or budget is not
    heard.
    """
    return [
        *(
            _sensor_status(view, view.status, topics[name], unheard.get(name, ""))
            for name, view in pipeline.sensors.items()
            if view.status is not None  # it is before the first tick
        ),
        _model_status(pipeline),
        _power_status(pipeline.power, power_unheard),
        _loop_status(health, verdict, replaced, pipeline.resets),
    ]


def _sensor_status(view: SensorView, status: Status, topic: str, unheard: str) -> DiagnosticStatus:
    level = OK
    if status.alarm or unheard or status.overdue:
        level = ERROR if view.settings.required else WARN
    elif status.suspect:
        level = WARN
    text = status.state.name + (f": {status.reason}" if status.reason else "")
    if unheard:
        text += "; " + unheard
    return _status(
        level,
        "sensor " + view.settings.name,
        text,
        topic=topic,
        rate_hz=float(status.rate_hz),
        age_s=age_s(status),
        latency_ms=float(status.latency_s) * 1e3,
        received=status.received,
        dropped=status.dropped,
        invalid=status.invalid,
        last_decode_error=view.last_decode_error,
    )


def _model_status(pipeline: Pipeline) -> DiagnosticStatus:
    return _status(
        OK if pipeline.predicts else WARN,
        "model",
        "predicting" if pipeline.predicts else "no live sensor of the model",
        model=pipeline.model_name,
        inputs=" ".join(pipeline.modalities),
        inference_p95_ms=pipeline.latency_p95_ms(),
        **{f"stream_{name}": describe_stream(use) for name, use in pipeline.streams.items()},
    )


def describe_stream(use: StreamUse) -> str:
    """What a stream has done lately, in a line."""
    recent = use.recent
    return (
        f"in the last 10 s {100 * use.recent_encoded:.0f} % of the tokens encoded anew for {100 * use.recent_flops:.0f} % of the "
        f"FLOPs; reuse {100 * recent.reuse:.0f} %, light {100 * recent.light:.0f} %, full {100 * recent.full:.0f} %, "
        f"{recent.switches_per_s:.1f} switches a second" + ("; the camera moves" if use.moving else "")
    )


def _power_status(power: GovernorState, unheard: str) -> DiagnosticStatus:
    return _status(
        WARN if power.trouble or unheard else OK,
        "power",
        power.reason + (f"; {unheard}" if unheard else ""),
        ratio=float(power.ratio),
        requested_ratio=float(power.requested_ratio),
        battery_fraction=float(power.battery_fraction),
        power_w=float(power.power_w),
        power_budget_w=float(power.budget_w),
    )


def _loop_status(health: LoopHealth, verdict: Health, replaced: int, resets: int) -> DiagnosticStatus:
    return _status(
        ERROR if verdict.failing else WARN if verdict.slow else OK,
        "loop",
        verdict.text,
        rate_hz=verdict.rate_hz,
        ticks=health.ticks,
        published=health.published,
        without_live_sensor=health.invalid,
        failed=health.failed,
        replaced=replaced,
        clock_resets=resets,
        latency_p99_ms=health.latency_ms.percentile(99),
        overhead_p99_ms=health.overhead_ms.percentile(99),
    )


def _status(level: bytes, name: str, text: str, **values: float | int | str) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=f"{value:.3f}" if isinstance(value, float) else str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs, hardware_id="sentryfuse")
