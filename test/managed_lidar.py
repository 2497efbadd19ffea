"""The driver of a made-up LiDAR as a managed node: it sends clouds while it is active. test_driver_control.py runs it."""

import sys

import numpy as np
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from sensor_msgs.msg import PointCloud2, PointField

from sentryfuse_ros.nodes.spin import run


class ManagedLidar(LifecycleNode):
    def __init__(self):
        super().__init__("lidar_driver")
        self._random = np.random.default_rng(0)
        self._timer = None
        self._publisher = self.create_publisher(PointCloud2, "/lidar/points", 10)
        self.trigger_configure()
        self.trigger_activate()

    def on_activate(self, state):
        self._timer = self.create_timer(0.1, self._send)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state):
        self.destroy_timer(self._timer)
        return TransitionCallbackReturn.SUCCESS

    def _send(self):
        points = self._random.normal(0, 4, (500, 3)).astype(np.float32)
        message = PointCloud2(height=1, width=500, point_step=12, row_step=6000, is_dense=True, data=points.tobytes())
        message.fields = [
            PointField(name=axis, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, axis in enumerate("xyz")
        ]
        message.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(message)


if __name__ == "__main__":
    sys.exit(run(ManagedLidar))
