"""Mutated messages through decoders, liveness, window buffers and inference: nothing may escape, stall or grow.

Every message begins as a real one and is changed at one to four places: bits, whole words that a length or a size may be, cuts,
repeats, pieces of other messages.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..nanoseconds import NS_PER_S
from ..runtime.engine import Engine
from ..runtime.pipeline import Pipeline
from ..sensor_kinds import kind_of_message
from ..settings import build_settings

START_NS = 1_700_000_000 * NS_PER_S
STEP_NS = 10_000_000
WORDS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
HEAD_BYTES = 96  # where the lengths and sizes of most messages lie
MAX_BYTES = 4_000_000  # a repeat does not make a message larger than this
PERIOD_MS = 100.0  # no message may take longer


@dataclass
class FuzzResult:
    """What became of the messages, by message type, and the growth of the resident memory.

    slowest_ms: most CPU time that one message took. over_period: how many took more than `PERIOD_MS`.
    """

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
    pipeline = Pipeline(build_settings(_parameters(names, engine)), engine, deserialize)
    result = FuzzResult(slowest_ms=dict.fromkeys(types, 0.0))
    statuses = pipeline.tick(START_NS).tick.statuses
    begin_s, settled_mb, now_ns = time.monotonic(), 0.0, START_NS
    for index in range(messages):
        msg_type = types[index % len(types)]
        raw = seeds[msg_type][int(random.integers(len(seeds[msg_type])))]
        if random.random() > 0.1:
            raw = mutate(raw, random, everything)
        now_ns += STEP_NS
        started_s = time.process_time()  # of all threads, and without what other programs take
        try:
            pipeline.feed(names[msg_type], [raw], np.array([now_ns]), now_ns, now_ns)
        except Exception as error:  # this is what the run looks for
            result.escaped.append(f"{msg_type}, message {index}: {type(error).__name__}: {error}")
        took_ms = (time.process_time() - started_s) * 1e3
        result.slowest_ms[msg_type] = max(result.slowest_ms[msg_type], round(took_ms, 2))
        result.over_period += took_ms > PERIOD_MS
        if index % 10 == 9:
            try:
                prediction = pipeline.tick(now_ns)
                result.ticks += 1
                statuses = prediction.tick.statuses
                lying = [s for name in prediction.tick.serving if name for s in name.split("+") if not statuses[s].live]
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


def _parameters(names: Mapping[str, str], engine: Engine) -> dict[str, Any]:
    """Parameters of a fuser with a sensor for each message type. names: of the sensors, by type."""
    parameters: dict[str, Any] = {"sensors": tuple(names.values()), "warm_up": False}
    for msg_type, name in names.items():
        kind = kind_of_message(msg_type)
        assert kind is not None, f"{msg_type} has no decoder"
        served = next((spec.name for spec in engine.specs if spec.kind == kind.name), "")
        parameters |= {f"{name}.kind": kind.name, f"{name}.type": msg_type, f"{name}.model_input": served}
        parameters |= {f"{name}.trust_stamps": False}  # else most messages fail at their stamp, and nothing behind it is used
        if kind.name == "lidar":
            parameters |= {f"{name}.limits.min_points": 0}  # a scan lies outside the elevations of many models
    return parameters


def resident_mb() -> float:
    """Resident memory of this process [MB]; the highest so far where the system does not tell the present one."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
