"""All kinds of lies, of all sensors."""

from __future__ import annotations

from . import lies_audio, lies_camera, lies_imu, lies_lidar

LIES = (*lies_camera.LIES, *lies_imu.LIES, *lies_audio.LIES, *lies_lidar.LIES)
