"""What stands around a training: rendering a set, looking at pairs, drawing how it went."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import pytest
from data_samples import texture

from vloc_ros.cli import main
from vloc_ros.data.images import read_image
from vloc_ros.data.output import write_image
from vloc_ros.errors import DataError
from vloc_ros.training.curves import groups_of, read_history, terms_of
from vloc_ros.training.sources import FIRST_TRAINING_SEED, SimulatedPairs

RENDER = ["train", "render", "--sites", "1", "--places", "1", "--views", "2", "--conditions", "noon,night", "--scale", "0.125"]
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed (requirements/torch.txt)"
)


def row(epoch: int, task: float) -> dict[str, object]:
    groups = {"sim:noon>night/solved": task, "sim:noon>dusk/solved": 1.0, "static/solved": 0.5, "static/right": 20.0}
    return {
        "epoch": epoch,
        "step": 3 * epoch + 3,
        "loss": 5.0 - epoch,
        "detector": 4.0,
        "validation_detector": 4.5,
        "task": task,
    } | groups


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [row(0, 0.25), row(1, 0.75) | {"best": True}, {"epoch": 2, "step": 9, "loss": None, "detector": 2.0}]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return tmp_path


def test_render_makes_a_set_and_goes_on(tmp_path, capsys):
    assert main([*RENDER, "--out", str(tmp_path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["images"] == 4 and values["bytes"] == sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    source = SimulatedPairs(tmp_path)
    assert {view.condition for view in source.views} == {"noon", "night"}
    assert read_image(source.views[0].image).shape == (48, 64, 3)
    assert f"_{FIRST_TRAINING_SEED}" in source.views[0].site
    gone = source.views[0].image
    before = gone.read_bytes()
    gone.unlink()
    (gone.parent / "views.json").unlink()  # as if it had been broken off
    assert main([*RENDER, "--out", str(tmp_path)]) == 0
    assert gone.read_bytes() == before
    assert main([*RENDER, "--out", str(tmp_path), "--detail", "full"]) == 1
    assert "holds views of another plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--first-seed", "999"], "on which features are evaluated"),
        (["--sites", "0"], "--sites must be 1 or more"),
        (["--views", "1"], "a pair is two views of one place"),
        (["--conditions", "noon,noon,eclipse"], "eclipse"),
        (["--per-view", "3"], "3 conditions per view make no set"),
        (["--scale", "0"], "scale"),
    ],
)
def test_what_cannot_be_rendered_is_said_and_nothing_is_written(tmp_path, capsys, change, words):
    assert main([*RENDER, "--out", str(tmp_path / "set"), *change]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@needs_torch
@pytest.mark.parametrize("how", [[], ["--as-trained", "--set", "images.width=96", "--set", "images.height=64"]])
def test_preview_draws_the_pairs_of_all_sources(tmp_path, capsys, how):
    for name in ("a", "b"):
        write_image(tmp_path / "photos" / f"{name}.png", texture(1, False, (200, 160)))
    data = ["--data", f"homography:{tmp_path / 'photos'}"]
    out = tmp_path / "sheet.png"
    size = ["--set", "homography.width=160", "--set", "homography.height=120"]
    assert main(["train", "preview", *data, *data, "--pairs", "2", "--columns", "2", "--out", str(out), *size, *how]) == 0
    # Four pairs in two rows of two; each is a and b side by side, at half their size or as they are trained with.
    assert cv2.imread(str(out)).shape == ((128, 384, 3) if how else (120, 320, 3))


@needs_torch
def test_preview_says_what_is_wrong(tmp_path, capsys):
    out = ["--out", str(tmp_path / "sheet.png")]
    for data, words in (("simulated:nowhere", "nowhere"), ("photos", "not of the form KIND:PATH")):
        assert main(["train", "preview", "--data", data, *out]) == 1
        assert words in capsys.readouterr().err
    assert main(["train", "preview", "--data", f"homography:{tmp_path}", "--out", "sheet.txt"]) == 1
    assert "ends in .png" in capsys.readouterr().err


def test_curves_are_drawn_from_the_history(run, tmp_path, capsys):
    out = tmp_path / "docs" / "training.png"
    assert main(["train", "curves", str(run), "--out", str(out), "--title", "unet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(out), "epochs": 3}
    assert cv2.imread(str(out)).std() > 10.0
    assert main(["train", "curves", str(run)]) == 0 and (run / "curves.png").is_file()


def test_terms_and_groups(run):
    rows = read_history(run)
    assert terms_of(rows) == ["detector"]
    noon = ["sim:noon>night/solved", "sim:noon>dusk/solved"]
    assert groups_of(rows) == {"noon": noon, "night": noon[:1], "dusk": noon[1:], "static": ["static/solved"]}


@pytest.mark.parametrize(("text", "words"), [("", "has not finished an epoch"), ("{}\n", "is no row"), ("[\n", "is not JSON")])
def test_a_history_that_is_none(tmp_path, capsys, text, words):
    (tmp_path / "history.jsonl").write_text(text)
    with pytest.raises(DataError, match=words):
        read_history(tmp_path)
    assert main(["train", "curves", str(tmp_path)]) == 1
    assert words in capsys.readouterr().err
