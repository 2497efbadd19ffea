"""fuse_node: sensor topics in, fused predictions out. A managed (lifecycle) node around the ROS-free `Pipeline`.

configure reads parameters and model, activate starts the `FuseLoop`, deactivate ends it, cleanup frees the model.
"""

from __future__ import annotations

import shlex
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message

from ..errors import ParameterError, SentryFuseError, raise_all
from ..files import make_folder
from ..language.speaker import Speaker
from ..paths import cache_path, model_path, model_roots
from ..preprocessing import empty_input
from ..runtime.engine import Engine
from ..runtime.fastest_engine import load_fastest
from ..runtime.pipeline import Pipeline
from ..runtime.plan_costs import choose_by_time
from ..runtime.process_memory import release_garbage, settle_garbage
from ..settings import Settings
from .autostart import Autostart
from .captions import CaptionPublisher
from .configuration_check import check_configuration
from .declare import DeclaredParameters
from .diagnostics import NodeDiagnostics
from .driver_control import DriverControl
from .fuse_loop import FuseLoop
from .guard import guard_change_state
from .manager_bond import ManagerBond
from .message_types import message_class, message_definition
from .parameter_files import warnings_on_files
from .publishers import FuserPublishers
from .receive import make_receive_node
from .sensor_service import SensorService
from .spin import run
from .stop_signals import STOP, StopRequested
from .views import Views

OWN_START = "; it starts by itself, so set its parameter autostart to false where a lifecycle manager starts it"
RESET_S = 0.8  # for each step of a reset; nav2's lifecycle manager looks at its bonds every 0.2 s
THRESHOLDS = ("latency_target_ms", "dwell_s", "battery_timeout_s")  # parameters of `Pipeline.configure`


@dataclass(frozen=True)
class Configured:
    """What `configure` builds and `cleanup` frees."""

    settings: Settings
    pipeline: Pipeline
    publishers: FuserPublishers
    views: Views
    captions: CaptionPublisher | None
    service: SensorService
    drivers: DriverControl
    made: ExitStack  # destroys what is known to ROS of the above


