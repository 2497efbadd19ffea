"""What fuse_node publishes, subscribes to, offers and calls, by its parameters: the names that an access policy must allow.

`to_xml` writes them as a policy of SROS 2 (https://design.ros2.org/articles/ros2_access_control_policies.html), from which
`ros2 security create_permission` makes the signed permissions of one enclave. A test compares it with the graph of a real node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from .errors import ParameterError
from .settings import Settings

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a node, or of one part of a namespace

OWN_TOPICS = ("prediction", "mask", "pruning", "model_info", "image", "markers", "classification", "transition_event")
CAPTION_TOPICS = ("caption", "caption_stamped")
PARAMETER_SERVICES = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
)
DRIVER_SERVICES = ("change_state", "get_state")
LIFECYCLE_SERVICES = ("change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph")


@dataclass(frozen=True)
class NodeAccess:
    """What one node of the process may do; names are absolute."""

    node: str
    namespace: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()  # services that it offers
    request: tuple[str, ...] = ()  # services that it calls


def access_of(
    settings: Settings, node: str = "fuse_node", namespace: str = "/", sim_time: bool = False
) -> tuple[NodeAccess, ...]:
    """The node and its companion for receiving, for these parameters, without remapping.

    Raises ParameterError for a name that no node can have.
    """
    namespace = absolute_namespace(namespace)
    _check("name of the node", node, [node])
    _check("namespace", namespace, _parts(namespace))

    def absolute(name: str) -> str:
        if name.startswith("~"):
            name = f"{node}{name[1:]}"
        return name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"

    sensors = tuple(absolute(sensor.topic) for sensor in settings.sensors)
    switched = [sensor for sensor in settings.sensors if sensor.may_switch_off]
    own = [*OWN_TOPICS, *(["sensor_request"] if switched else []), *(CAPTION_TOPICS if settings["captions"] else ())]
    drivers = [f"{sensor.driver_node}/{name}" for sensor in switched if sensor.driver_node for name in DRIVER_SERVICES]
    everywhere = ("/parameter_events",)
    main = NodeAccess(
        node,
        namespace,
        publish=(*(absolute(f"~/{name}") for name in own), "/diagnostics", "/rosout", absolute("bond"), *everywhere),
        subscribe=(
            absolute(settings["battery_topic"]),
            absolute(settings["power_budget_topic"]),
            absolute("bond"),
            *(("/clock",) if sim_time else ()),
            *(sensors if settings["receive"] == "callback" else ()),
        ),
        reply=tuple(
            absolute(f"~/{name}") for name in (*PARAMETER_SERVICES, *LIFECYCLE_SERVICES, "get_type_description", "set_sensor")
        ),
        request=tuple(absolute(name) for name in drivers),
    )
    receiver = f"_{node}_receive"
    described = (absolute(f"{receiver}/get_type_description"),)
    return main, NodeAccess(receiver, namespace, publish=everywhere, subscribe=sensors, reply=described)


def absolute_namespace(namespace: str) -> str:
    """A namespace as nodes have it: with a slash before it and none behind it."""
    return "/" + namespace.strip("/")


def _parts(path: str) -> list[str]:
    return path.split("/")[1:] if path != "/" else []


def _check(what: str, given: str, parts: Iterable[str]) -> None:
    if not all(NAME.fullmatch(part) for part in parts):
        raise ParameterError(what, repr(given), "letters, digits and _, and no digit at the beginning")


def to_xml(access: tuple[NodeAccess, ...], enclave: str) -> str:
    """An SROS 2 policy with one enclave. Raises ParameterError for a path that no enclave can have, as rcl has it."""
    if not enclave.startswith("/") or not all(NAME.fullmatch(part) for part in _parts(enclave)):
        expected = "a path such as /front/fuse_node, each part of letters, digits and _ with no digit at its beginning"
        raise ParameterError("path of the enclave", repr(enclave), expected)
    root = ET.Element("policy", version="0.2.0")
    profiles = ET.SubElement(ET.SubElement(ET.SubElement(root, "enclaves"), "enclave", path=enclave), "profiles")
    for part in access:
        profile = ET.SubElement(profiles, "profile", ns=part.namespace, node=part.node)
        for kind, verb, names in (
            ("service", "reply", part.reply),
            ("service", "request", part.request),
            ("topic", "publish", part.publish),
            ("topic", "subscribe", part.subscribe),
        ):
            if names:
                group = ET.SubElement(profile, f"{kind}s", {verb: "ALLOW"})
                for name in sorted(set(names)):
                    ET.SubElement(group, kind).text = name
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
