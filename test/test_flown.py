"""Figures of a flight, from photos with known answers; and a whole flight by the node, over real topics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vloc_ros.aerial.flown import FlownPhoto, draw_track, judge_flight
from vloc_ros.cli import main
from vloc_ros.data.images import read_image


def photo(
    seconds: float, fix: tuple[float, float] | None, *, covered: bool = False, wall_s: float | None = 0.2, sigma: float = 2.0
) -> FlownPhoto:
    """At 10 m/s to the east; a fix is given by its error."""
    truth = np.array([10.0 * seconds, 0.0])
    found = None if fix is None else truth + fix
    return FlownPhoto(
        seconds, truth, truth + np.array([0.0, 3.0]), found, None if fix is None else sigma**2 * np.eye(2), covered, wall_s
    )


def test_the_figures_of_a_flight() -> None:
    photos = [
        photo(1.0, None),
        photo(2.0, (0.0, 1.0)),
        photo(3.0, (3.0, 4.0)),
        photo(4.0, None, covered=True),
        photo(5.0, None, covered=True),
        photo(6.0, None, wall_s=None),
        photo(7.0, (0.0, 0.0), wall_s=0.4),
        photo(8.0, (30.0, 0.0)),
    ]
    figures = judge_flight(photos)
    assert (figures.photos, figures.fixes, figures.false_fixes, figures.unanswered) == (8, 4, 1, 1)
    assert figures.flown_m == pytest.approx(70.0)
    assert figures.share_fixed == pytest.approx(4 / 6)
    assert figures.rms_m == pytest.approx(np.sqrt((1.0 + 25.0 + 0.0 + 900.0) / 4.0))
    assert (figures.median_m, figures.largest_m) == pytest.approx((3.0, 30.0))
    assert figures.within_two_sigma == pytest.approx(0.5)
    assert (figures.longest_without_s, figures.covered_s, figures.recovery_s) == pytest.approx((4.0, 2.0, 1.0))
    assert (figures.autopilot_rms_m, figures.autopilot_largest_m) == pytest.approx((3.0, 3.0))
    assert figures.answer_ms == pytest.approx(200.0)
    json.dumps(figures.to_dict(), allow_nan=False)


def test_nothing_is_claimed_of_a_flight_without_positions() -> None:
    figures = judge_flight([photo(1.0, None), photo(2.0, None, covered=True), photo(3.0, None)])
    assert (figures.fixes, figures.share_fixed) == (0, 0.0)
    assert figures.rms_m is figures.median_m is figures.recovery_s is figures.within_two_sigma is None
    assert figures.longest_without_s == 2.0
    assert judge_flight([photo(1.0, None, covered=True)]).share_fixed is None


def test_the_track_is_drawn_where_it_was() -> None:
    ground = np.zeros((40, 120, 3), np.uint8)
    photos = [photo(1.0, (0.0, 0.0)), photo(5.0, None), photo(10.0, (0.0, 40.0))]
    picture = draw_track(
        ground, lambda metres: np.column_stack([metres[:, 0], 20.0 - metres[:, 1] / 3.0]), photos, np.zeros((1, 2))
    )
    assert tuple(picture[20, 60]) == (255, 255, 255), "the truth"
    assert tuple(picture[20, 10]) == (40, 200, 60), "a position"
    assert tuple(picture[7, 100]) == (230, 30, 30), "a false one"
    assert not ground.any()


FLIGHT = ["--site", "1", "--length", "300", "--condition", "noon", "--set", "flight.drone.height=60", "--spacing", "30"]


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a map that the first who flies makes."""
    return tmp_path_factory.mktemp("area") / "area.vloc"


@pytest.mark.slow
def test_a_flight_over_real_topics_with_a_covered_lens(area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wind, height and heading errors; the drone steers by the node's answers and by dead reckoning alone."""
    out = tmp_path / "out"
    asked = ["fly", "--map", str(area), "--descriptor", "thumbnail", *FLIGHT, "--seconds", "45", "--cover", "20:10", "--json"]
    assert main([*asked, "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["photos"] >= 40 and said["unanswered"] == 0 and said["covered_s"] == pytest.approx(10.0)
    assert said["share_fixed"] > 0.6 and said["false_fixes"] == 0 and said["rms_m"] < 4.0, said
    assert said["recovery_s"] is not None and said["recovery_s"] < 10.0
    assert said["refusals"]["blank_image"] == 10
    assert said["autopilot_largest_m"] < 60.0
    written = json.loads((out / "flight.json").read_text())
    assert written["rms_m"] == said["rms_m"]
    assert len((out / "photos.csv").read_text().splitlines()) == said["photos"] + 1
    assert read_image(out / "track.jpg").ndim == 3
    assert main(["fly", "--map", str(area), "--site", "2", "--length", "300"]) != 0
    assert "is a map of 'simulated mixed_loop_1" in capsys.readouterr().err
    assert main([*asked, "--seconds", "0.5"]) != 0
    assert "before the first photo" in capsys.readouterr().err


@pytest.mark.slow
def test_a_node_that_ends_in_flight_is_an_error_with_its_words(area: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["fly", "--map", str(area), "--descriptor", "thumbnail", *FLIGHT, "--seconds", "3", "--set", "features=orb"]
    assert main(asked) != 0
    assert "ended in flight" in (said := capsys.readouterr().err) and "built with other features" in said
