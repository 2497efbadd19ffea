"""What a chunk of sound cannot be: of another rate than its stamps say, or of two levels; and what must not be taken for it."""

import re

import numpy as np
import pytest
from cdr_messages import audio, header, make, raw

from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec

CHUNK = "sentryfuse_ros/msg/AudioChunk"
T0 = 1_700_000_000 * NS
LENGTH_NS = 20_000_000  # of a chunk of 320 samples at 16 kHz


def decoder(**limits):
    return make_decoder("audio", CHUNK, ModalitySpec("audio", "audio", 0.5, (20, 16)), limits)


def sound(first, count):
    """Smooth sound in chunks (count, 320), from chunk ``first`` on."""
    samples = np.random.default_rng(0).normal(0, 3000, (first + count) * 320)
    return np.convolve(samples, np.ones(8) / 8, "same").astype(np.int16).reshape(-1, 320)[first:]


def chunks(claimed_hz, first=0, count=150, every=1, stamps=None):
    times = T0 + LENGTH_NS * np.arange(first, first + count) if stamps is None else stamps
    pairs = list(zip(sound(first, count), times.tolist(), strict=True))
    return [raw(audio(samples, claimed_hz, stamp_ns=stamp)) for samples, stamp in pairs[::every]]


@pytest.mark.parametrize("claimed_hz", [8000, 32000, 44100])
def test_a_contradicted_rate_is_refused_with_the_true_one(claimed_hz):
    microphone = decoder()
    assert not microphone.decode(chunks(16000)).fault.any()
    lying = microphone.decode(chunks(claimed_hz, 150))
    assert (lying.fault[100:] == PayloadFault.OUT_OF_RANGE).all()  # within 2 s
    told = re.search(
        r"(\d+) Hz claimed of samples that come at about (\d+) Hz", microphone.decode(chunks(claimed_hz, 300, 300)).error
    )
    assert int(told[1]) == claimed_hz and int(told[2]) == pytest.approx(16000, rel=0.15)
    right = microphone.decode(chunks(16000, 600, 400))
    assert right.fault[0] and not right.fault[-100:].any()


STAMPED = "audio_common_msgs/msg/AudioDataStamped"


def stamped(samples, stamp_ns):
    data = make("audio_common_msgs/AudioData", np.frombuffer(samples.tobytes(), np.uint8))
    return raw(make("audio_common_msgs/AudioDataStamped", header(stamp_ns), data))


def test_where_the_message_states_no_rate_the_error_names_the_parameter():
    messages = [stamped(samples, T0 + LENGTH_NS * i) for i, samples in enumerate(sound(0, 150))]
    error = make_decoder("audio", STAMPED, limits={"sample_rate_hz": 8000}).decode(messages).error
    assert (
        "8000 Hz assumed of samples" in error and "set the sensor's parameter limits.sample_rate_hz or limits.channels" in error
    )
    error = make_decoder("audio", STAMPED, limits={"channels": 3}).decode(messages).error
    assert "320 samples of 3 channels" in error and "set the sensor's parameter limits.channels" in error
    error = decoder().decode([raw(audio(sound(0, 1)[0], channels=3))]).error
    assert "check the driver" in error and "limits" not in error


@pytest.mark.parametrize("every", [1, 2, 5])
def test_lost_chunks_are_no_wrong_rate(every):
    assert not decoder().decode(chunks(16000, every=every)).fault.any()


def test_a_microphone_that_comes_and_goes_claims_no_wrong_rate():
    kept = [chunk for i, chunk in enumerate(chunks(16000, count=600)) if i % 50 < 20]
    assert not decoder().decode(kept).fault.any()


def test_white_noise_cannot_tell_lost_chunks_from_a_wrong_rate():
    noise = np.random.default_rng(0).normal(0, 3000, (150, 320)).astype(np.int16)
    batch = decoder().decode([raw(audio(s, 32000, stamp_ns=T0 + LENGTH_NS * i)) for i, s in enumerate(noise)])
    assert not batch.fault.any()


def test_stamps_in_bursts_and_times_of_arrival_are_no_wrong_rate():
    bursts = T0 + np.arange(200) // 10 * 10 * LENGTH_NS
    assert not decoder().decode(chunks(16000, count=200, stamps=bursts)).fault.any()
    arrivals = T0 + np.arange(150) * LENGTH_NS
    assert not decoder(use_arrival_stamp=1).decode(chunks(8000), arrivals).fault.any()


def test_a_jump_of_the_stamps_begins_anew():
    microphone = decoder()
    microphone.decode(chunks(16000))
    later = T0 + 3600 * NS + LENGTH_NS * np.arange(150)
    assert not microphone.decode(chunks(16000, stamps=later)).fault.any()


def test_sound_of_two_levels_is_clipped_and_quiet_noise_is_not():
    levels = np.sign(np.random.default_rng(0).normal(0, 1, 320))
    batch = decoder().decode([raw(audio((levels * 3000).astype(np.int16), stamp_ns=T0))])
    assert batch.fault[0] == PayloadFault.CLIPPED and "100% of the samples at -3000 or 3000" in batch.error
    assert not decoder().decode([raw(audio((levels * 2).astype(np.int16), stamp_ns=T0))]).fault.any()
