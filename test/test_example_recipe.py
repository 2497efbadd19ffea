"""`sentryfuse train --example`: a recipe for a recording and for a data set, which can be trained as it is."""

import json
import shlex

import cv2
import numpy as np
import pytest
import yaml
from bag_maker import T0, labelled, write_bag
from cdr_messages import STORE, cloud, compressed, image, imu, raw
from dataset_maker import SPECS, build
from joined_maker import PARAMETERS as WHEELS
from joined_maker import write_wheel_bag
from rosbags.rosbag2 import StoragePlugin, Writer
from series_maker import PARAMETERS, write_motor_bag

from sentryfuse_ros.cli import main
from sentryfuse_ros.datasets.proposed_inputs import ProposedInput, inputs_of_recording, steps_of, window_s
from sentryfuse_ros.datasets.window_folder import WindowFolder
from sentryfuse_ros.errors import BagError
from sentryfuse_ros.model.config import FuseConfig
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.preprocessing import ModalitySpec, model_input
from sentryfuse_ros.settings import build_settings, flatten
from sentryfuse_ros.training.example_recipe import counts_of, example_recipe, inputs_of_windows
from sentryfuse_ros.training.recipe import Recipe

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def params_file(path, parameters):
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


def fits(recipe):
    """The network of a recipe can be made: tokens divide steps, strides fit, and so on."""
    return FuseConfig.from_dict({**recipe.model, "modalities": [spec.to_dict() for spec in recipe.specs], "classes": ("a", "b")})


def test_from_a_recording_to_a_model_with_nothing_written_by_hand(tmp_path, capsys):
    for from_s, split in enumerate(("train", "val", "test")):
        folder = write_motor_bag(tmp_path / "bags" / split, from_s=from_s)
        (folder / "run.json").write_text(json.dumps({"split": split}))
        text = (folder / "intervals.csv").read_text().splitlines()
        begin_s, end_s, _ = text[1].split(",")
        middle = f"{float(begin_s) + 3:.9f}"
        (folder / "intervals.csv").write_text(f"{text[0]}\n{begin_s},{middle},gravel\n{middle},{end_s},mud\n")
    params = params_file(tmp_path / "robot.yaml", PARAMETERS)
    assert main(["train", "--example", "bags", "--params", "robot.yaml", "--out", "first.yaml"]) == 0
    first = Recipe.read("first.yaml")
    assert [(s.name, s.kind, s.shape) for s in first.specs] == [("wheels", "series", (100, 4)), ("command", "series", (100, 2))]
    dataset = ["dataset", "bags", "--labels", "intervals.csv", "--config", "first.yaml", "--params", str(params)]
    assert main([*dataset, "--stride", "0.1", "--out", "windows"]) == 0
    assert main(["train", "--example", "windows", "--out", "second.yaml"]) == 0
    text = (tmp_path / "second.yaml").read_text()
    assert "as in the data set" in text and "train: 11 windows" in text and "steps" in text
    second = Recipe.read("second.yaml")
    assert second.specs == first.specs and second.validation_groups == ("val",)
    assert main(["train", "--config", "second.yaml", "--set", "epochs=1", "--set", "border_windows=true", "--out", "model"]) == 0
    assert (tmp_path / "model" / "model.json").exists()
    capsys.readouterr()
    assert main(["train", "--example", "windows", "--out", "second.yaml"]) == 2 and "not there yet" in capsys.readouterr().err


def test_the_next_command_can_be_pasted_whatever_the_folders_are_called(simulated, tmp_path, capsys):
    (tmp_path / "my drives").symlink_to(simulated.parent)
    assert main(["train", "--example", f"my drives/{simulated.name}", "--out", "my robot.yaml"]) == 0
    then = capsys.readouterr().out.strip().partition("next: ")[2]
    words = shlex.split(then)
    assert words[:3] == ["sentryfuse", "dataset", f"my drives/{simulated.name}"] and "my robot.yaml" in words


