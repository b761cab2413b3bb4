"""The index of descriptors: searches against a plain matrix product, changes, files, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from retrieval_samples import unit_rows

from vloc_ros.errors import ConfigError, DataError
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.retrieval import DescriptorIndex, IndexSettings, load_index, save_index

APPROXIMATE = IndexSettings(approximate_above=1000, exact_mb=0, probes=4096)
"""All lists are looked into: what is tested is the book-keeping, not the recall."""


def filled(rows: np.ndarray, settings: IndexSettings | None = None) -> DescriptorIndex[int]:
    index: DescriptorIndex[int] = DescriptorIndex(rows.shape[1], settings)
    index.add_many(range(len(rows)), rows)
    return index


@pytest.mark.parametrize(("count", "settings"), [(300, None), (1500, APPROXIMATE)])
def test_finds_what_a_matrix_product_finds(count: int, settings: IndexSettings | None) -> None:
    rows, queries = unit_rows(count, 24), unit_rows(7, 24, seed=1)
    index = filled(rows, settings)
    assert index.is_approximate == (settings is not None)
    expected = np.argsort(-(queries @ rows.T), axis=1)[:, :5]
    for query, found, wanted in zip(queries, index.search_many(3.0 * queries, 5), expected, strict=True):
        assert found.ids == wanted.tolist() == index.search(query, 5).ids
        np.testing.assert_allclose(found.scores, rows[wanted] @ query, atol=1e-6)
        assert [id for id, _ in found] == found.ids and len(found) == 5


def test_the_inverted_file_finds_clustered_descriptors() -> None:
    places = np.repeat(unit_rows(60, 64), 30, axis=0)
    rows = places + 0.05 * np.random.default_rng(2).standard_normal(places.shape)
    exact, near = filled(rows), filled(rows, IndexSettings(approximate_above=1000, exact_mb=0, probes=8))
    queries = places[::10] + 0.05 * np.random.default_rng(3).standard_normal((180, 64))
    same = [len(set(exact.search(q, 10).ids) & set(near.search(q, 10).ids)) for q in queries]
    assert np.mean(same) >= 9.9
    assert near.size_bytes > exact.size_bytes == 1800 * 64 * 4


@pytest.mark.parametrize("settings", [None, APPROXIMATE])
def test_ties_keep_the_order_in_which_they_came(settings: IndexSettings | None) -> None:
    rows = unit_rows(1100, 37)
    rows[[3, 500, 501, 777, 1099]] = rows[3]
    index = filled(rows, settings)
    for k in (1, 2, 3, 4, 5):
        assert index.search(rows[3], k).ids == [3, 500, 501, 777, 1099][:k]
        assert index.search_many(rows[[3, 0, 3]], k)[2].ids == [3, 500, 501, 777, 1099][:k]


@pytest.mark.parametrize("settings", [None, APPROXIMATE])
def test_what_is_removed_is_not_found_and_can_come_back(settings: IndexSettings | None) -> None:
    rows = unit_rows(2600, 16)
    index = filled(rows, settings)
    assert index.search(rows[5], 1).ids == [5]
    for id in range(1500):
        index.remove(id)
        if id == 5:
            assert 5 not in index.search(rows[5], 10).ids
    assert len(index) == 1100 and 5 not in index and 2000 in index
    wanted = (1500 + np.argsort(-(rows[1500:] @ rows[5]))[:4]).tolist()
    assert index.search(rows[5], 4).ids == wanted
    index.add(5, rows[5])
    assert index.search(rows[5], 5).ids == [5, *wanted]
    assert index.ids[-1] == 5
    np.testing.assert_allclose(index.vector(5), rows[5], atol=1e-6)
    np.testing.assert_allclose(index.scores(rows[7]), rows[[*range(1500, 2600), 5]] @ rows[7], atol=1e-6)


def test_rows_added_after_the_lists_were_made_are_found() -> None:
    rows = unit_rows(4000, 16)
    index = filled(rows[:1200], APPROXIMATE)
    index.build()
    for id in range(1200, 4000):
        index.add(id, rows[id])
    assert [index.search(rows[id], 1).ids[0] for id in (0, 1199, 1200, 3999)] == [0, 1199, 1200, 3999]


@pytest.mark.parametrize("settings", [None, APPROXIMATE])
def test_a_condition_is_asked_until_enough_pass(settings: IndexSettings | None) -> None:
    rows = unit_rows(1500, 16)
    index = filled(rows, settings)
    order = np.argsort(-(rows @ rows[9])).tolist()
    allowed = set(order[600:700])
    assert index.search(rows[9], 3, where=allowed.__contains__).ids == order[600:603]
    assert index.search(rows[9], 3, where=lambda id: id == order[-1]).ids == order[-1:]
    assert index.search(rows[9], 3, where=lambda id: False).ids == []


def test_an_empty_index_and_small_ones() -> None:
    index: DescriptorIndex[str] = DescriptorIndex(4)
    query = np.ones(4)
    assert len(index.search(query, 3)) == 0 and [len(found) for found in index.search_many(np.ones((2, 4)), 3)] == [0, 0]
    index.add("only", np.array([0.0, 0.0, 2.0, 0.0]))
    found = index.search(query, 3)
    assert found.ids == ["only"] and found.scores.tolist() == [0.5]
    index.remove("only")
    assert len(index) == 0 and len(index.search(query, 1)) == 0


def test_zeros_are_kept_but_never_found() -> None:
    index = filled(np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    assert len(index) == 3 and 0 in index
    assert index.search(np.array([1.0, 0.0]), 3).ids == [1, 2]
    assert len(index.search(np.zeros(2), 3)) == 0
    assert [found.ids for found in index.search_many(np.array([[0.0, 0.0], [-1.0, 0.0]]), 1)] == [[], [2]]
    assert index.scores(np.array([1.0, 0.0])).tolist() == [0.0, 1.0, -1.0]


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.ones(3), "of 4 elements, not of 3"),
        (np.array([1, np.nan, 0, 0]), "not finite"),
        (np.array([np.inf, 0, 0, 0]), "not finite"),
    ],
)
def test_wrong_vectors_are_refused_and_nothing_is_added(vector: np.ndarray, words: str) -> None:
    index = filled(np.eye(4))
    with pytest.raises(DataError, match=words):
        index.add(9, vector)
    with pytest.raises(DataError, match=words):
        index.search(vector, 1)
    assert len(index) == 4


def test_wrong_ids_are_refused() -> None:
    index = filled(np.eye(4))
    for wrong in ([3], [9, 9]):
        with pytest.raises(DataError, match="twice"):
            index.add_many(wrong, np.eye(4)[: len(wrong)])
    with pytest.raises(DataError, match="1 ids cannot name 2"):
        index.add_many([7], np.eye(4)[:2])
    with pytest.raises(DataError, match="'9' is not in the index"):
        index.remove(9)
    with pytest.raises(DataError, match="'9' is not in the index"):
        index.vector(9)
    with pytest.raises(DataError, match="1 or more"):
        index.search(np.ones(4), 0)
    with pytest.raises(ConfigError, match="0 elements"):
        DescriptorIndex(0)
    assert len(index) == 4


@pytest.mark.parametrize("settings", [None, APPROXIMATE])
def test_an_index_comes_back_from_its_files(tmp_path: Path, settings: IndexSettings | None) -> None:
    rows = unit_rows(1500, 16)
    rows[4] = 0.0
    index: DescriptorIndex[KeyframeId] = DescriptorIndex(16, settings)
    ids = [KeyframeId(1 + row // 1000, row) for row in range(1500)]
    index.add_many(ids, rows)
    index.build()
    save_index(index, tmp_path / "index")
    assert (tmp_path / "index" / "lists.faiss").is_file() == (settings is not None)
    loaded = load_index(tmp_path / "index", KeyframeId.parse, settings, verify=True)
    assert loaded.ids == ids and isinstance(loaded.ids[0], KeyframeId)
    for row in (0, 4, 1499):
        before, after = index.search(rows[row], 5), loaded.search(rows[row], 5)
        assert before.ids == after.ids and before.scores.tolist() == after.scores.tolist()
    loaded.add(KeyframeId(7, 1), unit_rows(1, 16, seed=5)[0])
    loaded.remove(ids[0])
    assert loaded.search(unit_rows(1, 16, seed=5)[0], 1).ids == [KeyframeId(7, 1)]
    save_index(loaded, tmp_path / "index")
    # the old file goes on being mapped by the first reader, the new one has what changed
    assert ids[0] not in load_index(tmp_path / "index", KeyframeId.parse, settings, verify=True)
    assert loaded.search(rows[8], 1).ids == [ids[8]]


def test_vectors_are_mapped_not_read(tmp_path: Path) -> None:
    save_index(filled(unit_rows(50, 8)), tmp_path)
    loaded = load_index(tmp_path, int)
    assert isinstance(loaded._rows._base.base, np.memmap) or isinstance(loaded._rows._base, np.memmap)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    save_index(filled(unit_rows(1500, 8), APPROXIMATE), tmp_path / "none")
    index = filled(unit_rows(1500, 8), APPROXIMATE)
    index.build()
    good = tmp_path / "good"
    save_index(index, good)
    header = json.loads((good / "index.json").read_text())
    vectors, lists = (good / "vectors.npy").read_bytes(), (good / "lists.faiss").read_bytes()

    def refused(words: str, *, verify: bool = False, **files: bytes) -> None:
        folder = tmp_path / f"bad{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        content = {"index": json.dumps(header).encode(), "vectors": vectors, "lists": lists} | files
        for name, suffix in (("index", "json"), ("vectors", "npy"), ("lists", "faiss")):
            (folder / f"{name}.{suffix}").write_bytes(content[name])
        with pytest.raises(DataError, match=words):
            load_index(folder, int, APPROXIMATE, verify=verify)

    refused("not JSON", index=b"{")
    refused("version", index=b"[]")
    refused("zeros or dimension", index=json.dumps(header | {"ids": "abc"}).encode())
    refused("zeros or dimension", index=json.dumps(header | {"zeros": [1500]}).encode())
    refused("zeros or dimension", index=json.dumps(header | {"dimension": True}).encode())
    refused("instead of float32", index=json.dumps(header | {"ids": ["1"]}).encode())
    refused("different ids", index=json.dumps(header | {"ids": ["1"] * 1500}).encode())
    refused("cannot read .*vectors.npy", vectors=vectors[:50])
    refused("cannot read .*vectors.npy", vectors=b"")
    refused("lists.faiss is damaged", lists=lists[:-1])
    refused("vectors.npy is damaged", verify=True, vectors=vectors[:-1] + bytes([vectors[-1] ^ 1]))
    with pytest.raises(DataError, match=r"index\.json"):
        load_index(tmp_path / "nowhere", int)
