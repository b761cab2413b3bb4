"""A localization node whose camera, network and clock fail in turn: one process, one fault after the other."""

from __future__ import annotations

from collections.abc import Iterator

import fault_samples as faults
import numpy as np
import pytest
from fault_samples import Bench, Camera, Sending, message, usual, views


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("camera")
    with faults.bench({"mode": "repeat", "map": str(faults.teach(folder / "site.vloc"))}, folder) as made:
        made.camera.calibrate()
        made.well()
        yield made


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    """In good order before a fault and again after it; no pose between was wrong."""
    yield running
    running.recover()


def test_unplugged_and_back(bench: Bench) -> None:
    """The publishers go; those that come have other GUIDs."""
    bench.camera.unplug()
    shown = len(bench.processed)
    bench.probe.wait(lambda: "nobody publishes it" in bench.problems.get("problem_no_images", ""), "the reason", 60.0)
    bench.camera = Camera(bench.probe)
    bench.camera.connect()
    bench.play(lambda: len(bench.processed) > shown + 5, "frames of the new camera")
    assert bench.judge() > 0


def test_a_third_of_the_images_is_lost(bench: Bench) -> None:
    random = np.random.default_rng(7)

    def lossy(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        return [entry for entry in usual(bench, index, stamp_ns) if random.random() > 0.3]

    unpaired = bench.number("images_unpaired")
    bench.play(lambda: "of 10 images have no partner" in bench.problems.get("problem_unpaired", ""), "the reason", lossy)
    assert bench.number("images_unpaired") > unpaired
    assert bench.judge() > 0


def test_images_come_up_to_200_ms_late(bench: Bench) -> None:
    """In another order on either side; with room for two periods in the queue, most still find their partner."""
    random = np.random.default_rng(11)

    def jittered(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        return [(random.uniform(0.0, 0.2), side, image) for _, side, image in usual(bench, index, stamp_ns)]

    shown = len(bench.processed)
    bench.play(lambda: len(bench.processed) > shown + 20, "frames", jittered)
    assert bench.judge() > 0


def test_left_comes_one_frame_late(bench: Bench) -> None:
    """Each left image arrives when the next right one does."""

    def late(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        return [(faults.PERIOD_S if side == "left" else 0.0, side, image) for _, side, image in usual(bench, index, stamp_ns)]

    shown, unpaired = len(bench.processed), bench.number("images_unpaired")
    bench.play(lambda: len(bench.processed) > shown + 15, "frames", late)
    assert bench.judge() > 0
    assert bench.number("images_unpaired") - unpaired <= 2


def test_left_is_the_frame_before(bench: Bench) -> None:
    """The driver stamps the left image of the frame before with the stamp of the right one: the pair is none."""
    before = [0]

    def shifted(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        left, (before[0], right) = views(before[0])[0], (index, views(index)[1])
        return [(0.0, "left", message(stamp_ns, left)), (0.0, "right", message(stamp_ns, right))]

    reason = "left and right are not of one moment"
    bench.play(lambda: reason in bench.problems.get("problem_not_one_moment", ""), "the reason", shifted)
    # Lenses of unequal zoom look the same, and repeat a route well: so the poses, which are spoiled, are not held back.
    bench.play_to_poses("of a camera in good order")
    bench.poses.clear()


def test_stamps_in_disorder_and_twice(bench: Bench) -> None:
    """Of three frames the second and third change places on one side, and one comes three times."""

    def disordered(_bench: Bench, index: int, stamp_ns: int) -> Sending:
        left, right = (entry[2] for entry in usual(bench, index, stamp_ns))
        swapped = 2.5 * faults.PERIOD_S if index % 3 == 1 else 0.0
        return [(swapped, "left", left), (0.0, "right", right), (0.0, "right", right), (0.01, "left", left)]

    bench.play(lambda: "carry the stamp of another one" in bench.problems.get("problem_unpaired", ""), "the reason", disordered)
    assert bench.judge() > 0


def test_stamps_jump_back(bench: Bench) -> None:
    restarts = bench.number("time_restarts")
    bench.offset_ns = -3600 * 10**9
    reason = "the stamps of the images jumped back by"
    bench.play(lambda: reason in bench.problems.get("problem_time_jumped_back", ""), "the reason")
    bench.play(lambda: "problem_time_jumped_back" not in bench.problems, "the end of it")
    assert bench.number("time_restarts") > restarts
    assert bench.judge() > 0


def test_stamps_jump_forward(bench: Bench) -> None:
    """By an hour; the fixture sets the clock right again, which is a jump back."""
    bench.offset_ns = 3600 * 10**9
    reason = "the stamps of the images jumped forward by"
    bench.play(lambda: reason in bench.problems.get("problem_time_jumped_forward", ""), "the reason")
    bench.play(lambda: "problem_time_jumped_forward" not in bench.problems, "the end of it")
    assert bench.judge() > 0


def test_stamps_are_zero(bench: Bench) -> None:
    def unstamped(_bench: Bench, index: int, _stamp_ns: int) -> Sending:
        bench.truth.setdefault(0, faults.POSES[index])
        return usual(bench, index, 0)

    bench.play(lambda: "have no stamp (it is 0)" in bench.problems.get("problem_bad_stamp", ""), "the reason", unstamped)
    bench.judge()
