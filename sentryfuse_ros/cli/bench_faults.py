"""`sentryfuse bench faults`: every fault of every sensor, odd batteries and mutated messages, against the promises."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..bags.bag import Bag, Topic
from ..errors import SentryFuseError
from ..files import check_writable, make_folder, write_atomically
from ..machine import machine
from ..model.checkpoint import read_checkpoint
from ..nanoseconds import NS_PER_S
from ..paths import model_path, share_path
from ..replay.fault_matrix import KINDS, MatrixRow, MatrixTask, Stage, judge_matrix, plan_matrix, summarise_matrix, to_dict
from ..replay.faults import FaultScript
from ..replay.fuzzing import FuzzResult, fuzz
from ..replay.power_cases import BATTERY_TIMEOUT_S, DWELL_S, judge_power, power_cases
from ..replay.recording_cache import Drive, cache_folder
from ..replay.ros_domain import free_domain
from ..replay.schedule import DeliveryLog, Schedule, deliveries
from ..replay.session import limits_of
from ..sensing.trust_table import MEASURED
from ..sensor_kinds import kind_of_message
from ..settings import Settings, build_settings, read_yaml, text_argument

FAULTS = """\
Play a simulated drive into a fuse_node of its own process, inject every kind of fault into every sensor, one after the other,
send odd batteries and power budgets, bend the clock, restart a driver with other settings, take away every set of sensors,
keep the processor busy, and feed mutated messages to the decoders. Exit status 1 if a promise was broken.
"""
MODEL = "ground_robot"
DRIVE = Drive("test", 3, 60.0, 1.0, 1.0)  # the recording of the demo, which most users have made already
# Watched beside the sensors of config/fuse.yaml, so that every kind has its rows; no input of the model.
SERIES: dict[str, Any] = {
    "odometry.kind": "series",
    "odometry.topic": "odom",
    "odometry.type": "nav_msgs/msg/Odometry",
    "odometry.fields": ["twist.twist.linear.x", "twist.twist.angular.z"],
    "odometry.field_min": [-50.0],
    "odometry.field_max": [50.0],
}
ROUNDS, QUICK_ROUNDS = 5, 1
FUZZED, QUICK_FUZZED = 100_000, 5_000
FUZZED_OVER_DDS, QUICK_FUZZED_OVER_DDS = 20_000, 3_000
SLOW_RATE_HZ = 50.0  # at which the network of `_slow_model` cannot keep up
OTHER_SECOND_S = 5.0  # the other publisher repeats the second of the recording that begins here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this bench."""
    parser.add_argument("--quick", action="store_true", help=f"every fault once and {QUICK_FUZZED} mutated messages (9 minutes)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/faults"), metavar="DIR", help="folder for logs (default: %(default)s)"
    )
    parser.add_argument(
        "--kinds", nargs="+", action="extend", choices=KINDS, metavar="KIND", help="only these of " + ", ".join(KINDS)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file as well")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the result as a Markdown page")


def run(args: argparse.Namespace) -> int:
    """Returns 0 if every row passed. Raises SentryFuseError."""
    from ..reporting.fault_table import fault_lines, write_page
    from . import demo, replay

    replay.require_ros()
    make_folder(args.out)
    for path in filter(None, (args.json, args.page)):
        check_writable(path)
    recording = demo.recording(DRIVE, [folder for folder in (cache_folder(), args.out / "recordings") if folder])
    parameters = read_yaml(share_path("config", "fuse.yaml"))
    parameters |= SERIES | {"sensors": [*parameters["sensors"], "odometry"]}
    settings = build_settings(parameters)
    domain = free_domain()
    with Bag(recording) as bag:
        topics = _topics(bag, settings)
        samples = _samples(bag, topics)
        rows = _matrix(args, domain.id, bag, settings, topics, samples)
        rows += _power(args, domain.id, settings)
        rows += _scenarios(args, domain.id, settings, topics, samples)
        domain.release()
        fuzzed = _fuzz(bag, topics, QUICK_FUZZED if args.quick else FUZZED)
    result: dict[str, Any] = {
        "summary": {**summarise_matrix(rows), "fuzzed": fuzzed.messages, "crashes": len(fuzzed.escaped), **_lies()},
        "rows": [to_dict(row) for row in rows],
        "fuzz": {"escaped": fuzzed.escaped, "slowest_ms": fuzzed.slowest_ms, "over_period": fuzzed.over_period},
        "recording": recording.name,
        "model": MODEL,
        "machine": machine(1),
    }
    if args.json:  # first, because a console may be gone or full by now
        write_atomically(args.json, json.dumps(result, indent=1) + "\n")
    if args.page:
        write_page(result, args.page)
    print(fault_lines(result))
    passed = all(row.passed for row in rows) and not fuzzed.escaped and not fuzzed.over_period
    return 0 if passed else 1


