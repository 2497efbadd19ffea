"""Audio messages: types, stamps, continuity, resampling, and for each fault the audio that must not raise it."""

import numpy as np
import pytest
from cdr_messages import PORT_AUDIO, audio, deserializer, header, longest_run, make, raw

from sentryfuse_ros.decoders import PayloadFault, make_decoder
from sentryfuse_ros.decoders.resampling import Resampler
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import data_path, data_root
from sentryfuse_ros.preprocessing import ModalitySpec

CHUNK = "sentryfuse_ros/msg/AudioChunk"
START_NS = 1_700_000_000 * NS


def spec(rate_hz=16000):
    return ModalitySpec("audio", "audio", 0.5, (20, 16), options={"sample_rate_hz": rate_hz})


def decoder(rate_hz=16000, msg_type=CHUNK, store=None, **limits):
    deserialize = deserializer(msg_type, store) if store else None
    return make_decoder("audio", msg_type, spec(rate_hz), limits, deserialize)


def tone(count, rate_hz, hz=440.0, level=0.5):
    return np.round(level * 32767 * np.sin(2 * np.pi * hz * np.arange(count) / rate_hz)).astype(np.int16)


def chunks(samples, rate_hz, size, channels=1, jitter_ns=()):
    """AudioChunk messages of ``size`` samples per channel, stamped by the sample clock plus jitter."""
    out = []
    for i, begin in enumerate(range(0, len(samples), size)):
        late_ns = int(jitter_ns[i]) if len(jitter_ns) else 0
        part = np.repeat(samples[begin : begin + size, None], channels, 1).reshape(-1)
        out.append(audio(part, rate_hz, channels, stamp_ns=START_NS + begin * NS // rate_hz + late_ns))
    return out


def noise(count=320, level=300, seed=0):
    return np.random.default_rng(seed).normal(0, level, count).astype(np.int16)


def test_rows_are_the_samples_at_full_scale_one():
    samples = np.array([-32768, -1, 0, 16384, 32767] * 8, np.int16)
    for item in (raw(audio(samples)), audio(samples)):
        batch = decoder(clipped_share=1).decode([item])
        assert batch.fault[0] == 0, batch.error
        np.testing.assert_array_equal(batch.rows, samples.astype(np.float32) / 32768)
    assert batch.row_stamp_ns[0] == batch.stamp_ns[0]
    assert (np.diff(batch.row_stamp_ns) == 62500).all()


def test_channels_are_mixed():
    stereo = np.stack((noise(seed=1), noise(seed=2)), 1)
    batch = decoder().decode([raw(audio(stereo.reshape(-1), channels=2))])
    np.testing.assert_allclose(batch.rows, stereo.mean(1) / 32768, atol=1e-7)


@pytest.mark.parametrize(
    "rate_in_hz, rate_out_hz",
    [(48000, 16000), (44100, 16000), (8000, 16000), (16000, 8000), (44100, 8000), (11025, 16000), (22050, 16001)],
)
def test_resampled_tone_keeps_time_and_level_across_chunks(rate_in_hz, rate_out_hz):
    hz = 500.0
    sound = tone(rate_in_hz // 2, rate_in_hz, hz)
    batch = decoder(rate_out_hz).decode([raw(m) for m in chunks(sound, rate_in_hz, rate_in_hz // 50)])
    assert not batch.fault.any(), batch.error
    assert abs(len(batch.rows) - rate_out_hz / 2) < rate_out_hz * 0.006
    assert np.all(np.abs(np.diff(batch.row_stamp_ns) - NS / rate_out_hz) < 1000), "a seam"
    at_s = (batch.row_stamp_ns - START_NS) / NS
    middle = (at_s > 0.01) & (at_s < 0.49)
    expected = 0.5 * np.sin(2 * np.pi * hz * at_s)
    assert np.abs(batch.rows - expected)[middle].max() < 2e-3


@pytest.mark.parametrize("rate_in_hz, rate_out_hz, hz", [(48000, 16000, 9500), (44100, 8000, 6000), (16000, 8000, 5000)])
def test_frequencies_above_the_lower_nyquist_are_removed(rate_in_hz, rate_out_hz, hz):
    out, _ = Resampler(rate_in_hz, rate_out_hz)(tone(rate_in_hz, rate_in_hz, hz).astype(np.float32) / 32768)
    assert np.sqrt(np.mean(out[200:-200] ** 2)) < 0.5 / np.sqrt(2) * 1e-3  # -60 dB


@pytest.mark.parametrize("sizes", [[1] * 50, [7, 500, 3, 90], [600]])
def test_resampling_does_not_depend_on_chunk_sizes(sizes):
    signal = np.random.default_rng(0).normal(size=600).astype(np.float32)
    whole, at = Resampler(44100, 16000)(signal)
    resampler, begin, parts, positions = Resampler(44100, 16000), 0, [], []
    for size in [*sizes, 600 - sum(sizes)]:
        out, where = resampler(signal[begin : begin + size])
        parts.append(out)
        positions.append(where + begin)
        begin += size
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(positions), at, atol=1e-9)


def test_jittering_stamps_do_not_interrupt_the_audio():
    jitter = np.random.default_rng(2).normal(0, 2e6, 50).clip(-5e6, 5e6).astype(np.int64)
    batch = decoder(8000).decode(chunks(tone(16000, 16000), 16000, 320, jitter_ns=jitter))
    steps = np.diff(batch.row_stamp_ns)
    assert steps.min() > 0.9 * 125000 and steps.max() < 1.1 * 125000
    true_ns = START_NS + np.arange(len(steps) + 1) * 125000
    assert np.abs(batch.row_stamp_ns - true_ns).max() < 10e6, "the stamps drift away from the headers"


def test_a_slow_drift_of_the_sample_clock_is_followed():
    drift = (np.arange(500) * 20e3).astype(np.int64)  # 20 us a chunk: 0.1 %
    batch = decoder().decode(chunks(np.tile(noise(), 500), 16000, 320, jitter_ns=drift))
    assert abs(batch.row_stamp_ns[-320] - batch.stamp_ns[-1]) < 0.5e6
    assert np.diff(batch.row_stamp_ns).max() < 70000


@pytest.mark.parametrize("jump_ns", [NS, -5 * NS])
def test_a_gap_or_a_backward_jump_begins_a_new_stretch(jump_ns):
    messages = chunks(tone(640, 16000), 16000, 320, jitter_ns=[0, jump_ns])
    batch = decoder().decode(messages)
    assert batch.row_stamp_ns[320] == batch.stamp_ns[1] == START_NS + 20_000_000 + jump_ns


def test_a_refused_chunk_leaves_a_gap_and_no_click():
    messages = chunks(tone(960, 48000), 48000, 320)
    messages[1] = audio(np.zeros(320, np.int16), 48000, stamp_ns=messages[1].header.stamp.sec * NS + 1)
    batch = decoder().decode(messages)
    assert batch.fault.tolist() == [0, PayloadFault.SILENT, 0]
    assert np.diff(batch.row_stamp_ns).max() > 5_000_000 and np.abs(batch.rows).max() < 0.51


def test_reset_forgets_earlier_chunks():
    one = decoder(8000)
    first = one.decode([audio(noise())]).rows
    one.reset()
    np.testing.assert_array_equal(one.decode([audio(noise())]).rows, first)


# -- other message types --------------------------------------------------------------------------------------------


def test_audio_data_has_no_header_and_is_stamped_by_its_arrival():
    sound = noise(160)
    message = make("audio_common_msgs/AudioData", np.frombuffer(sound.tobytes(), np.uint8))
    one = decoder(8000, "audio_common_msgs/msg/AudioData", sample_rate_hz=8000)
    for item in (raw(message), message):
        one.reset()
        batch = one.decode([item], [START_NS])
        assert batch.fault[0] == 0, batch.error
        assert batch.stamp_ns[0] == START_NS
        assert batch.row_stamp_ns[0] == START_NS - 20_000_000, "the samples came before the message"
        np.testing.assert_array_equal(batch.rows, sound.astype(np.float32) / 32768)


def test_audio_data_stamped_takes_rate_and_channels_from_the_limits():
    sound = np.repeat(noise(160)[:, None], 2, 1)
    data = make("audio_common_msgs/AudioData", np.frombuffer(sound.tobytes(), np.uint8))
    message = make("audio_common_msgs/AudioDataStamped", header(START_NS), data)
    one = decoder(8000, "audio_common_msgs/msg/AudioDataStamped", sample_rate_hz=8000, channels=2)
    batch = one.decode([raw(message)])
    assert batch.row_stamp_ns[0] == START_NS and len(batch.rows) == 160, batch.error


@pytest.mark.parametrize(
    "code, field, scale, offset", [(8, 2, 32768, 0), (1, 0, 1.0, 0), (2, 1, 2**31, 0), (16, 3, 128, 0), (32, 4, 128, 128)]
)
def test_port_audio_formats_give_the_same_samples(code, field, scale, offset):
    dtypes = (np.float32, np.int32, np.int16, np.int8, np.uint8)
    wave = tone(320, 16000) / 32768
    parts = [np.empty(0, dtype) for dtype in dtypes]
    parts[field] = (wave * scale + offset).astype(dtypes[field])

    def of(name, *values):
        return make(name, *values, store=PORT_AUDIO)

    message = of(
        "audio_common_msgs/AudioStamped",
        header(START_NS),
        of(
            "audio_common_msgs/Audio",
            of("audio_common_msgs/AudioData", *parts),
            of("audio_common_msgs/AudioInfo", code, 1, 16000, 320),
        ),
    )
    one = decoder(16000, "audio_common_msgs/msg/AudioStamped", PORT_AUDIO)
    for item in (message, raw(message, store=PORT_AUDIO)):
        one.reset()
        batch = one.decode([item])
        assert batch.fault[0] == 0, batch.error
        np.testing.assert_allclose(batch.rows, wave, atol=1.1 / 128 if field > 2 else 1e-4)


def test_audio_data_of_the_other_package_goes_to_the_deserialiser():
    parts = [np.empty(0, t) for t in (np.float32, np.int32)] + [noise(160), np.empty(0, np.int8), np.empty(0, np.uint8)]
    message = make("audio_common_msgs/AudioData", *parts, store=PORT_AUDIO)
    data = raw(message, store=PORT_AUDIO)
    name = "audio_common_msgs/msg/AudioData"
    batch = decoder(16000, name, PORT_AUDIO).decode([data], [START_NS])
    assert batch.fault[0] == 0 and len(batch.rows) == 160, batch.error
    batch = decoder(16000, name).decode([data], [START_NS])
    assert batch.fault[0] == PayloadFault.UNSUPPORTED and "deserialize" in batch.error


# -- faults ---------------------------------------------------------------------------------------------------------

one_step = np.zeros(320, np.int16)
one_step[100] = 1
clipped = np.clip(tone(320, 16000).astype(int) * 4, -32768, 32767).astype(np.int16)
grazing = np.clip(tone(320, 16000, level=1.0).astype(int) * 1.04, -32768, 32767).astype(np.int16)
eight_bits = np.repeat((tone(160, 16000, level=0.01).astype(int) // 256 + 128).astype(np.uint8), 4).view(
    np.int16
)  # read as 16 bits
quiet_room = np.random.default_rng(4).integers(-1, 2, 320).astype(np.int16)
faint = (np.random.default_rng(4).random(320) < 0.03).astype(np.int16)


@pytest.mark.parametrize(
    "samples, settings, fault",
    [
        (np.zeros(320, np.int16), {}, PayloadFault.SILENT),
        (np.full(320, -1200, np.int16), {}, PayloadFault.SILENT),
        (one_step[:300] * 0 + 5, {}, PayloadFault.SILENT),
        (clipped, {}, PayloadFault.CLIPPED),
        (-np.abs(clipped), {}, PayloadFault.CLIPPED),
        (eight_bits, {}, PayloadFault.CLIPPED),
        (np.empty(0, np.int16), {}, PayloadFault.EMPTY),
        (noise(), {"rate_hz": 0}, PayloadFault.OUT_OF_RANGE),
        (noise(), {"rate_hz": 2**32 - 1}, PayloadFault.OUT_OF_RANGE),
        (noise(), {"channels": 0}, PayloadFault.MALFORMED),
        (noise(321), {"channels": 2}, PayloadFault.MALFORMED),
    ],
    ids=[
        "zeros",
        "constant",
        "offset",
        "clipped",
        "clipped below",
        "8 bits",
        "empty",
        "rate 0",
        "rate huge",
        "no channel",
        "odd",
    ],
)
def test_bad_audio_has_a_fault(samples, settings, fault):
    batch = decoder().decode([raw(audio(samples, **settings)), raw(audio(noise()))])
    assert batch.fault.tolist() == [fault, 0], batch.error
    assert CHUNK in batch.error and "expected" in batch.error and len(batch.rows) == 320


@pytest.mark.parametrize(
    "samples",
    [quiet_room, faint, grazing, noise(level=2)],
    ids=["quiet room", "fainter room", "grazing full scale", "hum of 2 steps"],
)
def test_good_audio_has_no_fault(samples):
    batch = decoder().decode([raw(audio(samples))])
    assert batch.fault[0] == 0, batch.error


def test_a_microphone_that_rarely_changes_by_one_step_is_silent_only_below_the_limit():
    rare = np.zeros(3200, np.int16)
    rare[::800] = 1  # 0.1 % of the samples
    assert decoder().decode([raw(audio(rare))]).fault[0] == PayloadFault.SILENT
    assert decoder(silent_rms=-1).decode([raw(audio(rare))]).fault[0] == 0


@pytest.mark.skipif(not (data_root() / "data" / "av_digits").exists(), reason="no av_digits under SENTRYFUSE_DATA")
def test_recorded_speech_has_almost_no_faults_and_never_repeats():
    with np.load(data_path("data", "av_digits", "fsdd_audio_8k_i16.npz")) as digits:
        speech = digits["data"][: 8000 * 240]
    batch = decoder(16000).decode(chunks(speech, 8000, 160))
    assert len(batch.fault) == 12000
    share = np.mean(batch.fault != 0)
    assert share < 0.002, f"{share:.2%} of the chunks refused: {np.bincount(batch.fault)}"
    assert longest_run(batch.fingerprint) < 10
