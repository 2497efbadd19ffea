"""Mutated messages of every type through decoders, liveness, window buffers and inference: nothing may escape, stall or grow.

    python -m benchmarks.fuzz [--messages 100000] [--seed 0] [--json FILE]

Every message begins as a real one and is changed at one to four places: bits, whole words that a length or a size may be, cuts,
repeats, pieces of other messages. The result counts what escaped (it must be nothing), the slowest message of each type, and the
growth of memory after the first tenth. Messages that only the middleware can read go through its deserialiser, if rclpy is
installed.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sentryfuse_ros.machine import machine
from sentryfuse_ros.nanoseconds import NS_PER_S
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.sensor_kinds import kind_of_message
from sentryfuse_ros.settings import build_settings

START_NS = 1_700_000_000 * NS_PER_S
STEP_NS = 10_000_000
WORDS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
HEAD_BYTES = 96  # where the lengths and sizes of most messages lie
MAX_BYTES = 4_000_000  # a repeat does not make a message larger than this


@dataclass
class FuzzResult:
    """What became of the messages, by message type, and the growth of the resident memory."""

    messages: int = 0
    ticks: int = 0
    escaped: list[str] = field(default_factory=list)
    slowest_ms: dict[str, float] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    over_period: int = 0
    growth_mb: float = 0.0
    seconds: float = 0.0


def mutate(raw: bytes, random: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """A message changed at one to four places."""
    data = bytearray(raw)
    for _ in range(int(random.integers(1, 5))):
        if not data:
            break
        size = len(data)
        reach = size if random.random() < 0.5 else min(size, HEAD_BYTES)
        at = int(random.integers(reach))
        match int(random.integers(8)):
            case 0:
                data[at] ^= 1 << int(random.integers(8))
            case 1:
                data[at] = int(random.integers(256))
            case 2 | 3:  # lengths and sizes are aligned
                at -= at % 4
                data[at : at + 4] = int(random.choice(WORDS)).to_bytes(4, "little")
            case 4:
                del data[at:]
            case 5:
                length = int(random.integers(1, min(size, 4096) + 1))
                data[at : at + length] = random.bytes(length) if random.random() < 0.5 else bytes(length)
            case 6:
                piece = data[at : at + int(random.integers(1, 512))]
                data[at:at] = piece * min(int(random.integers(1, 64)), max(1, (MAX_BYTES - size) // max(1, len(piece))))
            case 7:
                other = others[int(random.integers(len(others)))]
                begin = int(random.integers(len(other)))
                data[at : at + 256] = other[begin : begin + int(random.integers(1, 256))]
    return bytes(data)


def fuzz(
    seeds: Mapping[str, Sequence[bytes]],
    engine: Engine,
    messages: int,
    seed: int,
    deserialize: Mapping[str, Callable[[bytes], Any]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FuzzResult:
    """Feed ``messages`` mutated messages, all types in turn, to a pipeline that ticks at 10 Hz.

    seeds: real messages by message type. A tick follows every tenth message. Every tenth message stays as it was, so that the
    sensors come back and their rows are used.
    """
    random = np.random.default_rng(seed)
    types = list(seeds)
    everything = [raw for raws in seeds.values() for raw in raws]
    names = {msg_type: f"sensor_{index}" for index, msg_type in enumerate(types)}
    parameters: dict[str, Any] = {"sensors": tuple(names.values()), "warm_up": False}
    for msg_type, name in names.items():
        kind = kind_of_message(msg_type)
        assert kind is not None, f"{msg_type} has no decoder"
        served = next((spec.name for spec in engine.specs if spec.kind == kind.name), "")
        parameters |= {f"{name}.kind": kind.name, f"{name}.type": msg_type, f"{name}.model_input": served}
        parameters |= {f"{name}.trust_stamps": False}  # else most messages fail at their stamp, and nothing behind it is used
        if kind.name == "lidar":
            parameters |= {f"{name}.limits.min_points": 0}  # a scan lies outside the elevations of many models
    pipeline = Pipeline(build_settings(parameters), engine, deserialize)
    result = FuzzResult(slowest_ms=dict.fromkeys(types, 0.0))
    statuses = pipeline.tick(START_NS).tick.statuses
    begin_s, settled_mb, now_ns = time.monotonic(), 0.0, START_NS
    for index in range(messages):
        msg_type = types[index % len(types)]
        raw = seeds[msg_type][int(random.integers(len(seeds[msg_type])))]
        if random.random() > 0.1:
            raw = mutate(raw, random, everything)
        now_ns += STEP_NS
        started_s = time.perf_counter()
        try:
            pipeline.feed(names[msg_type], [raw], np.array([now_ns]), now_ns, now_ns)
        except Exception as error:  # this is what the run looks for
            result.escaped.append(f"{msg_type}, message {index}: {type(error).__name__}: {error}")
        took_ms = (time.perf_counter() - started_s) * 1e3
        result.slowest_ms[msg_type] = max(result.slowest_ms[msg_type], round(took_ms, 2))
        result.over_period += took_ms > 100.0
        if index % 10 == 9:
            try:
                prediction = pipeline.tick(now_ns)
                result.ticks += 1
                statuses = prediction.tick.statuses
                lying = [name for name in prediction.tick.serving if name and not statuses[name].live]
                result.escaped += [f"tick {result.ticks}: {name} serves in state {statuses[name].state.name}" for name in lying]
            except Exception as error:
                result.escaped.append(f"tick after message {index}: {type(error).__name__}: {error}")
        if index == messages // 10:
            settled_mb = resident_mb()
        if progress is not None and index % 1000 == 0:
            progress(index)
    result.messages, result.seconds = messages, round(time.monotonic() - begin_s, 1)
    result.growth_mb = round(resident_mb() - settled_mb, 1)
    result.refused = {msg_type: statuses[name].invalid for msg_type, name in names.items()}
    result.used = {msg_type: statuses[name].received - statuses[name].invalid for msg_type, name in names.items()}
    return result


def resident_mb() -> float:
    """Resident memory of this process [MB]; the highest so far where the system does not tell the present one."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


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
    from sentryfuse_ros.nodes.receive import message_class

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
