"""A launch_testing description: fuse.launch.py under the real `launch`, watched while it runs and after it has ended.

test_launch.py runs it wherever launch_testing is installed; `launch_test test/launch_of_fuse_node.py` does so by hand.
"""

import unittest

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import pytest
import rclpy
from launch.actions import IncludeLaunchDescription
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from ros_harness import Probe

from sentryfuse_ros.paths import share_path

ARGUMENTS = {"model": "utd_mhad_depth_imu", "namespace": "launched", "imu_topic": "wrist"}


@pytest.mark.launch_test
def generate_test_description():
    source = PythonLaunchDescriptionSource(str(share_path("launch", "fuse.launch.py")))
    include = IncludeLaunchDescription(source, launch_arguments=ARGUMENTS.items())
    return LaunchDescription([include, launch_testing.actions.ReadyToTest()])


class TestWhileItRuns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rclpy_is_ours = not rclpy.ok()
        if cls.rclpy_is_ours:
            rclpy.init()

    @classmethod
    def tearDownClass(cls):
        if cls.rclpy_is_ours:
            rclpy.shutdown()

    def setUp(self):
        self.probe = Probe("/launched")

    def tearDown(self):
        self.probe.close()

    def test_sensor_topic_and_namespace_lead_to_predictions(self):
        self.probe.feed_imu("/launched/wrist")
        p = self.probe.wait_new_prediction(lambda p: p.valid, "a prediction from the IMU")
        self.assertEqual(list(p.mask), [False, True])
        self.assertEqual(self.probe.status_of("imu").topic, "/launched/wrist")

    def test_node_is_active_on_its_own(self):
        self.probe.wait("ModelInfo", lambda: self.probe.infos)
        self.assertEqual(self.probe.lifecycle_state(), "active")
        self.assertFalse(self.probe.get_parameter("use_sim_time").bool_value)

    def test_its_log_says_what_it_listens_to(self, proc_output):
        proc_output.assertWaitFor("imu on /launched/wrist", timeout=900, stream="stderr")


@launch_testing.post_shutdown_test()
class TestAfterItHasEnded(unittest.TestCase):
    def test_exit_status_is_zero(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)

    def test_nothing_was_raised(self, proc_output):
        text = "".join(line.text.decode(errors="replace") for line in proc_output)
        self.assertNotIn("Traceback", text)
