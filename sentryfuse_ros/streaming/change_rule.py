"""When a patch of a picture counts as changed: the numbers of the rule, shared by the robot and the training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import ParameterError
from ..validation import Count, NotNegative, Positive, Share, ShareAboveZero, check

_REMEDY = "correct the streaming section"
EXPECTED_ABSOLUTE_DIFFERENCE = 1.128  # of two normal numbers, in standard deviations: 2 / sqrt(pi)


@dataclass(frozen=True)
class ChangeRule:
    """A patch has changed when the mean of |z - z_ref| over the pixels that are valid in both pictures exceeds
    factor * noise + floor, or when more than ``flipped_share`` of its pixels became valid or invalid.

    z_ref is the picture from which the token that is held was made. All lengths are in the units of the picture: metres for
    depth, shares of full scale for brightness. ``factor`` 0 counts every patch as changed.
    """

    factor: NotNegative = 1.7
    floor: NotNegative = 0.004
    noise_floor: Positive = 0.004  # the noise that is learnt is taken to be at least this,
    noise_cap: Positive = 0.03  # and at most this, so that slow motion is never learnt as noise
    noise_rate: Share = 0.05  # how much of a new measurement enters the moving average of the noise of an unchanged patch
    noise_constant: NotNegative = 0.0  # standard deviation that a pixel is expected to have before anything is learnt:
    noise_square: NotNegative = 1.425e-3  # noise_constant + noise_square * z ** 2
    flipped_share: ShareAboveZero = 0.2
    pixel_step: Count = 2  # only every so many-th pixel of every so many-th row is compared,
    row_step: Count | None = None  # or of every so many-th row by this step, which spares reading the rows between
    least_share: ShareAboveZero = 0.125  # with fewer of its pixels valid in both, only the flips of a patch count

    def __post_init__(self) -> None:
        check(self, "change rule", _REMEDY)
        if self.noise_cap < self.noise_floor:
            raise ParameterError("change rule noise_cap", self.noise_cap, f"at least noise_floor, {self.noise_floor}", _REMEDY)

    @property
    def steps(self) -> tuple[int, int]:
        """Every so many-th row and column is compared."""
        return self.row_step or self.pixel_step, self.pixel_step

    def expected_noise(self, mean: Any) -> Any:
        """Mean change of an unchanged patch by its mean value (numbers or arrays), before anything is learnt."""
        return EXPECTED_ABSOLUTE_DIFFERENCE * (self.noise_constant + self.noise_square * mean**2)

    def with_factor(self, factor: float) -> ChangeRule:
        """The same rule, more or less sensitive."""
        return replace(self, factor=factor)


DEPTH_RULE = ChangeRule()
BRIGHTNESS_RULE = ChangeRule(floor=0.01, noise_floor=0.005, noise_cap=0.04, noise_constant=0.008, noise_square=0.0)


def rule_for(encoding: str) -> ChangeRule:
    """The rule for pictures of an encoding of `ModalitySpec`."""
    return DEPTH_RULE if encoding == "depth_m" else BRIGHTNESS_RULE