class FuseNode(LifecycleNode):
    """Managed node; its parameters are documented in config/fuse.yaml, its topics in the README."""

    def __init__(self) -> None:
        super().__init__("fuse_node")
        self._declared = DeclaredParameters(self)
        for text in (*self._declared.warnings(), *warnings_on_files(sys.argv, self.get_fully_qualified_name())):
            self.get_logger().warning(text)
        self._model_roots = model_roots(str(self.get_parameter("model").value), str(self.get_parameter("model_roots").value))
        by_itself = self.get_parameter("autostart").value is True
        guard_change_state(self, OWN_START if by_itself else "")
        self._configured: Configured | None = None
        self._loop: FuseLoop | None = None
        self._receive_node: Node | None = None  # made once: rclpy keeps 0.1 MB of every node that was ever made
        self._bond = ManagerBond(self)
        self._diagnostics = NodeDiagnostics(self, self.get_parameter("diagnostics_rate_hz").value, self._loop_statuses)
        # It applies what it accepts. rclpy asks the newest callback first, so those that are added later have accepted it before.
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._autostart = Autostart(self, float(self.get_parameter("autostart_retry_s").value)) if by_itself else None

    def _loop_statuses(self) -> list[DiagnosticStatus]:
        return self._loop.diagnose() if self._loop is not None else []

    # --- transitions ---------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._diagnostics.publish()  # none can be published while the model is loaded
        result = self._attempt("configure", self._configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self.close()
            return result
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)  # the publishers first, because activation publishes
        if result == TransitionCallbackReturn.SUCCESS:
            result = self._attempt("activate", self._activate)
            if result != TransitionCallbackReturn.SUCCESS:
                self._end_loop()
                super().on_deactivate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._attempt("deactivate", self._end_loop)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._attempt("shutdown", self.close)
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._attempt("error handling", self.close)
        return TransitionCallbackReturn.SUCCESS  # back to unconfigured, ready for another configure

    def _attempt(self, name: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        """Run a transition. An error is logged in one line (in full at debug level) and makes it a FAILURE."""
        trouble = ""
        try:
            with STOP.broken_off() if name == "configure" else nullcontext():  # the only one that takes long
                action()
        except StopRequested:
            pass
        except SentryFuseError as error:
            trouble = f"{name} failed: {error}"
        except Exception as error:  # a managed node reports the error and stays alive for another try
            trouble = f"{name} failed: {type(error).__name__}: {error}"
            self.get_logger().debug(traceback.format_exc())
        if STOP.requested and name == "configure":  # whatever was raised: a library may report the signal as its own error
            self.get_logger().info(f"{name} broken off by {STOP.name}")
            return TransitionCallbackReturn.FAILURE
        told = trouble == self._diagnostics.trouble and self._autostart is not None and self._autostart.tries > 1
        self._diagnostics.trouble = trouble
        if trouble and not told:
            self.get_logger().error(trouble)
        return TransitionCallbackReturn.FAILURE if trouble else TransitionCallbackReturn.SUCCESS

    # --- what the transitions do ---------------------------------------------------------------------------

    def _configure(self) -> None:
        settings, wrong = self._declared.settings()
        raise_all([*wrong, *check_configuration(self, settings, self._model_roots)])
        model_file = model_path(settings["model"])
        threads, captions = settings["inference_threads"], settings["captions"]
        engine = self._load_engine(model_file, settings)
        speaker = Speaker.load(model_file, str(engine.info.get("sha256")), threads) if captions else None
        if settings["budget"] == "time":
            self._choose_by_time(engine, settings)
        msg_types = {sensor.msg_type for sensor in settings.sensors}
        deserialize = {name: partial(deserialize_message, message_type=message_class(name)) for name in msg_types}
        definitions = {sensor.msg_type: message_definition(sensor.msg_type) for sensor in settings.sensors if sensor.fields}
        pipeline = Pipeline(settings, engine, deserialize, definitions)
        if settings["streaming"] == "on" and not pipeline.streamed:
            self.get_logger().warning(
                f"streaming is on, but no camera of model {engine.name} can be a stream on {engine.backend.name}: that takes a "
                "patch encoder, a section `streaming` in the model's JSON, and ONNX Runtime (docs/STREAMING.md)"
            )
        served = {sensor.model_input for sensor in settings.sensors}
        for name in engine.modalities:
            if name not in served:
                self.get_logger().warning(
                    f"model input {name} has no sensor and will count as absent; set parameter model_input of a sensor to {name}"
                )
        if watched := [sensor.name for sensor in settings.sensors if sensor.model_input not in engine.modalities]:
            self.get_logger().info(
                f"watched but not fused, because the model has no input of that name: {', '.join(watched)}; the parameter "
                f"model_input of a sensor names the input that it serves, one of {', '.join(engine.modalities)}"
            )
        if unjudged := pipeline.robot_sensors.unjudged:
            self.get_logger().info(
                f"the model has no trust table for {', '.join(unjudged)}, so plausible but wrong data of these sensors "
                f"are not noticed (docs/TRUST.md); to make one: sentryfuse trust {shlex.quote(str(model_file))} DATASET"
            )
        blank = {spec.name: empty_input(spec) for spec in engine.specs}
        dense = engine.infer(blank, np.ones(len(engine.modalities), bool), 0.0)
        warm_s = engine.warm(ratio=max(settings["pruning_ratio_override"], 0.0)) if settings["warm_up"] else 0.0
        if speaker is not None and settings["warm_up"]:
            speaker.warm()
        with ExitStack() as made:  # where one of them cannot be made, those before it go again
            publishers = FuserPublishers(self, engine, dense, model_file, settings["output_frame_id"])
            made.callback(publishers.destroy)
            service = SensorService(self, pipeline, self._follow_switches)
            made.callback(service.destroy)
            views = Views(self, pipeline, settings, engine.classes)
            made.callback(views.destroy)
            sentences = CaptionPublisher(self, speaker, engine.modalities, settings) if speaker is not None else None
            if sentences is not None:
                made.callback(sentences.destroy)
            drivers = DriverControl(self, {sensor.name: sensor for sensor in settings.sensors})
            made.callback(drivers.destroy)
            self._configured = Configured(settings, pipeline, publishers, views, sentences, service, drivers, made.pop_all())
        self.get_logger().info(
            f"model {engine.name}: inputs {', '.join(engine.modalities)}, {len(engine.classes)} classes, "
            f"runs on {engine.runs_on}, budget {engine.budget}, plans made in {warm_s:.1f} s"
            + (f", streams: {', '.join(pipeline.streamed)}" if pipeline.streamed else "")
        )

    def _load_engine(self, model_file: Path, settings: Settings) -> Engine:
        device, threads, captions = settings["device"], settings["inference_threads"], settings["captions"]
        if settings["backend"] == "auto":
            return load_fastest(model_file, device, threads, captions, settings["warm_up"], self.get_logger().info)
        return Engine.load(model_file, device, threads, settings["backend"], captions)

    def _choose_by_time(self, engine: Engine, settings: Settings) -> None:
        """Choose the plans by measured time; where the checkpoint does not allow it, the budget stays in FLOPs."""
        started = time.monotonic()
        try:
            threads, most_lost = settings["inference_threads"], settings["accuracy_loss_limit"]
            rate_hz = settings["fuse_rate_hz"] if settings["hold_pictures"] else 0.0
            costs = choose_by_time(engine, threads, most_lost, rate_hz, settings["hold_pictures_from_ratio"])
        except ParameterError as error:
            self.get_logger().warning(f"a pruning ratio is a share of FLOPs here, not of time, and may save no time: {error}")
            return
        took_s = time.monotonic() - started
        self.get_logger().info(
            f"one inference of the unpruned model takes {costs.dense_ms:.2f} ms here (times of all plans known in {took_s:.1f} s)"
        )
        try:
            make_folder(cache_path())
        except SentryFuseError as error:
            self.get_logger().warning(f"every start measures these times again ({error} by the variable XDG_CACHE_HOME)")

    def _activate(self) -> None:
        if self._configured is None:
            raise SentryFuseError("activate", "a node without model", "a configured one", "configure it first")
        parts = self._configured
        if self._receive_node is None:
            self._receive_node = make_receive_node(self)
        self._loop = FuseLoop(
            self,
            parts.settings,
            parts.pipeline,
            parts.publishers,
            parts.views,
            parts.drivers,
            self._receive_node,
            parts.captions,
        )
        self._loop.start()
        self._bond.start()
        self._diagnostics.restart(parts.settings["diagnostics_rate_hz"])
        settle_garbage()
        self.get_logger().info(self._loop.describe())

    def _follow_switches(self) -> None:
        if self._loop is not None:
            self._loop.follow_switches()

    def _end_loop(self) -> None:
        self._bond.stop()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def close(self) -> None:
        """Stop everything and free the model; safe in any state and to call twice."""
        self._end_loop()
        if self._configured is not None:
            self._configured.made.close()
            self._configured = None
            release_garbage()

    def leave(self, spin_once: Callable[[], None]) -> None:
        """Stop at the end of the process. ``spin_once`` answers requests.

        A lifecycle manager that hears of a broken bond resets the node at once. Of a node that has gone it would wait for the
        answer for ever, and leave the rest of the robot as it is.
        """
        managed = self._bond.formed
        self._end_loop()
        state, since_s = "active", time.monotonic()
        while managed and state != "unconfigured" and time.monotonic() - since_s < RESET_S:
            spin_once()
            before, state = state, self._state_machine.current_state[1]
            if state != before:
                since_s = time.monotonic()
        self.close()

    def destroy_node(self) -> None:
        """Leave the graph, with the companion node."""
        if self._receive_node is not None:
            self._receive_node.destroy_node()
            self._receive_node = None
        super().destroy_node()

    # --- parameters ----------------------------------------------------------------------------------------

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        result = self._declared.check_change(changes, configured=self._configured is not None)
        if result.successful and self._loop is not None:
            # rclpy would give the node the other clock at once, and everything that the loop remembers is on the old one.
            clock = self.get_parameter("use_sim_time").value
            if any(change.name == "use_sim_time" and change.value != clock for change in changes):
                reason = "parameter use_sim_time is read at activate; deactivate the node to change it"
                return SetParametersResult(successful=False, reason=reason)
        if result.successful and self._configured is not None:
            pipeline = self._configured.pipeline
            for change in changes:
                if change.name == "pruning_ratio_override":
                    pipeline.override(float(change.value))
                elif change.name in THRESHOLDS:
                    pipeline.configure(**{change.name: float(change.value)})
        return result


def main(args: list[str] | None = None) -> int:
    return run(FuseNode, args)


if __name__ == "__main__":
    sys.exit(main())