def _lies() -> dict[str, Any]:
    """How many lies the model notices, as its trust file says, or None: measuring it takes hundreds of drives."""
    measured = read_checkpoint(model_path(MODEL)).trust.get("measured", {})
    return {name: measured.get(name) for name in MEASURED}


def _topics(bag: Bag, settings: Settings) -> dict[str, Topic]:
    """The topic of every sensor of the default parameters. Raises SentryFuseError if one is missing."""
    missing = [s.name for s in settings.sensors if "/" + s.topic not in bag.topics]
    if missing:
        raise SentryFuseError(f"recording {bag.path}", f"no topic for {', '.join(missing)}", "all sensors of config/fuse.yaml")
    return {s.name: bag.topics["/" + s.topic] for s in settings.sensors}


def _stage(args: argparse.Namespace, domain_id: int, name: str, *parameters: str) -> Stage:
    arguments = ["--ros-args", "--params-file", str(share_path("config", "fuse.yaml").absolute())]
    sensors = [*read_yaml(share_path("config", "fuse.yaml"))["sensors"], "odometry"]
    series = [f"{name}:={json.dumps(value)}" for name, value in (SERIES | {"sensors": sensors}).items()]
    for parameter in (
        text_argument("model", str(model_path(MODEL).absolute())),
        "diagnostics_rate_hz:=4.0",
        *series,
        *parameters,
    ):
        arguments += ["-p", parameter]
    return Stage(arguments, domain_id, args.out / f"fuse_node_{name}.log")


def _samples(bag: Bag, topics: dict[str, Topic]) -> dict[str, list[bytes]]:
    """The messages of one second of the recording, by sensor."""
    first_ns, last_ns = (bag.start_ns + int(t * NS_PER_S) for t in (OTHER_SECOND_S, OTHER_SECOND_S + 1))
    names = {topic.name: name for name, topic in topics.items()}
    samples: dict[str, list[bytes]] = {name: [] for name in topics}
    for topic, time_ns, raw in bag.messages(list(names)):
        if first_ns <= time_ns < last_ns:
            samples[names[topic]].append(bytes(raw))
    return samples


