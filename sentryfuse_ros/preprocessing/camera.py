"""Camera images -> frames -> model input.

Options (all optional):
  max_gap_s       a silence longer than this splits the window, see `series` [s]. Default 0.5.
  max_repeat_s    a slot without a new frame repeats the last frame for at most this long and is empty after that [s].
                  Default 0.25.
  relative_depth  1 subtracts the window's median foreground depth, so that the distance to the camera does not matter.
                  Only for depth. Default 0.
  centre_columns  1 shifts the window sideways so that its foreground is centred on the middle column. Only for depth. Default 0.
Empty slots are exactly zero, which the tokeniser takes as "no frame". In depth frames 0 also means "no return".
"""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import DecodeError
from .frame_slots import filled_slots, window_of_slots
from .spec import ModalitySpec

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# OpenCV averages over areas of any size pixel by pixel, and over blocks of 2x2 many pixels at once. A picture that covers a pixel
# of the frame with so many of its own, along both sides, is therefore halved first.
HALVED_FROM = 8


def camera_frame(image: np.ndarray, spec: ModalitySpec, full_scale: float | None = None) -> np.ndarray:
    """One image (H0, W0) or (H0, W0, 3) -> (C, H, W) float32, cheap enough to be called for every received frame.

    depth_m: uint16 is taken as millimetres (REP 118), floating point as metres. The result is in metres: each pixel is the mean
    of the returns that it covers, or 0 if fewer than half of the pixels it covers have a return. rgb, mono: integers are divided
    by ``full_scale``, by default the largest number of their type. Where a pixel covers at least HALVED_FROM pixels of the image
    along both sides, these are averaged in blocks first, and a block across its border counts in part. Raises DecodeError for any
    other shape.
    """
    image = np.asarray(image)
    _, channels, height, width = spec.shape
    colour = image.ndim == 3 and image.shape[2] == 3
    if not (image.ndim == 2 or (colour and spec.encoding != "depth_m")) or 0 in image.shape:
        raise DecodeError(
            f"image for {spec.name!r}",
            image.shape,
            f"(H, W) or (H, W, 3) as {spec.encoding}",
            "remap the topic or change the modality's encoding",
        )
    if spec.encoding == "depth_m":
        if image.dtype == np.uint16:
            metres = image.astype(np.float32) * np.float32(1e-3)
        else:
            metres = image.astype(np.float32, copy=True)
            metres[~np.isfinite(metres)] = 0.0
        return _resize_depth(metres, height, width)[None]
    scale = full_scale or (np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0)
    if image.shape[:2] != (height, width):
        shrinks = image.shape[0] >= height and image.shape[1] >= width
        image = _area_means(image, height, width) if shrinks else cv2.resize(image, (width, height))
    frame = image.astype(np.float32) / np.float32(scale)
    if spec.encoding == "mono":
        return (frame @ _LUMA if colour else frame)[None]
    return np.ascontiguousarray(frame.transpose(2, 0, 1)) if colour else np.repeat(frame[None], channels, 0)


def _resize_depth(metres: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H0, W0) -> (height, width): the mean of the pixels that are not zero, or 0 if fewer than half of them are not."""
    if metres.shape == (height, width):
        return metres
    if metres.shape[0] < height or metres.shape[1] < width:
        return cv2.resize(metres, (width, height), interpolation=cv2.INTER_NEAREST)
    total = _area_means(metres, height, width)
    share = _area_means((metres > 0).astype(np.float32), height, width)
    return np.where(share >= 0.499, total / np.maximum(share, 1e-6), 0.0).astype(np.float32)


def _area_means(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H0, W0[, C]) -> (height, width[, C]) of the same type: the mean of what each pixel covers, for a smaller picture."""
    rows, columns = image.shape[:2]
    while rows >= HALVED_FROM * height and columns >= HALVED_FROM * width and rows % 2 == columns % 2 == 0:
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def model_input(row_stamp_ns: np.ndarray, rows: np.ndarray, end_ns: int, spec: ModalitySpec) -> np.ndarray:
    """Frames (k, C, H, W) of `camera_frame` at stamps (k,) [ns], sorted -> (K, C, H, W) float32 normalised.

    Depth is normalised only where there is a return; pixels without a return stay 0.
    """
    filled, frames = filled_slots(row_stamp_ns, rows, end_ns, spec)
    mean, std = spec.channel_mean[:, None, None], spec.channel_std[:, None, None]
    if spec.encoding != "depth_m":
        frames -= mean
        frames /= std
        return window_of_slots(filled, frames, spec)
    returns = frames > 0
    if not returns.any():
        return np.zeros(spec.shape, np.float32)
    if spec.options.get("relative_depth"):
        frames = frames - np.median(frames[returns])
    out = window_of_slots(filled, np.where(returns, (frames - mean) / std, np.float32(0)), spec)
    if spec.options.get("centre_columns"):
        columns = returns.sum(axis=(0, 1, 2))
        centroid = float((columns * np.arange(len(columns))).sum() / columns.sum())
        _shift_columns(out, int(round((len(columns) - 1) / 2 - centroid)))
    return out


def valid_cells(spec: ModalitySpec, x: np.ndarray) -> np.ndarray:
    """Validity mask of windows (n, K, C, H, W). Depth: every pixel with a return. Colour and grey: (n, K, 1, 1, 1), frames
    that are not zero in every pixel."""
    if spec.encoding == "depth_m":
        return x != 0
    return np.asarray(x.any(axis=(2, 3, 4), keepdims=True))


def _shift_columns(frames: np.ndarray, by: int) -> None:
    """Shift (..., W) to the right by ``by`` columns in place; the columns that enter are zero."""
    if by > 0:
        frames[..., by:] = frames[..., :-by].copy()
        frames[..., :by] = 0
    elif by < 0:
        frames[..., :by] = frames[..., -by:].copy()
        frames[..., by:] = 0
