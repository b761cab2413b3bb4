"""The report: self-contained, true to its numbers, safe with any text, and there for every odd run."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_samples import STEP_NS, frame, keyframes_of, match_view, random_walk, timed
from html_page import Page

from vloc_ros.errors import DataError
from vloc_ros.evaluation.html import number, percent
from vloc_ros.evaluation.output import OutputError
from vloc_ros.evaluation.pictures import GAP_PX, MatchPicture, draw_matches, jpeg_uri, pick_fixes
from vloc_ros.evaluation.plot_style import DPI, WIDTH_IN
from vloc_ros.evaluation.report import report_html, write_report
from vloc_ros.evaluation.report_run import ReportRun
from vloc_ros.evaluation.runlog import Run
from vloc_ros.geometry import se3
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.state import MatchView, State

START = 1_700_000_000_123_456_789


def mixed_run(source="yard", config="features: sift\n"):
    route = random_walk(60, 1)
    frames = []
    for k, pose in enumerate(route):
        changes = {"inliers": 30 + k}
        if k >= 50:
            pose = None
            changes = {"state": State.LOST, "reason": RejectReason.FAILED_GATE}
        elif k == 20:
            pose = pose @ se3.exp(np.array([0.0, 2.0, 0, 0, 0, 0]))
        frames.append(frame(START + k * STEP_NS, pose, route[k], **changes))
    return Run(source, config, tuple(frames)), timed(route), keyframes_of(route)


def full_item(name="repeat at dusk"):
    run, truth, keyframes = mixed_run()
    pictures = [MatchPicture(np.full((80, 120, 3), 90, dtype=np.uint8), "best: 79 inliers")]
    return ReportRun.evaluate(name, run, truth, keyframes, {k.id: k.map_T_base for k in keyframes}, pictures)


@pytest.fixture(scope="module")
def item():
    return full_item()


@pytest.fixture(scope="module")
def written(tmp_path_factory, item):
    return write_report(tmp_path_factory.mktemp("out") / "deep" / "report.html", "Repeat of the yard", [item])


def test_a_report_holds_everything_and_loads_nothing(written):
    text = written.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags
    assert page.addresses and all(address.startswith("data:image/") for address in page.addresses)
    assert "url(" not in text and "@import" not in text
    for words in (
        "Repeat of the yard",
        "Localised in 50 of 60 frames (83.3 %).",
        "1 believed pose was wrong by more than 0.3 m.",
        "failed gate",
        RejectReason.FAILED_GATE.value,
        "best: 79 inliers",
        "features: sift",
    ):
        assert words in page.text, words
    assert "Side by side" not in page.text


def test_every_picture_is_one(written):
    found = re.findall(r'src="data:image/(png|jpeg);base64,([^"]+)"', written.read_text())
    images = [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) for _, data in found]
    assert [kind for kind, _ in found] == ["png"] * 4 + ["jpeg"]
    assert all(image.shape[1] == round(WIDTH_IN * DPI) and image.std() > 1.0 for image in images[:4])
    assert images[4].shape == (80, 120, 3) and abs(images[4].mean() - 90) < 2


def test_json_beside_has_the_unrounded_numbers(written, item):
    values = json.loads(written.with_suffix(".json").read_text())
    assert values["title"] == "Repeat of the yard"
    assert [entry["name"] for entry in values["runs"]] == ["repeat at dusk"]
    assert values["runs"][0]["summary"] == json.loads(item.summary.to_json())
    assert values["runs"][0]["summary"]["false_fixes"] == 1


def test_several_runs_stand_side_by_side_and_foreign_text_stays_text(item):
    bad = "<script>alert(1)</script>\"'&"
    run, truth, keyframes = mixed_run(source=bad, config=bad)
    picture = MatchPicture(np.zeros((10, 10), dtype=np.uint8), bad)
    page = Page(report_html(bad, [item, ReportRun.evaluate(bad, run, truth, keyframes, pictures=[picture])]))
    assert "Side by side" in page.text
    assert {"#run-0", "#run-1"} <= set(page.addresses)
    assert page.text.count("repeat at dusk") == 3
    assert "script" not in page.tags
    # Page title, heading, link, column, section, source, caption and configuration.
    assert page.text.count("<script>alert(1)</script>") == 8


def odd_runs():
    route = random_walk(12, 2)
    stamps = START + STEP_NS * np.arange(12)
    one = frame(START, route[0], route[0])
    lost = [frame(stamp, None, state=State.LOST) for stamp in stamps]
    odometry = [frame(s, None, p, state=State.UNINITIALISED, reason=None) for s, p in zip(stamps, route, strict=True)]
    still = [frame(s, route[0], route[0]) for s in stamps]
    back = [frame(s, p, p) for s, p in zip(stamps[::-1], route, strict=True)]
    untimed = [frame(s, p, timings_ms={}) for s, p in zip(stamps, route, strict=True)]
    line = np.tile(np.eye(4), (12, 1, 1))
    line[:, 0, 3] = np.arange(12)
    straight = [frame(s, p, p) for s, p in zip(stamps, line, strict=True)]
    cases = {
        "empty": [],
        "one frame": [one],
        "lost": lost,
        "odometry": odometry,
        "still": still,
        "back in time": back,
        "untimed": untimed,
        "straight": straight,
    }
    return [pytest.param(frames, id=name) for name, frames in cases.items()]


@pytest.mark.parametrize("frames", odd_runs())
@pytest.mark.filterwarnings("error")
def test_odd_runs_have_a_report_too(frames):
    item = ReportRun.evaluate("odd", Run("somewhere", "", tuple(frames)), timed(random_walk(12, 2)))
    page = Page(report_html("Odd", [item]))
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text
    assert ("No frame was processed." in page.text) == (not frames)


def test_a_run_that_breaks_off_without_truth_says_both():
    run, *_ = mixed_run()
    item = ReportRun.evaluate("killed", Run(run.source, "", run.frames, complete=False))
    page = Page(report_html("t", [item]))
    assert "breaks off" in page.text
    assert "no ground truth" in page.text
    assert "median position error" not in page.text


def test_a_report_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", "t", [])
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(tmp_path / "report.html", "t", [])
    assert not list(tmp_path.glob("*.part"))


def test_the_log_of_a_robot_does_not_load_matplotlib():
    code = "import sys, vloc_ros.evaluation; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, timeout=60).returncode == 0


def test_matches_are_drawn_where_they_are():
    live, reference = np.zeros((100, 200), dtype=np.uint8), np.zeros((60, 150, 3), dtype=np.uint8)
    view = MatchView(KeyframeId(1, 1), np.array([[100, 20]], np.float32), np.array([[40, 30]], np.float32))
    image = draw_matches(live, reference, view)
    assert image.shape == (100 + GAP_PX + 60, 200, 3) and image.dtype == np.uint8
    offset = 100 + GAP_PX
    assert image[20, 100].any() and image[offset + 30, 40].any()
    middle = ((20 + offset + 30) // 2, 70)
    assert image[middle[0] - 2 : middle[0] + 3, middle[1] - 2 : middle[1] + 3].any()
    assert not image[:100, :50].any()
    assert (image[100:offset, 160:] == 255).all() and (image[offset:, 150:] == 255).all()
    assert not live.any() and not reference.any()


def test_drawing_bears_no_matches_outliers_and_nan():
    image = np.full((50, 60, 3), 7, dtype=np.uint8)
    empty = MatchView(KeyframeId(1, 1), np.empty((0, 2), np.float32), np.empty((0, 2), np.float32))
    assert (draw_matches(image, image, empty)[:50] == 7).all()
    odd = np.array([[np.nan, 3], [1e4, -5], [10, 10]], np.float32)
    assert draw_matches(image, image, MatchView(KeyframeId(1, 1), odd, odd)).any()
    many = draw_matches(image, image, match_view(2000, size=(60, 50)), line_limit=5)
    assert many.shape == (100 + GAP_PX, 60, 3)
    with pytest.raises(DataError, match="uint8"):
        draw_matches(image.astype(np.float32), image, empty)


def test_wide_pictures_shrink_and_keep_their_colours():
    red = np.zeros((100, 3000, 3), dtype=np.uint8)
    red[..., 0] = 200
    data = base64.b64decode(jpeg_uri(red).split(",")[1])
    back = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert back.shape == (47, 1400, 3)
    assert back[..., 2].mean() > 190 and back[..., 0].mean() < 10


def test_best_median_and_worst_fix():
    counts = [50, 10, 90, 30, 70]
    frames = [frame(k, np.eye(4), inliers=n, match=match_view(5)) for k, n in enumerate(counts)]
    frames += [frame(9, None, inliers=500), frame(10, np.eye(4), inliers=400)]
    assert pick_fixes(frames) == {"best": 2, "median": 0, "worst": 1}
    assert pick_fixes(frames, with_match=False)["best"] == 6
    assert pick_fixes([]) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (100.0, "100"),
        (99.96, "100"),
        (0.01234, "0.0123"),
        (1.0, "1"),
        (1234.4, "1234"),
        (0.00001234, "0.00001"),
    ],
)
def test_numbers_read_well(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (100.0, "100 %"), (99.999, "99.9 %"), (0.0, "0 %"), (1e-4, "0.1 %"), (83.33, "83.3 %")]
)
def test_only_all_is_a_hundred_percent(value, text):
    assert percent(value) == text
