"""The cost of decoding the reference load from raw bytes, compared with deserialising it.

    python benchmarks/decode.py [--rounds 40] [--json out.json]

All sides take turns on the same messages within every round, so that a busy machine slows all of them, and the medians over the
rounds are printed. The deserialiser is rclpy's if it is installed, else that of rosbags. "checked" is a sensor that is watched
without being a model input; "decoded" makes rows for the model as well. Ratios carry over to another machine, times do not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sentryfuse_ros.cli.arguments import at_least_one
from sentryfuse_ros.decoders import make_decoder
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.sensor_kinds import kind_of_message

STORE = get_typestore(Stores.ROS2_JAZZY)
CHUNK = "sentryfuse_ros/msg/AudioChunk"
STORE.register(get_types_from_msg((Path(__file__).parents[1] / "msg" / "AudioChunk.msg").read_text(), CHUNK))
RGB = ModalitySpec("camera", "camera", 0.5, (4, 3, 64, 64), "rgb")
LIDAR = ModalitySpec("lidar", "lidar", 0.5, (2, 2, 16, 64))
IMU = ModalitySpec("imu", "imu", 1.0, (100, 6))
rng = np.random.default_rng(0)
tick = count()


class Case(NamedTuple):
    """Messages to decode, all of one type, and how they arrive."""

    name: str
    build: Callable[[], Any]  # makes one message
    batch: int  # messages that are decoded at once
    rate_hz: float
    spec: ModalitySpec


def make(name: str, *values: Any) -> Any:
    return STORE.types[name if "/msg/" in name else name.replace("/", "/msg/")](*values)


def header() -> Any:
    """Stamps are 20 ms apart, so that audio chunks follow each other without a gap."""
    stamp = make("builtin_interfaces/Time", *divmod(1_700_000_000 * 10**9 + next(tick) * 20_000_000, 10**9))
    return make("std_msgs/Header", stamp, "sensor_link")


def image(height: int = 480, width: int = 640) -> Any:
    pixels = rng.integers(0, 256, height * width * 3, np.uint8)
    return make("sensor_msgs/Image", header(), height, width, "rgb8", 0, width * 3, pixels)


def jpeg(height: int = 480, width: int = 640) -> Any:
    y, x = np.mgrid[:height, :width]
    picture = np.stack([128 + 90 * np.sin((x + c * 20) / 37) * np.cos(y / 23) for c in range(3)], -1)
    data = cv2.imencode(".jpg", (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8))[1]
    return make("sensor_msgs/CompressedImage", header(), "jpeg", data.reshape(-1))


def cloud(points: int = 65536) -> Any:
    data = rng.normal(0, [10, 10, 1, 50], (points, 4)).astype(np.float32)
    fields = [make("sensor_msgs/PointField", name, 4 * i, 7, 1) for i, name in enumerate(("x", "y", "z", "intensity"))]
    return make(
        "sensor_msgs/PointCloud2", header(), 1, points, fields, False, 16, 16 * points, data.view(np.uint8).reshape(-1), True
    )


def scan(beams: int = 1080) -> Any:
    return make(
        "sensor_msgs/LaserScan",
        header(),
        -2.35,
        2.35,
        4.7 / beams,
        0.0,
        0.025,
        0.05,
        30.0,
        rng.uniform(1, 20, beams).astype(np.float32),
        np.empty(0, np.float32),
    )


def imu() -> Any:
    vector = [make("geometry_msgs/Vector3", *rng.normal(0, 1, 3)) for _ in range(2)]
    return make(
        "sensor_msgs/Imu",
        header(),
        make("geometry_msgs/Quaternion", 0.0, 0.0, 0.0, 1.0),
        np.zeros(9),
        vector[0],
        np.zeros(9),
        vector[1],
        np.zeros(9),
    )


def sound(rate_hz: int) -> Any:
    return make(CHUNK, header(), rate_hz, 1, rng.normal(0, 2000, rate_hz // 50).astype(np.int16))


def cases() -> Iterator[Case]:
    """The reference load."""

    def audio(rate_hz: int) -> ModalitySpec:
        return ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": rate_hz})

    yield Case("image 640x480 rgb8", image, 1, 30, RGB)
    yield Case("compressed 640x480 jpeg", jpeg, 1, 30, RGB)
    yield Case("cloud 65k points", cloud, 1, 10, LIDAR)
    yield Case("scan 1080 beams", scan, 1, 40, LIDAR)
    yield Case("imu, 40 at once", imu, 40, 400, IMU)
    yield Case("imu, one by one", imu, 1, 400, IMU)
    yield Case("audio 16 kHz, 5 at once", lambda: sound(16000), 5, 50, audio(16000))
    yield Case("audio 48 to 16 kHz, 5 at once", lambda: sound(48000), 5, 50, audio(16000))


def real_deserializer(msg_type: str) -> tuple[str, Callable[[bytes], Any]]:
    """Library and function bytes -> message: of rclpy if it has the type, else of rosbags."""
    package, _, name = msg_type.partition("/msg/")
    try:
        deserialize = import_module("rclpy.serialization").deserialize_message
        cls = getattr(import_module(f"{package}.msg"), name)
        return "rclpy", lambda data: deserialize(data, cls)
    except (ImportError, AttributeError):
        return "rosbags", lambda data: STORE.deserialize_cdr(data, msg_type)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Medians in microseconds per message of every side; the sides take turns."""
    messages = [case.build() for _ in range(case.batch)]
    msg_type = messages[0].__msgtype__
    raws = [bytes(STORE.serialize_cdr(message, msg_type)) for message in messages]
    library, deserialize = real_deserializer(msg_type)
    kind = kind_of_message(msg_type)
    assert kind is not None
    checker, decoder, by_object = (make_decoder(kind.name, msg_type, s) for s in (None, case.spec, case.spec))
    decoding = {
        "checked": lambda: checker.decode(raws),
        "decoded": lambda: decoder.decode(raws),
        "deserialised and decoded": lambda: by_object.decode([deserialize(data) for data in raws]),
    }
    for decode in decoding.values():
        batch = decode()
        if batch.fault.any():
            raise SystemExit(f"{case.name}: the benchmark's own message was refused: {batch.error}")
    sides: dict[str, Callable[[], Any]] = {"deserialised": lambda: [deserialize(data) for data in raws], **decoding}
    repeats = {side: max(1, round(0.004 / seconds(run, 3))) for side, run in sides.items()}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            times[side].append(seconds(run, repeats[side]) / case.batch * 1e6)
    median = {f"{side} us": float(np.median(values)) for side, values in times.items()}
    real = median["deserialised us"]
    return {
        "case": case.name,
        "library": library,
        **median,
        "checked / deserialised": median["checked us"] / real,
        "decoded / both": median["decoded us"] / median["deserialised and decoded us"],
        "decoded, % of a core": median["decoded us"] * case.rate_hz / 1e4,
        "rate Hz": case.rate_hz,
    }


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """Mean time of one call [s]."""
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - begin) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least_one, default=40, help="number of turns of every side (default 40)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    results = [measure(case, arguments.rounds) for case in cases()]
    print(f"{'microseconds per message':31}{'real':>8} {'':8}{'checked':>8}{'ratio':>7}{'decoded':>9}{'ratio*':>8}{'core':>8}")
    for r in results:
        print(
            f"{r['case']:31}{r['deserialised us']:8.1f} {r['library']:8}{r['checked us']:8.1f}"
            f"{r['checked / deserialised']:7.2f}{r['decoded us']:9.1f}{r['decoded / both']:8.2f}"
            f"{r['decoded, % of a core']:7.2f}%"
        )
    print(
        "ratio: checking / deserialising; ratio*: decoding from raw bytes / deserialising and then decoding"
        "\ncore: decoding at the reference rate, as a share of one core"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