@pytest.mark.parametrize("name", ["2024_05_03", "2024-05-03", "2024-99-99", "off", "null", "1e3", "1.5", "07", "my drives"])
def test_names_that_yaml_takes_for_something_else_stay_names(name, tmp_path):
    spec = ModalitySpec(name, "series", 2.0, (20, 2))
    (tmp_path / "recipe.yaml").write_text(example_recipe(name, [ProposedInput(spec, "made up")], {}))
    recipe = Recipe.read(tmp_path / "recipe.yaml")
    assert recipe.dataset == name and recipe.specs == (spec,) and list(recipe.model["tokenizer"]) == [name]
    assert recipe.augment.series_scale == {name: 0.2}


def test_windows_that_a_training_leaves_out_are_not_counted(tmp_path):
    bags = [labelled(tmp_path / f"run{i}", (0, 2, "sand"), (2, 4, "wood"), seconds=4) for i in range(3)]
    build(bags, "intervals.csv", tmp_path / "set")
    folder = WindowFolder(tmp_path / "set")
    counts = counts_of(folder)
    for split in ("train", "val", "test"):
        kept = folder.load(SPECS, (split,)).steady_only()
        assert sum(counts[split].values()) == len(kept) < len(folder.load(SPECS, (split,)))
    text = example_recipe("set", inputs_of_windows(folder), counts)
    recipe = Recipe.from_dict(yaml.safe_load(text))
    assert f"epochs: {recipe.epochs}  # {recipe.epochs * -(-sum(counts['train'].values()) // recipe.batch)} steps" in text


def test_inputs_of_the_simulated_robot(simulated, tmp_path):
    assert main(["train", "--example", str(simulated), "--out", "ground.yaml"]) == 0
    recipe = Recipe.read("ground.yaml")
    fits(recipe)
    specs = {spec.name: spec for spec in recipe.specs}
    assert list(specs) == ["camera", "imu", "audio", "lidar"]
    assert specs["camera"].encoding == "rgb" and specs["camera"].shape[:3] == (2, 3, 54)
    assert specs["imu"].shape == (400, 6) and specs["audio"].shape == (80, 40)
    lidar = specs["lidar"].options
    assert -50 < lidar["min_elevation_deg"] < -30 < lidar["max_elevation_deg"] < 20 and lidar["max_range_m"] > 3


def test_depth_pictures_and_a_slow_imu(tmp_path):
    bag = write_bag(tmp_path / "b")
    sensors = build_settings({"sensors": ["camera", "imu"], "camera.topic": "cam/depth", "imu.topic": "imu/raw"}).sensors
    camera, imu = inputs_of_recording(bag, sensors, {}, frozenset())
    assert camera.spec.encoding == "depth_m" and camera.spec.shape[1] == 1 and "/cam/depth" in camera.reason
    assert imu.spec.shape == (100, 6) and "50 Hz" in imu.reason


@pytest.mark.parametrize(
    "pixels, coding, encoding",
    [
        (np.full((30, 40), 2000, np.uint16), "16UC1; compressedDepth png", "depth_m"),
        (np.full((30, 40), 2000, np.uint16), "16UC1; png compressed ", "depth_m"),
        (np.full((30, 40), 90, np.uint8), "mono8; jpeg compressed ", "mono"),
        (np.full((30, 40, 3), 90, np.uint8), "rgb8; jpeg compressed bgr8", "rgb"),
        (np.full((30, 40, 3), 90, np.uint8), "jpeg", "rgb"),
    ],
)
def test_what_a_compressed_picture_shows_is_known_by_its_format(tmp_path, pixels, coding, encoding):
    suffix = ".jpg" if "jpeg" in coding else ".png"
    head = bytes(12) if "compressedDepth" in coding else b""
    message = raw(compressed(head + cv2.imencode(suffix, pixels)[1].tobytes(), coding))
    camera = input_of_pictures(tmp_path / "b", "sensor_msgs/msg/CompressedImage", message)
    assert camera.encoding == encoding and camera.shape[2:] == (30, 40)


