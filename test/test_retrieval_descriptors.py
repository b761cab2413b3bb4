"""The contract that every registered global descriptor must pass, and what is particular to some."""

from __future__ import annotations

import io

import numpy as np
import pytest
from retrieval_samples import again, extractor, made, place, view_of, vocabulary_bytes

from vloc_ros.data.models import shipped_places
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.features import Features, Metric, create_extractor
from vloc_ros.retrieval import (
    GlobalDescriptor,
    Needs,
    View,
    Vlad,
    Vocabulary,
    create_descriptor,
    descriptors,
    learn_vocabulary,
    takes_assets,
)


@pytest.fixture(scope="module", params=descriptors())
def descriptor(request: pytest.FixtureRequest) -> GlobalDescriptor:
    return made(request.param)


def test_describes_by_a_unit_vector_of_the_dimension_on_its_card(descriptor: GlobalDescriptor) -> None:
    vector = descriptor.describe(view_of(descriptor, place(1)))
    assert vector.dtype == np.float32 and vector.shape == (descriptor.card.dimension,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert descriptor.card.name in (descriptor.name, *shipped_places())  # weights have a name of their own


def test_says_the_same_every_time(descriptor: GlobalDescriptor) -> None:
    view = view_of(descriptor, place(1))
    before = view.image.copy()
    first = descriptor.describe(view)
    descriptor.describe(view_of(descriptor, place(2)))
    np.testing.assert_array_equal(descriptor.describe(view), first)
    np.testing.assert_array_equal(view.image, before)
    other = made(descriptor.card.name)
    assert other.card == descriptor.card
    np.testing.assert_array_equal(other.describe(view), first)


def test_many_at_once_are_as_one_by_one(descriptor: GlobalDescriptor) -> None:
    views = [view_of(descriptor, place(number)) for number in range(3)]
    rows = descriptor.describe_many(views)
    np.testing.assert_allclose(rows, [descriptor.describe(view) for view in views], atol=1e-5)
    assert descriptor.describe_many([]).shape == (0, descriptor.card.dimension)


def test_colour_without_colour_is_grey(descriptor: GlobalDescriptor) -> None:
    grey = place(3)[:, :, 0].copy()
    vectors = [descriptor.describe(view_of(descriptor, image)) for image in (grey, np.dstack([grey] * 3))]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_has_nothing_to_describe(descriptor: GlobalDescriptor, level: int) -> None:
    vector = descriptor.describe(view_of(descriptor, np.full((120, 160, 3), level, dtype=np.uint8)))
    assert not vector.any() and vector.shape == (descriptor.card.dimension,)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_survives_the_smallest_images(descriptor: GlobalDescriptor, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    vector = descriptor.describe(view_of(descriptor, image))
    assert np.isfinite(vector).all() and np.linalg.norm(vector) <= 1.0 + 1e-5


def test_says_what_is_missing_from_a_view(descriptor: GlobalDescriptor) -> None:
    missing = "features" if descriptor.needs is Needs.FEATURES else "image"
    with pytest.raises(DataError, match=missing):
        descriptor.describe(View(image=place(1)) if missing == "features" else View(features=extractor().nothing()))


@pytest.mark.parametrize("name", ["thumbnail", "hog", "vlad"])
def test_a_place_seen_again_in_less_light_is_recognised(name: str) -> None:
    descriptor = made(name)
    taught = descriptor.describe_many([view_of(descriptor, place(number)) for number in range(12)])
    asked = descriptor.describe_many([view_of(descriptor, again(place(number))) for number in range(12)])
    np.testing.assert_array_equal(np.argmax(asked @ taught.T, axis=1), np.arange(12))


@pytest.mark.parametrize("name", ["thumbnail", "hog"])
@pytest.mark.parametrize("image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)])
def test_what_is_no_image_is_refused(name: str, image: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        create_descriptor(name).describe(View(image))


def test_an_unknown_name_and_useless_assets_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown descriptor 'hgo'; known: .*hog"):
        create_descriptor("hgo")
    with pytest.raises(ConfigError, match="'hog' is not learned"):
        create_descriptor("hog", b"x")
    assert takes_assets("vlad") and not takes_assets("hog")


def test_vlad_says_where_a_vocabulary_comes_from() -> None:
    with pytest.raises(ConfigError, match="vloc vocabulary"):
        create_descriptor("vlad")


def test_vlad_by_hand() -> None:
    """Two words, three features: residuals, signed root, each word to unit length, then the whole."""
    vocabulary = Vocabulary(Metric.COSINE, np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
    rows = np.array([[0.75, 0.0], [1.0, 0.16], [0.0, 0.19]], dtype=np.float32)
    three = np.zeros(3, dtype=np.float32)
    features = Features(np.zeros((3, 2), dtype=np.float32), three, three, rows, three)
    # word 0: (-0.25, 0) + (0, 0.16) -> (-0.5, 0.4) / 0.6403; word 1: (0, -0.81) -> (0, -1)
    expected = np.array([-0.5 / np.sqrt(0.41), 0.4 / np.sqrt(0.41), 0.0, -1.0]) / np.sqrt(2.0)
    np.testing.assert_allclose(Vlad(vocabulary).describe(View(features=features)), expected, atol=1e-6)


def test_a_vocabulary_comes_back_from_its_bytes_and_depends_on_the_seed() -> None:
    data = vocabulary_bytes()
    vocabulary = Vocabulary.from_bytes(data)
    assert vocabulary.centres.shape == (16, 256) and vocabulary.metric is Metric.HAMMING
    assert Vocabulary.from_bytes(vocabulary.to_bytes()).sha256 == vocabulary.sha256
    images = [extractor().extract(place(number)) for number in range(100, 106)]
    assert Vocabulary.learn(images, seed=1, count=16).sha256 == vocabulary.sha256
    assert Vocabulary.learn(images, seed=2, count=16).sha256 != vocabulary.sha256
    assert create_descriptor("vlad", data).card.sha256 == vocabulary.sha256


def test_a_vocabulary_of_float_features() -> None:
    sift = create_extractor("sift_fast", 100)
    vocabulary = learn_vocabulary([place(1), place(2)], sift, words=8)
    assert vocabulary.metric is Metric.COSINE and vocabulary.centres.shape == (8, 128)
    with pytest.raises(DataError, match="hamming ones of 256"):
        Vlad(vocabulary).describe(View(features=extractor().extract(place(1))))


def _archive(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a vocabulary",
        vocabulary_bytes()[:500],
        _archive(centres=np.ones((2, 2), np.float32)),
        _archive(metric=np.array("cosine"), centres=np.full((2, 2), np.nan, np.float32)),
        _archive(metric=np.array("cosine"), centres=np.ones((2, 2), np.float64)),
        _archive(metric=np.array("manhattan"), centres=np.ones((2, 2), np.float32)),
        _archive(metric=np.array("cosine"), centres=np.array([{}], dtype=object)),
    ],
)
def test_damaged_vocabularies_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="vocabulary"):
        create_descriptor("vlad", data)


def test_too_few_or_mixed_features_make_no_vocabulary() -> None:
    with pytest.raises(DataError, match="cannot make 64 words"):
        learn_vocabulary([np.zeros((60, 80), np.uint8)], extractor())
    mixed = [extractor().extract(place(1)), create_extractor("sift", 50).extract(place(1))]
    with pytest.raises(DataError, match="one kind of local features"):
        Vocabulary.learn(mixed, count=4)
