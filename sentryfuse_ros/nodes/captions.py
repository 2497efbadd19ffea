"""~/caption: a sentence now and then, made in a thread of low priority after the prediction has gone out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import String

from ..language.grammar import parse, with_known_sensors, written
from ..language.sensor_states import sensor_states
from ..language.speaker import FusedWindow, Speaker
from ..msg import Caption
from ..runtime.cpu_priority import step_back
from ..runtime.tick import Prediction
from ..runtime.worker import LatestJobWorker
from ..settings import Settings
from .messages import to_time

NOTHING = "Nothing can be perceived: {reason}."
EARLY_SHARE = 0.2  # of a fuse period: a prediction comes so much early or late, and the next one would be a whole period too late


class _Job(NamedTuple):
    prediction: Prediction
    states: Mapping[str, str]  # of the sensors, by model input


def least_gap_s(caption_rate_hz: float, fuse_rate_hz: float) -> float:
    """From the prediction that was described last to the next one that may be [s]; negative where every one may."""
    return 1.0 / caption_rate_hz - EARLY_SHARE / fuse_rate_hz


class CaptionPublisher:
    """Publishes ~/caption and ~/caption_stamped while somebody listens, at most `caption_rate_hz` times a second.

    `offer` only hands over a prediction and returns at once. A sentence that takes longer than its period delays the next one,
    and never a prediction: the worker holds the newest job only.
    """

    def __init__(self, node: LifecycleNode, speaker: Speaker, modalities: Sequence[str], settings: Settings):
        self._node, self._speaker, self._modalities = node, speaker, modalities
        self._frame_id = settings["output_frame_id"]
        self._least_gap_s = least_gap_s(settings["caption_rate_hz"], settings["fuse_rate_hz"])
        self._candidates: dict[str, list[str]] = {}
        for sensor in settings.sensors:
            self._candidates.setdefault(sensor.model_input, []).append(sensor.name)
        self._text = node.create_lifecycle_publisher(String, "~/caption", 1)
        self._stamped = node.create_lifecycle_publisher(Caption, "~/caption_stamped", 1)
        self._last_s = -math.inf
        self._worker: LatestJobWorker[_Job] | None = LatestJobWorker(self._say, self._on_error, "captions")
        self._yielding: threading.Thread | None = None  # the thread that has its low priority

    def offer(self, prediction: Prediction) -> None:
        """Say something about this prediction, if a sentence is due and somebody listens."""
        now_s = time.monotonic()
        if self._worker is None or now_s - self._last_s < self._least_gap_s or not self._is_heard():
            return
        self._last_s = now_s
        self._worker.put(_Job(prediction, sensor_states(prediction.tick, self._modalities, self._candidates)))

    def destroy(self) -> None:
        """Wait for the sentence in progress and end the publishers. Safe to call twice."""
        if self._worker is None:
            return
        self._worker.stop()
        self._worker = None
        for publisher in (self._text, self._stamped):
            self._node.destroy_lifecycle_publisher(publisher)

    def _is_heard(self) -> bool:
        return self._text.get_subscription_count() + self._stamped.get_subscription_count() > 0

    def _say(self, job: _Job) -> None:
        """In the worker's thread."""
        self._yield_to_others()
        message = caption_message(job.prediction, job.states, self._speaker, self._frame_id)
        self._text.publish(String(data=message.text))
        self._stamped.publish(message)

    def _yield_to_others(self) -> None:
        if self._yielding is not threading.current_thread():
            self._yielding = threading.current_thread()
            step_back()

    def _on_error(self, error: Exception) -> None:
        self._node.get_logger().error(f"caption failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)


def caption_message(prediction: Prediction, states: Mapping[str, str], speaker: Speaker, frame_id: str) -> Caption:
    """The sentence of a prediction as a message."""
    message = Caption(sequence=prediction.tick.sequence)
    message.header.stamp, message.header.frame_id = to_time(prediction.stamp_ns), frame_id
    inference = prediction.inference
    if inference is None or inference.tokens is None or inference.part is None:
        message.text = NOTHING.format(reason=prediction.reason)
        return message
    window = FusedWindow(inference.part, *inference.tokens, inference.probabilities)
    caption = speaker.say(window, states, inference.ratio)
    words = with_known_sensors(caption.words, states)
    message.valid, message.text, message.confidence = True, written(words), caption.confidence
    message.statements = [" ".join(filter(None, statement)) for statement in parse(words).statements]
    message.ratio = speaker.config.level(inference.ratio)
    message.duration_ms = caption.duration_s * 1e3
    return message
