"""What people see of a running fuse_node: docs/view_image.png (~/image) and docs/view_markers.png (~/markers in the cloud).

    .venv/bin/with-ros .venv/bin/python benchmarks/view_pictures.py [--seed 7] [--at 12] [--mcap live.mcap]

Plays a simulated drive into a real node over real topics, without a window system, and keeps what the node publishes. After two
thirds of the time the battery is low and the microphone is unplugged. ``--mcap`` also writes all that config/foxglove_live.json
shows to a file for Foxglove.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from sentryfuse_ros.bags.bag import Bag  # noqa: E402
from sentryfuse_ros.nodes.node_process import NodeProcess, transport_environment  # noqa: E402
from sentryfuse_ros.settings import build_settings  # noqa: E402
from sentryfuse_ros.simulation.run import simulate  # noqa: E402

LOW_BATTERY = 0.32
READY_LIMIT_S = 60.0
IMAGE_TOPIC = "/fuse_node/image"


def write_now(result: Any, topic: str, raw: bytes) -> None:
    """Write a message of a node whose clock is this machine's."""
    result.write(topic, time.time_ns(), raw)


def watch(drive: Path, at_s: float, folder: Path, mcap: Path | None) -> tuple[Any, Any, bytes]:
    """The image and the markers that the node published ``at_s`` after the start of the drive, and the newest cloud (bytes).

    What it published until then goes to the file ``mcap``.
    """
    os.environ.update(transport_environment(1 + os.getpid() % 100))
    import rclpy
    from sensor_msgs.msg import BatteryState, Image
    from visualization_msgs.msg import MarkerArray

    from sentryfuse_ros.nodes.message_types import message_class
    from sentryfuse_ros.nodes.result_recorder import record_result
    from sentryfuse_ros.nodes.spin import make_executor
    from sentryfuse_ros.replay.result_bag import ResultBag

    rclpy.init()
    node = rclpy.create_node("viewer")
    latest: dict[str, Any] = {}
    node.create_subscription(Image, IMAGE_TOPIC, lambda m: latest.update(image=m), 1)
    node.create_subscription(MarkerArray, "/fuse_node/markers", lambda m: latest.update(markers=m), 1)
    result = None
    if mcap is not None:
        with Bag(drive) as bag:
            result = ResultBag(mcap, bag, {IMAGE_TOPIC: "sensor_msgs/msg/Image"})
        record_result(node, result, 0)
        node.create_subscription(Image, IMAGE_TOPIC, partial(write_now, result, IMAGE_TOPIC), 10, raw=True)
    sensors = build_settings({}).sensors
    publishers = {s.topic: node.create_publisher(message_class(s.msg_type), s.topic, s.queue_depth) for s in sensors}
    battery = node.create_publisher(BatteryState, "battery_state", 10)
    executor = make_executor()
    executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)

    spinner = threading.Thread(target=spin)
    spinner.start()
    # The recording is of another day, so its messages are stamped by their arrival.
    untrusted = [word for s in sensors for word in ("-p", f"{s.name}.trust_stamps:=false")]
    fuser = NodeProcess("fuse_node", ["--ros-args", *untrusted], dict(os.environ), folder / "fuse_node.log")
    cloud = b""
    try:
        deadline = time.monotonic() + READY_LIMIT_S
        while "image" not in latest:  # it is published from the first tick on
            fuser.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"no image: {fuser.last_words()}")
            time.sleep(0.1)
        with Bag(drive) as bag:
            names = {name.lstrip("/"): name for name in bag.topics}
            begin = time.monotonic()
            for topic, stamp_ns, raw in bag.messages([names[s.topic] for s in sensors]):
                t_s = (stamp_ns - bag.start_ns) * 1e-9
                if t_s > at_s:
                    break
                time.sleep(max(0.0, begin + t_s - time.monotonic()))
                if t_s > at_s * 2 / 3:
                    battery.publish(BatteryState(percentage=LOW_BATTERY))
                    if topic.endswith("audio"):
                        continue
                publishers[topic.lstrip("/")].publish(raw)
                if topic.endswith("points"):
                    cloud = raw
        return latest["image"], latest["markers"], cloud
    finally:
        fuser.stop()
        stop.set()
        spinner.join()
        rclpy.shutdown()
        if result is not None:
            result.close()


def draw_markers(markers: Any, cloud: bytes, path: Path) -> None:
    """The text where RViz would show it, above the robot and among the LiDAR's points, seen from behind."""
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import PointCloud2

    message = deserialize_message(cloud, PointCloud2)
    rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.point_step)
    at = {field.name: field.offset for field in message.fields}
    x, y, z = (np.ascontiguousarray(rows[:, at[axis] : at[axis] + 4]).view(np.float32).ravel() for axis in "xyz")
    near = np.isfinite(x) & (np.hypot(x, y) < 4)
    figure = plt.figure(figsize=(6.4, 4.4), facecolor="#303030")
    axes: Any = figure.add_axes((0, 0, 1, 1), projection="3d", facecolor="#303030")
    axes.scatter(x[near], y[near], z[near], c=z[near], s=2, cmap="viridis")
    axes.set_box_aspect((4, 4, 1.6), zoom=1.5)
    axes.set_zlim(-0.8, 2.2)
    axes.set_axis_off()
    axes.view_init(elev=24, azim=-160)
    for marker in markers.markers:
        p, c = marker.pose.position, marker.color
        axes.text(p.x, p.y, p.z, marker.text, color=(c.r, c.g, c.b, c.a), ha="center", va="bottom", fontsize=10)
    figure.savefig(path, dpi=100, facecolor=figure.get_facecolor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--at", type=float, default=12.0, help="when the pictures are taken [s]")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--mcap", type=Path, help="also write what the node publishes, for Foxglove")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drive = Path(folder) / "drive"
        simulate(args.seed, args.at + 1.0, drive, "test", battery_wh=10.0, battery_start=0.9)
        image, markers, cloud = watch(drive, args.at, Path(folder), args.mcap)
    pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    plt.imsave(args.out / "view_image.png", pixels[..., ::-1])
    draw_markers(markers, cloud, args.out / "view_markers.png")
    print(markers.markers[0].text)


if __name__ == "__main__":
    main()
