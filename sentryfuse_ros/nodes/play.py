"""Play a recording into a `fuse_node` of its own process, over real topics with /clock, and collect what it publishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState

from ..bags.bag import Topic
from ..errors import SentryFuseError
from ..msg import FusedPrediction, ModalityMask, ModelInfo, PruningState
from ..paths import executable_path, share_path
from ..replay.faults import FaultScript
from ..replay.run_record import PredictionRow, SensorStatus, StatusRow
from ..replay.schedule import Delivery
from ..sensing.liveness import State
from .publish import to_time
from .receive import message_class
from .spin import make_executor

CLOCK_PERIOD_S = 0.005
BATTERY_PERIOD_S = 0.5


def transport_environment(domain_id: int | None) -> dict[str, str]:
    """Environment for a run of its own: shipped large-message profile, one domain, this machine only."""
    env = dict(os.environ)
    profile = env.get("FASTRTPS_DEFAULT_PROFILES_FILE") or str(share_path("config", "fastdds_large_messages.xml"))
    env["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile  # Humble, Jazzy
    env.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", profile)  # Fast DDS 3, from Kilted on
    if domain_id is not None:
        env["ROS_DOMAIN_ID"] = str(domain_id)
    if env.get("ROS_DISTRO") == "humble":
        env.setdefault("ROS_LOCALHOST_ONLY", "1")
    else:
        env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    env.setdefault("OMP_NUM_THREADS", "1")
    return env


class NodeProcess:
    """A node of this package in a process of its own, its output in a log file."""

    def __init__(self, name: str, arguments: list[str], env: dict[str, str], log_path: Path):
        self.name, self.log_path = name, log_path
        self._log = log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(executable_path(name)), *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def check(self) -> None:
        """Raises SentryFuseError with the node's last words where it has ended."""
        if self.process.poll() is not None:
            raise SentryFuseError(
                f"node {self.name}",
                f"exit status {self.process.returncode}: {self.last_words()}",
                "it to keep running",
                f"see {self.log_path}",
            )

    def check_transitions(self) -> None:
        """Raises SentryFuseError where a managed node said that it could not be configured or activated."""
        for line in self.log_path.read_text(errors="replace").split("\n"):
            for transition in ("configure failed: ", "activate failed: "):
                if transition in line:
                    raise SentryFuseError(f"node {self.name}: {line.partition(transition)[2]}")

    def last_words(self, lines: int = 3) -> str:
        text = self.log_path.read_text(errors="replace").strip().split("\n")
        return " | ".join(line.strip() for line in text[-lines:])

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGINT as a user would; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()
        return self.process.returncode


@dataclass
class Live:
    """The newest of everything, for a live view."""

    t_s: float = 0.0
    prediction: FusedPrediction | None = None
    mask: ModalityMask | None = None
    pruning: PruningState | None = None
    info: ModelInfo | None = None


