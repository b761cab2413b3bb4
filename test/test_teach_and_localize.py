"""Teaching and localising in a small rendered corridor with known truth: accuracy, states, and no pose that is not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ros_samples import CAMERA, pair, walk

from vloc_ros.config import replace
from vloc_ros.data import StereoFrame
from vloc_ros.errors import CalibrationError, ConfigError, DataError, MapError
from vloc_ros.features import extractors
from vloc_ros.features.frontend import FrontEnd
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.geometry.motion import Motion
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.geometry.uncertainty import isotropic
from vloc_ros.localization import Localizer
from vloc_ros.mapping import MapStore, State, Teacher
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.odometry import StereoOdometry
from vloc_ros.settings import Settings

SETTINGS = replace(Settings(), {"keyframes.distance": 0.3, "stereo.min_depth": 0.8, "features.max_features": 500})
POSES = walk(32)
SECOND = 1_000_000_000
BLACK = np.zeros((CAMERA.height, CAMERA.width), np.uint8)


def frame(pose: np.ndarray, number: int, place: int = 0) -> StereoFrame:
    left, right = pair(pose, place)
    return StereoFrame(SECOND + number * SECOND // 10, left, right)


@pytest.fixture(scope="module")
def frames() -> list[StereoFrame]:
    return [frame(pose, number) for number, pose in enumerate(POSES)]


def new_map(path: Path, settings: Settings = SETTINGS, camera: StereoCamera = CAMERA) -> MapStore:
    extractor = settings.features.create()
    return MapStore.create(path, camera, BASE_T_OPTICAL, extractor.name, extractor.fingerprint)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, frames: list[StereoFrame]) -> Path:
    """A map taught on the even frames."""
    path = tmp_path_factory.mktemp("site") / "site.vloc"
    with new_map(path) as store:
        teacher = Teacher(CAMERA, store, SETTINGS, "corridor")
        results = [teacher.process(f) for f in frames[::2]]
        teacher.close()
    assert all(r.reason is None and r.state is State.LOCALISED for r in results)
    return path


def true_base(index: int) -> np.ndarray:
    """map_T_base: the map frame is the base frame of the first keyframe."""
    camera = se3.between(POSES[0], POSES[index])
    return BASE_T_OPTICAL @ camera @ se3.inverse(BASE_T_OPTICAL)


def position_error(pose: np.ndarray, index: int) -> float:
    return float(np.linalg.norm(pose[:3, 3] - true_base(index)[:3, 3]))


@pytest.fixture
def localizer(site: Path):
    with MapStore.open(site, read_only=True) as store:
        yield Localizer(CAMERA, store, SETTINGS)


def test_teaching_makes_a_healthy_map(site: Path) -> None:
    assert check_map(site) == []
    with MapStore.open(site, read_only=True) as store:
        keyframes, edges = store.keyframes(), store.edges()
    assert 6 <= len(keyframes) <= 14 and len(edges) == len(keyframes) - 1
    index_of = {SECOND + n * SECOND // 10: n for n in range(len(POSES))}
    for keyframe in keyframes:
        assert position_error(keyframe.map_T_base, index_of[keyframe.stamp_ns]) < 0.03
    for edge in edges:
        assert np.all(np.linalg.eigvalsh(edge.covariance) > 0)


@pytest.mark.parametrize("name", extractors())
def test_repeat_between_the_taught_frames(name: str, tmp_path: Path, frames: list[StereoFrame]) -> None:
    settings = replace(SETTINGS, {"features.name": name})
    with new_map(tmp_path / "m.vloc", settings) as store:
        teacher = Teacher(CAMERA, store, settings)
        for f in frames[::2]:
            teacher.process(f)
        results = [Localizer(CAMERA, store, settings).process(frames[1])]
        tracker = Localizer(CAMERA, store, settings)
        results = [tracker.process(f) for f in frames[1::2]]
    for index, result in zip(range(1, len(POSES), 2), results, strict=True):
        assert result.state is State.LOCALISED and result.fix and result.reason is None
        assert result.map_T_base is not None and position_error(result.map_T_base, index) < 0.05
        assert result.inliers >= settings.localization.min_inliers
        assert result.match is not None and len(result.match.live_pixels) == len(result.match.map_pixels) > 0


def test_errors_fit_their_covariance(localizer: Localizer, frames: list[StereoFrame]) -> None:
    for index in range(1, len(POSES), 2):
        result = localizer.process(frames[index])
        sigma = np.sqrt(np.diag(result.map_covariance))
        xi = se3.log(se3.between(true_base(index), result.map_T_base))
        assert np.all(np.abs(xi) < 5 * sigma), (index, xi / sigma)


def test_another_place_is_never_believed(localizer: Localizer) -> None:
    for number, pose in enumerate(POSES):
        result = localizer.process(frame(pose, number, place=1))
        assert result.map_T_base is None and result.state is State.RELOCALISING and result.reason is not None


def test_the_start_may_be_anywhere(site: Path, frames: list[StereoFrame]) -> None:
    for index in range(1, len(POSES), 6):
        with MapStore.open(site, read_only=True) as store:
            localizer = Localizer(CAMERA, store, SETTINGS)
            results = [localizer.process(f) for f in frames[index : index + 3]]
        assert results[-1].map_T_base is not None, f"not found from frame {index}"
        assert position_error(results[-1].map_T_base, min(index + 2, len(POSES) - 1)) < 0.05


def test_covered_camera_dead_reckons_then_is_lost_and_recovers(localizer: Localizer, frames: list[StereoFrame]) -> None:
    for f in frames[:6]:
        localizer.process(f)
    sigmas, states, number = [], [], 6
    for number in range(6, 30):
        result = localizer.process(StereoFrame(SECOND + number * SECOND // 10, BLACK, BLACK))
        states.append(result.state)
        assert not result.fix and result.reason is RejectReason.BLANK_IMAGE and result.odom_T_base is None
        if result.map_T_base is not None:
            assert result.state is State.DEAD_RECKONING and result.map_covariance is not None
            sigmas.append(result.map_covariance[0, 0])
    assert states[0] is State.DEAD_RECKONING and states[-1] is State.LOST
    assert np.all(np.diff(sigmas) > 0), "uncertainty grows while nothing is seen"
    for extra, f in enumerate(frames[6:12]):
        result = localizer.process(StereoFrame(SECOND * 5 + extra * SECOND // 10, f.left, f.right))
    assert result.state is State.LOCALISED and position_error(result.map_T_base, 11) < 0.05


def test_wheels_bridge_a_covered_camera(localizer: Localizer, frames: list[StereoFrame]) -> None:
    for f in frames[:6]:
        localizer.process(f)
    for index in range(6, 12):
        motion = Motion(se3.between(true_base(index - 1), true_base(index)), isotropic(0.002, 0.001))
        result = localizer.process(StereoFrame(SECOND + index * SECOND // 10, BLACK, BLACK), motion)
    assert result.state is State.DEAD_RECKONING and result.map_T_base is not None
    assert position_error(result.map_T_base, 11) < 0.06


def test_a_kidnapped_robot_does_not_jump_on_one_frame(localizer: Localizer, frames: list[StereoFrame]) -> None:
    for f in frames[:4]:
        localizer.process(f)
    believed = []
    for number, index in enumerate(range(22, 32)):
        far = frames[index]
        result = localizer.process(StereoFrame(SECOND * 2 + number * SECOND // 10, far.left, far.right))
        believed.append(None if result.map_T_base is None else position_error(result.map_T_base, index))
        assert not result.fix or believed[-1] < 0.1, "a fix is right or it is none"
    assert believed[-1] is not None and believed[-1] < 0.1, "and in the end it knows where it was put"


def test_a_prediction_that_strong_evidence_contradicts_is_dropped_at_once(localizer: Localizer, frames: list[StereoFrame]) -> None:
    """Visual odometry in fog once was wrong by half a metre and sure of it, and 200 right matches were refused for it."""
    localizer.process(frames[7])
    localizer.set_pose(true_base(8) @ se3.exp(np.array([0.4, -0.3, 0, 0, 0, 0])), isotropic(0.01, 0.002))
    results = [localizer.process(f) for f in frames[8:13]]
    errors = [position_error(r.map_T_base, 8 + i) for i, r in enumerate(results) if r.map_T_base is not None]
    assert results[0].reason is RejectReason.UNCONFIRMED, "one frame is not believed either"
    assert results[-1].state is State.LOCALISED and max(errors) < 0.05, "no pose is published in between"


def test_few_tracked_corners_are_weighed_against_matched_features(frames: list[StereoFrame]) -> None:
    settings = replace(SETTINGS, {"features.max_corners": 50})
    frontend = FrontEnd(CAMERA, settings.features, settings.stereo)
    before, after = (frontend.observe(f) for f in frames[:2])
    odometry = StereoOdometry(CAMERA, frontend.extractor.metric, settings.odometry, settings.matching, settings.pnp)
    odometry.update(before)
    step = odometry.update(after)
    assert step.inliers > len(before.corners) and step.previous_T_camera is not None
    assert se3.translation_norm(se3.between(se3.between(POSES[0], POSES[1]), step.previous_T_camera)) < 0.01


def test_an_operator_may_say_where_the_robot_is(localizer: Localizer, frames: list[StereoFrame]) -> None:
    localizer.set_pose(true_base(8) @ se3.exp(np.array([0.1, -0.1, 0, 0, 0, 0.02])), isotropic(0.2, 0.05))
    assert localizer.state is State.DEAD_RECKONING
    result = localizer.process(frames[8])
    assert result.state is State.LOCALISED and position_error(result.map_T_base, 8) < 0.05


def test_reset_forgets(localizer: Localizer, frames: list[StereoFrame]) -> None:
    localizer.process(frames[1])
    localizer.reset()
    assert localizer.state is State.UNINITIALISED
    assert localizer.process(StereoFrame(SECOND * 9, BLACK, BLACK)).map_T_base is None


def test_old_and_repeated_stamps_are_refused(localizer: Localizer, frames: list[StereoFrame]) -> None:
    localizer.process(frames[5])
    for stale in (frames[5], frames[3]):
        result = localizer.process(stale)
        assert result.reason is RejectReason.STAMP_NOT_NEWER and result.odom_T_base is None
    assert localizer.process(frames[6]).fix


def test_a_clock_that_jumps_back_starts_afresh(localizer: Localizer, frames: list[StereoFrame]) -> None:
    late = [StereoFrame(f.stamp_ns + 100 * SECOND, f.left, f.right) for f in frames[20:22]]
    for f in late:
        localizer.process(f)
    results = [localizer.process(f) for f in frames[1:4]]
    assert results[-1].state is State.LOCALISED and position_error(results[-1].map_T_base, 3) < 0.05


def test_interrupted_teaching_goes_on_where_it_was(tmp_path: Path, frames: list[StereoFrame]) -> None:
    path = tmp_path / "m.vloc"
    with new_map(path) as store:
        teacher = Teacher(CAMERA, store, SETTINGS)
        for f in frames[:10]:
            teacher.process(f)
        before = len(store.keyframes())
        for number in range(10, 14):
            result = teacher.process(StereoFrame(SECOND + number * SECOND // 10, BLACK, BLACK))
        assert result.state is State.LOST and result.map_T_base is None and result.reason is RejectReason.BLANK_IMAGE
        assert len(store.keyframes()) == before
        for number, f in enumerate(frames[10:24]):
            result = teacher.process(StereoFrame(SECOND * 5 + number * SECOND // 10, f.left, f.right))
        assert result.state is State.LOCALISED and result.reason is None
        assert position_error(result.map_T_base, 23) < 0.05
    assert check_map(path) == []


def test_a_keyframe_can_be_forced(tmp_path: Path, frames: list[StereoFrame]) -> None:
    with new_map(tmp_path / "m.vloc") as store:
        teacher = Teacher(CAMERA, store, SETTINGS)
        assert teacher.process(frames[0]).keyframe is not None
        assert teacher.process(frames[1]).keyframe is None
        assert teacher.process(frames[2], force_keyframe=True).keyframe is not None


def test_standing_still_adds_nothing(tmp_path: Path, frames: list[StereoFrame]) -> None:
    with new_map(tmp_path / "m.vloc") as store:
        teacher = Teacher(CAMERA, store, SETTINGS)
        for number in range(10):
            teacher.process(StereoFrame(SECOND + number, frames[0].left, frames[0].right))
        assert len(store.keyframes()) == 1


def test_what_does_not_fit_the_map_is_refused(site: Path, frames: list[StereoFrame], tmp_path: Path) -> None:
    with MapStore.open(site, read_only=True) as store:
        other = StereoCamera(320, 240, 210.0, 210.0, 159.5, 119.5, 0.2)
        with pytest.raises(MapError, match="fx"):
            Localizer(other, store, SETTINGS)
        with pytest.raises(MapError, match="orb"):
            Localizer(CAMERA, store, replace(SETTINGS, {"features.name": "orb"}))
        with pytest.raises(MapError, match="orb"):
            Teacher(CAMERA, store, replace(SETTINGS, {"features.name": "orb"}))
        with pytest.raises(CalibrationError, match="160x120"):
            Localizer(CAMERA, store, SETTINGS).process(StereoFrame(0, BLACK[:120, :160], BLACK[:120, :160]))
    with new_map(tmp_path / "empty.vloc") as store, pytest.raises(MapError, match="no keyframe"):
        Localizer(CAMERA, store, SETTINGS)


def test_without_a_choice_of_features_the_map_decides(tmp_path: Path, frames: list[StereoFrame]) -> None:
    automatic = replace(SETTINGS, {"features.name": "auto"})
    path = tmp_path / "orb.vloc"
    with new_map(path, replace(SETTINGS, {"features.name": "orb"})) as store:
        Teacher(CAMERA, store, automatic).process(frames[0])
        assert Localizer(CAMERA, store, automatic).process(frames[0]).fix


def test_a_map_of_features_that_are_not_here_says_what_to_do(tmp_path: Path, frames: list[StereoFrame]) -> None:
    with (
        MapStore.create(tmp_path / "m.vloc", CAMERA, BASE_T_OPTICAL, "yard", "yard 1") as store,
        pytest.raises(ConfigError, match=r"made with features 'yard'.*--features FILE"),
    ):
        Teacher(CAMERA, store, replace(SETTINGS, {"features.name": "auto"}))


def test_an_operator_who_points_beside_the_map_is_not_believed(localizer: Localizer, frames: list[StereoFrame]) -> None:
    with pytest.raises(DataError, match="m from the nearest keyframe"):
        localizer.set_pose(true_base(8) @ se3.exp(np.array([300.0, 0, 0, 0, 0, 0])), isotropic(0.2, 0.05))
    assert localizer.state is State.UNINITIALISED


def test_an_operator_who_is_certain_and_wrong_is_corrected(localizer: Localizer, frames: list[StereoFrame]) -> None:
    localizer.set_pose(true_base(8) @ se3.exp(np.array([0.5, -0.3, 0, 0, 0, 0.1])), np.zeros((6, 6)))
    results = [localizer.process(f) for f in frames[8:13]]
    assert results[-1].state is State.LOCALISED and position_error(results[-1].map_T_base, 12) < 0.05
