"""Re-rankers from a file of weights: what lies beside it, the network in integers, and the published forward."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from retrieval_samples import again, place

from vloc_ros.errors import ConfigError, DataError
from vloc_ros.retrieval import RerankSettings, Storage, View, create_reranker
from vloc_ros.retrieval.match_model import MatchModel, save_match_model
from vloc_ros.retrieval.pair_engine import pair_engine
from vloc_ros.retrieval.patch_codebook import PatchCodebook, save_codebook
from vloc_ros.retrieval.rerank_homography import load_patches
from vloc_ros.retrieval.reranking import rerank

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

PICTURES = [place(number) for number in range(5)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones whose points move by some pixels with what they see."""
    from vloc_ros.networks.names import Backbone
    from vloc_ros.networks.two_stage import random_two_stage
    from vloc_ros.networks.two_stage_files import save_two_stage

    network = random_two_stage(Backbone.CCT_SMALL, 3)
    with torch.no_grad():
        network.regression.points.weight.mul_(20.0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_two_stage(path, network, "nothing")
    return path


def moved(weights: Path, folder: Path) -> Path:
    """A copy of the weights and their card, with nothing else beside it."""
    for name in (weights.name, weights.with_suffix(".json").name):
        shutil.copy(weights.with_name(name), folder / name)
    return folder / weights.name


def test_a_file_of_weights_re_ranks_by_its_homography(weights: Path) -> None:
    reranker = create_reranker(str(weights))
    query, *kept = reranker.prepare([View(PICTURES[2]), *(View(picture) for picture in PICTURES)])
    answer = rerank(reranker, query, range(5), kept.__getitem__, RerankSettings())
    assert answer.ids[0] == 2 and answer.probabilities is None
    # the 256 patches of an image are each other's nearest but for a few whose codes are equal
    assert answer.verifications[0].matches > 250
    assert reranker.card.dimension == 192 and len(reranker.to_bytes(kept[0])) < 256 * 192 + 100


def test_the_published_forward_counts_the_same(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    from rerank_published import PublishedForward

    from vloc_ros.networks.two_stage_files import load_two_stage

    reranker = create_reranker(str(weights), RerankSettings(storage=Storage.FLOAT16))
    query, *kept = reranker.prepare([View(again(PICTURES[1])), *(View(picture) for picture in PICTURES)])
    found = reranker.verify(query, kept)
    maps = [torch.from_numpy(one.rows()).T.unflatten(1, (16, 16)) for one in (query, *kept)]
    wanted = PublishedForward(load_two_stage(weights)[0]).counts(maps[0], maps[1:])
    assert max(wanted) > 50
    assert [one.inliers for one in found if one.homography is not None] == [
        count for count, one in zip(wanted, found, strict=True) if one.homography is not None
    ]
    assert sum(one.homography is not None for one in found) >= 3


@pytest.mark.slow
def test_points_in_integers_are_near_those_in_floats(weights: Path) -> None:
    floats, integers = (create_reranker(str(weights), RerankSettings(integers=on)) for on in (False, True))
    _, patches = pair_engine(weights).look([again(PICTURES[1]), *PICTURES])
    wanted, found = (one._engine.points(patches[0], patches[1:]) for one in (floats, integers))
    assert np.abs(wanted - wanted.mean(axis=0)).max() > 1.0
    difference = np.abs(found - wanted)
    assert 0.0 < difference.max() < 4.0


def test_what_was_learned_beside_the_weights_is_used(weights: Path, tmp_path: Path) -> None:
    path = moved(weights, tmp_path)
    sha256 = pair_engine(path).card.sha256
    save_match_model(path, MatchModel("homography", sha256, -3.0, 1.0, 1.0, 6.0, 1.0))
    reranker = create_reranker(str(path))
    query, *kept = reranker.prepare([View(PICTURES[2]), *(View(picture) for picture in PICTURES)])
    answer = rerank(reranker, query, range(5), kept.__getitem__, RerankSettings(min_probability=0.5))
    assert answer.probabilities is not None and answer.probabilities[0] > 0.5 and answer.accepted[0]
    assert load_patches(path, RerankSettings()).probability is None


@pytest.mark.slow
def test_product_quantisation_takes_the_code_book_beside_the_weights(weights: Path, tmp_path: Path) -> None:
    path, settings = moved(weights, tmp_path), RerankSettings(storage=Storage.PQ)
    with pytest.raises(ConfigError, match="int8"):
        create_reranker(str(path), settings)
    engine = pair_engine(path)
    save_codebook(path, PatchCodebook.learn(engine.look(PICTURES)[1].reshape(-1, 192), engine.card.sha256))
    reranker = create_reranker(str(path), settings)
    (kept,) = reranker.prepare([View(PICTURES[0])])
    content = reranker.to_bytes(kept)
    assert len(content) < 256 * 48 + 100
    assert reranker.verify(kept, [reranker.from_bytes(content)])[0].matches > 200


def test_what_is_beside_other_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    path = moved(weights, tmp_path)
    save_match_model(path, MatchModel("homography", "ab" * 32, 0.0, 1.0, 1.0, 6.0, 1.0))
    with pytest.raises(DataError, match="other weights"):
        create_reranker(str(path))


def test_a_damaged_file_of_integers_is_not_used_and_the_log_says_so(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = moved(weights, tmp_path)
    (tmp_path / "random_pairs_int8.onnx").write_bytes(b"no network")
    assert create_reranker(str(path), RerankSettings(integers=True)).card.dimension == 192
    assert "random_pairs_int8.onnx is not used" in caplog.text
