"""Fit a network to the images of a site without labels: cluster centres and whitening, from a map or a folder to a file."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.data.files import list_images
from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.data.samples import evenly
from vloc_ros.data.weights import WeightsCard
from vloc_ros.errors import DataError, WeightsError
from vloc_ros.mapping import MapStore
from vloc_ros.networks.centroids import initialise_netvlad
from vloc_ros.networks.files import load_network, save_network
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import PlaceNetwork, random_network
from vloc_ros.networks.preprocessing import resized
from vloc_ros.networks.whitening import learn_whitening


def images_of(source: Path, most: int) -> list[Image]:
    """Images of a folder or of a map's keyframes at input size, evenly chosen when there are more than ``most``.

    Raises:
        DataError: there are none, or one is damaged.
        MapError: the file is not a map, or damaged.
    """
    if source.is_dir():
        chosen = [resized(read_image(path)) for path in evenly(list_images(source), most)]
    else:
        with MapStore.open(source, read_only=True) as store:
            stored = (store.image(keyframe.id) for keyframe in evenly(store.keyframes(), most))
            chosen = [resized(image) for image in stored if image is not None]
    if not chosen:
        raise DataError(f"{source} holds no images; name a folder of image files, or a map (*.vloc) that was taught with images")
    return chosen


def initialise(
    out: Path,
    source: Path,
    kind: NetworkKind,
    backbone: Backbone,
    start: Path | None = None,
    whitened: int = 0,
    most: int = 1250,
    seed: int = 0,
) -> tuple[WeightsCard, int]:
    """Fit a network to images and write it.

    Args:
        out: file of weights to write.
        source: folder of images, or map.
        kind: NetVLAD, which gets cluster centres, or GeM.
        backbone: of the random weights, where there is no ``start``.
        start: file of weights to start from.
        whitened: elements after the whitening, 0 for none.
        most: number of images to use.
        seed: of random weights and of k-means.

    Returns:
        The card, and the number of weights.

    Raises:
        DataError: there are too few images, or one is damaged.
        MapError: the source is a file but not a map.
        WeightsError: ``start`` cannot be used.
    """
    if kind is NetworkKind.GEM and not whitened:
        raise DataError("gem has no cluster centres: say with --pca to how many elements it is to be whitened")
    network, origin = _start(kind, backbone, start, seed)
    images = images_of(source, most)
    done = []
    if kind is NetworkKind.NETVLAD:
        initialise_netvlad(network, images, seed)
        done.append("centres")
    if whitened:
        network = learn_whitening(network, images, whitened)
        done.append("whitening")
    elif network.whitening is not None:
        raise WeightsError(f"{start} ends in a whitening of other centres: say with --pca how many elements the new one has")
    history = f"nothing (random, seed {seed})" if origin is None else origin.trained_on
    parent, licence = ("", "") if origin is None else (origin.sha256, origin.licence)
    learned = f"{' and '.join(done)} from {len(images)} images of {source.resolve().name}"
    card = save_network(out, network, f"{history}; {learned}", parent, licence)
    return card, sum(tensor.numel() for tensor in network.state_dict().values())


def _start(kind: NetworkKind, backbone: Backbone, start: Path | None, seed: int) -> tuple[PlaceNetwork, WeightsCard | None]:
    """The network to begin with, and the card of its file when it is from one."""
    if start is None:
        return random_network(kind, backbone, seed), None
    network, card = load_network(start)
    if network.kind is not kind:
        raise WeightsError(f"{start} holds weights of {card.network}, not of {kind.value}")
    return network, card