def _matrix(
    args: argparse.Namespace,
    domain_id: int,
    bag: Bag,
    settings: Settings,
    topics: dict[str, Topic],
    samples: dict[str, list[bytes]],
) -> list[MatrixRow]:
    from ..nodes import door

    plan = plan_matrix(list(topics), args.kinds or KINDS, QUICK_ROUNDS if args.quick else ROUNDS)
    repeat = int(plan.end_s // bag.duration_s) + 1
    script, watched = FaultScript(plan.injected()), {sensor.name: sensor for sensor in settings.sensors}
    schedule = Schedule(topics, bag.start_ns, (), script, repeat, 0.0, plan.end_s, watched)
    delivered = DeliveryLog()

    def progress(t_s: float) -> None:
        print(f"\rfaults: {t_s:.0f} of {plan.end_s:.0f} s", end="", file=sys.stderr, flush=True)

    task = MatrixTask(plan, topics, deliveries(bag, schedule, delivered), samples, bag.start_ns, delivered)
    run = door.play_matrix(_stage(args, domain_id, "matrix", "use_sim_time:=true"), task, progress)
    print(file=sys.stderr)
    if run.exit_status != 0:
        raise SentryFuseError("fuse_node", f"exit status {run.exit_status}: {run.last_words}", "0")
    return judge_matrix(plan, run, delivered, limits_of(settings, delivered))


def _power(args: argparse.Namespace, domain_id: int, settings: Settings) -> list[MatrixRow]:
    from ..nodes import door

    cases = power_cases()
    stage = _stage(args, domain_id, "power", f"battery_timeout_s:={BATTERY_TIMEOUT_S}", f"dwell_s:={DWELL_S}")

    def progress(index: int) -> None:
        print(f"\rpower: case {index + 1} of {len(cases)}", end="", file=sys.stderr, flush=True)

    run = door.play_power(stage, cases, 1.0 / settings["fuse_rate_hz"], progress)
    print(file=sys.stderr)
    return judge_power(cases, run)


def _scenarios(
    args: argparse.Namespace, domain_id: int, settings: Settings, topics: dict[str, Topic], samples: dict[str, list[bytes]]
) -> list[MatrixRow]:
    from ..nodes import door

    period_s = 1.0 / settings["fuse_rate_hz"]
    model_inputs = [sensor.name for sensor in settings.sensors if sensor.kind != "series"]

    def say(text: str) -> None:
        print(f"\rscenario: {text:60}", end="", file=sys.stderr, flush=True)

    rows = door.clock_scenarios(_stage(args, domain_id, "clock", "use_sim_time:=true"), topics, samples, period_s, say)
    fuzzed = QUICK_FUZZED_OVER_DDS if args.quick else FUZZED_OVER_DDS
    rows += door.live_scenarios(_stage(args, domain_id, "live"), topics, samples, model_inputs, period_s, fuzzed, say)
    model = str(_slow_model(args.out / "slow_model").absolute())
    slow = (text_argument("model", model), f"fuse_rate_hz:={SLOW_RATE_HZ}", "budget:=flops")
    stage = _stage(args, domain_id, "slow", *slow, "warm_up:=false")
    rows.append(door.slow_inference(stage, topics, samples, 1.0 / SLOW_RATE_HZ, say))
    print(file=sys.stderr)
    return rows


def _slow_model(folder: Path) -> Path:
    """A network for the IMU that takes some 30 ms on a fast core. Its weights are random, because only its time counts."""
    import torch

    from ..model.checkpoint import write_checkpoint
    from ..model.config import FuseConfig
    from ..model.fuse import SentryFuse

    torch.manual_seed(0)
    config = FuseConfig.from_dict(
        {
            "modalities": [{"name": "imu", "kind": "imu", "window_s": 3.2, "shape": [640, 6]}],
            "classes": [f"class_{i}" for i in range(10)],
            "d_model": 256,
            "layers": 6,
            "num_kv_heads": 4,
            "heads_per_group": 2,
            "head_dim": 32,
            "ffn_dim": 1024,
            "tokenizer": {"imu": {"steps_per_token": 2, "stem_channels": 32}},
        }
    )
    tensors = {name: values.numpy() for name, values in SentryFuse(config).state_dict().items()}
    return write_checkpoint(config, tensors, folder, {})


def _fuzz(bag: Bag, topics: dict[str, Topic], messages: int) -> FuzzResult:
    from ..runtime.engine import Engine

    seeds: dict[str, list[bytes]] = {}
    # Those of a series are fuzzed over DDS, where the definition of their type is installed.
    types = {topic.name: topic.msg_type for topic in topics.values() if kind_of_message(topic.msg_type) is not None}
    for topic, _, raw in bag.messages(list(types)):
        kept = seeds.setdefault(types[topic], [])
        if len(kept) < 20:
            kept.append(bytes(raw))
        if len(seeds) == len(types) and all(len(kept) == 20 for kept in seeds.values()):
            break
    return fuzz(seeds, Engine.load(model_path(MODEL), "cpu", 1), messages, seed=0)
