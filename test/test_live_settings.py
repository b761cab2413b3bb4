"""Settings that are changed while something runs: nobody keeps the old ones, and what is known stays known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import ros_samples as samples
import yaml
from live_samples import nobody_holds_the_old, with_all_live_changed

from vloc_ros.calibration.cpu_budget import BudgetSettings, CpuBudget
from vloc_ros.config import from_dict, keys, load_yaml, param, replace, section, to_dict
from vloc_ros.data import StereoFrame
from vloc_ros.errors import VlocError
from vloc_ros.evaluation import RunLog
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.interfaces.parameters import PARAMETERS, parameters_of
from vloc_ros.localization import Localizer, State
from vloc_ros.mapping import MapStore, Teacher
from vloc_ros.path_following import FollowerSettings
from vloc_ros.retrieval.gates import Budget, GateReason
from vloc_ros.retrieval.gates import BudgetSettings as GateBudget
from vloc_ros.ros.calibration_keeper import CalibrationKeeper
from vloc_ros.ros.calibration_settings import CalibrationNodeSettings
from vloc_ros.ros.drive_control import DriveControl
from vloc_ros.ros.drive_switch import DriveSwitch
from vloc_ros.ros.node_settings import LocalizationNodeSettings, Mode
from vloc_ros.ros.pipeline import Pipeline
from vloc_ros.ros.pose_graph_keeper import GraphKeeper
from vloc_ros.ros.pose_graph_settings import GraphNodeSettings
from vloc_ros.ros.problems import Problems
from vloc_ros.settings import Settings

MS = 1_000_000
SETTINGS = replace(Settings(), {"keyframes.distance": 0.25, "features.max_features": 500})
POSES = samples.walk(6, step=0.15)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("site") / "site.vloc"
    extractor = SETTINGS.features.create()
    with MapStore.create(file, samples.CAMERA, BASE_T_OPTICAL, extractor.name, extractor.fingerprint) as store:
        teacher = Teacher(samples.CAMERA, store, SETTINGS)
        for index, pose in enumerate(POSES):
            teacher.process(StereoFrame(index * 100 * MS, *samples.pair(pose)))
        before = len(store.keyframes())
        # Keyframes farther apart, from the next frame on; the session goes on.
        after = with_all_live_changed(replace(SETTINGS, {"keyframes.distance": 50.0, "keyframes.min_inliers": 0}))
        teacher.tune(after)
        nobody_holds_the_old(teacher, SETTINGS, after)
        for index, pose in enumerate(samples.walk(3, offset=0.9, step=0.15)):
            teacher.process(StereoFrame((6 + index) * 100 * MS, *samples.pair(pose)))
        assert len(store.keyframes()) == before >= 3 and len(store.sessions()) == 1
        teacher.close()
    return file


def test_the_localizer_takes_over_thresholds_and_keeps_what_it_knows(site):
    with MapStore.open(site, read_only=True) as store:
        localizer = Localizer(samples.CAMERA, store, SETTINGS)

        def look(number: int):
            return localizer.process(StereoFrame((1000 + 100 * number) * MS, *samples.pair(POSES[number % len(POSES)])))

        results = [look(number) for number in range(4)]
        assert results[-1].state is State.LOCALISED and results[-1].inliers < 1000
        localizer.tune(replace(SETTINGS, {"localization.min_inliers": 1000, "localization.relocalise_min_inliers": 1000}))
        strict = look(4)
        assert (strict.state, strict.reason) == (State.DEAD_RECKONING, RejectReason.TOO_FEW_INLIERS), "it knows where it was"
        after = with_all_live_changed(SETTINGS)
        localizer.tune(after)
        assert look(5).state is State.LOCALISED
        nobody_holds_the_old(localizer, SETTINGS, after)


def test_a_run_says_what_was_changed_and_when(site, tmp_path):
    node = LocalizationNodeSettings(mode=Mode.REPEAT, map=str(site), out=str(tmp_path / "out"))
    pipeline = Pipeline(node, SETTINGS, BASE_T_OPTICAL)
    pipeline.prepare()
    first = replace(SETTINGS, {"localization.min_inliers": 16})
    pipeline.tune(node, first)  # before the camera is known
    pipeline.begin(samples.CAMERA)
    nobody_holds_the_old(pipeline, SETTINGS, first)
    for number in range(2):
        pipeline.log(pipeline.process(StereoFrame((1000 + 100 * number) * MS, *samples.pair(POSES[number])), None))
    second = replace(first, {"localization.min_inliers": 17, "pnp.max_sigma_m": 0.5})
    pipeline.tune(node, second)
    pipeline.tune(node, second)
    pipeline.close()
    text = (tmp_path / "out" / "config.yaml").read_text()
    assert from_dict(Settings, load_yaml(tmp_path / "out" / "config.yaml")) == second
    assert [line for line in text.splitlines() if line.startswith("# changed")] == [
        "# changed before frame 1: localization.min_inliers from 15 to 16",
        "# changed before frame 3: pnp.max_sigma_m from 1.0 to 0.5, localization.min_inliers from 16 to 17",
    ]


def test_what_cannot_be_recorded_is_taken_over_all_the_same(site, tmp_path):
    node = LocalizationNodeSettings(mode=Mode.REPEAT, map=str(site), out=str(tmp_path / "out"))
    pipeline = Pipeline(node, SETTINGS, BASE_T_OPTICAL)
    pipeline.prepare()
    pipeline.begin(samples.CAMERA)
    (tmp_path / "out" / "config.yaml").unlink()
    (tmp_path / "out" / "config.yaml").mkdir()
    after = with_all_live_changed(SETTINGS)
    with pytest.raises(VlocError, match=r"config\.yaml"):
        pipeline.tune(node, after)
    nobody_holds_the_old(pipeline, SETTINGS, after)
    pipeline.close()


def test_a_run_log_keeps_all_changes(tmp_path):
    with RunLog(tmp_path, "a: 1\n", "test") as log:
        log.changed("a: 2\n", {"a": (1, 2)})
        log.changed("a: 3\n", {"a": (2, 3)})
    text = (tmp_path / "config.yaml").read_text()
    assert yaml.safe_load(text) == {"a": 3} and text.count("# changed before frame 1") == 2


def test_the_follower_s_limits(tmp_path):
    settings = FollowerSettings()
    control = DriveControl(settings, DriveSwitch(True, None), Problems(lambda _: None), lambda: 0)
    after = with_all_live_changed(settings)
    control.tune(after)
    nobody_holds_the_old(control, settings, after)


def test_a_dead_man_s_switch_that_is_not_there_does_not_come_to_be():
    now = 0.0
    switch, none = DriveSwitch(True, 0.5, lambda: now), DriveSwitch(True, None, lambda: now)
    for each in (switch, none):
        each.tune(0.1)
    assert not none.has_dead_man and none.reason is None
    switch.hold(True)
    assert switch.reason is None
    now = 0.2
    assert switch.reason is not None


def test_a_smaller_bucket_loses_what_does_not_fit():
    budget = Budget(GateBudget(per_second=1.0, burst=10))
    assert budget.spend(0) is None
    budget.tune(GateBudget(per_second=1.0, burst=2))
    assert [budget.spend(0) for _ in range(3)] == [None, None, GateReason.OVER_BUDGET]
    budget.tune(GateBudget(per_second=100.0, burst=2))
    assert budget.spend(10 * MS) is None


def test_the_graph_is_judged_anew_when_that_may_come_out_otherwise():
    settings = GraphNodeSettings()
    keeper = GraphKeeper(settings, Problems(lambda _: None))
    try:
        keeper.tune(replace(settings, {"solver.period": 2.0}))
        assert not keeper._forced
        after = with_all_live_changed(settings)
        keeper.tune(after)
        assert keeper._forced
        nobody_holds_the_old(keeper, settings, after)
    finally:
        keeper.close()


def test_the_budget_of_the_trainer(tmp_path):
    settings = CalibrationNodeSettings(map=str(tmp_path / "site.vloc"))
    keeper = CalibrationKeeper(settings, PARAMETERS["calibration"][1], Problems(lambda _: None))
    try:
        after = with_all_live_changed(settings)
        keeper.tune(after)
        assert keeper.settings == after and keeper.lateness._settings == after.late
        assert keeper.supervisor._allowed == after.supervisor.budget
    finally:
        keeper.close()


def test_another_share_counts_from_now_on():
    budget = CpuBudget(BudgetSettings(share=1.0), 0.0)
    now = taken = 0.0
    for share in (1.0, 0.1, 0.5):
        budget.tune(BudgetSettings(share=share))
        taken, end = 0.0, now + 100.0
        while now < end:
            used = 0.05 if budget.restraint() is None else 0.0
            now += 0.05
            budget.spend(now, used)
            taken += used
        assert taken == pytest.approx(100.0 * share, abs=1.0)
    budget.tune(BudgetSettings(share=0.5, seconds_per_hour=10.0))
    assert budget.restraint() is not None, "what was taken before counts"


# --- what is live


@dataclasses.dataclass(frozen=True)
class Inner:
    gate: float = param(1.0, "a gate", min=0.0, max=2.0, live=True)
    size: int = param(1, "a size", min=1, max=9)


@dataclasses.dataclass(frozen=True)
class Outer:
    here: Inner = section(Inner)
    there: Inner = section(Inner, live=False)
    start: bool = param(True, "counts at the start", fixed=True)


def test_a_key_says_when_it_can_be_changed():
    assert {key.name: key.changeable for key in keys(Outer())} == {
        "here.gate": "while running",
        "here.size": "while unconfigured",
        "there.gate": "while unconfigured",
        "there.size": "while unconfigured",
        "start": "never",
    }
    assert replace(Outer(), {"there.gate": 0.5}).there.gate == 0.5 and set(to_dict(Outer())) == {"here", "there", "start"}


@pytest.mark.parametrize("node", PARAMETERS)
def test_what_would_contradict_what_was_computed_is_not_live(node):
    live = {key.name for key in parameters_of(node) if key.live}
    assert {key.name for key in parameters_of(node) if key.fixed} == {"autostart"}
    structural = ("map", "out", "mode", "work", "features.", "stereo.", "camera.", "frames.", "qos.", "sync.", "growth.", "drive.")
    noise = ("pixel_sigma", "disparity_sigma", "descriptor")
    assert not [name for name in live if name.startswith(structural) or name.endswith(noise)]
    assert bool(live) == (node not in ("player", "simulator"))