@pytest.mark.parametrize("rate_hz", [0.5, 1.0, 1.9, 4.0, 6.5, 20.0])
def test_the_windows_of_a_slow_sensor_are_filled(tmp_path, rate_hz):
    """The usual limit of a silence, half a second, lies between any two messages of a sensor that sends less than 2 Hz."""
    count, msg_types = 60, ("sensor_msgs/msg/Image", "sensor_msgs/msg/Imu")
    stamps = T0 + np.round(np.arange(count) * NS / rate_hz).astype(np.int64)
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        camera, gyro = (writer.add_connection(f"/{t[-3:]}", t, typestore=STORE) for t in msg_types)
        for t in stamps.tolist():
            writer.write(camera, t, raw(image(np.full((30, 40, 3), 90, np.uint8), "rgb8", stamp_ns=t)))
            writer.write(gyro, t, raw(imu(stamp_ns=t)))
    sensors = build_settings({"sensors": ["camera", "imu"], "camera.topic": "age", "imu.topic": "Imu"}).sensors
    for proposed in inputs_of_recording(tmp_path / "b", sensors, {}, frozenset()):
        spec = proposed.spec
        x = model_input(spec, stamps, np.ones((count, *spec.row_shape), np.float32), int(stamps[-5]))
        assert x.reshape(spec.shape[0], -1).any(axis=1).all()
        assert ("max_gap_s" in spec.options) == (rate_hz < 6)


def test_parts_of_an_input_bridge_the_silences_of_the_slower_topic(tmp_path):
    bag = write_wheel_bag(tmp_path / "b", 30.0, right_hz=1.0)
    (proposed,) = inputs_of_recording(bag, build_settings(flatten(WHEELS)).sensors, {}, frozenset())
    assert proposed.spec.options == {"max_gap_s": 3.5} and proposed.spec.shape == (10, 2)


def test_a_mosaic_is_proposed_in_colour(tmp_path):
    mosaic = np.full((60, 80), 90, np.uint8)
    camera = input_of_pictures(tmp_path / "b", "sensor_msgs/msg/Image", raw(image(mosaic, "bayer_grbg8")))
    assert camera.encoding == "rgb" and camera.shape == (2, 3, 30, 40)


@pytest.mark.parametrize("first", [b"\0\1\0\0abc", raw(image(np.zeros((0, 0, 3), np.uint8), "rgb8"))], ids=["damaged", "empty"])
def test_a_driver_may_begin_with_pictures_of_no_use(tmp_path, first):
    good = raw(image(np.full((30, 40, 3), 90, np.uint8), "rgb8"))
    assert input_of_pictures(tmp_path / "b", "sensor_msgs/msg/Image", good, first).shape == (2, 3, 30, 40)
    with pytest.raises(BagError, match="topic /camera: saw no picture in any of its first 20 messages"):
        input_of_pictures(tmp_path / "bad", "sensor_msgs/msg/Image", first)