class Player:
    """Publishes deliveries at their own rate, /clock and the battery beside them, and collects the fuser's topics."""

    def __init__(
        self,
        sensors: dict[str, Topic],
        extra: dict[str, Topic],
        script: FaultScript,
        start_ns: int,
        battery_topic: str = "/battery_state",
    ):
        self.script, self.start_ns = script, start_ns
        self.predictions: list[PredictionRow] = []
        self.statuses: list[StatusRow] = []
        self.prunings: list[tuple[float, PruningState]] = []
        self.live = Live()
        rclpy.init()
        self.node = rclpy.create_node("sentryfuse_replay", enable_rosout=False)
        # Reliable with room: a replay that loses messages on its own would judge the fuser for it.
        deep = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        self.publishers = {
            t.name: self.node.create_publisher(message_class(t.msg_type), t.name, deep)
            for t in [*sensors.values(), *extra.values()]
        }
        self.sensor_topics = [t.name for t in sensors.values()]
        self.clock = self.node.create_publisher(Clock, "/clock", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        self.battery = self.node.create_publisher(BatteryState, battery_topic, 10) if script.battery else None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(FusedPrediction, "/fuse_node/prediction", self._on_prediction, 100)
        self.node.create_subscription(ModalityMask, "/fuse_node/mask", self._on_mask, 100)
        self.node.create_subscription(PruningState, "/fuse_node/pruning", self._on_pruning, latched)
        self.node.create_subscription(ModelInfo, "/fuse_node/model_info", self._on_info, latched)
        self._executor = make_executor()
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="collect", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop.is_set() and rclpy.ok():
            try:
                self._executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                return

    # --- collecting ----------------------------------------------------------------------------------------

    def _since_start(self, stamp) -> float:
        return (stamp.sec * 1_000_000_000 + stamp.nanosec - self.start_ns) * 1e-9

    def _on_prediction(self, m: FusedPrediction) -> None:
        self.live.prediction = m
        self.predictions.append(
            PredictionRow(
                self._since_start(m.tick),
                time.monotonic(),
                m.valid,
                m.reason,
                m.class_name,
                m.confidence,
                tuple(m.mask),
                m.pruning_ratio,
                m.inference_ms,
                m.latency_ms,
                m.overhead_ms,
                m.sequence,
            )
        )

    def _on_mask(self, m: ModalityMask) -> None:
        self.live.mask = m
        self.statuses.append(
            StatusRow(
                self._since_start(m.header.stamp),
                {s.name: SensorStatus(State(s.state).name, s.rate_hz, s.reason) for s in m.sensors},
            )
        )

    def _on_pruning(self, m: PruningState) -> None:
        self.live.pruning = m
        self.prunings.append((self._since_start(m.header.stamp), m))

    def _on_info(self, m: ModelInfo) -> None:
        self.live.info = m

    # --- playing -------------------------------------------------------------------------------------------

    def wait_until_ready(self, fuser: NodeProcess, timeout_s: float = 120.0) -> None:
        """Until the fuser is active and hears our topics. Raises SentryFuseError when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while True:
            fuser.check()
            fuser.check_transitions()
            deaf = [t for t in self.sensor_topics if self.publishers[t].get_subscription_count() == 0]
            if self.live.info is not None and not deaf:
                break
            if time.monotonic() > deadline:
                why = f"topics not heard: {', '.join(deaf)}" if deaf and self.live.info else "it never became active"
                raise SentryFuseError(
                    "fuse_node", f"{why}; {fuser.last_words()}", f"readiness within {timeout_s:g} s", f"see {fuser.log_path}"
                )
            pause.wait(0.02)
        # The fuser begins best effort and follows what is offered; a subscription made anew loses what comes in
        # between, so the first message waits for that. A fuser told to stay best effort does not change: bounded.
        settled = time.monotonic() + 3.0
        while time.monotonic() < settled and not all(map(self._heard_reliably, self.sensor_topics)):
            fuser.check()
            pause.wait(0.02)

    def _heard_reliably(self, topic: str) -> bool:
        infos = self.node.get_subscriptions_info_by_topic(topic)
        return bool(infos) and all(i.qos_profile.reliability == ReliabilityPolicy.RELIABLE for i in infos)

    def play(
        self, stream: Iterator[Delivery], speed: float, show: Callable[[Live], None] | None, keep_going: Callable[[], None]
    ) -> float:
        """Publish everything in time; returns the recording's seconds played. `show` is called about 8 times a second."""
        begin = time.monotonic()
        next_clock_s = next_battery_s = 0.0
        next_show_s = begin
        pause = threading.Event()
        t_s = 0.0
        delivery = next(stream, None)
        tail_s: float | None = None
        while True:
            now_s = (time.monotonic() - begin) * speed
            if now_s >= next_clock_s:
                self.clock.publish(Clock(clock=to_time(self.start_ns + int(now_s * 1e9))))
                next_clock_s = now_s + CLOCK_PERIOD_S * speed
                t_s = self.live.t_s = now_s
            if self.battery is not None and now_s >= next_battery_s:
                self._publish_battery(now_s)
                next_battery_s += BATTERY_PERIOD_S
            while delivery is not None and delivery.t_s <= now_s:
                self.publishers[delivery.topic].publish(delivery.raw)
                tail_s = delivery.t_s
                delivery = next(stream, None)
            if time.monotonic() >= next_show_s:
                next_show_s += 0.125
                keep_going()
                if show is not None:
                    show(self.live)
            if delivery is None and now_s >= (tail_s or 0.0) + 0.3:
                return t_s
            due_s = min(
                next_clock_s,
                delivery.t_s if delivery is not None else now_s + 0.05,
                next_battery_s if self.battery is not None else now_s + 0.05,
            )
            pause.wait(max(0.0, min(0.05, (due_s - now_s) / speed)))

    def _publish_battery(self, t_s: float) -> None:
        message = BatteryState(
            percentage=self.script.battery_percent(t_s) / 100.0,
            present=True,
            power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
        )
        message.header.stamp = to_time(self.start_ns + int(t_s * 1e9))
        self.battery.publish(message)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(2.0)
        self.node.destroy_node()
        rclpy.try_shutdown()
