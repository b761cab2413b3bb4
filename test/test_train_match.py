"""``vloc train match``: the probability of a match from places whose truth is known, end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from network_samples import place as picture  # noqa: E402

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.output import write_image  # noqa: E402
from vloc_ros.errors import DataError  # noqa: E402
from vloc_ros.networks import Backbone  # noqa: E402
from vloc_ros.networks.two_stage import random_two_stage  # noqa: E402
from vloc_ros.networks.two_stage_files import save_two_stage  # noqa: E402
from vloc_ros.retrieval import RerankSettings, Storage, create_reranker  # noqa: E402
from vloc_ros.retrieval.match_model import MatchModel  # noqa: E402
from vloc_ros.training.match_learning import judged_matches  # noqa: E402
from vloc_ros.training.place_reranking import Compared, RerankedQuestion  # noqa: E402

CAMERAS = 12


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fixed cameras that saw their places in two lights."""
    root = tmp_path_factory.mktemp("made") / "webcams"
    for number in range(CAMERAS):
        for k, brightness in enumerate((1.0, 0.7)):
            write_image(root / f"camera_{number:02d}" / f"{k}.png", picture(number, brightness, colour=True))
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "site.safetensors"
    save_two_stage(path, random_two_stage(Backbone.CCT_SMALL, 3), "nothing")
    return path


def learn(weights: Path, data: str, *others: str) -> int:
    return main(["train", "match", "--weights", str(weights), "--data", data, "--candidates", "5", *others])


def beside(weights: Path) -> set[str]:
    return {path.name for path in weights.parent.iterdir()}


@pytest.mark.slow
def test_a_probability_is_learned_and_used(weights: Path, cameras: Path, capsys, tmp_path: Path) -> None:
    data = f"static:{cameras}"
    assert create_reranker(str(weights)).probability is None
    assert learn(weights, data, "--dry-run") == 0
    assert "AUROC" in capsys.readouterr().out and beside(weights) == {"site.safetensors", "site.json"}

    assert learn(weights, data, "--codebook", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert beside(weights) == {"site.safetensors", "site.json", "site_match.json", "site.codebook"}
    assert said["right"] == 2 * CAMERAS and said["wrong"] > said["right"] and said["searches"] == 2 * CAMERAS
    assert said["held_out"]["count"] == said["right"] + said["wrong"] and said["held_out"]["ece"] < 0.2

    model = create_reranker(str(weights), RerankSettings(storage=Storage.PQ)).probability
    assert isinstance(model, MatchModel) and "static:webcams" in model.learned_from and str(cameras) not in model.learned_from
    chances = model(np.array([0.0, 256.0]), np.array([0.0, 1.0]))
    assert chances[0] < 0.5 < chances[1]

    # of the same network with other numbers it is refused, and can be learned anew over it
    other = tmp_path / "other" / "site.safetensors"
    save_two_stage(other, random_two_stage(Backbone.CCT_SMALL, 4), "nothing")
    shutil.copy(weights.with_name("site_match.json"), other.parent)
    with pytest.raises(DataError, match="other weights"):
        create_reranker(str(other))
    assert learn(other, data) == 0
    assert create_reranker(str(other)).probability is not None

    out = tmp_path / "elsewhere" / "match.json"
    assert learn(weights, data, "--out", str(out)) == 0
    assert out.read_text() == weights.with_name("site_match.json").read_text()


def test_too_few_wrong_ones_are_refused_in_one_sentence(weights: Path, cameras: Path, capsys) -> None:
    assert learn(weights, f"static:{cameras}", "--candidates", "1", "--codebook") == 1  # the search is right in most
    said = capsys.readouterr().err
    assert "no probability can be learned" in said and "that a candidate is wrong" in said and said.count("\n") == 1
    assert beside(weights) == {"site.safetensors", "site.json"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--weights", "x.safetensors"], "--data"),
        (["--data", "static:x"], "--weights"),
        (["--weights", "x.safetensors", "--data", "static:x", "--questions", "0"], "--questions"),
        (["--weights", "x.safetensors", "--data", "static:x", "--out", "x.safetensors"], "json"),
        (["--weights", "x.safetensors", "--data", "film:x"], "KIND:PATH"),
    ],
)
def test_what_is_missing_or_wrong_is_said(arguments: list[str], word: str, capsys) -> None:
    assert main(["train", "match", *arguments]) == 1
    assert word in capsys.readouterr().err


def test_weights_of_one_stage_are_refused(cameras: Path, capsys) -> None:
    shipped = Path(__file__).resolve().parents[1] / "models" / "place.safetensors"
    assert learn(shipped, f"static:{cameras}") == 1
    assert "place.safetensors" in capsys.readouterr().err


def test_each_half_of_the_groups_has_a_half_of_each_source() -> None:
    def answer(site: str, spot: float, right: bool) -> RerankedQuestion:
        return RerankedQuestion(site, site, (right, right), (True,), (1.0,), spot, ((Compared(9, 0.5, right),),))

    long = [answer("long", k / 8, True) for k in range(8)]
    short = [answer("short", k / 4, False) for k in range(4)]
    judged = judged_matches([*long, *short])
    first = judged.group < len(np.unique(judged.group)) // 2
    assert first[:8].sum() == 4 and first[8:].sum() == 2
    assert judged.right.sum() == 8 and (np.diff(judged.group[:8]) > 0).all()
    # two questions of one place are never parted
    twice = judged_matches([long[3], long[3]])
    assert twice.group.tolist() == [0, 0]
