"""Use the predictions in a node of your own: limit the speed by the ground, and drive slowly where it is not known.

    python3 examples/limit_speed.py       # with ROS sourced, beside a running fuse_node

It publishes a limit [m/s] on /speed_limit (std_msgs/Float32) for every prediction, and after a silence of the fuser. What
makes a prediction good enough to act on is up to you; this program wants three in a row that are valid, confident and equal.
"""

from __future__ import annotations

import signal
import sys
from collections import deque

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float32

from sentryfuse_ros.msg import FusedPrediction

LIMITS_M_S = {"asphalt": 1.5, "tiles": 1.2, "wood": 1.2, "gravel": 1.0, "grass": 0.8, "sand": 0.6}
UNKNOWN_M_S = 0.4  # where the ground is not known, or none of the above
CONFIDENT = 0.8  # the confidence is calibrated: of predictions with 0.8, four of five are right
IN_A_ROW = 3
SILENT_S = 0.5  # fuse_node publishes in every fuse period, whatever the sensors do; a silence means that it is gone


class SpeedLimiter(Node):
    def __init__(self) -> None:
        super().__init__("speed_limiter")
        self.newest: deque[str] = deque(maxlen=IN_A_ROW)
        self.limits = self.create_publisher(Float32, "speed_limit", 10)
        self.create_subscription(FusedPrediction, "fuse_node/prediction", self.on_prediction, 10)
        self.silence = self.create_timer(SILENT_S, self.on_silence)

    def on_prediction(self, prediction: FusedPrediction) -> None:
        self.silence.reset()
        sure = prediction.valid and prediction.confidence >= CONFIDENT
        self.newest.append(prediction.class_name if sure else "")
        agreed = self.newest[0] if len(self.newest) == IN_A_ROW and len(set(self.newest)) == 1 else ""
        self.limits.publish(Float32(data=LIMITS_M_S.get(agreed, UNKNOWN_M_S)))

    def on_silence(self) -> None:
        self.newest.clear()
        self.limits.publish(Float32(data=UNKNOWN_M_S))


def main() -> None:
    # rclpy's own handlers would end the context in the middle of a step, which then fails.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a launch file that ends
    try:
        rclpy.spin(SpeedLimiter())
    except KeyboardInterrupt:  # Ctrl-C
        pass


if __name__ == "__main__":
    main()