@pytest.mark.parametrize("first", [b"\0\1\0\0abc", raw(cloud(POINT, {"x": [], "y": [], "z": []}))], ids=["damaged", "empty"])
def test_a_driver_may_begin_with_clouds_of_no_use(tmp_path, first):
    angle = np.linspace(0, 2 * np.pi, 100)
    points = {"x": 3.9 * np.cos(angle), "y": 3.9 * np.sin(angle), "z": np.linspace(-2, 2, 100)}
    sensors = build_settings({"sensors": ["lidar"], "lidar.topic": "points"}).sensors
    for name, others in (("good", raw(cloud(POINT, points))), ("bad", first)):
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topic = writer.add_connection("/points", "sensor_msgs/msg/PointCloud2", typestore=STORE)
            for i in range(10):
                writer.write(topic, T0 + i * NS // 10, others if i else first)
    (lidar,) = inputs_of_recording(tmp_path / "good", sensors, {}, frozenset())
    assert lidar.spec.options["max_range_m"] == 4.0
    with pytest.raises(BagError, match="topic /points: saw no points in any of its first 20 messages"):
        inputs_of_recording(tmp_path / "bad", sensors, {}, frozenset())


def input_of_pictures(path, msg_type, message, first=None):
    """The model input that is proposed for a recording of one camera."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/camera", msg_type, typestore=STORE)
        for i in range(10):
            writer.write(topic, T0 + i * NS // 10, first if first and i == 0 else message)
    sensors = build_settings({"sensors": ["camera"], "camera.topic": "camera", "camera.type": msg_type}).sensors
    (camera,) = inputs_of_recording(path, sensors, {}, frozenset())
    return camera.spec


@pytest.mark.parametrize(
    "rate_hz, length_s, steps",
    [(6.5, 2.0, 12), (6.5, 5.0, 32), (100, 2.0, 200), (96.2, 2.0, 180), (1000, 2.0, 400), (0.2, 10.0, 2)],
)
def test_steps_never_outnumber_the_messages(rate_hz, length_s, steps):
    assert steps_of(rate_hz, length_s) == steps


@pytest.mark.parametrize("rates_hz, window", [([], 2.0), ([100.0], 2.0), ([100.0, 6.5], 2.0), ([4.0], 2.5), ([0.5, 50.0], 10.0)])
def test_a_slow_series_gets_a_longer_window(rates_hz, window):
    assert window_s(rates_hz) == window


def test_a_recording_without_the_sensors_is_refused_with_what_it_has(tmp_path, capsys):
    write_motor_bag(tmp_path / "b")
    params_file(tmp_path / "robot.yaml", {"sensors": ["imu"], "imu": {"topic": "/imu/data"}})
    assert main(["train", "--example", "b", "--params", "robot.yaml", "--out", "r.yaml"]) == 2
    err = capsys.readouterr().err
    assert "/joint_states" in err and "/imu/data" in err


def test_a_sensor_that_the_recording_lacks_is_not_left_out_in_silence(tmp_path, capsys):
    write_motor_bag(tmp_path / "b")
    lost = {**PARAMETERS, "command": {**PARAMETERS["command"], "topic": "wheel_comand", "feilds": ["data[0]"]}}
    params_file(tmp_path / "robot.yaml", lost)
    command = ["train", "--example", "b", "--params", "robot.yaml"]
    assert main([*command, "--out", "lost.yaml"]) == 0
    said = capsys.readouterr()
    assert "warning: command is not in the recipe, because the recording b has no topic for it: its topic" in said.err
    assert "give --map command:=TOPIC" in said.err and "command.feilds" in said.err
    assert [spec.name for spec in Recipe.read("lost.yaml").specs] == ["wheels"]
    assert main([*command, "--map", "command:=/wheel_command", "--out", "found.yaml"]) == 0
    said = capsys.readouterr()
    assert "not in the recipe" not in said.err and "--map command:=/wheel_command" in said.out
    assert [spec.name for spec in Recipe.read("found.yaml").specs] == ["wheels", "command"]
    assert main([*command, "--map", "comand:=/wheel_command", "--out", "other.yaml"]) == 2
    assert "--map: saw sensor comand, expected one of wheels, command" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--seed", "0"], ["--resume"], ["--set", "batch=8"], ["--start-from", "model"]])
def test_options_of_a_training_are_refused_where_nothing_is_trained(option, tmp_path, capsys):
    assert main(["train", "--example", "windows", "--out", "recipe.yaml", *option]) == 2
    assert f"sentryfuse train: {option[0]}: saw it beside --example, expected none" in capsys.readouterr().err
    assert main(["train", "--config", "recipe.yaml", "--params", "robot.yaml", "--out", "model"]) == 2
    assert "sentryfuse train: --params: saw it beside --config, expected none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
