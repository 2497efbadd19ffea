"""CPU time of the receive path compared with an ordinary rclpy node, on the reference load, over real DDS.

    .venv/bin/python benchmarks/receive.py [--rounds 3] [--seconds 10] [--json FILE]

Load, from one process: Image 640x480 rgb8 at 30 Hz, PointCloud2 of 65 000 points at 10 Hz, Imu at 400 Hz, AudioChunk at 50 Hz.
The sides take turns (ordinary, watched, decoded, ordinary, ...), each in a fresh process:
  ordinary  single-threaded executor with typed callbacks that only count, which is what one writes without thinking of CPU
  watched   our receivers, the checks of the decoders and liveness at 30 Hz, for sensors that the model does not use
  decoded   the same, and rows for the model from all four sensors (images and clouds reduced, audio filtered, windows kept)
CPU is user + system time of the receiving process over the measured seconds. Ratios carry over to another machine, percentages
do not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATES_HZ = {"camera": 30, "lidar": 10, "imu": 400, "audio": 50}
TOPICS = {kind: f"/bench/{kind}" for kind in RATES_HZ}
SIDES = ("ordinary", "watched", "decoded")
PAYLOADS = 8


def message_types() -> dict[str, Any]:
    from sensor_msgs.msg import Image, Imu, PointCloud2

    from sentryfuse_ros.msg import AudioChunk

    return {"camera": Image, "lidar": PointCloud2, "imu": Imu, "audio": AudioChunk}


def publish(seconds: float) -> None:
    """Publish the load for ``seconds``."""
    import numpy as np
    import rclpy
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import PointField

    from sentryfuse_ros.bags.header_stamps import stamped

    rclpy.init()
    node = rclpy.create_node("bench_load")
    types, rng = message_types(), np.random.default_rng(0)
    fields = [
        PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate(("x", "y", "z", "intensity"))
    ]

    def image() -> Any:
        pixels = rng.integers(0, 255, 921600, np.uint8).tobytes()
        return types["camera"](height=480, width=640, encoding="rgb8", step=1920, data=pixels)

    def cloud() -> Any:
        points = rng.normal(0, 10, 65000 * 4).astype(np.float32).tobytes()
        return types["lidar"](height=1, width=65000, fields=fields, point_step=16, row_step=65000 * 16, data=points)

    def imu() -> Any:
        message = types["imu"]()
        turn, push = message.angular_velocity, message.linear_acceleration
        (turn.x, turn.y, turn.z), (push.x, push.y, push.z) = rng.normal(0, 0.1, 3), rng.normal((0, 0, 9.81), 0.1)
        return message

    def audio() -> Any:
        return types["audio"](sample_rate=16000, channels=1, samples=rng.integers(-3000, 3000, 320, np.int16))

    # Payloads that never change would be FROZEN, so a few of them take turns.
    makers = {"camera": image, "lidar": cloud, "imu": imu, "audio": audio}
    raw = {kind: [serialize_message(make()) for _ in range(PAYLOADS)] for kind, make in makers.items()}
    publishers = {kind: node.create_publisher(types[kind], TOPICS[kind], 200) for kind in raw}
    sent = dict.fromkeys(raw, 0)
    begin = time.monotonic()
    due = dict.fromkeys(raw, begin)
    while time.monotonic() - begin < seconds:
        now = time.monotonic()
        for kind, payloads in raw.items():
            if now >= due[kind]:
                sent[kind] += 1
                publishers[kind].publish(stamped(payloads[sent[kind] % PAYLOADS], time.time_ns()))
                due[kind] += 1.0 / RATES_HZ[kind]
        time.sleep(max(0.0, min(due.values()) - time.monotonic()))
    rclpy.try_shutdown()


def cpu_s() -> float:
    """CPU time of this process so far [s]."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def measure(seconds: float, step: Callable[[], Any], counts: dict[str, int]) -> dict[str, Any]:
    """Call ``step`` for a warm-up of 2 s and then for the measured seconds; returns CPU share and received rates."""
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        step()
    before, cpu, begin = dict(counts), cpu_s(), time.monotonic()
    while time.monotonic() < begin + seconds:
        step()
    took = time.monotonic() - begin
    return {"cpu_percent": 100 * (cpu_s() - cpu) / took, "received_hz": {k: (counts[k] - before[k]) / took for k in counts}}


