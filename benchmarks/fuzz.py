"""The long form of the fuzzing test: mutated messages of every type through the whole fuser.

    python -m benchmarks.fuzz [--messages 100000] [--seed 0] [--json FILE]

The result counts what escaped (it must be nothing), the slowest message of each type, and the growth of memory after the first
tenth. Messages that only the middleware can read go through its deserialiser.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.machine import machine
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.replay.fuzzing import fuzz
from sentryfuse_ros.runtime.engine import Engine


def real_messages() -> dict[str, list[bytes]]:
    """A few messages of every type that has a decoder and is installed, serialised by rclpy."""
    import cv2
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CompressedImage, Image, Imu, LaserScan, PointCloud2, PointField

    from sentryfuse_ros.msg import AudioChunk

    random = np.random.default_rng(0)
    picture = cv2.GaussianBlur(random.integers(0, 256, (120, 160, 3), np.uint8), (0, 0), 2)
    depth = random.integers(500, 5000, (120, 160)).astype(np.uint16)

    def image(encoding: str, pixels: np.ndarray) -> Any:
        return Image(height=120, width=160, encoding=encoding, step=pixels.nbytes // 120, data=pixels.tobytes())

    def coded(coding: str, extension: str, pixels: np.ndarray, head: bytes = b"", *options: int) -> Any:
        return CompressedImage(format=coding, data=head + cv2.imencode(extension, pixels, options)[1].tobytes())

    def cloud(height: int) -> Any:
        xyz = random.normal(0, 4, (2000, 4)).astype(np.float32)
        fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate(("x", "y", "z", "intensity"))]
        width = 2000 // height
        return PointCloud2(height=height, width=width, fields=fields, point_step=16, row_step=16 * width, data=xyz.tobytes())

    def imu() -> Any:
        message = Imu()
        for vector, values in zip((message.angular_velocity, message.linear_acceleration), random.normal(0, 1, (2, 3))):
            vector.x, vector.y, vector.z = map(float, values)
        return message

    scan = LaserScan(angle_min=-3.1, angle_max=3.1, angle_increment=0.01, range_min=0.1, range_max=30.0)
    scan.ranges = random.uniform(0.5, 20, 620).astype(np.float32).tolist()
    chunk = AudioChunk(sample_rate=16000, channels=1, samples=random.integers(-3000, 3000, 320).tolist())
    sound = bytes(4) + random.integers(-3000, 3000, 320).astype("<i2").tobytes()
    made = {
        "sensor_msgs/msg/Image": [image("rgb8", picture), image("mono16", depth), image("bayer_rggb8", picture[..., 0].copy())],
        "sensor_msgs/msg/CompressedImage": [
            coded("jpeg", ".jpg", picture),
            coded("rgb8; jpeg compressed bgr8", ".jpg", picture, b"", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
            coded("png", ".png", picture),
            coded("16UC1; compressedDepth png", ".png", depth, bytes(12)),
        ],
        "sensor_msgs/msg/Imu": [imu() for _ in range(8)],
        "sensor_msgs/msg/PointCloud2": [cloud(1), cloud(20)],
        "sensor_msgs/msg/LaserScan": [scan],
        "sentryfuse_ros/msg/AudioChunk": [chunk],
    }
    raws = {msg_type: [bytes(serialize_message(message)) for message in messages] for msg_type, messages in made.items()}
    # Not installed everywhere, and simple enough to be written by hand: encapsulation, length, bytes.
    raws["audio_common_msgs/msg/AudioData"] = [b"\0\1\0\0" + len(sound).to_bytes(4, "little") + sound]
    return raws


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if nothing escaped and no message took longer than a period."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, metavar="N", help="messages (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the mutations (default: %(default)s)")
    parser.add_argument("--model", default="ground_robot", help="checkpoint folder or name (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file as well")
    args = parser.parse_args(arguments)
    from rclpy.serialization import deserialize_message

    from sentryfuse_ros.errors import ParameterError
    from sentryfuse_ros.nodes.message_types import message_class

    seeds = real_messages()
    deserialize: dict[str, Callable[[bytes], Any]] = {}
    for msg_type in seeds:
        try:
            deserialize[msg_type] = partial(deserialize_message, message_type=message_class(msg_type))
        except ParameterError:  # audio_common_msgs is not installed here
            continue
    engine = Engine.load(model_path(args.model), "cpu", 1)
    result = fuzz(seeds, engine, args.messages, args.seed, deserialize, lambda n: print(f"\r{n}", end="", file=sys.stderr))
    values = {**asdict(result), "seed": args.seed, "model": args.model, "machine": machine(1)}
    print(json.dumps(values, indent=1))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(values, indent=1) + "\n")
    return 1 if result.escaped or result.over_period else 0


if __name__ == "__main__":
    sys.exit(main())
