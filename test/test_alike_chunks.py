"""Chunks of sound that are decoded together give what they give one by one, to the bit."""

import numpy as np
import pytest
from cdr_messages import audio, raw

from sentryfuse_ros.decoders import make_decoder
from sentryfuse_ros.decoders.decoder import MessageDecoder
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec

START_NS = 1_700_000_000 * NS
CHUNKS, SIZE, AT = 60, 320, 27  # of a stream; the place of what is wrong, in the middle of a batch
SPEC = ModalitySpec("audio", "audio", 0.5, (20, 16), options={"sample_rate_hz": 16000})


def stream(rate_hz=16000, channels=1, period=1.0, jitter_ns=0, wrong=None):
    """Serialised chunks of noise. period: from stamp to stamp, in lengths of a chunk. wrong: other samples, rate_hz, channels or
    stamp_ns of the one at `AT`."""
    rng = np.random.default_rng(5)
    messages = []
    for i in range(CHUNKS):
        chunk = {
            "samples": rng.integers(-3000, 3000, SIZE * channels),
            "rate_hz": rate_hz,
            "channels": channels,
            "stamp_ns": START_NS + round(i * period * SIZE * NS / rate_hz) + int(rng.integers(-jitter_ns, jitter_ns + 1)),
        }
        messages.append(raw(audio(**(chunk | (wrong or {}) if i == AT else chunk))))
    return messages


def decoded(messages, sizes, spec=SPEC, rows_from=0, **limits):
    """Stamps, faults, fingerprints, rows with their stamps, and texts of the faults, from batches of these sizes in turn."""
    decoder = make_decoder("audio", "sentryfuse_ros/msg/AudioChunk", spec, limits)
    found, errors, at = [], [], 0
    while at < len(messages):
        size = sizes[len(found) % len(sizes)]
        decoder.rows_from = min(rows_from, size)
        batch = decoder.decode(messages[at : at + size])
        found.append((batch.stamp_ns, batch.fault, batch.fingerprint, batch.row_stamp_ns, batch.rows))
        errors += [batch.error] if batch.error else []
        at += size
    return [np.concatenate(parts) for parts in zip(*found, strict=True)], errors


def same(messages, **settings):
    one_by_one, texts = decoded(messages, (1,), **settings)
    together, _ = decoded(messages, (5, 1, 4), **settings)
    for one, other in zip(one_by_one, together, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    return one_by_one, texts


STEPS = np.where(np.arange(SIZE) % 2, 700, -700)
STREAMS = {
    "steady": {},
    "jitter": {"jitter_ns": 4_000_000},
    "rough jitter": {"jitter_ns": 14_000_000},
    "drift": {"period": 1.01},
    "gaps": {"period": 2.5},
    "stereo": {"channels": 2},
    "resampled": {"rate_hz": 22050},
    "jump": {"wrong": {"stamp_ns": START_NS + 77 * NS}},
    "no stamp": {"wrong": {"stamp_ns": 0}},
    "nearly silent": {"wrong": {"samples": np.arange(SIZE) % 20 == 7}},
    "two levels of few steps": {"wrong": {"samples": STEPS // 50}},
    "shorter": {"wrong": {"samples": STEPS[:100] * np.arange(100)}},
    "longer than the window": {"wrong": {"samples": np.random.default_rng(1).integers(-3000, 3000, 9000)}},
    "other rate": {"wrong": {"rate_hz": 8000}},
    "two channels": {"wrong": {"channels": 2}},
}
FAULTS = {
    "silent": {"samples": np.full(SIZE, 3)},
    "clipped": {"samples": np.where(np.arange(SIZE) % 3, 32767, 100)},
    "two levels": {"samples": STEPS},
    "empty": {"samples": np.empty(0, np.int16)},
    "impossible rate": {"rate_hz": 3},
    "no channel": {"channels": 0},
}


@pytest.mark.parametrize("name", STREAMS)
def test_batches_are_those_of_single_messages(name):
    (_, fault, *_), _ = same(stream(**STREAMS[name]))
    assert not fault.any()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_that_of_its_message(name):
    (_, fault, *_), _ = same(stream(wrong=FAULTS[name]))
    assert np.flatnonzero(fault).tolist() == [AT]


def test_a_truncated_message_is_one_fault():
    messages = stream()
    messages[AT] = messages[AT][:-200]
    (_, fault, *_), texts = same(messages)
    assert np.flatnonzero(fault).tolist() == [AT] and "truncated" in texts[0]


def test_a_rate_that_the_stamps_contradict_is_refused_from_the_same_message_on():
    (_, fault, *_), texts = same(stream(period=0.5))
    assert fault.any() and not fault[0] and "claimed" in texts[0]


def test_limits_and_checks_without_a_model_hold():
    same(stream(), spec=None)
    (_, fault, *_), _ = same(stream(), silent_rms=0.2)
    assert fault.all()
    (*_, stamps, rows), _ = same(stream(), use_arrival_stamp=1)
    assert len(rows) == len(stamps) == CHUNKS * SIZE


def test_rows_are_made_of_those_messages_that_are_asked_for():
    (*_, rows), _ = decoded(stream(), (5,), rows_from=3)
    (*_, none), _ = decoded(stream(), (5,), rows_from=5)
    assert len(rows) == CHUNKS // 5 * 2 * SIZE and len(none) == 0


def test_a_steady_stream_is_not_looked_at_message_by_message(monkeypatch):
    alone = []
    by_message = MessageDecoder.decode
    monkeypatch.setattr(
        MessageDecoder, "decode", lambda self, messages, *rest: alone.append(1) or by_message(self, messages, *rest)
    )
    decoded(stream(jitter_ns=2_000_000), (5,))
    assert len(alone) == 1  # the first, which tells the rate
