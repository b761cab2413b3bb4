"""DISAM in an evaluation: conditions inferred and given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from disam_samples import CONDITIONS, IMAGES, written  # noqa: E402
from retrieval_samples import extractor  # noqa: E402

from vloc_ros.data.places import Picture, PlaceDataset  # noqa: E402
from vloc_ros.evaluation.conditions import Conditions, InfersConditions  # noqa: E402
from vloc_ros.evaluation.retrieval_run import evaluate_retrieval  # noqa: E402
from vloc_ros.retrieval import Disam, View  # noqa: E402


def data_set() -> PlaceDataset:
    """Each image asked for in its condition among the three images by day."""
    queries = tuple(Picture(f"q{k}", lambda image=image: image, CONDITIONS[k]) for k, image in enumerate(IMAGES))
    database = tuple(Picture(f"d{k}", lambda image=image: image, "day") for k, image in enumerate(IMAGES))
    return PlaceDataset("set", queries, database, tuple(np.array([k], dtype=np.int64) for k in range(3)))


def test_conditions_are_inferred_or_given_and_the_scores_show_it(tmp_path: Path) -> None:
    file, _ = written(tmp_path / "net.safetensors")
    descriptor, data = Disam.load(file), data_set()
    assert isinstance(descriptor, InfersConditions)
    [inferred] = evaluate_retrieval([data], str(file), extractor())
    [given] = evaluate_retrieval([data], str(file), extractor(), conditions=Conditions.GIVEN)
    assert inferred.inferred is not None and given.inferred is None
    took = descriptor.infer(IMAGES)
    assert inferred.inferred.right == pytest.approx(np.mean([a == b for a, b in zip(took, CONDITIONS, strict=True)]))
    for result, of_query, of_database in ((inferred, took, took), (given, CONDITIONS, ("day",) * 3)):
        database = descriptor.describe_many([View(i, condition=c) for i, c in zip(IMAGES, of_database, strict=True)])
        for query, (image, condition) in enumerate(zip(IMAGES, of_query, strict=True)):
            scores = database @ descriptor.describe(View(image, condition=condition))
            assert result.found[0].scores[query] == pytest.approx(np.sort(scores)[::-1], abs=1e-5)
    assert not np.allclose(inferred.found[0].scores, given.found[0].scores)
