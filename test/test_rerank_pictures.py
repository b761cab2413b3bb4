"""Pictures and pages of re-ranking."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from rerank_toys import LeftHalf, RightHalf, halves, register_toys, settings, toy_set
from retrieval_samples import extractor

from vloc_ros.data.vpr_folder import pictures_of
from vloc_ros.evaluation.rerank_pictures import GAP_PX, HEIGHT_PX, MARGIN, draw_verification, outline, place_colours
from vloc_ros.evaluation.rerank_report import verified_figure
from vloc_ros.evaluation.rerank_run import RerankStage, evaluate_reranking
from vloc_ros.evaluation.retrieval_report import write_retrieval_report
from vloc_ros.retrieval import Doubt, Verification

YELLOW = (255, 210, 0)
FRAME = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])


def corners(part: np.ndarray) -> np.ndarray:
    return part[:: (len(part) - 1) // 4]


def test_the_frame_of_the_query_in_the_candidate() -> None:
    [same] = outline(np.eye(3))
    np.testing.assert_allclose(corners(same), FRAME)
    half = np.diag([0.5, 0.5, 1.0])
    half[:2, 2] = 0.25, 0.1
    for homography in (half, -half):  # the sign says nothing
        [small] = outline(homography)
        np.testing.assert_allclose(corners(small), 0.5 * FRAME + [0.25, 0.1])


def test_what_is_behind_the_camera_is_left_out() -> None:
    # x / (1 - 1.6 x): beyond x = 0.625 the plane of the query is behind the camera of the candidate
    turned = np.eye(3)
    turned[2, 0] = -1.6
    parts = outline(turned)
    points = np.concatenate(parts)
    assert len(points) and points[:, 0].min() >= 0.0 and np.isfinite(points).all()
    assert not any(np.abs(np.diff(part[:, 0])).max() > 20.0 for part in parts)


def test_inliers_have_one_colour_in_both_images() -> None:
    points = np.array([[0.25, 0.5], [0.75, 0.25]], dtype=np.float32)
    target = np.array([[0.5, 0.5], [0.9, 0.75]], dtype=np.float32)
    picture = draw_verification(
        np.zeros((100, 200, 3), np.uint8), np.full((300, 300), 90, np.uint8), Verification(2, 9, np.eye(3), points, target)
    )
    left = round(2 * HEIGHT_PX * (1 + 2 * MARGIN))
    assert picture.shape == (round(HEIGHT_PX * (1 + 2 * MARGIN)), left + GAP_PX + round(HEIGHT_PX * (1 + 2 * MARGIN)), 3)

    def pixel(point: np.ndarray, width: int, begin: int) -> tuple[int, ...]:
        x, y = point * [width, HEIGHT_PX] + [MARGIN * width + begin, MARGIN * HEIGHT_PX]
        return tuple(picture[int(y), int(x)].tolist())

    for one, other, colour in zip(points, target, place_colours(points), strict=True):
        assert pixel(one, 2 * HEIGHT_PX, 0) == pixel(other, HEIGHT_PX, left + GAP_PX) == tuple(colour.tolist())
    assert len({tuple(colour) for colour in place_colours(points).tolist()}) == 2
    # the frame of the query is drawn around it, and in the candidate
    assert pixel(np.array([0.5, 0.0]), 2 * HEIGHT_PX, 0) == pixel(np.array([0.3, 0.0]), HEIGHT_PX, left + GAP_PX) == YELLOW


def test_without_a_homography_nothing_is_drawn() -> None:
    image = halves(50, 200)
    picture = draw_verification(image, image, Verification.without(Doubt.NO_MODEL, 30))
    assert set(np.unique(picture)) == {50, 200, 235, 255}


def test_far_away_frames_can_be_drawn() -> None:
    image = halves(50, 200)
    for homography in (np.diag([1e9, 1e9, 1.0]), np.diag([1.0, 1.0, 1e-9]), np.zeros((3, 3))):
        points = np.full((4, 2), 1e8, dtype=np.float32)
        assert draw_verification(image, image, Verification(4, 4, homography, points, points)).dtype == np.uint8


def test_the_report_shows_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_toys(monkeypatch)
    data = toy_set()
    evaluated = evaluate_reranking([data], LeftHalf.name, extractor(), [RerankStage(RightHalf(), settings(min_inliers=30))])
    path = tmp_path / "out" / "report.html"
    write_retrieval_report(path, "A <title>", [data], [before for before, _ in evaluated], evaluated)
    page = Page(path.read_text())
    assert page.addresses and all(address.startswith("data:") for address in page.addresses)
    text = page.text
    assert "won answered by d1, rank 2 before: 50 of 50 matches agree, accepted; d0 was the answer before" in text
    assert "lost answered by d2, rank 3 before: 50 of 50 matches agree, accepted; d1 was the answer before, wrong" in text
    assert "unknown answered by d0, rank 1 before: 0 of 50 matches agree, not accepted: fewer than four matches; wrong: its" in text
    assert "tie answered by d1, rank 1 before: 25 of 50 matches agree, not accepted: fewer than 30 inliers" in text
    assert "left_half > right_half" in text and "+1 -1" in text
    values = json.loads(path.with_suffix(".json").read_text())
    assert len(values["results"]) == len(values["reranked"]) == 1 and values["reranked"][0]["acceptance"]["none"] == 3 / 7
    assert path.with_suffix(".csv").read_text().count("\n") == 3


def test_a_picture_that_is_gone_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"cut")
    [picture] = pictures_of(tmp_path)
    text = verified_figure(picture, picture, None, "a <caption>")
    assert "1.png" in text and "a &lt;caption&gt;" in text and "<img" not in text
