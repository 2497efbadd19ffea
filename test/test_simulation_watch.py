"""The scene that `sentryfuse demo --scene watch` shows: who is where, what the camera sees, and the recording of it."""

import numpy as np
import pytest

from sentryfuse_ros.bags.bag import Bag
from sentryfuse_ros.bags.label_sources import INTERVALS_FILE, read_intervals
from sentryfuse_ros.errors import BagError, ParameterError
from sentryfuse_ros.replay.recording_cache import Watch, find, is_complete, make
from sentryfuse_ros.simulation.depth_noise import NOISE_PER_M
from sentryfuse_ros.simulation.walker import HEIGHT_M, Posture, capsules, depth_of
from sentryfuse_ros.simulation.watch import (
    GROUND_M,
    NOBODY,
    STANDS,
    VISITS_S,
    WALKS,
    WAVES,
    moment,
    pictures,
    rays,
    room_depth,
    simulate_watch,
)


def test_somebody_walks_in_stands_waves_and_leaves_twice():
    labels = [moment(t / 10).label for t in range(540)]
    order = [label for i, label in enumerate(labels) if i == 0 or label != labels[i - 1]]
    assert order == [NOBODY, *[WALKS, STANDS, WAVES, STANDS, WALKS, NOBODY] * 2]
    first, second = (round(start * 10) for start in VISITS_S)
    assert labels[first : first + 120] == labels[second : second + 120]  # the same visit, so that they can be compared


def test_a_person_is_as_tall_and_as_far_away_as_told():
    directions = rays()
    depth = depth_of(capsules(Posture(0.0, 2.8), GROUND_M), directions)
    seen = np.isfinite(depth)
    heights = GROUND_M - (depth * directions[..., 1])[seen]
    assert heights.max() == pytest.approx(HEIGHT_M, abs=0.06) and heights.min() == pytest.approx(0.0, abs=0.06)
    assert 2.5 < np.median(depth[seen]) < 2.8
    across = (depth * directions[..., 0])[seen]
    assert 0.35 < np.ptp(across) < 0.6


def test_a_ray_meets_a_ball_where_it_should():
    ball = np.array([[0.0, 0.0, 3.0, 0.0, 0.0, 3.0, 0.5]])
    along = np.array([[0.0, 0.0, 1.0], [0.4, 0.0, 1.0]])
    np.testing.assert_allclose(depth_of(ball, along), [2.5, np.inf])


def test_nothing_but_noise_changes_in_an_empty_room():
    frames = np.stack([picture for _, _, picture in pictures(2.0)]) * 1e-3
    empty = room_depth(rays())
    sound = frames > 0
    assert 0.97 < sound.mean() < 1.0
    error = (frames - empty)[sound] / (NOISE_PER_M * np.broadcast_to(empty, frames.shape)[sound] ** 2)
    assert abs(error.mean()) < 0.05 and 0.9 < error.std() < 1.4


def test_the_recording_has_pictures_and_labels_and_is_kept(tmp_path):
    watch = Watch(8.0)
    assert find(watch, [tmp_path]) is None
    bag = make(watch, [tmp_path])
    assert find(watch, [tmp_path]) == bag and is_complete(bag)
    with Bag(bag) as opened:
        assert opened.topics["/camera/image_raw"].count == 80
        assert opened.topics["/imu/data"].count == 800
    labels = read_intervals(bag / INTERVALS_FILE)
    assert labels.names() == (NOBODY, WALKS)


def test_wrong_durations_and_taken_folders_are_named(tmp_path):
    with pytest.raises(ParameterError, match="duration"):
        simulate_watch(0.1, tmp_path / "new")
    with pytest.raises(BagError, match="already"):
        simulate_watch(2.0, tmp_path)


def test_a_place_that_cannot_be_written_is_named_and_nothing_stays(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BagError, match="recording .*/scene: saw Not a directory, expected a folder that can be written"):
        simulate_watch(1.0, tmp_path / "file" / "deep" / "scene")

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_watch(1.0, tmp_path / "scene", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
