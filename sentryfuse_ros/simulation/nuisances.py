"""What disturbs a run, as levels from 0 (none) to 1; speed and payload of the robot; and what happens only on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from ..errors import ParameterError

SENSOR_OF = {"darkness": "camera", "fog": "camera", "mud": "camera", "wind": "audio", "dust": "lidar", "vibration": "imu"}


@dataclass(frozen=True)
class Nuisances:
    """Disturbances of one run."""

    darkness: float = 0.0  # lack of light, on a logarithmic scale
    fog: float = 0.0  # in the air, and as droplets on the lens
    mud: float = 0.0  # share of the lens covered
    wind: float = 0.0  # at the microphone
    dust: float = 0.0  # in the air, in front of the LiDAR
    vibration: float = 0.0  # looseness of the mount of the IMU, and unbalance of the motors
    speed_mps: float = 0.8
    payload_kg: float = 3.0
    # Only where they are asked for; no seed draws them.
    shadows: float = 0.0  # of people who walk past before the robot
    stands_from_s: float = 0.0  # the robot stands from here
    stands_until_s: float = 0.0  # to there

    def stands(self, time_s: float) -> bool:
        """Whether the robot is to stand at a time of its recording."""
        return self.stands_from_s <= time_s < self.stands_until_s

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    def disturbed(self) -> tuple[str, ...]:
        """Names of the disturbances that are strong enough to matter."""
        return tuple(name for name in SENSOR_OF if getattr(self, name) > 0.25)


RANGES = {
    **dict.fromkeys((*SENSOR_OF, "shadows"), (0.0, 1.0)),
    "speed_mps": (0.2, 1.5),
    "payload_kg": (0.0, 20.0),
    **dict.fromkeys(("stands_from_s", "stands_until_s"), (0.0, 3600.0)),
}
# Probability that a run disturbs a sensor. No run disturbs all four, because nothing could be recognised then.
_PROBABILITY = {"camera": 0.5, "audio": 0.4, "lidar": 0.4, "imu": 0.4}


def draw_nuisances(rng: np.random.Generator) -> Nuisances:
    """Draw the disturbances of a run."""
    hit = [sensor for sensor, probability in _PROBABILITY.items() if rng.random() < probability]
    spared = rng.integers(4)
    if len(hit) == 4:
        del hit[spared]
    camera = rng.choice(["darkness", "fog", "mud"], p=[0.4, 0.25, 0.35])
    strong = {"camera": str(camera), "audio": "wind", "lidar": "dust", "imu": "vibration"}
    levels = {}
    for name, sensor in SENSOR_OF.items():
        strength, slight = rng.uniform(0.45, 1.0), rng.uniform(0.0, 0.15)
        levels[name] = float(strength if sensor in hit and strong[sensor] == name else slight)
    return Nuisances(**levels, speed_mps=float(rng.uniform(0.4, 1.2)), payload_kg=float(rng.uniform(0, 12)))


def choose_nuisances(given: Sequence[str], rng: np.random.Generator) -> Nuisances:
    """The nuisances that the arguments of ``--nuisance`` ask for, in order.

    No argument or ``random``: draw them. ``none``: no disturbance. ``NAME=LEVEL``: set one, and ``NAME`` alone sets it
    to 0.8. Raises ParameterError that names the wrong entry, or a time to stand that ends before it begins.
    """
    names = [f.name for f in fields(Nuisances)]
    drawn = draw_nuisances(rng)
    nuisances = drawn
    for entry in given:
        name, equals, text = entry.partition("=")
        if name in ("none", "random") and not equals:
            nuisances = Nuisances() if name == "none" else drawn
            continue
        if name not in names:
            raise ParameterError(f"nuisance {entry!r}", name, "none, random, or one of " + ", ".join(names))
        low, high = RANGES[name]
        try:
            level = float(text) if equals else 0.8
        except ValueError:
            level = float("nan")
        if not low <= level <= high:
            raise ParameterError(f"nuisance {name}", text, f"a number in [{low:g}, {high:g}]", f"write {name}={high / 2:g}")
        nuisances = replace(nuisances, **{name: level})
    begin_s, end_s = nuisances.stands_from_s, nuisances.stands_until_s
    if begin_s > 0 and begin_s >= end_s:
        raise ParameterError(
            "nuisance stands_until_s", f"{end_s:g}", f"a time after stands_from_s, {begin_s:g} s", "give both of them"
        )
    return nuisances
