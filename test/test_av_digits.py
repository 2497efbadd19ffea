"""The paired digits as windows, from small files in their layout and, if they are available, from the real ones."""

import numpy as np
import pytest
from dataset_maker import needs

from sentryfuse_ros.datasets import av_digits
from sentryfuse_ros.errors import DataError
from sentryfuse_ros.preprocessing import ModalitySpec

DIGITS = (
    ModalitySpec("audio", "audio", 1.0, (50, 40), options={"sample_rate_hz": 8000}),
    ModalitySpec("image", "camera", 1.0, (1, 1, 28, 28), "mono"),
)


@pytest.fixture
def small_digits(tmp_path, monkeypatch):
    """Digits 0 and 1 by one speaker, takes 0 to 11, a tone of 500 Hz x (digit + 1); 20 images of each, with
    index + 1 in the first pixel."""
    folder = tmp_path / "data" / "av_digits"
    folder.mkdir(parents=True)
    ids = np.array([[d, 0, r] for d in (0, 1) for r in range(12)], np.int16)
    clips = [(16000 * np.sin(2 * np.pi * 500 * (d + 1) * np.arange(3200 + 80 * r) / 8000)).astype(np.int16) for d, _, r in ids]
    np.savez(
        folder / "fsdd_audio_8k_i16.npz",
        data=np.concatenate(clips),
        ids=ids,
        speakers=np.array(["anna"]),
        offset=np.concatenate([[0], np.cumsum([len(c) for c in clips])]),
    )
    images = np.repeat(np.arange(1, 41, dtype=np.uint8), 28 * 28).reshape(40, 28, 28)
    images[:, 1:, 1:] = np.arange(27 * 27).reshape(27, 27) % 251
    np.savez(folder / "mnist5k_28x28_u8.npz", x=images, y=np.repeat(np.arange(2, dtype=np.uint8), 20))
    monkeypatch.setenv("SENTRYFUSE_DATA", str(tmp_path))
    return folder


def test_pairs_are_of_one_class_and_stay_within_a_split(small_digits):
    windows = av_digits.load(DIGITS)
    image = np.round(windows.inputs["image"][:, 0, 0, 0, 0] * 255).astype(int) - 1
    loudest = windows.inputs["audio"][:, -10:].mean(axis=1).argmax(axis=1)
    assert set(zip(windows.labels, image // 20)) == {(0, 0), (1, 1)}
    assert len(set(loudest[windows.labels == 0])) == 1 and loudest[windows.labels == 0][0] < loudest[windows.labels == 1][0]
    take = np.array([int(name.split()[5]) for name in windows.recordings])
    for split, images, takes in (("test", {0, 5, 10, 15}, set(range(5))), ("val", {1, 11}, set(range(5, 10)))):
        here = (windows.groups == split) & (windows.labels == 0)
        assert set(image[here]) == images and set(take[here]) <= takes
    train = windows.of_groups(["train"])
    assert len(train) == 28 and len(set(image[windows.groups == "train"])) == 28  # every image once
    assert set(take[windows.groups == "train"]) == {10, 11}


def test_each_clip_is_heard_as_often_as_another(small_digits):
    train = av_digits.load(DIGITS[:1], ["train"])
    counts = np.unique([name.split(" image")[0] for name in train.recordings], return_counts=True)[1]
    assert counts.tolist() == [7, 7, 7, 7]


def test_the_window_ends_where_the_clip_does(small_digits):
    windows = av_digits.load(DIGITS[:1], ["train"])
    seen = windows.inputs["audio"].any(axis=2)
    assert seen[:, -1].all() and not seen[:, 0].any()
    np.testing.assert_array_equal(seen.sum(axis=1), np.floor(windows.end_s * 50 + 0.5))


def test_an_image_may_come_as_strips(small_digits):
    whole = av_digits.load(DIGITS[1:], ["val"]).inputs["image"]
    strips = av_digits.load([ModalitySpec("image", "camera", 1.0, (7, 1, 4, 28), "mono")], ["val"]).inputs["image"]
    assert strips.shape[1:] == (7, 1, 4, 28)
    np.testing.assert_array_equal(np.concatenate(list(strips.transpose(1, 0, 2, 3, 4)), axis=2), whole[:, 0])
    with pytest.raises(DataError, match="'image' shape"):
        av_digits.load([ModalitySpec("image", "camera", 1.0, (7, 1, 28, 28), "mono")])


def test_pairing_is_the_same_every_time(small_digits):
    first, again = av_digits.load(DIGITS), av_digits.load(DIGITS, ["test"])
    assert again.recordings == tuple(n for n, g in zip(first.recordings, first.groups) if g == "test")


def test_what_the_digits_cannot_serve_is_named(small_digits):
    with pytest.raises(DataError, match="sample_rate_hz: saw 16000, expected 8000"):
        av_digits.load([ModalitySpec("audio", "audio", 1.0, (50, 40))])
    with pytest.raises(DataError, match="'imu'.*mono"):
        av_digits.load([ModalitySpec("imu", "imu", 1.0, (50, 6))])
    with pytest.raises(DataError, match="holdout"):
        av_digits.load(DIGITS, ["holdout"])


@needs("av_digits", "fsdd_audio_8k_i16.npz")
def test_real_digits_have_the_documented_counts():
    windows = av_digits.load(DIGITS)
    for split, per_class in (("train", 350), ("val", 50), ("test", 100)):
        assert np.bincount(windows.of_groups([split]).labels).tolist() == [per_class] * 10
    assert len(set(windows.recordings)) == len(windows) == 5000
