"""Joint training with the tuples of a map, and with photos of anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from map_samples import teach  # noqa: E402
from network_samples import write_places  # noqa: E402
from vpr_samples import SMALL, settings_of, write_start  # noqa: E402

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet  # noqa: E402
from vloc_ros.cli import main  # noqa: E402
from vloc_ros.errors import DataError, MapError  # noqa: E402
from vloc_ros.mapping.keyframe import KeyframeId  # noqa: E402
from vloc_ros.mapping.store import MapStore  # noqa: E402
from vloc_ros.mapping.training_tuples import TupleOrigin, replace_tuples  # noqa: E402
from vloc_ros.training import run_folder  # noqa: E402
from vloc_ros.training.registry import DataSpec  # noqa: E402
from vloc_ros.training.vpr_registry import open_vpr_source  # noqa: E402


def k(keyframe: int, session: int = 1) -> KeyframeId:
    return KeyframeId(session, keyframe)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A map of two sessions with two tuples of one anchor, one of another, and an outlier pair of the first."""
    path = teach(tmp_path / "site.vloc", 6, 2)
    tuples = (
        TrainingTuple(k(1, 2), k(1), (k(4), k(5)), 1.0, 0),
        TrainingTuple(k(1, 2), k(2), (k(5),), 1.0, 0),
        TrainingTuple(k(3, 2), k(3), (k(6),), 0.9, 0),
    )
    with MapStore.open(path) as store:
        assert replace_tuples(store, TupleSet(tuples, (OutlierPair(k(1, 2), k(6), 1.0, 0),)), 0, TupleOrigin.LABELS)
    return path


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """To draw curves takes as long as so small a training."""
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)


def source_of(site: Path):
    return open_vpr_source(DataSpec("map", site), settings_of())


def test_anchors_are_queries_and_only_what_is_known_to_differ_is_a_negative(site):
    source = source_of(site)
    names = [shot.name.removeprefix("site.vloc ") for shot in source.shots]
    assert names == ["s1/k1", "s1/k2", "s1/k3", "s1/k4", "s1/k5", "s1/k6", "s2/k1", "s2/k3"]

    def named(rows):
        return [names[row] for row in rows.tolist()]

    assert named(source.queries) == ["s2/k1", "s2/k3"]
    assert [named(rows) for rows in source.positives] == [["s1/k1", "s1/k2"], ["s1/k3"]]
    negatives = [named(source.may_be_negative(query, source.database)) for query in range(2)]
    assert negatives == [["s1/k4", "s1/k5", "s1/k6"], ["s1/k6"]]


def test_images_are_read_by_any_thread_and_process(site):
    source = source_of(site)
    with MapStore.open(site, read_only=True) as store:
        expected = store.image(k(2))
    assert np.array_equal(source.shots[1].read(), expected)
    process = os.fork()
    if process == 0:
        os._exit(0 if np.array_equal(source.shots[1].read(), expected) else 1)
    assert os.waitpid(process, 0)[1] == 0


def test_a_map_without_tuples_or_with_images_that_went(site, tmp_path):
    with pytest.raises(DataError, match="holds no training tuples with images: `vloc calibrate` mines them"):
        open_vpr_source(DataSpec("map", teach(tmp_path / "bare.vloc", 3)), settings_of())
    source = source_of(site)
    with MapStore.open(site) as store:
        store.database.execute("DELETE FROM image WHERE session = 1 AND keyframe = 2")
    with pytest.raises(MapError, match="has no image of keyframe s1/k2 any more"):
        source.shots[1].read()


def command(data: str, tmp_path: Path, *more: str) -> list[str]:
    start = write_start(tmp_path / "start.safetensors")
    sets = [word for key, value in (SMALL | {"training.samples": 4}).items() for word in ("--set", f"{key}={value}")]
    words = ["train", "vpr", "--reranker", "homography", "--start", str(start), "--out", str(tmp_path / "run"), "--data", data]
    return [*words, *sets, *more]


def history(run: Path) -> dict[str, float]:
    row: dict[str, float] = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    return row


@pytest.mark.slow
def test_a_map_and_photos_teach_together(site, tmp_path):
    photos = write_places(tmp_path / "photos", 3)
    assert main(command(f"map:{site}", tmp_path, "--data", f"homography:{photos}:0.5", "--set", "training.workers=1")) == 0
    assert {"triplet", "rei", "too_near"} <= set(history(tmp_path / "run"))


def test_photos_alone_teach_homographies_alone(tmp_path, capsys):
    photos = write_places(tmp_path / "photos", 3)
    words = command(f"homography:{photos}", tmp_path)
    assert main(words) == 1
    assert "nothing in photos is another place" in capsys.readouterr().err
    assert main([*words, "--set", "mining.negs_num_per_query=0"]) == 0
    row = history(tmp_path / "run")
    assert row["triplet"] == 0.0 and row["rei"] > 0.0 and "too_near" not in row
