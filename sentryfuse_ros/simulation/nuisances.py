"""What disturbs a run: each level in [0, 1], 0 is none; plus the speed driven and the load carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from ..errors import ParameterError

SENSOR_OF = {"darkness": "camera", "fog": "camera", "mud": "camera", "wind": "audio", "dust": "lidar", "vibration": "imu"}


@dataclass(frozen=True)
class Nuisances:
    """Disturbances of one run."""

    darkness: float = 0.0  # light that is missing, on a logarithmic scale
    fog: float = 0.0  # in the air and as droplets on the lens
    mud: float = 0.0  # share of the lens covered
    wind: float = 0.0  # at the microphone
    dust: float = 0.0  # in the air, in front of the LiDAR
    vibration: float = 0.0  # looseness of the IMU's mount and unbalance of the motors
    speed_mps: float = 0.8
    payload_kg: float = 3.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

    def disturbed(self) -> tuple[str, ...]:
        """Names of the disturbances that are more than slight."""
        return tuple(name for name in SENSOR_OF if getattr(self, name) > 0.25)


RANGES = {**dict.fromkeys(SENSOR_OF, (0.0, 1.0)), "speed_mps": (0.2, 1.5), "payload_kg": (0.0, 20.0)}
# How often a run's sensor is disturbed. No run disturbs all four: nothing could be told there.
_OFTEN = {"camera": 0.5, "audio": 0.4, "lidar": 0.4, "imu": 0.4}


def draw_nuisances(rng: np.random.Generator) -> Nuisances:
    """The disturbances of a random run."""
    hit = [sensor for sensor, often in _OFTEN.items() if rng.random() < often]
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
    """What ``--nuisance`` says: nothing or ``random`` draws a run's; ``none`` clears; ``NAME=LEVEL`` sets one.

    Raises ParameterError naming the entry that is wrong.
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
    return nuisances
