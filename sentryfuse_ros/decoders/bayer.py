"""Colour mosaics (Bayer patterns) -> rgb images of half the size.

A camera with a mosaic measures one colour per pixel. Each block of 2 x 2 pixels, which has one red, one blue and two green ones,
becomes one pixel of the result. A model's input is far smaller than the picture, so nothing that it could see is lost, and every
colour is one that was measured.
"""

from __future__ import annotations

import numpy as np

# The colours of a block in reading order, as sensor_msgs/image_encodings.h names them.
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")


def bayer_encodings() -> dict[str, tuple[str, int, str]]:
    """Encoding -> sample type, samples per pixel, order, as in `image.ENCODINGS`; the order is the pattern."""
    return {f"bayer_{pattern}{bits}": (sample, 1, pattern) for pattern in PATTERNS for bits, sample in ((8, "u1"), (16, "u2"))}


def mosaic_to_rgb(mosaic: np.ndarray, pattern: str, every: int = 1) -> np.ndarray:
    """Mosaic (H, W) of a pattern -> rgb (ceil(H // 2 / every), ceil(W // 2 / every), 3) of the same type.

    ``every``: only every so many blocks are used, in both directions. Images of one row or column give an empty result.
    """
    height, width = mosaic.shape[0] // 2 * 2, mosaic.shape[1] // 2 * 2
    step = 2 * every
    by_colour: dict[str, list[np.ndarray]] = {}
    for index, colour in enumerate(pattern):
        by_colour.setdefault(colour, []).append(mosaic[index // 2 : height : step, index % 2 : width : step])
    green = [g.astype(np.uint32) for g in by_colour["g"]]
    rgb = np.empty((*green[0].shape, 3), mosaic.dtype)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = by_colour["r"][0], (green[0] + green[1]) // 2, by_colour["b"][0]
    return rgb
