"""What the tests over real DDS share: a node of the package in its own process, and a probe that feeds and listens.

Everything waits for an event with a deadline. When a deadline passes, the test fails and says what was seen instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import NodeNameNonExistentError
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState, Image, Imu

from sentryfuse_ros.msg import FusedPrediction, ModalityMask, ModelInfo, PruningState
from sentryfuse_ros.nodes.messages import to_time
from sentryfuse_ros.nodes.spin import make_executor
from sentryfuse_ros.paths import executable_path, share_path
from sentryfuse_ros.srv import SetSensor

DEADLINE_S = 180.0  # of an event that takes a second: a busy machine may take a hundred times as long
QUICK = ("-p", "warm_up:=false", "-p", "model:=utd_mhad_depth_imu")  # depth camera and IMU: few topics to feed
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def environment(shared_memory: bool = True) -> dict[str, str]:
    """Environment of a node's process.

    ``shared_memory``: False for one that is to be killed. At a bad moment that leaves a lock in the shared memory of Fast DDS,
    for which every later node on this machine would wait.
    """
    env = dict(os.environ)
    if shared_memory:
        env["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(share_path("config", "fastdds_large_messages.xml"))
    else:
        env.pop("FASTRTPS_DEFAULT_PROFILES_FILE", None)
        env["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"
    env["OMP_NUM_THREADS"] = "1"
    return env


class NodeUnderTest:
    """A node's process; its output goes to a file that failures quote."""

    def __init__(self, folder: Path, name: str = "fuse_node", *arguments: str, shared_memory: bool = True):
        self.log_path = folder / f"{name}.log"
        self._log_from = 0  # characters of the log that belong to earlier tests
        self._log = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(executable_path(name)), *(("--ros-args", *arguments) if arguments else ())],
            env=environment(shared_memory),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def log(self) -> str:
        """Its output since `begin_log`, or since it started."""
        return self.log_path.read_text(errors="replace")[self._log_from :]

    def begin_log(self) -> None:
        """Another test begins: what the node has said so far is not its business."""
        self._log_from = len(self.log_path.read_text(errors="replace"))

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.alive():
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not end on signal {number}:\n{self.log()}") from None
        finally:
            self._log.close()


