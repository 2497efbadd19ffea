"""What people look at in RViz and Foxglove: a picture, a text in space, and the class in a standard message.

Each is made only while someone subscribes to it, in the thread that infers, after the prediction has been published.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from builtin_interfaces.msg import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from ..nanoseconds import NS_PER_S, ns_to_stamp
from ..runtime.pipeline import Pipeline
from ..runtime.tick import Prediction
from ..sensing.liveness import State, Status
from ..sensor_kinds import sensor_kind
from ..settings import Settings
from .messages import to_time

TEXT_ABOVE_M, TEXT_HEIGHT_M = 1.5, 0.2  # the text stands this far above the origin of output_frame_id, in letters this high
# The text goes when the node no longer speaks, which is known when a prediction is late by a period, and not before this time.
TEXT_LIFETIME_S, TEXT_LIFETIME_PERIODS = 1.0, 2.0
SILENT = (State.NEVER_SEEN, State.STALE, State.DISABLED, State.ASLEEP)  # of a sensor that sends nothing, or is not heard


def _past(camera: str, status: Status) -> str:
    """What to write across the last picture of a camera that no longer sends any; "" where it does."""
    if status.state not in SILENT:
        return ""
    state = status.state.name.lower().replace("_", " ")
    return f"{camera} {state}: its last picture" + (f", {status.age_s:.0f} s ago" if status.age_s >= 0 else "")


def classification_type() -> Any:
    """The class vision_msgs/Classification, None where vision_msgs is not installed."""
    try:
        from vision_msgs.msg import Classification
    except ImportError:
        return None
    return Classification


def text_lifetime(fuse_rate_hz: float) -> Duration:
    """How long RViz shows a text to which no newer one comes: at a low rate, it must still be there when the next one does."""
    lifetime_s = max(TEXT_LIFETIME_S, TEXT_LIFETIME_PERIODS / fuse_rate_hz)
    sec, nanosec = ns_to_stamp(round(lifetime_s * NS_PER_S))
    return Duration(sec=sec, nanosec=nanosec)


class Views:
    """The publishers of ~/image, ~/markers and, where vision_msgs is installed, ~/classification."""

    def __init__(self, node: LifecycleNode, pipeline: Pipeline, settings: Settings, classes: tuple[str, ...]):
        self._node, self._pipeline, self._classes = node, pipeline, classes
        self._frame_id, self._lifetime = settings["output_frame_id"], text_lifetime(settings["fuse_rate_hz"])
        self.cameras = {s.name: s for s in settings.sensors if sensor_kind(s.kind).picture is not None}
        self._image = node.create_lifecycle_publisher(Image, "~/image", 1)
        self._markers = node.create_lifecycle_publisher(MarkerArray, "~/markers", 1)
        self._publishers: list[LifecyclePublisher] = [self._image, self._markers]
        self._classification = None
        if (message_type := classification_type()) is not None:
            self._classification = node.create_lifecycle_publisher(message_type, "~/classification", 10)
            self._publishers.append(self._classification)

    @property
    def wants_pictures(self) -> bool:
        """Whether anybody looks at ~/image, so that the newest message of each camera is worth keeping."""
        return self._image.get_subscription_count() > 0

    def publish(self, prediction: Prediction, pictures: Mapping[str, bytes]) -> None:
        """pictures: the newest serialised message of each camera that has sent one."""
        if self._image.get_subscription_count():
            self._image.publish(self._image_message(prediction, pictures))
        if self._markers.get_subscription_count():
            self._markers.publish(self._marker_message(prediction))
        if self._classification is not None and self._classification.get_subscription_count():
            self._classification.publish(self._classification_message(prediction))

    def destroy(self) -> None:
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _sensors(self, prediction: Prediction) -> list[tuple[str, str, bool]]:
        """Name and state of each sensor, and whether it sleeps."""
        statuses = prediction.tick.statuses
        return [(name, status.state.name, self._pipeline.robot_sensors.view(name).asleep) for name, status in statuses.items()]

    def _image_message(self, prediction: Prediction, pictures: Mapping[str, bytes]) -> Image:
        from ..reporting.camera_overlay import Caption, SensorChip, draw_overlay  # OpenCV, which few nodes need

        inference, camera = prediction.inference, self._shown(prediction, pictures)
        caption = Caption(
            title=inference.class_name if inference is not None else prediction.reason,
            valid=prediction.valid,
            confidence=float(inference.confidence) if inference is not None else 0.0,
            ratio=float(prediction.tick.power.ratio),
            sensors=tuple(SensorChip(name, state, asleep) for name, state, asleep in self._sensors(prediction)),
            past=_past(camera, prediction.tick.statuses[camera]) if camera is not None else "",
        )
        drawn = draw_overlay(self._picture(camera, pictures[camera]) if camera is not None else None, caption)
        message = Image(height=drawn.shape[0], width=drawn.shape[1], encoding="bgr8", step=3 * drawn.shape[1])
        message.header.stamp, message.header.frame_id = to_time(prediction.stamp_ns), self._frame_id
        message.data = array("B", drawn.tobytes())  # of bytes, the messages of Humble would check every single one
        return message

    def _shown(self, prediction: Prediction, pictures: Mapping[str, bytes]) -> str | None:
        """The camera that serves the model, else one that sends, else one that has sent a picture."""
        there = [name for name in (*prediction.tick.serving, *self.cameras) if name in pictures]
        sending = (name for name in there if prediction.tick.statuses[name].state not in SILENT)
        return next(sending, there[0] if there else None)

    def _picture(self, camera: str, raw: bytes) -> Any:
        settings = self.cameras[camera]
        read = sensor_kind(settings.kind).picture_reader()
        return read(settings.msg_type, raw, settings.limits) if read is not None else None

    def _marker_message(self, prediction: Prediction) -> MarkerArray:
        marker = Marker(ns="sentryfuse", type=Marker.TEXT_VIEW_FACING, action=Marker.ADD, lifetime=self._lifetime)
        marker.header.stamp, marker.header.frame_id = to_time(prediction.tick.node_ns), self._frame_id
        marker.pose.position.z, marker.pose.orientation.w, marker.scale.z = TEXT_ABOVE_M, 1.0, TEXT_HEIGHT_M
        inference = prediction.inference
        title = f"{inference.class_name} {inference.confidence:.0%}" if inference is not None else prediction.reason
        sensors = ", ".join(f"{name} {'sleeps' if asleep else state}" for name, state, asleep in self._sensors(prediction))
        marker.text = f"{title}\n{sensors}\npruning ratio {prediction.tick.power.ratio:.2f}"
        marker.color.r, marker.color.g, marker.color.b = (1.0, 1.0, 1.0) if prediction.valid else (1.0, 0.5, 0.1)
        marker.color.a = 1.0
        return MarkerArray(markers=[marker])

    def _classification_message(self, prediction: Prediction) -> Any:
        """All classes with their probabilities; no results where there is no prediction."""
        from vision_msgs.msg import Classification, ObjectHypothesis

        message = Classification()
        message.header.stamp, message.header.frame_id = to_time(prediction.stamp_ns), self._frame_id
        if prediction.inference is not None:
            probabilities = prediction.inference.probabilities.tolist()
            message.results = [
                ObjectHypothesis(class_id=name, score=p) for name, p in zip(self._classes, probabilities, strict=True)
            ]
        return message
