"""Paths to numbers in messages: reading them, following them through a definition, and what is said of wrong ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentryfuse_ros.decoders.field_path import Elements, FieldPath, parse, select
from sentryfuse_ros.decoders.message_definition import read_definition
from sentryfuse_ros.errors import ParameterError

TYPES = {
    "my_msgs/msg/Motor": {"current": "float", "position": "double[3]", "name": "string"},
    "my_msgs/msg/Board": {
        "header": "std_msgs/Header",
        "motors": "sequence<my_msgs/Motor>",
        "pair": "my_msgs/msg/Motor[2]",
        "on": "boolean",
        "count": "uint16",
        "label": "string<10>",
        "words": "sequence<string<4>, 3>",
        "volts": "sequence<float, 8>",
        "covariance": "double[4]",
        "tag": "my_msgs/Tag",
    },
    "my_msgs/msg/Tag": {"text": "wstring"},
    "std_msgs/msg/Header": {"stamp": "builtin_interfaces/Time", "frame_id": "string"},
    "builtin_interfaces/msg/Time": {"sec": "int32", "nanosec": "uint32"},
}
BOARD = read_definition("my_msgs/msg/Board", TYPES.__getitem__)

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
elements = st.one_of(
    st.integers(0, 99).map(lambda i: Elements(i, i + 1, single=True)),
    st.tuples(st.integers(0, 99), st.one_of(st.none(), st.integers(1, 50))).map(
        lambda pair: Elements(pair[0], None if pair[1] is None else pair[0] + pair[1])
    ),
)
segments = st.one_of(names.map(lambda name: (name,)), st.tuples(names, elements))


@given(st.lists(segments, min_size=1, max_size=6), st.booleans())
def test_every_path_is_read_back_from_its_text(parts, star):
    path = FieldPath(tuple(step for part in parts for step in part) + (("*",) if star else ()))
    assert parse(str(path)) == path


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_refused_with_its_name(text):
    try:
        path = parse(text)
    except ParameterError as error:
        assert repr(text) in str(error)
    else:
        assert parse(str(path)) == path


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("count", ["count"]),
        ("on", ["on"]),
        ("/count", ["count"]),
        ("header.stamp.nanosec", ["header.stamp.nanosec"]),
        ("volts[2]", ["volts[2]"]),
        ("volts[:2]", ["volts[0]", "volts[1]"]),
        ("covariance", [f"covariance[{i}]" for i in range(4)]),
        ("covariance[2:]", ["covariance[2]", "covariance[3]"]),
        ("*", None),
        ("header.stamp.*", ["header.stamp.sec", "header.stamp.nanosec"]),
        ("motors[1:3].current", ["motors[1].current", "motors[2].current"]),
        ("pair.position", None),
        ("pair[:].position[1:3]", [f"pair[{i}].position[{j}]" for i in (0, 1) for j in (1, 2)]),
    ],
)
def test_a_path_selects_its_values_in_order(path, values):
    if values is None:
        with pytest.raises(ParameterError):
            select([path], BOARD)
        return
    found = select([path], BOARD)
    assert [name for selection in found for name in selection.value_names()] == values
    assert sum(selection.width for selection in found) == len(values)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "counts",
            "no counts in my_msgs/msg/Board, expected one of header (std_msgs/msg/Header), motors ",
        ),
        ("header.stamp.x", "expected one of sec (int32), nanosec (uint32)"),
        ("header", "header, which is std_msgs/msg/Header, expected one of its fields: stamp"),
        ("volts", "the range that is wanted: volts[0:4]"),
        ("volts[1:]", "a range with an end, such as [1:4]"),
        ("covariance[2:5]", "elements of float64[4]"),
        ("covariance[7:]", "elements of float64[4]"),
        ("count[0]", "count, which is uint16 and no array"),
        ("count.x", "count, which is uint16"),
        ("motors.current", "the element or range that is wanted: motors[0]"),
        ("motors[0]", "one of its fields: current (float32)"),
        ("label", "label, which is string, expected a number"),
        ("words[0]", "a number"),
        ("tag.*", "my_msgs/msg/Tag without numbers"),
        ("volts[3:3]", "a range whose end is greater than its start"),
        ("volts[]", "an element or a range"),
        ("a..b", "a path such as"),
        ("", "a path such as"),
        ("tag.*.x", "a path such as"),
    ],
)
def test_a_wrong_path_is_told_with_what_there_is(path, told):
    with pytest.raises(ParameterError) as error:
        select([path], BOARD)
    assert told in str(error.value) and repr(path) in str(error.value)


def test_more_values_than_a_series_can_have_are_refused():
    with pytest.raises(ParameterError, match="5000 values, expected at most 4096"):
        select(["volts[0:5000]"], BOARD)


@pytest.mark.parametrize("wrong", ["long double", "a/b/c/d", "nothing"])
def test_a_type_that_is_not_understood_is_named(wrong):
    with pytest.raises(ParameterError, match=wrong):
        read_definition("x/msg/X", {"x/msg/X": {"field": wrong}}.__getitem__)


def test_a_definition_with_itself_inside_is_refused():
    with pytest.raises(ParameterError, match="without end"):
        read_definition("x/msg/X", lambda name: {"again": "x/msg/" + "X" * (len(name) + 1)})
