"""Reports about drives: right pooling, a table that survives a kill, pages that are whole and true to their numbers."""

import json
import re

import numpy as np
import pytest
from drive_samples import helped_drive, straight_drive, summary
from html_page import Page

from vloc_ros.closed_loop.autonomy_csv import COLUMNS, append_row, read_rows
from vloc_ros.closed_loop.autonomy_report import shade, write_autonomy_report
from vloc_ros.closed_loop.autonomy_table import autonomy_markdown, autonomy_table
from vloc_ros.closed_loop.drive_overhead import neighbours, numbers
from vloc_ros.closed_loop.drive_report import DrivePicture, write_drive_report
from vloc_ros.closed_loop.drive_spans import Mode, modes, spans, stops
from vloc_ros.closed_loop.judge import steps_m
from vloc_ros.closed_loop.pooling import groups, inliers_of, pool, pooled_rows
from vloc_ros.errors import DataError
from vloc_ros.evaluation.output import OutputError
from vloc_ros.path_following import StopReason

GREY_IMAGE = np.full((40, 60), 90, dtype=np.uint8)


def written(path):
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert "script" not in page.tags
    return page


# Judging


def test_a_helped_drive_is_judged():
    s = helped_drive().summary
    # 15 of 91 moving steps are the operator's; 9 steps stand.
    assert s.driven_m == pytest.approx(91 * 0.2)
    assert s.operator_m == pytest.approx(15 * 0.2)
    assert s.autonomy_percent == pytest.approx(100.0 * (1.0 - 15 / 91))
    assert (s.frames, s.frames_alone, s.fixes) == (101, 77, 85)
    assert s.lateral_rms_m == pytest.approx(0.05, abs=1e-6)


def test_all_or_nothing_is_exact():
    assert straight_drive(33).summary.autonomy_percent == 100.0
    assert straight_drive(33, operator=range(33)).summary.autonomy_percent == 0.0


def test_where_a_robot_is_carried_it_does_not_drive():
    drive = straight_drive(60, carried=30)
    assert steps_m(drive.record)[29] == 0.0
    assert drive.summary.driven_m == pytest.approx(58 * 0.2)
    assert np.diff(drive.station)[29] == pytest.approx(5.2)
    assert drive.summary.lateral_max_m == pytest.approx(0.05, abs=1e-6)


# Stretches


def test_spans_cover_everything_once():
    assert list(spans("aabccc")) == [("a", 0, 1), ("b", 2, 2), ("c", 3, 5)]
    assert list(spans("")) == []


def test_the_operator_outranks_the_state_of_localisation():
    led = modes(helped_drive().record)
    assert [(mode, last - first + 1) for mode, first, last in spans(led)] == [
        (Mode.LOCALISED, 24),
        (Mode.DEAD_RECKONING, 6),
        (Mode.LOST, 10),
        (Mode.OPERATOR, 15),
        (Mode.LOCALISED, 46),
    ]


def test_a_stop_knows_how_far_the_robot_drove_blind():
    (stop,) = stops(helped_drive())
    assert (stop.first, stop.last, stop.stands) == (30, 39, True)
    assert stop.reasons == (StopReason.BLIND_TOO_FAR,)
    # The last fix is at frame 23, and the robot stands at frame 31: eight steps.
    assert stop.blind_m == pytest.approx(8 * 0.2)


def test_a_stop_without_a_fix_before_or_without_a_stand():
    (stop,) = stops(straight_drive(20, blind=range(20), stopped=range(0, 10)))
    assert stop.stands
    assert stop.blind_m is None
    (short,) = stops(straight_drive(20, stopped=range(5, 6)))
    assert not short.stands
    assert short.blind_m is None


def test_a_stop_ends_where_the_operator_takes_over():
    (stop,) = stops(straight_drive(60, blind=range(20, 50), stopped=range(30, 50), operator=range(40, 50)))
    assert stop.last == 39


def test_neighbouring_marks_share_a_label():
    points = np.array([[0.0, 0.0], [5.0, 0.0], [5.2, 0.0], [5.4, 0.0], [0.1, 0.0]])
    groups = neighbours(points, 1.0)
    assert [numbers(group, "S") for group in groups] == ["S1, S5", "S2-S4"]
    assert neighbours(np.empty((0, 2)), 1.0) == []


# The page of a drive


