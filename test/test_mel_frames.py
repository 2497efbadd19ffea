"""Spectrograms of a stream: frames that are kept are those that would be made anew, to the last bit."""

import numpy as np
import pytest

from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec, model_input
from sentryfuse_ros.preprocessing import mel_frames as subject
from sentryfuse_ros.preprocessing.mel_frames import MelFrames
from sentryfuse_ros.sensing.window_buffer import WindowBuffer

T0 = 1_700_000_000 * NS + 123_456_789
SPEC = ModalitySpec("audio", "audio", 2.0, (80, 40), mean=(-9.0,) * 40, std=(2.5,) * 40, options={"n_fft": 640})


class Microphone:
    """Sends chunks of 20 ms into a buffer; its clock is off, and its stamps jitter."""

    def __init__(self, spec=SPEC, clock=1.0):
        self.random = np.random.default_rng(0)
        self.kept = MelFrames(spec)
        self.buffer = WindowBuffer(spec.window_s + self.kept.reach_ns / NS, 16000)
        self.spec, self.sent, self.clock = spec, 0, clock

    def chunk(self):
        index = np.arange(self.sent, self.sent + 320)
        self.sent += 320
        stamps = T0 + (index * NS / 16000 * self.clock).astype(np.int64) + int(self.random.integers(-20000, 20000))
        return stamps, self.random.normal(0, 0.1, 320).astype(np.float32)

    def listen(self, seconds):
        for _ in range(round(seconds * 50)):
            self.buffer.append(*self.chunk())

    def windows(self, end_ns):
        """The window as the stream has it, and made anew."""
        rows = self.buffer.window(end_ns)
        one = self.kept.window(*rows, end_ns, self.buffer.rewrites)
        return one, MelFrames(self.spec).window(*rows, end_ns, self.buffer.rewrites)

    def agrees(self, lag_ns):
        """Whether they are equal for a window that ends so long after the newest sample."""
        one, anew = self.windows(self.buffer.newest_ns + lag_ns)
        return np.array_equal(one, anew)


@pytest.mark.parametrize("clock", [1.0, 0.97, 1.03])
@pytest.mark.parametrize("spec", [SPEC, ModalitySpec("a", "audio", 1.0, (50, 16)), ModalitySpec("a", "audio", 0.7, (33, 8))])
def test_kept_frames_are_those_made_anew(spec, clock):
    microphone = Microphone(spec, clock)
    for _ in range(60):
        microphone.listen(microphone.random.choice([0.0, 0.02, 0.1, 0.1, 0.1, 0.4]) or 0.02)
        assert microphone.agrees(int(microphone.random.integers(-30, 60)) * 1_000_000)
    assert microphone.windows(microphone.buffer.newest_ns)[0].any(axis=1).all()


def test_frames_around_a_gap_and_after_late_or_forgotten_samples_are_those_made_anew():
    microphone = Microphone()
    microphone.listen(2.5)
    assert microphone.agrees(0)
    lost = [microphone.chunk() for _ in range(9)]
    microphone.listen(0.1)
    assert microphone.agrees(0) and microphone.agrees(15_000_000)
    for _ in range(5):
        microphone.listen(0.1)
        assert microphone.agrees(0)
    for chunk in lost[2:4]:  # it was on the way for long
        microphone.buffer.append(*chunk)
        assert microphone.agrees(0)
    microphone.listen(0.1)
    microphone.buffer.forget_before(microphone.buffer.newest_ns - NS // 2)
    assert microphone.agrees(0)
    microphone.sent += 16000 * 3
    for _ in range(5):
        microphone.listen(0.1)
        assert microphone.agrees(0)
    microphone.buffer.clear()
    microphone.listen(0.3)
    assert microphone.agrees(0)


def test_a_window_ends_on_the_grid_and_is_the_model_input_there():
    microphone = Microphone()
    microphone.listen(3.0)
    hop_ns = microphone.kept.hop_ns
    for later_ns in (0, 1, 7_000_000, hop_ns - 1):
        end_ns = (T0 // hop_ns + 110) * hop_ns
        one, _ = microphone.windows(end_ns + later_ns)
        assert np.array_equal(one, model_input(SPEC, *microphone.buffer.window(end_ns), end_ns))
        assert (one != 0).all()


def test_only_new_frames_are_made(monkeypatch):
    microphone, made = Microphone(), []
    frames = subject.frames

    def counted(*args):
        made.append(args[-1] - args[-2])
        return frames(*args)

    monkeypatch.setattr(subject, "frames", counted)
    for _ in range(40):
        microphone.listen(0.1)
        microphone.kept.window(*microphone.buffer.window(microphone.buffer.newest_ns), microphone.buffer.newest_ns, 0)
    assert made[-10:] == [4 + 1] * 10  # four new ones, and the last, which reached beyond the window before
