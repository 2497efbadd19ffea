"""A sensor that lies: noticed from what the model was trained on, masked or warned of, and believed again."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cdr_messages import imu, raw
from trust_maker import IMU, imu_table, imu_windows, trusting_engine, windows_of
from virtual_robot import T0, Robot, tiny_engine

from sentryfuse_ros.errors import CheckpointError
from sentryfuse_ros.model.checkpoint import read_checkpoint, trust_path, write_trust
from sentryfuse_ros.nanoseconds import NS_PER_S as NS
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.preprocessing import ModalitySpec
from sentryfuse_ros.preprocessing.audio import log_mel
from sentryfuse_ros.preprocessing.normalise import normalise
from sentryfuse_ros.runtime.engine import Engine
from sentryfuse_ros.runtime.pipeline import Pipeline
from sentryfuse_ros.sensing.liveness import State
from sentryfuse_ros.sensing.quantities import median, quantiles, quantities
from sentryfuse_ros.sensing.trust_table import MEASURED, Plausibility, TrustTable, tables_of, trust_record
from sentryfuse_ros.sensor_kinds import sensor_kind
from sentryfuse_ros.settings import build_settings
from sentryfuse_ros.training.made_up_lies import LOGIT_MARGIN, MadeUpLie
from sentryfuse_ros.training.trust import (
    MARGIN,
    WEATHER_RARE,
    Measured,
    Numbers,
    Windows,
    fit_measured,
    fit_table,
    measure,
)

G = 9.80665


@pytest.fixture(scope="module")
def table():
    return imu_table()


@pytest.fixture(scope="module")
def engine(table):
    return trusting_engine(table)


def in_g(robot):
    def send(stamp):
        accel = (robot.random.normal(0, 0.2, 3) + (0, 0, 9.8)) / G
        return raw(imu(robot.random.normal(0, 0.2, 3), accel, stamp_ns=stamp))

    return send


def states(predictions, name="imu"):
    return [p.tick.statuses[name].state for p in predictions]


def agree(predictions):
    """State and mask agree at every tick."""
    return all(
        p.tick.mask.tolist() == [p.tick.statuses[name].live for name in ("camera", "imu", "audio", "lidar")] for p in predictions
    )


def test_accelerations_in_g_are_masked_within_two_seconds_with_the_reason(engine):
    robot = Robot(engine)
    before = robot.run(3.0)
    assert set(states(before)[10:]) == {State.OK} and agree(before)
    robot.make["imu"] = in_g(robot)
    lying = robot.run(4.0)
    seen = states(lying)
    assert State.IMPLAUSIBLE in seen[:20] and set(seen[20:]) == {State.IMPLAUSIBLE} and agree(lying)
    status = lying[-1].tick.statuses["imu"]
    assert status.alarm and not status.live and not lying[-1].tick.mask[1] and lying[-1].valid
    assert "acceleration" in status.reason and "trained on" in status.reason and "accelerations in g" in status.reason


def test_a_sensor_that_is_right_again_comes_back_without_the_rows_of_its_lie(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    assert states(robot.run(3.0))[-1] == State.IMPLAUSIBLE
    robot.make["imu"] = robot.imu
    back = robot.run(2.0)
    assert State.RECOVERING in states(back) and states(back)[-1] == State.OK and agree(back)
    first = next(p for p in back if p.tick.statuses["imu"].state == State.OK)
    upright = first.tick.inputs["imu"][:, 5]
    assert (upright[upright != 0] > 5).all()  # no row in g is left
    recovering = next(p for p in back if p.tick.statuses["imu"].state == State.RECOVERING)
    assert recovering.tick.statuses["imu"].reason.endswith("of 3 plausible windows after IMPLAUSIBLE")


def test_a_lie_of_a_moment_takes_the_bit_for_no_longer_than_it_is_in_the_window(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    robot.run(0.1)
    robot.make["imu"] = robot.imu
    assert set(states(robot.run(3.0))[15:]) == {State.OK}


def test_a_warning_leaves_the_bit_and_says_why(engine):
    robot = Robot(engine, **{"imu.trust": "warn"})
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    last = robot.run(3.0)[-1]
    status = last.tick.statuses["imu"]
    assert status.state == State.OK and last.tick.mask[1] and status.suspect and not status.alarm
    assert status.reason.startswith("unlike what the model was trained on: ")
    robot.make["imu"] = robot.imu
    status = robot.run(3.0)[-1].tick.statuses["imu"]
    assert not status.suspect and status.reason == ""


def test_off_does_not_look(engine):
    robot = Robot(engine, **{"imu.trust": "off"})
    robot.make["imu"] = in_g(robot)
    status = robot.run(3.0)[-1].tick.statuses["imu"]
    assert status.state == State.OK and not status.suspect and "imu" not in robot.pipeline.robot_sensors.unjudged


def test_a_checkpoint_without_tables_runs_as_before_and_says_so(engine):
    robot = Robot(tiny_engine())
    robot.make["imu"] = in_g(robot)
    assert robot.run(3.0)[-1].tick.statuses["imu"].state == State.OK
    assert robot.pipeline.robot_sensors.unjudged == ("camera", "imu", "audio", "lidar")
    assert Robot(engine).pipeline.robot_sensors.unjudged == ("camera", "audio", "lidar")


def test_a_verdict_shows_from_the_next_tick_on_in_state_mask_and_reason_alike(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    watch = robot.pipeline.robot_sensors._sensors["imu"].trust
    while not watch.distrusted:
        last = robot.step()
    status = last.tick.statuses["imu"]
    assert last.tick.hearings and last.tick.mask[1] and status.live and "IMPLAUSIBLE" not in status.reason
    after = robot.step().tick
    assert not after.mask[1] and after.statuses["imu"].state == State.IMPLAUSIBLE and "imu" not in after.inputs


def test_a_window_is_judged_once_and_not_after_a_reset(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    robot.run(1.0)  # the lie fills the part that is judged
    watch = robot.pipeline.robot_sensors._sensors["imu"].trust
    watch.reset()
    tick = robot.pipeline.snapshot(robot.now_ns, robot.now_ns)
    for _ in range(4):  # jobs of a worker that fell behind hold the same window
        robot.pipeline.judge(tick)
    assert not watch.distrusted and robot.step().tick.mask[1]
    tick = robot.pipeline.snapshot(robot.now_ns, robot.now_ns)
    watch.reset()
    robot.pipeline.judge(tick)
    assert watch.due(tick.snapshot.newest_ns) and not watch._bad_run


def test_a_spare_serves_in_the_place_of_a_sensor_that_lies(engine):
    robot = Robot(
        engine, sensors=["camera", "imu", "spare", "audio", "lidar"], **{"spare.kind": "imu", "spare.model_input": "imu"}
    )
    robot.rates["spare"] = 100
    robot.make["spare"] = lambda stamp: Robot.imu(robot, stamp)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    ran = robot.run(3.0)
    assert all(p.tick.mask[1] for p in ran)  # at no tick is there no IMU
    assert ran[-1].tick.serving[1] == "spare" and states(ran)[-1] == State.IMPLAUSIBLE
    robot.make["imu"] = lambda stamp: Robot.imu(robot, stamp)
    assert robot.run(3.0)[-1].tick.serving[1] == "imu"


def test_a_sensor_that_loses_messages_does_not_lie(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.rates["imu"] = 8  # interpolated, its windows are smooth as no IMU is
    assert set(states(robot.run(3.0))) <= {State.OK, State.STALE, State.RECOVERING}
    robot.rates["imu"] = 100
    assert states(robot.run(2.0))[-1] == State.OK


def test_silence_comes_before_implausibility_and_the_lie_is_remembered(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    robot.run(3.0)
    robot.off.add("imu")
    assert states(robot.run(1.0))[-1] == State.STALE
    robot.off.clear()
    ran = robot.run(2.0)
    assert State.OK not in states(ran) and states(ran)[-1] == State.IMPLAUSIBLE and agree(ran)


def test_a_jump_of_the_clock_forgets_the_lie(engine):
    robot = Robot(engine)
    robot.run(2.0)
    robot.make["imu"] = in_g(robot)
    robot.run(3.0)
    robot.make["imu"] = robot.imu
    robot.pipeline.reset()
    assert states(robot.run(1.0))[-1] == State.OK


def test_a_table_survives_its_json(table):
    again = tables_of(json.loads(json.dumps(trust_record({"imu": table}, "a command"))), "test")["imu"]
    for x in (*imu_windows(20, seed=5), *imu_windows(20, seed=6) / np.float32(G)):
        found = quantities(IMU, x)
        assert again.judge(found).verdict == table.judge(found).verdict
    assert again.names == table.names and again.windows == table.windows == 225


def test_a_table_of_other_quantities_or_inputs_is_as_if_there_were_none(table):
    record = trust_record({"imu": table, "nose": table}, "")
    engine = Engine(replace(tiny_engine().checkpoint, trust=record), tiny_engine().backend)
    assert set(engine.trust_tables) == {"imu"}
    record["inputs"]["imu"]["quantities"] = {f"old {n}": v for n, v in record["inputs"]["imu"]["quantities"].items()}
    engine = Engine(replace(engine.checkpoint, trust=record), engine.backend)
    assert engine.trust_tables == {} and Robot(engine).pipeline.robot_sensors.unjudged == ("camera", "imu", "audio", "lidar")


def test_clean_windows_are_near_and_lies_are_not(table):
    verdicts = [table.judge(quantities(IMU, x)).verdict for x in imu_windows(200, seed=9)]
    assert np.count_nonzero(np.array(verdicts) == Plausibility.IMPLAUSIBLE) == 0
    lies = imu_windows(50, seed=10)
    lies[..., 5] -= 9.8  # gravity removed
    assert {table.judge(quantities(IMU, x)).verdict for x in lies} == {Plausibility.IMPLAUSIBLE}


@pytest.mark.parametrize("name", ["camera", "imu", "audio", "lidar"])
def test_quantities_do_not_depend_on_how_an_input_is_normalised(name):
    spec = next(s for s in read_checkpoint(model_path("ground_robot")).config.modalities if s.name == name)
    plain = replace(spec, mean=(), std=())
    random = np.random.default_rng(0)
    x = random.uniform(0.1, 3, (1, *spec.shape)).astype(np.float32)
    if name == "lidar":
        x *= random.random((1, spec.shape[0], 1, *spec.shape[2:])) < 0.7  # cells without a return
    assert spec.mean and spec.std
    raw_numbers, numbers = quantities(plain, x[0]), quantities(spec, normalise(spec, x)[0])
    assert list(raw_numbers) == list(numbers)
    np.testing.assert_allclose(list(numbers.values()), list(raw_numbers.values()), rtol=1e-3, atol=2e-3)


def test_sound_that_is_sent_twice_is_less_new_than_any_other_sound():
    spec = next(s for s in read_checkpoint(model_path("ground_robot")).config.modalities if s.name == "audio")
    spec = replace(spec, mean=(), std=())
    random = np.random.default_rng(0)
    hum = 0.2 * np.sin(2 * np.pi * 120 * np.arange(32000) / 16000)
    sounds = [random.normal(0, level, 32000) + share * hum for level in (0.01, 0.1) for share in (0.0, 1.0)]

    def novelty(sound):
        return quantities(spec, log_mel(sound.astype(np.float32), spec))["log novelty of a frame"]

    def twice(sound):
        return np.tile(sound.reshape(-1, 8000)[:, :4000], 2).reshape(-1)

    assert max(novelty(twice(sound)) for sound in sounds) < min(novelty(sound) for sound in sounds) - 1


def test_a_judgement_names_the_lie_and_those_that_it_does_not_disprove(table):
    honest = [table.judge(quantities(IMU, x)) for x in imu_windows(50, seed=11)]
    assert {j.lie for j in honest} == {""} and not any("accel_in_g" in j.possible for j in honest)
    in_g_only = imu_windows(50, seed=12)
    in_g_only[..., 3:] /= np.float32(G)
    told = [table.judge(quantities(IMU, x)) for x in in_g_only]
    assert {j.lie for j in told} == {"accel_in_g"} and all("accel_in_g" in j.possible for j in told)


def test_a_window_with_too_few_steps_is_not_judged():
    x = imu_windows(1)[0]
    x[24:] = 0  # the newest half has 4 steps of 20
    assert quantities(IMU, x) is None and quantities(IMU, np.zeros(IMU.shape, np.float32)) is None


@pytest.mark.parametrize(
    "kind, shape, encoding",
    [
        *(("series", (steps, 2), "") for steps in (2, 4, 6, 8, 10)),
        ("imu", (6, 6), ""),
        *(("audio", (frames, 8), "") for frames in (2, 4)),
        *(("camera", (2, 3, *size), "rgb") for size in ((54, 8), (8, 3), (1, 64), (2, 64))),
        ("camera", (1, 1, 2, 2), "depth_m"),
        ("lidar", (2, 4, 1, 160), ""),
    ],
)
@pytest.mark.filterwarnings("error")
def test_the_table_of_a_short_or_small_input_can_be_read_again(kind, shape, encoding):
    x = np.random.default_rng(0).random((240, *shape), np.float32)
    spec = ModalitySpec("small", kind, 2.0, shape, encoding)
    table = fit_table(Windows(spec, len(x), lambda at: x[at], np.arange(len(x)) % 4 == 3, {}))
    assert np.isfinite(list(quantities(spec, x[0]).values())).all()
    assert tables_of(json.loads(json.dumps(trust_record({"small": table}, ""))), "test")["small"].names == table.names


def test_a_condition_that_a_table_had_not_seen_widens_its_limit():
    still, shaken = imu_windows(240), imu_windows(240, seed=3, shaken=12.0)
    x = np.concatenate((still, shaken))
    measured = measure(windows_of(x, {"vibration": np.arange(len(x)) >= 240}))
    measured = replace(measured, weather=Numbers(measured.clean.values[:0], measured.clean.of[:0]))  # which widens it as well
    loose, tight = fit_measured(measured), fit_measured(replace(measured, conditions={}))
    assert tight.implausible == pytest.approx(MARGIN * tight.far)
    assert loose.implausible > 1.2 * tight.implausible


def test_made_up_weather_widens_the_limit_of_the_distance():
    """Vibrations as strong as the strongest made-up ones are no lie, though no recording has them."""
    random, count = np.random.default_rng(0), 400
    clean = Numbers(random.normal(0, 1, (count, 3)), np.arange(count))
    calm = Numbers(random.normal(0, 1, (count, 3)), clean.of)
    rough = Numbers(calm.values.copy(), clean.of)
    rough.values[::25, 0] += 20
    held_out = np.arange(count) % 4 == 3
    tight, wide = (fit_measured(Measured(("a", "b", "c"), clean, weather, (), (), held_out, {})) for weather in (calm, rough))
    assert tight.implausible == pytest.approx(MARGIN * tight.far)
    reached = wide.distances(wide.deviations(rough.values))
    assert wide.implausible == pytest.approx(np.quantile(reached, 1 - WEATHER_RARE)) and wide.implausible > 2 * wide.far
    far_out = {"a": 20.0, "b": 0.0, "c": 0.0}
    assert tight.judge(far_out).verdict == Plausibility.IMPLAUSIBLE and wide.judge(far_out).verdict == Plausibility.FAR
    # As far in the quantity that no weather moves: a lie.
    assert wide.judge({"a": 0.0, "b": 20.0, "c": 0.0}).verdict == Plausibility.IMPLAUSIBLE


def test_each_made_up_lie_is_told_alike_whichever_others_there_are(monkeypatch):
    windows = windows_of(imu_windows(200))
    every = measure(windows)
    assert len({numbers.of.tobytes() for numbers in every.told}) == len(every.lies) > 2  # each is told in windows of its own
    monkeypatch.setattr(type(sensor_kind("imu")), "made_up_lies", lambda self, spec: every.lies[2:])
    fewer = measure(windows)
    np.testing.assert_array_equal(fewer.weather.values, every.weather.values)
    for ours, theirs in zip(fewer.told, every.told[2:], strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.of, theirs.of)


def _told_by_degree(clean):
    """Windows of quantities (n, 3), every fourth for validation, and the same lie told in them, once as a lie by degree."""
    told, count = Numbers(clean + 1.5, np.arange(len(clean))), len(clean)
    lies = MadeUpLie("plain", "", lambda x, _: x), MadeUpLie("by_degree", "", lambda x, _: x, True, 0.5)
    none = Numbers(np.empty((0, 3)), np.empty(0, np.int64))
    return Measured(("a", "b", "c"), Numbers(clean, told.of), none, (told, told), lies, np.arange(count) % 4 == 3, {})


def test_the_second_limit_of_a_lie_lies_beyond_the_first_by_a_margin_of_its_own():
    table = fit_measured(_told_by_degree(np.random.default_rng(0).normal(0, 1, (400, 3))))
    plain, by_degree = table.suspicions
    assert table.judge({"a": 1.0, "b": 1.0, "c": 1.0}).possible == {"plain"}  # as many of the truth as of the lie are there
    assert tables_of(trust_record({"imu": table}, ""), "")["imu"].suspicions[1].by_degree
    assert plain.far == by_degree.far > 0
    assert plain.implausible - plain.far == pytest.approx(LOGIT_MARGIN)
    assert 0.5 <= by_degree.implausible - by_degree.far < 2


def test_a_recording_unlike_the_others_widens_the_margin_of_lies_by_degree():
    """The last tenth of the windows is as quiet as if the lie were half told; a table without it could not know."""
    clean = np.random.default_rng(0).normal(0, 1, (400, 3))
    alike = fit_measured(_told_by_degree(clean.copy())).suspicions
    clean[360:] += 1.2
    unlike = fit_measured(_told_by_degree(clean)).suspicions
    margins = [[s.implausible - s.far for s in suspicions] for suspicions in (alike, unlike)]
    assert margins[0][0] == margins[1][0] == pytest.approx(LOGIT_MARGIN)
    assert margins[1][1] > margins[0][1] + 0.5


def test_a_rare_scene_is_believed_and_does_not_widen_the_limit_of_other_quantities():
    """A drop in the ground is far out in some quantities of a few recordings."""
    random, count = np.random.default_rng(0), 2000
    values = random.normal(0, 1, (count, 3))
    values[:8, 2] += random.uniform(20, 40, 8)
    none = Numbers(np.empty((0, 3)), np.empty(0, np.int64))
    measured = Measured(("a", "b", "drop"), Numbers(values, np.arange(count)), none, (), (), np.arange(count) % 4 == 3, {})
    table = fit_measured(measured)
    assert table.judge({"a": 0.0, "b": 0.0, "drop": 50.0}).verdict < Plausibility.IMPLAUSIBLE
    assert table.judge({"a": 0.0, "b": 12.0, "drop": 0.0}).verdict == Plausibility.IMPLAUSIBLE
    assert table.judge({"a": 0.0, "b": 0.0, "drop": -50.0}).verdict == Plausibility.IMPLAUSIBLE  # no such hill was seen


def test_a_file_that_does_not_state_how_far_honest_windows_were_seen_is_read(table):
    record = trust_record({"imu": table}, "")
    for numbers in record["inputs"]["imu"]["quantities"].values():
        del numbers[5:]
    before = tables_of(record, "")["imu"]
    values = np.stack([table.centre + 20 * table.scale, table.centre - 20 * table.scale])
    np.testing.assert_allclose(before.deviations(values), np.repeat([[20.0], [-20.0]], len(table.names), axis=1), rtol=1e-3)


def test_an_input_that_never_changed_has_no_table():
    spec = ModalitySpec("relay", "series", 1.0, (20, 2))
    x = np.full((300, 20, 2), 1.5, np.float32)
    assert fit_table(Windows(spec, 300, lambda at: x[at], np.arange(300) % 4 == 3, {})) is None


def test_an_input_that_was_live_for_validation_only_has_no_table():
    x = imu_windows(400)
    x[:100] = 0
    assert fit_table(Windows(IMU, 400, lambda at: x[at], np.arange(400) >= 120, {})) is None


def test_too_few_windows_make_no_table():
    assert fit_table(windows_of(imu_windows(100))) is None


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda d: d.update(format_version=9), "trust file format_version: saw 9, expected 1"),
        (lambda d: d.pop("inputs"), "trust file inputs: saw no such key, only format_version, command, expected an object"),
        (lambda d: d.update(inputs=[]), "trust file inputs: saw list, expected an object"),
        (lambda d: d["inputs"]["imu"]["whiten"].pop(), "trust table of this version"),
        (lambda d: d["inputs"]["imu"].update(far="near"), "could not convert"),
        (lambda d: d["inputs"]["imu"].pop("lies"), "lies"),
        (lambda d: d["inputs"]["imu"]["lies"][0]["weights"].append(1.0), "weights"),
        (lambda d: d["inputs"]["imu"].update(far=float("inf")), "not finite"),
        (lambda d: d["inputs"]["imu"]["quantities"]["mean acceleration z [m/s^2]"].__setitem__(6, 0.0), "not positive"),
    ],
)
def test_a_damaged_table_is_named(table, damage, expected):
    record = json.loads(json.dumps(trust_record({"imu": table}, "")))
    damage(record)
    with pytest.raises(CheckpointError, match=expected):
        tables_of(record, "trust file")


def test_the_trust_file_lies_beside_the_weights_and_is_read_with_them(table, tmp_path):
    shipped = model_path("ground_robot")
    for file in ("model.safetensors", "model.json"):
        (tmp_path / file).write_bytes((shipped / file).read_bytes())
    assert read_checkpoint(tmp_path).trust == {}
    assert write_trust(tmp_path, trust_record({"imu": table}, "")) == trust_path(tmp_path) == tmp_path / "model.trust.json"
    assert isinstance(tables_of(read_checkpoint(tmp_path).trust, "")["imu"], TrustTable)
    trust_path(tmp_path).write_text("{")
    with pytest.raises(CheckpointError, match="model.trust.json"):
        read_checkpoint(tmp_path)


def test_the_reason_names_the_unusual_quantity(table):
    x = imu_windows(1, seed=4)[0]
    x[:, 5] += 10
    text = replace(table, suspicions=()).judge(quantities(IMU, x)).text
    assert text.startswith(("mean acceleration z [m/s^2] 19.", "acceleration magnitude [m/s^2] 19.")) and "trained on 9." in text


def test_the_shipped_model_tells_how_well_it_notices_lies():
    """`bench faults` repeats it, and benchmarks.trust writes it into the file."""
    measured = read_checkpoint(model_path("ground_robot")).trust["measured"]
    assert set(measured) == set(MEASURED)
    assert measured["lies"] >= 40 and measured["worst_lie_vs_unplugged_points"] >= -1
    assert measured["false_mask_share_new_nuisance"] <= 0.02


def test_the_shipped_model_does_not_believe_an_imu_that_never_sent_anything_but_g():
    pipeline = Pipeline(build_settings({"sensors": ["imu"]}), Engine.load(model_path("ground_robot")))
    random, now = np.random.default_rng(0), T0
    for _ in range(30):
        stamps = np.arange(now, now + NS // 10, NS // 200)
        sent = [raw(imu(random.normal(0, 0.02, 3), random.normal(0, 0.01, 3) + (0, 0, 1.0), stamp_ns=int(t))) for t in stamps]
        now += NS // 10
        pipeline.feed("imu", sent, stamps, now, now)
        last = pipeline.tick(now)
    status = last.tick.statuses["imu"]
    assert status.state == State.IMPLAUSIBLE and not last.valid and "imu IMPLAUSIBLE" in last.reason
    assert "acceleration" in status.reason and "accelerations in g" in status.reason


@pytest.mark.parametrize("count", [1, 2, 7, 8, 4001, 4002])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_median_is_that_of_numpy_to_the_bit(count, dtype):
    values = np.random.default_rng(count).normal(0, 3, count).astype(dtype)
    values[count // 3] = np.inf
    assert median(values) == np.median(values) and median(values).dtype == dtype
    assert median(values.reshape(1, -1)) == np.median(values)


@pytest.mark.parametrize("count", [1, 2, 5, 4000])
def test_quantiles_are_those_of_numpy(count):
    values = np.random.default_rng(count).normal(0, 3, count).astype(np.float32)
    shares = (0.0, 0.05, 0.5, 0.95, 1.0)
    assert quantiles(values, shares) == pytest.approx(np.quantile(values.astype(np.float64), shares), rel=1e-12, abs=1e-12)


def test_judging_loads_no_part_of_numpy_that_a_robot_does_not_need():
    """They would take 5 MB of its memory."""
    code = """
import sys
import numpy as np
before = set(sys.modules)  # numpy 1 loads all of itself
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.runtime.engine import Engine
engine = Engine.load(model_path("ground_robot"), backend="onnxruntime")
for spec in engine.specs:
    x = np.linspace(0.1, 1.0, int(np.prod(spec.shape)), dtype=np.float32).reshape(spec.shape)
    from sentryfuse_ros.sensing.quantities import quantities
    assert engine.trust_tables[spec.name].judge(quantities(spec, x))
print(*(name for name in ("numpy.ma", "numpy.random", "importlib.metadata") if name in set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout.split() == [], done.stdout + done.stderr