class Probe:
    """Publishes sensors at their rates and keeps what fuse_node says."""

    def __init__(self, namespace: str = "", node_name: str = "fuse_node"):
        # A participant of its own: of one that lives on, Fast DDS tells later nodes publishers that are long gone.
        self.context = rclpy.Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(f"probe_{time.monotonic_ns()}", context=self.context, enable_rosout=False)
        base = f"{namespace}/{node_name}"
        self.base = base
        self.predictions: list[FusedPrediction] = []
        self.masks: list[ModalityMask] = []
        self.prunings: list[PruningState] = []
        self.infos: list[ModelInfo] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._random = np.random.default_rng(0)
        self._feeds: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._destroying = threading.Lock()
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for cls, topic, store, qos in (
            (FusedPrediction, base + "/prediction", self.predictions, 100),
            (ModalityMask, base + "/mask", self.masks, 100),
            (PruningState, base + "/pruning", self.prunings, latched),
            (ModelInfo, base + "/model_info", self.infos, latched),
            (DiagnosticArray, "/diagnostics", self.diagnostics, 10),
        ):
            self.node.create_subscription(cls, topic, lambda m, store=store: self._keep(store, m), qos)
        self._executor = make_executor(self.context)
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._spinner.start()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _keep(self, store: list, message) -> None:
        with self._changed:
            store.append(message)
            self._changed.notify_all()

    def listen(self, message_type, topic: str) -> list:
        """Everything that comes on a topic from now on."""
        store: list = []
        self.node.create_subscription(message_type, topic, lambda m: self._keep(store, m), 10)
        return store

    # --- waiting -------------------------------------------------------------------------------------------

    def wait(self, what: str, condition, under_test: NodeUnderTest | None = None, deadline_s: float = DEADLINE_S):
        """The first true value of `condition()`; fails with what was seen when the deadline passes."""
        end = time.monotonic() + deadline_s
        with self._changed:
            while True:
                value = condition()
                if value:
                    return value
                if under_test is not None and not under_test.alive():
                    raise AssertionError(f"the node ended while waiting for {what}:\n{under_test.log()}")
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"no {what} in {deadline_s} s; {self.seen()}\n" + (under_test.log() if under_test else "")
                    )
                self._changed.wait(min(left, 0.2))

    def graph_of(self, node_name: str, node_namespace: str = "/") -> dict[str, set[str]] | None:
        """The topics and services that the graph lists of a node, or None while it does not know the node.

        DDS announces a node's name apart from its endpoints, so data may come before the name does. Ask inside `wait`.
        """
        graph = self.node
        questions = {
            "publish": graph.get_publisher_names_and_types_by_node,
            "subscribe": graph.get_subscriber_names_and_types_by_node,
            "reply": graph.get_service_names_and_types_by_node,
            "request": graph.get_client_names_and_types_by_node,
        }
        try:
            return {what: {name for name, _ in ask(node_name, node_namespace)} for what, ask in questions.items()}
        except NodeNameNonExistentError:
            return None

    def seen(self) -> str:
        states = [(s.name, s.state, s.reason) for s in self.masks[-1].sensors] if self.masks else "no mask"
        last = self.predictions[-1] if self.predictions else None
        return f"{len(self.predictions)} predictions, last valid={last.valid if last else None}; {states}"

    def state_of(self, sensor: str) -> int | None:
        if not self.masks:
            return None
        return next((s.state for s in self.masks[-1].sensors if s.name == sensor), None)

    def status_of(self, sensor: str):
        return next(s for s in self.masks[-1].sensors if s.name == sensor)

    def diagnosis(self, part: str) -> tuple[bytes, str]:
        """Level and message that the newest diagnostics have on a part of the node; (b"", "") if none."""
        statuses = self.diagnostics[-1].status if self.diagnostics else ()
        return next(((s.level, s.message) for s in statuses if s.name.endswith(": " + part)), (b"", ""))

    def wait_status(self, sensor: str, condition, what: str, under_test=None):
        """The newest status of a sensor once `condition` holds for it. Look at this one: the next may already be another."""

        def found():
            status = self.status_of(sensor) if self.masks else None
            return status if status is not None and condition(status) else None

        return self.wait(what, found, under_test)

    def wait_state(self, sensor: str, state: int, under_test=None):
        """The status of a sensor once it is in a state."""
        return self.wait_status(sensor, lambda status: status.state == state, f"{sensor} in state {state}", under_test)

    def wait_all_topics(self, under_test=None) -> None:
        """Until each topic of an active node has brought something: which one comes first is up to the discovery."""
        everything = (self.predictions, self.masks, self.prunings, self.infos)
        self.wait("a message on every topic", lambda: all(everything), under_test)

    def wait_log(self, under_test: NodeUnderTest, *texts: str) -> None:
        """Until the node has logged these texts. What it publishes may come before the line about it."""
        self.wait(f"{' and '.join(texts)} in the log", lambda: all(text in under_test.log() for text in texts), under_test)

    def wait_new_prediction(self, condition, what: str, under_test=None):
        """A prediction published from now on for which `condition` holds."""
        start = len(self.predictions)
        return self.wait(what, lambda: next((p for p in self.predictions[start:] if condition(p)), None), under_test)

    # --- feeding -------------------------------------------------------------------------------------------

    def feed(self, topic: str, msg_class, make, rate_hz: float, qos=10) -> None:
        """Publish make(stamp) at a rate until `silence(topic)`."""
        publisher = self.node.create_publisher(msg_class, topic, qos)
        stop = threading.Event()

        def run() -> None:
            due = time.monotonic()
            try:
                while not stop.is_set():
                    publisher.publish(make(self.node.get_clock().now().to_msg()))
                    due += 1.0 / rate_hz
                    stop.wait(max(0.0, due - time.monotonic()))
            finally:
                # One at a time: of two that went at once, a node that came later was told that both are still there.
                with self._destroying:
                    self.node.destroy_publisher(publisher)

        thread = threading.Thread(target=run, daemon=True)
        self._feeds[topic] = stop
        self._threads.append(thread)
        thread.start()

    def silence(self, topic: str) -> None:
        self._feeds.pop(topic).set()

    def feed_camera(self, topic: str = "/camera/image_raw", qos=10) -> None:
        self.feed(topic, Image, self.depth_image, 30.0, qos)

    def feed_imu(self, topic: str = "/imu/data", qos=10) -> None:
        self.feed(topic, Imu, self.imu, 50.0, qos)

    def depth_image(self, stamp) -> Image:
        depth = np.zeros((60, 80), np.uint16)
        depth[15:55, 30:50] = 2700 + self._random.integers(0, 60, (40, 20))
        message = Image(height=60, width=80, encoding="16UC1", step=160, data=depth.tobytes())
        message.header.stamp = stamp
        return message

    def imu(self, stamp) -> Imu:
        message = Imu()
        message.header.stamp = stamp
        gyro, accel = self._random.normal(0, 0.3, 3), self._random.normal(0, 0.5, 3)
        v, a = message.angular_velocity, message.linear_acceleration
        v.x, v.y, v.z = map(float, gyro)
        a.x, a.y, a.z = float(accel[0]), float(accel[1]), float(accel[2] + 9.81)
        return message

    def battery(self, percentage: float, status: int = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING):
        return lambda stamp: BatteryState(percentage=percentage, power_supply_status=status)

    def clock(self, publisher, seconds: float) -> None:
        publisher.publish(Clock(clock=to_time(int(seconds * 1e9))))

    # --- services ------------------------------------------------------------------------------------------

    def call(self, service_type, name: str, request, under_test=None, attempts_s: tuple[float, ...] = (10, DEADLINE_S)):
        """Call a service. An answer can be lost while the client is still being discovered, so it is asked twice.

        ``attempts_s``: how long to wait for each answer; one only for what must not be asked twice. Before that the node is
        asked for its state: it hears of clients in the order of their creation, so when it answers it knows this one too.
        """
        client = self.node.create_client(service_type, name)
        try:
            self.wait(f"service {name}", client.service_is_ready, under_test)
            if len(attempts_s) == 1:
                self.lifecycle_state(under_test)
            for attempt_s in attempts_s:
                done = threading.Event()
                future = client.call_async(request)
                future.add_done_callback(lambda _, done=done: done.set())
                if done.wait(attempt_s):
                    return future.result()
            raise AssertionError(f"no answer from {name}\n" + (under_test.log() if under_test else ""))
        finally:
            self.node.destroy_client(client)

    def change_state(self, transition: int, under_test=None, attempts_s: tuple[float, ...] = (DEADLINE_S,)) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, self.base + "/change_state", request, under_test, attempts_s).success

    def bring_to(self, state: str, under_test=None) -> None:
        """Take a managed node to "active" or "unconfigured", from wherever it is."""
        up = {"unconfigured": Transition.TRANSITION_CONFIGURE, "inactive": Transition.TRANSITION_ACTIVATE}
        down = {"active": Transition.TRANSITION_DEACTIVATE, "inactive": Transition.TRANSITION_CLEANUP}
        steps = up if state == "active" else down
        for _ in range(6):
            now = self.lifecycle_state(under_test)
            if now == state:
                return
            try:
                done = self.change_state(steps[now], under_test, attempts_s=(10,))
            except AssertionError:  # the answer was lost; the state tells whether the transition was made
                continue
            assert done, under_test.log() if under_test else now
        raise AssertionError(f"not {state} after six attempts, but {self.lifecycle_state(under_test)}")

    def lifecycle_state(self, under_test=None) -> str:
        return self.call(GetState, self.base + "/get_state", GetState.Request(), under_test).current_state.label

    def set_parameter(self, name: str, value, node: str | None = None):
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, (node or self.base) + "/set_parameters", request).results[0]

    def get_parameter(self, name: str):
        values = self.call(GetParameters, self.base + "/get_parameters", GetParameters.Request(names=[name])).values
        return values[0]

    def set_sensor(self, sensor: str, action: int, reason: str = "", under_test=None):
        request = SetSensor.Request(sensor=sensor, action=action, reason=reason)
        return self.call(SetSensor, self.base + "/set_sensor", request, under_test)

    def close(self) -> None:
        for stop in self._feeds.values():
            stop.set()
        for thread in self._threads:
            thread.join(5)
        self._stop.set()
        self._spinner.join(5)
        self._executor.shutdown()  # else it keeps the participant alive
        self.node.destroy_node()
        self.context.try_shutdown()
