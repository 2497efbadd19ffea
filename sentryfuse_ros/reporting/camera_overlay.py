"""The camera's picture with the prediction drawn in, for those who watch a robot: class, confidence, sensors, pruning ratio."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .style import GREEN, ORANGE, STATE_COLOURS

WIDTH, LEAST_HEIGHT = 640, 240  # Pictures are drawn at this width [pixels], so that the text is always readable.
MOST_HEIGHT = 1280  # A higher picture, such as that of a line camera, is drawn narrower: at this width it would fill the memory.
_FONT, _WHITE, _GREY, _DARK = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255), (170, 170, 170), (36, 30, 26)
_BAND, _CHIPS = 62, 26  # heights of the band at the bottom and of each band at the top [pixels]


@dataclass(frozen=True)
class SensorChip:
    """One sensor as it is shown: its name, its state, and whether the plan in force leaves it out."""

    name: str
    state: str
    asleep: bool = False


@dataclass(frozen=True)
class Caption:
    """What is drawn over the picture. OpenCV's letters are ASCII; others are shown as question marks."""

    title: str  # the class, or why there is no prediction
    valid: bool
    confidence: float  # 0..1
    ratio: float
    sensors: tuple[SensorChip, ...]
    past: str = ""  # why the picture does not show what is now; it is then dark, grey, and has this text across it


def draw_overlay(picture: np.ndarray | None, caption: Caption) -> np.ndarray:
    """A new picture uint8 (H, WIDTH, 3), blue first. Without a ``picture`` (H, W, 3) the background is dark."""
    canvas = _canvas(picture)
    if caption.past and picture is not None:
        canvas[:] = (0.4 * canvas.mean(axis=2, keepdims=True)).astype(np.uint8)
        (width, _), _ = cv2.getTextSize(caption.past, _FONT, 0.7, 1)
        _write(canvas, caption.past, (max(12, (WIDTH - width) // 2), canvas.shape[0] // 2), 0.7, _bgr(ORANGE))
    _draw_chips(canvas, caption.sensors)
    band = canvas[-_BAND:]
    band[:] = (0.3 * band).astype(np.uint8)
    bottom = canvas.shape[0]
    colour = _bgr(GREEN if caption.valid else ORANGE)
    title = caption.title + (f"  {caption.confidence:.0%}" if caption.valid else "")
    scale = 0.9 if caption.valid else 0.5
    _write(canvas, title, (12, bottom - 28), scale, _WHITE)
    right = WIDTH - 12
    cv2.rectangle(canvas, (12, bottom - 14), (right, bottom - 8), _DARK, -1)
    if caption.valid:
        cv2.rectangle(canvas, (12, bottom - 14), (12 + round((right - 12) * caption.confidence), bottom - 8), colour, -1)
    text = f"pruning ratio {caption.ratio:.2f}"
    (width, _), _ = cv2.getTextSize(text, _FONT, 0.5, 1)
    _write(canvas, text, (right - width, bottom - 40), 0.5, _WHITE)
    return canvas


def _canvas(picture: np.ndarray | None) -> np.ndarray:
    if picture is None:
        canvas = np.full((360, WIDTH, 3), _DARK, np.uint8)
        _write(canvas, "no picture", (WIDTH // 2 - 60, 190), 0.7, _GREY)
        return canvas
    rows, columns = picture.shape[:2]
    height, width = max(LEAST_HEIGHT, round(rows * WIDTH / columns)), WIDTH
    if height > MOST_HEIGHT:
        height, width = MOST_HEIGHT, max(1, round(columns * MOST_HEIGHT / rows))
    drawn = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST if columns < width else cv2.INTER_AREA)
    if width == WIDTH:
        return drawn
    canvas, left = np.full((height, WIDTH, 3), _DARK, np.uint8), (WIDTH - width) // 2
    canvas[:, left : left + width] = drawn
    return canvas


def _draw_chips(canvas: np.ndarray, sensors: tuple[SensorChip, ...]) -> None:
    """One chip for each sensor along the top, in the colour of its state; hollow where the plan leaves the sensor out."""
    x, y = WIDTH, -_CHIPS
    for sensor in sensors:
        state = "sleeps" if sensor.asleep else "" if sensor.state == "OK" else sensor.state.lower().replace("_", " ")
        text = f"{sensor.name} {state}".strip()
        (width, _), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
        if x + 11 + width > WIDTH:  # another band below the last
            x, y = 12, y + _CHIPS
            band = canvas[y : y + _CHIPS]
            band[:] = (0.3 * band).astype(np.uint8)
        colour = _bgr(STATE_COLOURS[sensor.state].figure)
        cv2.circle(canvas, (x, y + _CHIPS // 2), 6, colour, 2 if sensor.asleep else -1, cv2.LINE_AA)
        _write(canvas, text, (x + 11, y + _CHIPS // 2 + 5), 0.45, _WHITE)
        x += 11 + width + 20


def _write(canvas: np.ndarray, text: str, at: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, at, _FONT, scale, colour, 1 if scale < 0.8 else 2, cv2.LINE_AA)


def _bgr(colour: str) -> tuple[int, int, int]:
    """#rrggbb as (blue, green, red)."""
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)