def receive_ordinary(seconds: float) -> dict[str, Any]:
    """The ordinary node."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init()
    node = rclpy.create_node("bench_ordinary")
    counts = dict.fromkeys(TOPICS, 0)

    def count(kind: str) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            counts[kind] += 1

        return callback

    for kind, msg_class in message_types().items():
        node.create_subscription(msg_class, TOPICS[kind], count(kind), 200)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    return measure(seconds, lambda: executor.spin_once(timeout_sec=0.1), counts)


def receive_ours(seconds: float, decoded: bool) -> dict[str, Any]:
    """The receive path of fuse_node, with model inputs if ``decoded``."""
    import rclpy
    from rclpy.clock import Clock, ClockType

    from sentryfuse_ros.nodes.receive import TopicReceiver, make_receive_node
    from sentryfuse_ros.nodes.spin import keep_large_buffers, make_executor
    from sentryfuse_ros.preprocessing import ModalitySpec
    from sentryfuse_ros.sensing.sensor import Sensor
    from sentryfuse_ros.settings import build_settings

    keep_large_buffers()
    rclpy.init()
    node = rclpy.create_node("bench_ours")
    specs = (
        [
            ModalitySpec("camera", "camera", 2.0, (8, 3, 48, 64), "rgb"),
            ModalitySpec("imu", "imu", 2.0, (100, 6)),
            ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": 16000}),
            ModalitySpec("lidar", "lidar", 1.0, (2, 2, 16, 64)),
        ]
        if decoded
        else []
    )
    settings = build_settings({f"{kind}.topic": topic for kind, topic in TOPICS.items()} | {"imu.reliability": "reliable"})
    sensors = {s.name: Sensor(s, specs, None) for s in settings.sensors}
    owner = make_receive_node(node)
    receivers = [TopicReceiver(node, owner, s, "raw") for s in settings.sensors]
    counts = dict.fromkeys(TOPICS, 0)
    polls = 0

    def poll() -> None:
        nonlocal polls
        node_ns, arrival_ns = time.time_ns(), time.monotonic_ns()
        for receiver in receivers:
            messages, age_ns = receiver.drain()
            if messages:
                name = receiver.sensor.name
                counts[name] += len(messages)
                sensors[name].feed(messages, arrival_ns - age_ns, node_ns, arrival_ns)
        polls += 1
        if polls % 3 == 0:
            for sensor in sensors.values():
                sensor.check(node_ns, arrival_ns)
        if polls % 30 == 0:
            for receiver in receivers:
                receiver.follow_publishers()

    node.create_timer(1 / 30, poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
    executor = make_executor()
    executor.add_node(node)
    result = measure(seconds, lambda: executor.spin_once(timeout_sec=0.1), counts)
    result["states"] = {name: sensor.status.state.name for name, sensor in sensors.items() if sensor.status is not None}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--side", choices=("publish", *SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side == "publish":
        return publish(args.seconds)
    if args.side:
        result = receive_ordinary(args.seconds) if args.side == "ordinary" else receive_ours(args.seconds, args.side == "decoded")
        print(json.dumps(result))
        return None
    from sentryfuse_ros.paths import share_path

    env = dict(
        os.environ,
        ROS_DOMAIN_ID=str(1 + os.getpid() % 100),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        OMP_NUM_THREADS="1",
        FASTRTPS_DEFAULT_PROFILES_FILE=str(share_path("config", "fastdds_large_messages.xml")),
    )
    rows: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for i in range(args.rounds):
        for side in SIDES:
            load = subprocess.Popen(
                [sys.executable, __file__, "--side", "publish", "--seconds", str(args.seconds + 8)],
                env=env,
                stderr=subprocess.DEVNULL,
            )
            done = subprocess.run(
                [sys.executable, __file__, "--side", side, "--seconds", str(args.seconds)],
                env=env,
                text=True,
                stdout=subprocess.PIPE,
                check=True,
            )
            load.terminate()
            load.wait()
            rows[side].append(json.loads(done.stdout.strip().split("\n")[-1]))
            print(
                f"round {i + 1} {side}: {rows[side][-1]['cpu_percent']:.1f} % of a core, "
                + ", ".join(f"{k} {v:.0f} Hz" for k, v in rows[side][-1]["received_hz"].items()),
                flush=True,
            )
    cpu = {side: [r["cpu_percent"] for r in rows[side]] for side in SIDES}
    ratio = {side: [a / b for a, b in zip(cpu[side], cpu["ordinary"])] for side in ("watched", "decoded")}
    ratio_to_ordinary = {s: {"median": statistics.median(v), "min": min(v), "max": max(v)} for s, v in ratio.items()}
    summary = {
        "cpu_percent_median": {s: statistics.median(v) for s, v in cpu.items()},
        "ratio_to_ordinary": ratio_to_ordinary,
        "promised_ratio": 0.45,
        "rounds": rows,
    }
    for side, r in ratio_to_ordinary.items():
        print(f"{side} / ordinary: {r['median']:.2f} ({r['min']:.2f} to {r['max']:.2f}), promised at most 0.45")
    if args.json:
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
