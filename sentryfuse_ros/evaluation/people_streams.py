"""Whole recordings of UTD-MHAD as streams of a depth camera in a simulated room, picture by picture; needs torch and the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from ..preprocessing import ModalitySpec
from ..training.depth_clips import BODY_SCALE_M, DepthFrames
from ..training.depth_room import FOCAL_PER_HEIGHT, Pose, measured, place_people, random_rooms, render_rooms
from ..validation import one_of

LOW_MOTION_M_S = 0.25  # a picture is of a low-motion stretch while nine of ten joints are slower
MOTIONS = ("still", "jitter", "pan")
PAN_ONSET = 8  # pictures before the camera begins to move


@dataclass(frozen=True)
class CameraMotion:
    """How the camera moves from the ninth picture on."""

    kind: Annotated[str, one_of(MOTIONS)] = "still"
    px: float = 0.0  # largest jump of a jitter from picture to picture, or what a pan moves the scene by per picture

    def pan_px(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Where the scene is in each of ``count`` pictures, in pixels to the right."""
        shift, moving = np.zeros(count, np.float32), max(count - PAN_ONSET, 0)
        if self.kind == "jitter":
            shift[count - moving :] = rng.integers(-int(self.px), int(self.px) + 1, moving)
        elif self.kind == "pan":
            shift[count - moving :] = self.px * np.arange(1, moving + 1) * rng.choice([-1, 1])
        return shift

    def turn_rad_s(self, pan_px: np.ndarray, rate_hz: float, rows: int) -> np.ndarray:
        """What a gyro measures of it, picture by picture."""
        turn: np.ndarray = np.diff(pan_px, prepend=pan_px[:1]) / (FOCAL_PER_HEIGHT * rows) * rate_hz
        return turn


@dataclass(frozen=True)
class PeopleStream:
    """One recording as its camera saw it."""

    pictures: np.ndarray  # (T, 1, H, W) float32, metres, 0 without return
    recording: int  # its number; streams of one recording differ by their rooms
    label: int
    subject: int
    low_motion: np.ndarray  # (T,) bool
    turn_rad_s: np.ndarray  # (T,) of the camera


def people_streams(
    frames: DepthFrames,
    recordings: np.ndarray,
    spec: ModalitySpec,
    motion: CameraMotion | None = None,
    seed: int = 0,
    steady_pictures: int = 0,
) -> Iterator[PeopleStream]:
    """Streams at the rate of the spec. Room and noise of a recording depend on ``seed`` and its number alone.

    ``steady_pictures``: so many pictures of a person that stands still as in the first frame, in place of the whole recording.
    """
    motion = motion or CameraMotion()
    rate_hz, size = spec.grid_rate_hz, (spec.shape[2], spec.shape[3])
    for number in recordings:
        random = torch.Generator().manual_seed(seed * 1_000_003 + int(number))
        start, stop = int(frames.first[number]), int(frames.first[number + 1])
        step = frames.rate_hz / rate_hz
        last = np.arange(stop - 1, start - 1, -step)[::-1]  # the newest frame is always among them
        index = torch.from_numpy(last.round().astype(np.int64))
        if steady_pictures:
            index = index[:1].repeat(steady_pictures)
        people = place_people(frames.people_mm[index].float()[None] * 1e-3, Pose(), size, random)[0]
        room = random_rooms(frames.farthest_m[number : number + 1], random)
        pan = motion.pan_px(len(index), np.random.default_rng([seed, int(number)]))
        if motion.kind == "still":
            rooms = render_rooms(room, size)
        else:
            rooms = torch.cat([render_rooms(room, size, torch.tensor([float(px)])) for px in pan])
            people = torch.stack([_moved(picture, px) for picture, px in zip(people, whole_pixels(pan))])
        pictures = measured(torch.where(people > 0, people, rooms), random).numpy()[:, None]
        speed = _joint_speed(frames, start, stop)[index.numpy() - start]
        low = np.full(len(index), True) if steady_pictures else speed < LOW_MOTION_M_S
        turn = motion.turn_rad_s(pan, rate_hz, size[0])
        yield PeopleStream(pictures, int(number), int(frames.labels[number]), int(frames.subjects[number]), low, turn)


def whole_pixels(pan_px: np.ndarray) -> list[int]:
    """By how many pixels people are moved where the room is moved by ``pan_px`` (T,). Halves are rounded up, not to the nearest
    even number, so that a steady pan moves them steadily."""
    whole: list[int] = np.floor(pan_px + 0.5).astype(int).tolist()
    return whole


def _moved(picture: torch.Tensor, px: int) -> torch.Tensor:
    """Shift to the right; what enters is empty."""
    out = torch.zeros_like(picture)
    width = picture.shape[1]
    if abs(px) < width:
        out[:, max(px, 0) : width + min(px, 0)] = picture[:, max(-px, 0) : width - max(px, 0)]
    return out


def _joint_speed(frames: DepthFrames, start: int, stop: int) -> np.ndarray:
    """Speed that nine of ten joints stay below, frame by frame (T,) [m/s], over a tenth of a second of smoothed positions."""
    joints = frames.joints[start:stop].numpy().reshape(stop - start, -1, 3) * BODY_SCALE_M
    padded = np.pad(joints, ((2, 2), (0, 0), (0, 0)), mode="edge")
    smooth = np.mean([padded[k : k + len(joints)] for k in range(5)], axis=0)
    span = max(round(frames.rate_hz / 10), 1)
    moved = np.linalg.norm(smooth[span:] - smooth[:-span], axis=-1) * frames.rate_hz / span
    speed = np.quantile(moved, 0.9, axis=1)
    return np.concatenate([np.full(min(span, len(joints)), speed[0] if len(speed) else 0.0), speed])[: len(joints)]
