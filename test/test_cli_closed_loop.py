"""The commands that drive in closed loop, as a user calls them."""

import csv
import json

import map_samples
import pytest

from vloc_ros.cli import main

SMALL = ["--scale", "0.4", "--length", "30", "--set", "drive.camera_rate=4", "--set", "drive.follower.speed=1.2"]
SMALL += ["--set", "stereo.min_depth=1.0", "--set", "features.max_features=500"]


def said(capsys, *argv):
    """(exit code, stdout, stderr) of a command."""
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_drive_teaches_drives_and_reports(tmp_path, capsys):
    map_path, out = tmp_path / "site.vloc", tmp_path / "noon"
    code, text, err = said(capsys, "drive", "--map", map_path, "--out", out, "--json", *SMALL)
    assert code == 0, err
    summary = json.loads(text)
    assert summary["autonomy_percent"] == 100.0 and summary["lateral_rms_m"] < 0.15
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "autonomy" in page.lower() and page.count("data:image/png") >= 3
    assert {path.name for path in out.iterdir()} >= {"report.json", "frames.jsonl", "drive.jsonl", "trajectory.tum", "config.yaml"}
    assert map_path.exists() and map_path.with_suffix(".truth.tum").exists()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["drive", "--map", "{}/a.vloc", "--condition", "hail"], "unknown condition 'hail'"),
        (["drive", "--map", "{}/a.vloc", "--hour", "25"], "must lie between 0 and 24"),
        (["drive", "--map", "{}/a.vloc", "--cover", "x"], "must be AT:SECONDS"),
        (["drive", "--map", "{}/a.vloc", "--site", "0"], "--site 0 must be 1 or more"),
        (["drive", "--map", "{}/a.vloc", "--length", "5"], "cannot be built"),
        (["drive", "--map", "{}/no/such/folder/a.vloc", "--length", "30"], "no/such/folder"),
        (["drive", "--map", "{}/a.vloc", "--set", "drive.follower.speed=-1"], "below its minimum"),
        (["drive", "--map", "{}/a.vloc", "--set", "drive.no_such=1"], "no_such"),
        (["drive", "--map", "{}/real.vloc"], "not taught in the simulated world"),
        (["autonomy", "--out", "{}/t", "--features", "sift,magic"], "unknown features 'magic'"),
        (["autonomy", "--out", "{}/t", "--conditions", "noon,hail"], "unknown condition 'hail'"),
        (["autonomy", "--out", "{}/t", "--routes", "0"], "must be 1 or more"),
        (["autonomy", "--out", "{}/t", "--report"], "holds no finished drive"),
    ],
)
def test_a_wrong_input_is_one_sentence(tmp_path, capsys, argv, sentence):
    map_samples.teach(tmp_path / "real.vloc")
    code, out, err = said(capsys, *[word.format(tmp_path) for word in argv])
    assert code == 1 and out == ""
    assert sentence in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.slow
def test_a_table_is_made_and_goes_on_where_it_was_stopped(tmp_path, capsys):
    table = ["autonomy", "--out", tmp_path / "t", "--routes", "1", "--jobs", "2", *SMALL, "--json"]
    code, text, err = said(capsys, *table, "--features", "orb", "--conditions", "noon")
    assert code == 0, err
    assert [drive["condition"] for drive in json.loads(text)["drives"]] == ["noon"]
    before = (tmp_path / "t" / "drives" / "mixed_loop_1_noon_orb" / "summary.json").stat().st_mtime_ns
    code, text, err = said(capsys, *table, "--features", "orb,sift_fast", "--conditions", "noon,overcast")
    assert code == 0 and "1 of 4 drives are there already" in err
    drives = json.loads(text)["drives"]
    assert {(drive["condition"], drive["features"]) for drive in drives} == {
        (condition, features) for condition in ("noon", "overcast") for features in ("orb", "sift_fast")
    }
    assert (tmp_path / "t" / "drives" / "mixed_loop_1_noon_orb" / "summary.json").stat().st_mtime_ns == before
    with (tmp_path / "t" / "table.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "<svg" in (page := (tmp_path / "t" / "report.html").read_text(encoding="utf-8")) or "data:image/png" in page