@pytest.fixture(scope="module")
def drive_page(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive") / "new" / "drive.html"
    calm = straight_drive(info={"site": "<b>yard</b>", "condition": "noon", "features": "sift"}, complete=False)
    write_drive_report(path, [helped_drive(), calm], [DrivePicture(GREY_IMAGE, "fog & <snow>")], title="Drives <1>")
    return path


def test_the_page_of_drives_says_what_happened(drive_page):
    text = re.sub(r"\s+", " ", written(drive_page).text)
    assert "The robot drove 18.2 m, 83.5 % of it by itself; the operator stepped in once." in text
    assert "The robot drove 20 m, all of it by itself, without an intervention." in text
    assert "the robot stood still for too long" in text
    assert "the last sure pose is too far back" in text
    assert "6.0 to 7.8 s" in text
    assert "1.60 m" in text
    assert "5.0 cm" in text
    assert "The record breaks off" in text


def test_texts_from_outside_are_escaped(drive_page):
    page = written(drive_page)
    assert "b" not in page.tags
    assert "snow" not in page.tags
    assert "<b>yard</b>, noon, sift" in page.text
    assert "fog & <snow>" in page.text


def test_each_drive_has_its_three_figures(drive_page):
    addresses = written(drive_page).addresses
    assert sum(address.startswith("data:image/png") for address in addresses) == 6
    assert sum(address.startswith("data:image/jpeg") for address in addresses) == 1


def test_the_json_beside_holds_every_number(drive_page):
    content = json.loads(drive_page.with_suffix(".json").read_text(encoding="utf-8"))
    first, second = content["drives"]
    assert first["summary"] == helped_drive().summary.to_dict()
    assert first["interventions"] == [{"at_s": pytest.approx(7.8), "station_m": pytest.approx(6.2), "reason": "STUCK"}]
    assert first["stops"][0]["blind_m"] == pytest.approx(1.6)
    assert first["stops"][0]["reasons"] == ["BLIND_TOO_FAR"]
    assert second["stops"] == second["interventions"] == []


@pytest.mark.parametrize("changes", [{"count": 0}, {"count": 1}, {"count": 30, "blind": range(30)}, {"count": 30, "carried": 9}])
def test_odd_drives_have_a_page_too(tmp_path, changes):
    write_drive_report(tmp_path / "d.html", [straight_drive(**changes)])
    written(tmp_path / "d.html")


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_drive_report(tmp_path / "file" / "d.html", [straight_drive(5)])


# Pooling


def test_pooling_weights_by_what_was_driven():
    long = summary(
        site="a", driven_m=300.0, operator_m=30.0, interventions=2, frames=900, frames_alone=300, fixes=600, rate_hz=30.0
    )
    short = summary(
        site="b", driven_m=100.0, lateral_rms_m=0.08, lateral_max_m=0.3, heading_rms_deg=3.0, frames=100, frames_alone=100, fixes=40
    )
    pooled = pool([long, short])
    assert pooled.site == "2 sites"
    assert (pooled.condition, pooled.features) == ("noon", "sift")
    assert pooled.autonomy_percent == pytest.approx(100.0 * (1.0 - 30.0 / 400.0))
    assert pooled.interventions == 2
    assert pooled.lateral_rms_m == pytest.approx(np.sqrt((300 * 0.04**2 + 100 * 0.08**2) / 400))
    assert pooled.heading_rms_deg == pytest.approx(np.sqrt((300 * 1.0 + 100 * 9.0) / 400))
    assert pooled.lateral_max_m == 0.3
    assert pooled.fixes_per_m == pytest.approx(640 / 400)
    assert pooled.localised_percent == pytest.approx(64.0)
    # 900 frames took 30 s, and 100 took 10 s.
    assert pooled.rate_hz == pytest.approx(25.0)
    assert (pooled.frames, pooled.frames_alone, pooled.fixes) == (1000, 400, 640)


def test_the_pooled_median_is_of_all_fixes_and_never_a_guess():
    rows = [summary(site="a", median_inliers=10.0), summary(site="b", median_inliers=90.0)]
    assert pool(rows).median_inliers is None
    assert pool(rows, np.array([10.0, 10.0, 10.0, 90.0, 91.0])).median_inliers == 10.0
    assert pool(rows[:1]).median_inliers == 10.0
    assert pool([rows[0], summary(site="b", fixes=0, median_inliers=None)]).median_inliers == 10.0


def test_pooling_one_drive_changes_nothing():
    row = helped_drive().summary
    pooled = pool([row]).to_dict()
    for name, value in row.to_dict().items():
        assert pooled[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_unknown_numbers_do_not_weigh():
    blind = summary(site="b", lateral_rms_m=None, lateral_max_m=None, heading_rms_deg=None, frames_alone=0, rate_hz=None)
    pooled = pool([summary(), blind])
    assert (pooled.lateral_rms_m, pooled.lateral_max_m, pooled.rate_hz) == (pytest.approx(0.04), 0.1, pytest.approx(10.0))
    assert pool([blind]).lateral_rms_m is None


def test_a_robot_that_never_moved_has_no_autonomy():
    assert pool([summary(driven_m=0.0)]).autonomy_percent == 0.0


def test_nothing_cannot_be_pooled():
    with pytest.raises(DataError, match="no drive"):
        pool([])


def test_rows_keep_the_order_in_which_conditions_came():
    rows = [summary(condition=c, features=f, site=s) for s in "ab" for c in ("noon", "fog") for f in ("sift", "unet")]
    assert list(groups(rows)) == [("noon", "sift"), ("noon", "unet"), ("fog", "sift"), ("fog", "unet")]
    assert [row.site for row in pooled_rows(rows)] == ["2 sites"] * 4


def test_inliers_are_those_of_fixes_of_all_sites():
    drives = [helped_drive(), straight_drive(10, info={"site": "b", "condition": "late_dusk", "features": "sift"})]
    found = inliers_of(drives)
    assert list(found) == [("late_dusk", "sift")]
    assert len(found["late_dusk", "sift"]) == 85 + 10
    assert pooled_rows([d.summary for d in drives], found)[0].median_inliers == np.median(found["late_dusk", "sift"])


# The table on disk


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / "new" / "drives.csv"
    rows = [helped_drive().summary, summary(site='a, "b"', lateral_rms_m=None, median_inliers=None, rate_hz=None)]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == rows
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)


def test_a_table_cut_anywhere_loses_at_most_its_last_row(tmp_path):
    path = tmp_path / "drives.csv"
    rows = [summary(site="a"), summary(site="b"), summary(site="c")]
    append_row(path, rows[0])
    append_row(path, rows[1])
    whole = path.read_bytes()
    ends = [k + 1 for k, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        left = [row for row, end in zip(rows, ends[1:], strict=False) if end <= size]
        path.write_bytes(whole[:size])
        assert read_rows(path) == left
        if size % 40 == 0 or size in ends:
            append_row(path, rows[2])
            assert read_rows(path) == [*left, rows[2]]


def test_a_line_feed_in_a_name_does_not_break_the_table(tmp_path):
    append_row(tmp_path / "d.csv", summary(site="north\nyard"))
    assert read_rows(tmp_path / "d.csv")[0].site == "north yard"


def test_another_table_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.csv has other columns"):
        read_rows(path)
    with pytest.raises(DataError, match=r"other\.csv has other columns"):
        append_row(path, summary())
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


@pytest.mark.parametrize(("old", "new"), [("noon", "noon,noon"), (",500,", ",many,")])
def test_a_damaged_line_is_named(tmp_path, old, new):
    path = tmp_path / "d.csv"
    append_row(path, summary())
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2 of .*d\.csv is damaged"):
        read_rows(path)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        read_rows(tmp_path / "none.csv")


# The table as text


def sample_rows():
    return [
        summary(site="a"),
        summary(site="b"),
        summary(site="a", condition="late_dusk", driven_m=200.0, operator_m=30.0, interventions=3, median_inliers=None),
    ]


def test_the_text_table_is_aligned():
    lines = autonomy_table(sample_rows()).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("noon       sift      2 sites")
    assert lines[3].startswith("late dusk  sift      a")
    assert lines[3].split()[7] == "3"
    ends = {line.index("rate [Hz]") + len("rate [Hz]") for line in lines[:1]} | {len(line) for line in lines}
    assert len(ends) == 1
    assert "85.0 %" in lines[3]


def test_the_markdown_table_has_as_many_cells_in_every_line():
    rows = [*sample_rows(), summary(condition="a|b")]
    lines = autonomy_markdown(rows).splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {15}
    assert re.fullmatch(r"\|(---:?\|)+", lines[1])
    assert "a\\|b" in lines[-1]


# The page of many drives


def test_the_page_of_many_drives(tmp_path):
    found = {("noon", "sift"): np.arange(50.0, 150.0)}
    path = tmp_path / "new" / "autonomy.html"
    sheet = np.full((30, 90, 3), 90, dtype=np.uint8)
    write_autonomy_report(path, sample_rows(), found, title="All <drives>", contact_sheet=sheet)
    page = written(path)
    text = re.sub(r"\s+", " ", page.text)
    # 30 of 400 m by the operator.
    assert "The robot drove 92.5 % of 400 m by itself, with 3 interventions. Hardest: late dusk with sift, 85.0 %." in text
    assert "2 sites" in text
    assert "details" in page.tags
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 3
    assert sum(address.startswith("data:image/jpeg") for address in page.addresses) == 1
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert [row["median_inliers"] for row in content["pooled"]] == [99.5, None]
    assert [row["autonomy_percent"] for row in content["pooled"]] == [100.0, 85.0]
    assert content["drives"] == [row.to_dict() for row in sample_rows()]


def test_a_single_drive_without_a_fix_has_a_page(tmp_path):
    row = summary(fixes=0, median_inliers=None, lateral_rms_m=None, localised_percent=0.0, condition="<i>")
    write_autonomy_report(tmp_path / "a.html", [row], {})
    page = written(tmp_path / "a.html")
    assert "i" not in page.tags
    assert "details" not in page.tags
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 1


def test_a_page_of_no_drive_is_refused(tmp_path):
    with pytest.raises(DataError, match="no drive"):
        write_autonomy_report(tmp_path / "a.html", [], {})
    assert list(tmp_path.iterdir()) == []


def test_only_full_autonomy_is_calm():
    assert shade(100.0) != shade(99.99)
    assert len({shade(value) for value in (100.0, 99.5, 97.0, 85.0, 10.0)}) == 5
    assert shade(-1e-9) == shade(0.0)
