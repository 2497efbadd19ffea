"""What `sentryfuse replay` and `sentryfuse dataset` print of a recording's sensors: topic, type, rate, and the model's rate."""

from __future__ import annotations

from collections.abc import Sequence

from ..preprocessing import ModalitySpec


def rate_text(rate_hz: float, model_input: str, specs: Sequence[ModalitySpec]) -> str:
    """The measured rate of a sensor, and that of the model input that it serves."""
    measured = f"{rate_hz:.3g} Hz" if rate_hz else "rate unknown"
    spec = next((spec for spec in specs if spec.name == model_input), None)
    return measured + (f", {model_input} of the model {spec.grid_rate_hz:g} Hz" if spec else ", not an input of the model")
