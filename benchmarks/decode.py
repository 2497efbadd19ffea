"""What it costs to decode the reference load from raw bytes, against really deserialising it.

    python benchmarks/decode.py [--rounds 40] [--json out.json]

All sides take turns on the same messages within every round, so that a busy machine slows all of them; medians over
the rounds. The real deserialiser is rclpy's where it is installed, else rosbags'. "checked" is a sensor that is only
watched (no model input), "decoded" makes model rows too. Ratios carry over to another machine, times do not.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sentryfuse_ros.decoders import kind_of, make_decoder
from sentryfuse_ros.preprocessing import ModalitySpec

STORE = get_typestore(Stores.ROS2_JAZZY)
CHUNK = "sentryfuse_ros/msg/AudioChunk"
STORE.register(get_types_from_msg((Path(__file__).parents[1] / "msg" / "AudioChunk.msg").read_text(), CHUNK))
RGB = ModalitySpec("camera", "camera", 0.5, (4, 3, 64, 64), "rgb")
LIDAR = ModalitySpec("lidar", "lidar", 0.5, (2, 2, 16, 64))
IMU = ModalitySpec("imu", "imu", 1.0, (100, 6))
rng = np.random.default_rng(0)
tick = count()


def make(name: str, *values):
    return STORE.types[name if "/msg/" in name else name.replace("/", "/msg/")](*values)


def header():
    """Stamps 20 ms apart: sound chunks follow each other."""
    stamp = make("builtin_interfaces/Time", *divmod(1_700_000_000 * 10**9 + next(tick) * 20_000_000, 10**9))
    return make("std_msgs/Header", stamp, "sensor_link")


def image(height: int = 480, width: int = 640):
    pixels = rng.integers(0, 256, height * width * 3, np.uint8)
    return make("sensor_msgs/Image", header(), height, width, "rgb8", 0, width * 3, pixels)


def jpeg(height: int = 480, width: int = 640):
    y, x = np.mgrid[:height, :width]
    picture = np.stack([128 + 90 * np.sin((x + c * 20) / 37) * np.cos(y / 23) for c in range(3)], -1)
    data = cv2.imencode(".jpg", (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8))[1]
    return make("sensor_msgs/CompressedImage", header(), "jpeg", data.reshape(-1))


def cloud(points: int = 65536):
    data = rng.normal(0, [10, 10, 1, 50], (points, 4)).astype(np.float32)
    fields = [make("sensor_msgs/PointField", name, 4 * i, 7, 1) for i, name in enumerate(("x", "y", "z", "intensity"))]
    return make(
        "sensor_msgs/PointCloud2", header(), 1, points, fields, False, 16, 16 * points, data.view(np.uint8).reshape(-1), True
    )


def scan(beams: int = 1080):
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


def imu():
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


def sound(rate_hz: int):
    return make(CHUNK, header(), rate_hz, 1, rng.normal(0, 2000, rate_hz // 50).astype(np.int16))


# name, what is drained at once, messages per drain, rate of the messages [Hz], model input
def cases():
    def audio(rate_hz: int) -> ModalitySpec:
        return ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": rate_hz})

    yield "image 640x480 rgb8", image, 1, 30, RGB
    yield "compressed 640x480 jpeg", jpeg, 1, 30, RGB
    yield "cloud 65k points", cloud, 1, 10, LIDAR
    yield "scan 1080 beams", scan, 1, 40, LIDAR
    yield "imu, 40 at once", imu, 40, 400, IMU
    yield "imu, one by one", imu, 1, 400, IMU
    yield "audio 16 kHz, 5 at once", lambda: sound(16000), 5, 50, audio(16000)
    yield "audio 48 to 16 kHz, 5 at once", lambda: sound(48000), 5, 50, audio(16000)


def real_deserializer(msg_type: str):
    """(name, function bytes -> message) of rclpy where it has the type, else of rosbags."""
    package, _, name = msg_type.partition("/msg/")
    try:
        deserialize = import_module("rclpy.serialization").deserialize_message
        cls = getattr(import_module(f"{package}.msg"), name)
        return "rclpy", lambda data: deserialize(data, cls)
    except (ImportError, AttributeError):
        return "rosbags", lambda data: STORE.deserialize_cdr(data, msg_type)


def measure(name: str, build, drained: int, rate_hz: float, spec: ModalitySpec, rounds: int) -> dict:
    """Medians in microseconds per message of every side, taking turns."""
    messages = [build() for _ in range(drained)]
    msg_type = messages[0].__msgtype__
    raws = [bytes(STORE.serialize_cdr(message, msg_type)) for message in messages]
    library, deserialize = real_deserializer(msg_type)
    kind = kind_of(msg_type)
    checker, decoder, by_object = (make_decoder(kind, msg_type, s) for s in (None, spec, spec))
    sides = {
        "deserialised": lambda: [deserialize(data) for data in raws],
        "checked": lambda: checker.decode(raws),
        "decoded": lambda: decoder.decode(raws),
        "deserialised and decoded": lambda: by_object.decode([deserialize(data) for data in raws]),
    }
    for side, run in sides.items():
        batch = run()
        if side != "deserialised" and batch.fault.any():
            raise SystemExit(f"{name}: the benchmark's own message was refused: {batch.error}")
    repeats = {side: max(1, round(0.004 / seconds(run, 3))) for side, run in sides.items()}
    times = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            times[side].append(seconds(run, repeats[side]) / drained * 1e6)
    median = {f"{side} us": float(np.median(values)) for side, values in times.items()}
    real = median["deserialised us"]
    return {
        "case": name,
        "library": library,
        **median,
        "checked / deserialised": median["checked us"] / real,
        "decoded / both": median["decoded us"] / median["deserialised and decoded us"],
        "decoded, % of a core": median["decoded us"] * rate_hz / 1e4,
        "rate Hz": rate_hz,
    }


def seconds(run, repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - begin) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="turns of every side (default 40)")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    results = [measure(*case, arguments.rounds) for case in cases()]
    print(f"{'microseconds per message':31}{'real':>8} {'':8}{'checked':>8}{'ratio':>7}{'decoded':>9}{'ratio*':>8}{'core':>8}")
    for r in results:
        print(
            f"{r['case']:31}{r['deserialised us']:8.1f} {r['library']:8}{r['checked us']:8.1f}"
            f"{r['checked / deserialised']:7.2f}{r['decoded us']:9.1f}{r['decoded / both']:8.2f}"
            f"{r['decoded, % of a core']:7.2f}%"
        )
    print(
        "ratio: checked against real deserialisation; ratio*: decoded from raw against deserialised and then decoded"
        "\ncore: decoding at the reference rate, share of one core"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
