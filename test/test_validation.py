"""The checker of hand-written records: what it accepts, converts and refuses, and what its errors say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.validation import Count, FormerName, Share, build, check, one_of

REMEDY = "correct the file"


@dataclass(frozen=True)
class Wheel:
    radius_m: float
    spokes: Annotated[Count, FormerName("rods")] = 8


@dataclass(frozen=True)
class Vehicle:
    name: str
    wheels: tuple[Wheel, ...] = ()
    gears: Count | Mapping[str, Count] = 1
    load: Share = 0.5
    drive: Annotated[str, one_of(("front", "rear"))] = "front"
    size_m: tuple[float, float] = (1.0, 2.0)
    spare: Wheel | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    electric: bool = False

    def __post_init__(self):
        check(self, "vehicle", REMEDY)


def vehicle(**values):
    return build(Vehicle, {"name": "cart", **values}, "vehicle", REMEDY)


def test_lists_become_tuples_and_mappings_become_records():
    made = vehicle(wheels=[{"radius_m": 0.3}, {"radius_m": 0.2, "spokes": 6}], size_m=[2, 3.5], spare={"radius_m": 0.3})
    assert made.wheels == (Wheel(0.3), Wheel(0.2, 6)) and made.spare == Wheel(0.3)
    assert made.size_m == (2, 3.5) and type(made.size_m[0]) is int
    assert vehicle(gears={"low": 2}).gears == {"low": 2} and vehicle(gears=3).gears == 3


def test_a_number_in_text_is_taken_as_yaml_1_1_writes_it():
    assert vehicle(load="1e-3").load == 0.001 and vehicle(limits={"speed": "2e1"}).limits == {"speed": 20.0}


def test_a_record_that_is_made_directly_is_held_against_the_same_rules():
    assert Vehicle("cart", wheels=[{"radius_m": 0.3}]).wheels == (Wheel(0.3),)
    with pytest.raises(ParameterError, match="vehicle load: saw 2"):
        Vehicle("cart", load=2)


@pytest.mark.parametrize(
    "change, thing, seen, expected",
    [
        ({"lod": 1}, "vehicle keys", "'lod'", "perhaps 'load'"),
        ({"zzz": 1}, "vehicle keys", "'zzz'", "keys among name, wheels"),
        ({"wheels": [{"spokes": 3}]}, "vehicle wheels[0] keys", "no 'radius_m'", "every key that has no default"),
        ({"wheels": [{"radius_m": "wide"}]}, "vehicle wheels[0] radius_m", "'wide'", "a finite number"),
        ({"wheels": [{"radius_m": 1, "spokes": 0}]}, "vehicle wheels[0] spokes", "0", "a whole number of 1 or more"),
        ({"wheels": 3}, "vehicle wheels", "3", "a list"),
        ({"gears": "many"}, "vehicle gears", "'many'", "a whole number or a mapping"),
        ({"gears": {"low": 0}}, "vehicle gears low", "0", "1 or more"),
        ({"load": True}, "vehicle load", "True", "a finite number"),
        ({"load": float("nan")}, "vehicle load", "nan", "a finite number"),
        ({"load": 1.5}, "vehicle load", "1.5", "0 to 1"),
        ({"drive": "side"}, "vehicle drive", "'side'", "one of front, rear"),
        ({"size_m": [1]}, "vehicle size_m", "[1]", "2 values"),
        ({"electric": 1}, "vehicle electric", "1", "true or false"),
        ({"name": 3}, "vehicle name", "3", "text"),
    ],
)
def test_an_error_names_the_key_the_value_the_expectation_and_the_remedy(change, thing, seen, expected):
    with pytest.raises(ParameterError) as caught:
        vehicle(**change)
    assert str(caught.value).startswith(f"{thing}: saw {seen}, expected ") and str(caught.value).endswith(f"; {REMEDY}")
    assert expected in str(caught.value.expected)


def test_a_key_is_read_under_its_former_name_but_not_beside_the_present_one():
    assert vehicle(spare={"radius_m": 0.3, "rods": 6}).spare == Wheel(0.3, 6)
    with pytest.raises(ParameterError, match="vehicle spare spokes: saw 0, expected a whole number of 1 or more"):
        vehicle(spare={"radius_m": 0.3, "rods": 0})
    with pytest.raises(ParameterError, match="vehicle spare keys: saw 'rods'"):
        vehicle(spare={"radius_m": 0.3, "rods": 6, "spokes": 6})


def test_what_is_no_mapping_and_what_lacks_a_key_are_refused():
    with pytest.raises(ParameterError, match="vehicle keys: saw list, expected a mapping"):
        build(Vehicle, [], "vehicle", REMEDY)
    with pytest.raises(ParameterError, match="vehicle keys: saw no 'name'"):
        build(Vehicle, {}, "vehicle", REMEDY)
