"""The service ~/set_sensor: an operator takes a sensor out of use and into use again, or says that its loss is known."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from ..errors import ParameterError
from ..runtime.pipeline import Pipeline
from ..srv import SetSensor


class SensorService:
    """Offered while the node is configured. ``follow`` is called after a change: an active loop subscribes accordingly."""

    def __init__(self, node: Node, pipeline: Pipeline, follow: Callable[[], None]):
        self._node, self._pipeline, self._follow = node, pipeline, follow
        self._service = node.create_service(SetSensor, "~/set_sensor", self._set)

    def _set(self, request: SetSensor.Request, response: SetSensor.Response) -> SetSensor.Response:
        sensor, reason = request.sensor, request.reason
        try:
            if request.action == SetSensor.Request.ENABLE:
                self._pipeline.robot_sensors.enable(sensor)
                response.message = f"{sensor} is used again"
            elif request.action == SetSensor.Request.DISABLE:
                self._pipeline.robot_sensors.disable(sensor, reason)
                response.message = f"{sensor} is out of use"
            elif request.action == SetSensor.Request.ACKNOWLEDGE:
                self._pipeline.robot_sensors.acknowledge(sensor, reason)
                response.message = f"{sensor} raises no alarm until it has been OK again"
            else:
                raise ParameterError("action", request.action, "0 (ENABLE), 1 (DISABLE) or 2 (ACKNOWLEDGE)")
            self._follow()
            response.success = True
        except ParameterError as error:
            response.success, response.message = False, str(error)
        except Exception as error:  # out of a service's callback it would end the node
            response.success, response.message = False, f"{type(error).__name__}: {error}"
        if not response.success or request.action == SetSensor.Request.ACKNOWLEDGE:  # the others show as changes of the state
            self._node.get_logger().info(f"set_sensor: {response.message}" + (f" ({reason})" if reason else ""))
        return response

    def destroy(self) -> None:
        self._node.destroy_service(self._service)
