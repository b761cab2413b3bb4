"""The shipped weights `disam` and `disam_fine`, asked as a user asks them, at a site that nothing was learned from."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pair_samples import SITE

from vloc_ros.cli import main
from vloc_ros.data.models import shipped_places
from vloc_ros.data.places import Picture
from vloc_ros.data.seasons import open_seasons
from vloc_ros.features.engines.choice import is_installed
from vloc_ros.retrieval import Disam, create_descriptor
from vloc_ros.training.sources import SeasonsPlan, render_seasons

pytestmark = [
    pytest.mark.skipif("disam" not in shipped_places(), reason="models/ is not there"),
    pytest.mark.skipif(not is_installed("onnxruntime") and not is_installed("torch"), reason="nothing can compute the network"),
]
PLAN = SeasonsPlan(conditions=("noon", "night", "fog", "snow"), train_images=1, queries=10, train_share=0.4)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    render_seasons(folder, [SITE], PLAN)
    return folder / SITE.name


def pictures(site: Path) -> list[Picture]:
    data = open_seasons(site)
    return [one.picture for one in (*data.database, *data.queries)]


@pytest.mark.parametrize("name", ["disam", "disam_fine"])
def test_it_finds_out_the_condition(site, name):
    descriptor = create_descriptor(name)
    assert isinstance(descriptor, Disam) and descriptor.conditions == PLAN.conditions and descriptor.card.dimension == 512
    seen = pictures(site)
    found = descriptor.infer([picture.read() for picture in seen])
    right = [one == picture.condition for one, picture in zip(found, seen, strict=True)]
    assert sum(right) >= 0.75 * len(right), "by chance it would be a quarter"


def test_it_finds_more_than_thumbnails(site, tmp_path, capsys):
    asked = ["evaluate", "retrieval", str(site), "--layout", "seasons", "--descriptors", "thumbnail,disam,disam_fine"]
    assert main([*asked, "--fine", "disam_fine", "--out", str(tmp_path / "report"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    with (tmp_path / "report" / "report_conditions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "all"]
    recall = {row["method"]: float(row["recall_at_1"]) for row in rows}
    assert {"thumbnail", "disam", "disam_fine", "disam > disam_fine"} <= set(recall)
    learned = [recall[name] for name in ("disam", "disam_fine", "disam > disam_fine")]
    assert min(learned) >= recall["thumbnail"] + 0.1, recall
