"""What the quantities of a picture use in place of slower functions of numpy gives the same numbers, to the bit."""

import numpy as np
import pytest

from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.sensing.camera_quantities import _correlation, _parts, camera_quantities

SPEC = ModalitySpec("camera", "camera", 2.0, (2, 3, 54, 72), "rgb")


def pictures():
    rng = np.random.default_rng(3)
    for k in range(12):
        p = rng.random((3, 54, 72)).astype(np.float32)
        yield np.round(p * 4) / 4 if k % 3 == 0 else p


@pytest.mark.parametrize("length, count", [(54, 3), (55, 3), (56, 3), (72, 4), (73, 4), (75, 4), (2, 3)])
def test_parts_are_those_of_numpy(length, count):
    row = np.arange(length)
    for part, other in zip(_parts(length, count), np.array_split(row, count), strict=True):
        np.testing.assert_array_equal(row[part], other)


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(1)
    for n in (2, 3, 108, 117):
        for _ in range(50):
            a = rng.normal(0.5, 0.1, n)
            for b in (rng.normal(0.5, 0.1, n), 3 * a, -a):
                assert _correlation(a, b) == np.corrcoef(a, b)[0, 1]


def test_bright_and_dark_parts_are_divided_at_the_median_of_all_channels():
    for p in pictures():
        found = camera_quantities(SPEC, p)
        grey = p.mean(axis=0)
        for name, part in (("bright", grey > np.median(grey)), ("dark", grey <= np.median(grey))):
            red, green, _ = p[:, part].mean(axis=1)
            assert found[f"log red over green in {name} parts"] == float(np.log((red + 0.01) / (green + 0.01)))


def test_fine_detail_is_that_of_blocks_with_the_bends_in_their_middle():
    for p in pictures():
        grey = p.mean(axis=0)
        bend = np.pad(np.abs(np.diff(grey, 2, axis=1)), ((0, 0), (1, 1)))
        blocks, detail = (x.reshape(9, 6, 12, 6).mean(axis=(1, 3)).ravel() + np.arange(108) * 1e-9 for x in (grey, bend))
        assert camera_quantities(SPEC, p)["correlation of brightness and fine detail"] == np.corrcoef(blocks, detail)[0, 1]
