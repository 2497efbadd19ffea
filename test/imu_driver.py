"""The driver of a made-up IMU, in a process of its own that a test may kill: 100 Hz on the topic that it is given."""

import sys

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Imu

from sentryfuse_ros.nodes.spin import run


class ImuDriver(Node):
    def __init__(self):
        super().__init__("imu_driver")
        self._random = np.random.default_rng(0)
        self._publisher = self.create_publisher(Imu, "imu", 10)
        self.create_timer(0.01, self._send)

    def _send(self):
        message = Imu()
        message.header.stamp = self.get_clock().now().to_msg()
        x, y, z, roll, pitch, yaw = map(float, self._random.normal(0, 0.3, 6))
        a, v = message.linear_acceleration, message.angular_velocity
        a.x, a.y, a.z = x, y, z + 9.81
        v.x, v.y, v.z = roll, pitch, yaw
        self._publisher.publish(message)


if __name__ == "__main__":
    sys.exit(run(ImuDriver))
