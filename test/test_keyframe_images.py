"""Images of keyframes of several maps, and the training of variances with their tuples."""

import json

import numpy as np
import pytest
from calibration_maps import SMALL, base_weights, ring_map
from calibration_samples import k
from map_samples import teach

pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet
from vloc_ros.cli import main
from vloc_ros.errors import ConfigError, MapError
from vloc_ros.mapping import MapStore
from vloc_ros.networks.names import LearnedPart
from vloc_ros.networks.preprocessing import preprocess, resized
from vloc_ros.training.keyframe_images import KeyframeImages
from vloc_ros.training.tuple_settings import TripletSettings, UncertaintySettings
from vloc_ros.training.tuple_training import TupleJob, start_network


@pytest.fixture
def stores(tmp_path):
    with MapStore.open(teach(tmp_path / "a.vloc", 3, 2)) as a, MapStore.open(teach(tmp_path / "b.vloc", 4)) as b:
        yield a, b


def test_keyframes_of_several_maps_have_names_of_their_own(stores):
    images = KeyframeImages(stores)
    assert images.named(0, k(2, 2)) == k(2, 2) and images.named(1, k(2)) == k(2, 3)
    for number, id in ((0, k(1)), (0, k(3, 2)), (1, k(4))):
        expected = resized(stores[number].image(id))
        np.testing.assert_array_equal(images(images.named(number, id)), expected)
    np.testing.assert_array_equal(preprocess([expected]), preprocess([stores[1].image(k(4))]))
    with pytest.raises(MapError, match="no map holds keyframe s4/k1"):
        images(k(1, 4))


def test_tuples_are_renamed_and_go_without_keyframes_that_have_no_image(stores, tmp_path):
    tuples = TupleSet((TrainingTuple(k(1), k(2), (k(3), k(4)), 0.5, 1),), (OutlierPair(k(1), k(4), 0.5, 1),))
    images = KeyframeImages(stores)
    named = images.with_images(1, tuples)
    assert named.tuples[0].negatives == (k(3, 3), k(4, 3)) and named.pairs[0].negative == k(4, 3) and named.tuples[0].weight == 0.5
    stores[1].database.execute("DELETE FROM image WHERE keyframe = 4")
    left = images.with_images(1, tuples)
    assert left.tuples[0].negatives == (k(3, 3),) and left.pairs == ()
    with pytest.raises(MapError, match="has no image of keyframe s1/k4"):
        images(k(4, 3))


def test_memory_is_bounded_and_an_image_is_read_once(stores):
    images, small = KeyframeImages(stores), KeyframeImages(stores, cache_mb=0)
    first = images(k(1))
    assert images(k(1)) is first and small(k(1)) is not small(k(2))
    again = small(k(1))
    assert small(k(1)) is again
    small(k(2))
    assert small(k(1)) is not again


def test_some_are_chosen_evenly(stores):
    images, ids = KeyframeImages(stores), tuple(k(n) for n in (1, 2, 3))
    for count, expected in ((2, (1, 2)), (3, (1, 2, 3)), (9, (1, 2, 3))):
        chosen = images.evenly(ids, count)
        assert len(chosen) == len(expected) and all(image is images(k(n)) for image, n in zip(chosen, expected, strict=True))


def test_a_network_gets_a_variance_head_only_where_it_can(tmp_path, stores):
    from vloc_ros.data.weights import load_card
    from vloc_ros.networks import Backbone, NetworkKind
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.network import random_network
    from vloc_ros.training.settings import TrainingSettings

    base, images = base_weights(tmp_path), KeyframeImages(stores)

    def job(start, objective):
        site = [images(k(n)) for n in (1, 2, 3)]
        return TupleJob(start, objective, LearnedPart.HEADS, TupleSet(), images, TrainingSettings(), lambda: site, "")

    network, parent = start_network(job(base, UncertaintySettings()))
    assert network.kind is NetworkKind.UNCERTAINTY and parent == load_card(base).sha256
    assert start_network(job(base, TripletSettings()))[0].kind is NetworkKind.GEM
    other = tmp_path / "other.safetensors"
    save_network(other, random_network(NetworkKind.NETVLAD, Backbone.MOBILENETV3), "nothing")
    with pytest.raises(ConfigError, match="cannot learn variances"):
        start_network(job(other, UncertaintySettings()))


def test_the_command_says_what_it_lacks(capsys, tmp_path):
    assert main(["train", "uncertainty", "--show-settings"]) == 0
    assert "part: variance" in capsys.readouterr().out
    assert main(["train", "uncertainty"]) == 1 and "--map" in capsys.readouterr().err
    bare = teach(tmp_path / "bare.vloc", 3)
    arguments = ["train", "uncertainty", "--map", str(bare), "--start", str(base_weights(tmp_path)), "--out", str(tmp_path / "run")]
    assert main(arguments) == 1 and "no tuples to learn from in bare.vloc" in capsys.readouterr().err


@pytest.mark.slow
def test_the_variance_head_learns_and_descriptors_stay(tmp_path, capsys):
    from vloc_ros.networks.files import load_network
    from vloc_ros.networks.network import describe_with_variance

    site, base = ring_map(tmp_path / "ring.vloc", keyframes=30), base_weights(tmp_path)
    mining = {f"mining.{name}": value for name, value in SMALL["mining"].items() if name != "exclusion"}
    mining |= {f"mining.exclusion.{name}": value for name, value in SMALL["mining"]["exclusion"].items()}
    given = mining | {"training.epochs": 2, "training.learning_rate": 1e-3, "centre_images": 6, "uncertainty.images_at_once": 64}
    common = ["train", "uncertainty", "--map", str(site), "--start", str(base), "--out", str(tmp_path / "run"), "--json"]
    assert main(common + [f"--set={name}={value}" for name, value in given.items()]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] > 0
    network, card = load_network(tmp_path / "run" / "best.safetensors")
    assert card.network == "uncertainty" and "ring.vloc" in card.trained_on
    before, _ = load_network(base)
    with MapStore.open(site, read_only=True) as store:
        pictures = [store.image(keyframe.id) for keyframe in store.keyframes()[::9]]
    old, new = describe_with_variance(before, pictures), describe_with_variance(network, pictures)
    np.testing.assert_allclose(new[0], old[0], atol=1e-3)
    assert new[1] is not None and (new[1] > 0.0).all() and np.ptp(new[1]) > 0.0
