"""What is kept of the patches of an image: how many matches survive each code, and damaged or foreign bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vloc_ros.errors import ConfigError, DataError
from vloc_ros.retrieval.patch_codebook import PatchCodebook, codebook_path, load_codebook, save_codebook
from vloc_ros.retrieval.patch_codes import PatchCodec
from vloc_ros.retrieval.patch_matching import mutual_matches, padded, patch_centres
from vloc_ros.retrieval.rerank import Storage

PATCHES, CHANNELS = 64, 48
WEIGHTS, OTHERS = "ab" * 32, "cd" * 32


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def patches(seed: int, count: int = PATCHES) -> np.ndarray:
    """Like those of a network: of few degrees of freedom, and with a mean."""
    basis = np.random.default_rng(0).normal(size=(12, CHANNELS))
    return unit(np.random.default_rng(seed).normal(size=(count, 12)) @ basis + 2.0)


@pytest.fixture(scope="module")
def book() -> PatchCodebook:
    return PatchCodebook.learn(patches(100, 4000), WEIGHTS)


def codec(storage: Storage, book: PatchCodebook | None = None) -> PatchCodec:
    return PatchCodec(storage, PATCHES, CHANNELS, WEIGHTS, book)


@pytest.mark.parametrize(
    ("storage", "least", "bytes_per_patch"), [(Storage.FLOAT16, 0.98, 96), (Storage.INT8, 0.9, 48), (Storage.PQ, 0.55, 12)]
)
def test_most_matches_survive(storage: Storage, least: float, bytes_per_patch: int, book: PatchCodebook) -> None:
    coder, same, total = codec(storage, book), 0, 0
    for seed in range(20):
        a, generator = patches(seed), np.random.default_rng(seed)
        b = unit(a[generator.permutation(PATCHES)] + 0.03 * generator.normal(size=a.shape))
        exact = mutual_matches(a, b[None])[0]
        kept = mutual_matches(coder.encode(a).rows(), coder.encode(b).rows()[None])[0]
        same += len({tuple(row) for row in exact} & {tuple(row) for row in kept})
        total += len(exact)
    assert total > 500 and same / total > least
    assert len(coder.to_bytes(coder.encode(a))) <= PATCHES * bytes_per_patch + 100


@pytest.mark.parametrize("storage", list(Storage))
def test_what_is_kept_survives_its_bytes_and_is_of_unit_length(storage: Storage, book: PatchCodebook) -> None:
    kept = codec(storage, book).encode(patches(1))
    # whoever stores in another way can read it all the same
    read = codec(Storage.INT8, book).from_bytes(codec(storage, book).to_bytes(kept))
    assert read is not None and read.storage is storage and len(read) == PATCHES
    np.testing.assert_array_equal(read.rows(), kept.rows())
    assert kept.rows().dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(kept.rows(), axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("storage", [Storage.FLOAT16, Storage.INT8])
def test_a_patch_of_zeros_stays_one(storage: Storage) -> None:
    rows = patches(1)
    rows[3] = 0.0
    decoded = codec(storage).encode(rows).rows()
    assert not decoded[3].any() and np.isfinite(decoded).all()


def test_nothing_is_kept_of_nothing() -> None:
    assert codec(Storage.INT8).from_bytes(codec(Storage.INT8).to_bytes(None)) is None


def test_product_quantisation_without_a_code_book_is_an_error() -> None:
    with pytest.raises(ConfigError, match="int8"):
        codec(Storage.PQ)


def test_a_code_book_of_other_descriptors_is_refused(book: PatchCodebook) -> None:
    with pytest.raises(DataError, match="48"):
        PatchCodec(Storage.PQ, PATCHES, 96, WEIGHTS, book)


def test_codes_of_another_code_book_other_weights_or_another_network_are_refused(book: PatchCodebook) -> None:
    content = codec(Storage.PQ, book).to_bytes(codec(Storage.PQ, book).encode(patches(1)))
    other = PatchCodebook.learn(patches(200, 3000), WEIGHTS)
    with pytest.raises(DataError, match="another one"):
        codec(Storage.PQ, other).from_bytes(content)
    with pytest.raises(DataError, match="prepare the images anew"):
        codec(Storage.INT8).from_bytes(content)
    with pytest.raises(DataError, match="other weights"):
        PatchCodec(Storage.PQ, PATCHES, CHANNELS, OTHERS, book).from_bytes(content)
    small = PatchCodec(Storage.INT8, 16, CHANNELS, WEIGHTS)
    with pytest.raises(DataError, match="do not fit"):
        codec(Storage.INT8).from_bytes(small.to_bytes(small.encode(patches(1)[:16])))


_CONTENT = {storage: codec(storage).to_bytes(codec(storage).encode(patches(2))) for storage in (Storage.FLOAT16, Storage.INT8)}


@settings(max_examples=200)
@given(st.sampled_from(sorted(_CONTENT, key=str)), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_bytes_are_refused(storage: Storage, where: int, change: int, cut: bool) -> None:
    whole = _CONTENT[storage]
    where = where % (len(whole) - 1) + 1
    damaged = whole[:where] if cut else whole[:where] + bytes([whole[where] ^ change]) + whole[where + 1 :]
    with pytest.raises(DataError, match="prepare the images anew"):
        codec(storage).from_bytes(damaged)


@given(st.binary(min_size=1, max_size=200))
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        codec(Storage.INT8).from_bytes(content)
    with pytest.raises(DataError):
        PatchCodebook.from_bytes(content)


def test_a_code_book_is_learned_alike_each_time_and_lies_beside_its_weights(book: PatchCodebook, tmp_path: Path) -> None:
    weights = tmp_path / "site.safetensors"
    assert load_codebook(weights, WEIGHTS) is None
    save_codebook(weights, book)
    assert codebook_path(weights).name == "site.codebook"
    read = load_codebook(weights, WEIGHTS)
    assert read is not None and read.sha256 == book.sha256 == PatchCodebook.learn(patches(100, 4000), WEIGHTS).sha256
    with pytest.raises(DataError, match="other weights"):
        load_codebook(weights, OTHERS)
    codebook_path(weights).write_bytes(book.to_bytes()[:-7])
    with pytest.raises(DataError, match=r"site\.codebook"):
        load_codebook(weights, WEIGHTS)


def test_a_code_names_the_nearest_piece(book: PatchCodebook) -> None:
    rows = patches(5, 10)
    codes = book.encode(rows)
    for row, code in zip(rows, codes, strict=True):
        for place in range(12):
            distance = np.linalg.norm(book.pieces[place] - row[4 * place : 4 * place + 4], axis=1)
            assert distance[code[place]] <= distance.min() + 1e-5


def test_too_few_patches_make_no_code_book() -> None:
    with pytest.raises(DataError, match="more images"):
        PatchCodebook.learn(patches(1), WEIGHTS)


def test_mutual_matches_are_those_of_the_definition() -> None:
    a, b = patches(1), patches(2)
    cosine = a @ b.T
    wanted = [(i, j) for i in range(PATCHES) for j in range(PATCHES) if cosine[i].argmax() == j and cosine[:, j].argmax() == i]
    assert [tuple(row) for row in mutual_matches(a, b[None])[0]] == wanted
    assert [tuple(row) for row in mutual_matches(a, a[None])[0]] == [(i, i) for i in range(PATCHES)]


def test_patch_centres_are_those_published() -> None:
    centres = 384.0 * patch_centres(24)
    np.testing.assert_allclose(centres[[0, 1, 24, 575]], [[8, 8], [24, 8], [8, 24], [376, 376]], atol=1e-4)


def test_padding_is_no_number() -> None:
    made = padded([np.zeros((2, 2)), np.zeros((0, 2)), np.ones((3, 2))])
    assert made.shape == (3, 3, 2)
    assert np.isnan(made).sum(axis=(1, 2)).tolist() == [2, 6, 0]
    assert padded([]).shape == (0, 0, 2)
