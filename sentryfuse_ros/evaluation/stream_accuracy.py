"""What a stream's savings cost in accuracy: the same recordings through several set-ups of a stream, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..model.checkpoint import Checkpoint
from ..model.subnetwork import Subnetwork
from ..runtime.cpu_priority import cores
from ..streaming.branches import branch_share
from ..streaming.camera_stream import CameraStream
from ..streaming.stream_classifier import StreamClassifier
from ..streaming.window_encoder import WindowEncoder
from .people_streams import PeopleStream

BOOTSTRAPS = 2000
PLAIN = "plain"  # the set-up with which all others are compared


@dataclass(frozen=True)
class StreamSetUp:
    """A way to run a stream."""

    make: Callable[[WindowEncoder], CameraStream]
    part: Subnetwork
    ratio: float = 0.0
    gyro: bool = False  # whether the stream is told the camera's rate of turn
    reuse_predictions: bool = False  # see `StreamClassifier`

    def run(self, checkpoint: Checkpoint, encoder: WindowEncoder) -> StreamClassifier:
        """In its first state."""
        return StreamClassifier(checkpoint, self.make(encoder), self.part, reuse_predictions=self.reuse_predictions)


@dataclass(frozen=True)
class StreamScore:
    """One set-up over all recordings. Shares leave out the first picture of a recording, which is always encoded whole."""

    accuracy: float  # of the prediction after the last picture of a recording
    kept: float  # that, divided by the accuracy of the plain encoder on the same pictures
    kept_ci95: tuple[float, float]  # bootstrap over recordings, each with all of its rooms
    same_prediction: float  # share of all pictures at which the most likely class is that of the plain encoder
    windows_share: float  # windows encoded anew, of all
    windows_share_with_first: float
    flops_share: float  # of the plain encoder's FLOPs, read-out included
    flops_share_low_motion: float
    reuse: float
    light: float
    full: float
    switches_per_s: float
    dense_pictures: float  # share of the pictures that were encoded whole


@dataclass
class _Tally:
    correct: list[bool] = field(default_factory=list)
    same: list[np.ndarray] = field(default_factory=list)
    windows: list[np.ndarray] = field(default_factory=list)
    flops: list[np.ndarray] = field(default_factory=list)
    low: list[np.ndarray] = field(default_factory=list)
    branches: list[np.ndarray] = field(default_factory=list)
    dense: list[np.ndarray] = field(default_factory=list)


def score_streams(
    checkpoint: Checkpoint, streams: Iterable[PeopleStream], set_ups: Mapping[str, StreamSetUp], rate_hz: float
) -> dict[str, StreamScore]:
    """Run every set-up over every stream; a recording may have several, in different rooms. ``set_ups`` must hold PLAIN."""
    (name,) = checkpoint.config.names
    encoder = WindowEncoder(checkpoint, name)
    runs = {key: set_up.run(checkpoint, encoder) for key, set_up in set_ups.items()}
    tallies = {key: _Tally() for key in set_ups}
    recordings = []
    with ThreadPoolExecutor(cores()) as pool:  # nothing is timed here, and ONNX Runtime lets others run
        for stream in streams:
            recordings.append(stream.recording)
            done = {key: pool.submit(_run, runs[key], set_ups[key], stream, encoder, tallies[key]) for key in runs}
            for key, classes in done.items():
                tallies[key].same.append(classes.result() == done[PLAIN].result())
    reference, members = np.array(tallies[PLAIN].correct), np.unique(recordings, return_inverse=True)[1]
    return {key: _score(tally, reference, members, rate_hz, encoder.windows) for key, tally in tallies.items()}


def _run(run: StreamClassifier, set_up: StreamSetUp, stream: PeopleStream, encoder: WindowEncoder, tally: _Tally) -> np.ndarray:
    """One set-up over one stream: the most likely class after every picture; all else goes into its tally."""
    run.reset()
    classes, confidence = [], 1.0
    windows, flops, branches, dense = [], [], [], []
    for t, picture in enumerate(stream.pictures):
        turn = float(stream.turn_rad_s[t]) if set_up.gyro else None
        logits, step = run.update(picture, ratio=set_up.ratio, confidence=confidence, turn_rad_s=turn)
        share = np.exp(logits - logits.max())
        confidence = float(share.max() / share.sum())
        classes.append(int(logits.argmax()))
        windows.append(step.encoded)
        flops.append(encoder.flops(step.encoded, step.size))
        branches.append(int(step.branch))
        dense.append(step.dense)
    tally.correct.append(classes[-1] == stream.label)
    for kept, values in ((tally.windows, windows), (tally.flops, flops), (tally.branches, branches), (tally.dense, dense)):
        kept.append(np.array(values))
    tally.low.append(stream.low_motion)
    return np.array(classes)


def _score(tally: _Tally, reference: np.ndarray, members: np.ndarray, rate_hz: float, windows: int) -> StreamScore:
    """``members``: by stream, the place of its recording among all recordings."""
    correct = np.array(tally.correct)
    later = np.concatenate([np.arange(len(w)) > 0 for w in tally.windows])
    low = np.concatenate(tally.low) & later
    encoded, flops = np.concatenate(tally.windows), np.concatenate(tally.flops)
    dense_flops = max(float(f[0]) for f in tally.flops)
    branches = [b[1:] for b in tally.branches if len(b) > 1]
    shares = branch_share(np.concatenate(branches), rate_hz)
    intervals = max(sum(len(b) - 1 for b in branches), 1)
    switches = sum(int(np.count_nonzero(np.diff(b))) for b in branches) / intervals * rate_hz
    low_kept, high_kept = kept_interval(correct, reference, members)
    return StreamScore(
        accuracy=_round(correct.mean()),
        kept=_round(correct.mean() / max(reference.mean(), 1e-9)),
        kept_ci95=(_round(low_kept), _round(high_kept)),
        same_prediction=_round(np.concatenate(tally.same).mean()),
        windows_share=_round(encoded[later].mean() / windows),
        windows_share_with_first=_round(encoded.mean() / windows),
        flops_share=_round(flops[later].mean() / dense_flops),
        flops_share_low_motion=_round(flops[low].mean() / dense_flops) if low.any() else 0.0,
        reuse=_round(shares.reuse),
        light=_round(shares.light),
        full=_round(shares.full),
        switches_per_s=_round(switches),
        dense_pictures=_round(np.concatenate(tally.dense)[later].mean()),
    )


def kept_interval(correct: np.ndarray, reference: np.ndarray, members: np.ndarray) -> tuple[float, float]:
    """95 % interval of the accuracy divided by that of the reference, by bootstrap over recordings.

    correct, reference: (S,) bool, by stream. members: (S,) the place of its recording among all recordings. The streams of a
    recording are drawn together, because the same person does the same thing in them.
    """
    by_recording, of_reference = np.bincount(members, correct), np.bincount(members, reference)
    picks = np.random.default_rng(0).integers(0, len(by_recording), (BOOTSTRAPS, len(by_recording)))
    kept = by_recording[picks].sum(1) / np.maximum(of_reference[picks].sum(1), 1e-9)
    low, high = np.quantile(kept, (0.025, 0.975))
    return float(low), float(high)


def _round(value: Any) -> float:
    return round(float(value), 4)
