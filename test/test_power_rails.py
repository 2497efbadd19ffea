"""Power sensors of Linux, read from folders made as the kernel makes them."""

import math

import pytest

from sentryfuse_ros.errors import ParameterError
from sentryfuse_ros.runtime.power_rails import power_rail, power_rails


def write(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def jetson(tmp_path):
    """An INA3221 with two labelled channels, a fan with a speed, and a chip that computes power."""
    hwmon = tmp_path / "class" / "hwmon"
    write(
        hwmon / "hwmon10",
        name="ina3221",
        in1_label="VDD_IN",
        in1_input=5000,
        curr1_input=1240,
        in2_label="VDD_CPU",
        in2_input=4900,
        curr2_input=310,
    )
    write(hwmon / "hwmon2", name="ina219", power1_input=3300000, in1_input=12000, curr1_input=275)
    write(hwmon / "hwmon3", name="fan", fan1_input=2400, temp1_input=40000)
    return tmp_path


def test_hwmon_rails_by_label_or_chip(jetson):
    assert [rail.name for rail in power_rails("hwmon", jetson)] == ["ina219 1", "VDD_IN", "VDD_CPU"]
    assert power_rail("hwmon", "VDD_IN", jetson).read_w(0.0) == pytest.approx(6.2)
    assert power_rail("hwmon", "ina219 1", jetson).read_w(0.0) == pytest.approx(3.3)
    assert power_rail("hwmon", "", jetson).name == "ina219 1"


def test_a_reading_follows_the_file_and_nan_stands_for_what_cannot_be_read(jetson):
    rail = power_rail("hwmon", "VDD_IN", jetson)
    current = jetson / "class" / "hwmon" / "hwmon10" / "curr1_input"
    current.write_text("2000\n")
    assert rail.read_w(1.0) == pytest.approx(10.0)
    current.write_text("\n")
    assert math.isnan(rail.read_w(2.0))
    current.unlink()
    assert math.isnan(rail.read_w(3.0))


def test_rapl_is_the_mean_since_the_last_reading_also_where_the_counter_wraps(tmp_path):
    zone = tmp_path / "class" / "powercap" / "intel-rapl:0"
    write(zone, name="package-0", energy_uj=1_000_000, max_energy_range_uj=20_000_000)
    rail = power_rail("rapl", "package-0", tmp_path)
    assert math.isnan(rail.read_w(10.0))
    (zone / "energy_uj").write_text("13000000\n")
    assert rail.read_w(12.0) == pytest.approx(6.0)
    (zone / "energy_uj").write_text("1000000\n")
    assert rail.read_w(14.0) == pytest.approx(4.0)


def test_an_unknown_rail_is_refused_with_those_that_there_are(jetson):
    with pytest.raises(ParameterError, match="parameter power_rail: saw 'VDD_GPU', expected .* VDD_IN, VDD_CPU"):
        power_rail("hwmon", "VDD_GPU", jetson)


@pytest.mark.parametrize("kind", ["hwmon", "rapl"])
def test_a_machine_without_rails_is_named(tmp_path, kind):
    with pytest.raises(ParameterError, match=f"parameter power_measurement: saw {kind}, .*none that this user may read"):
        power_rail(kind, "", tmp_path)
