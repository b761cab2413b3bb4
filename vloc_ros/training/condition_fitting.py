"""The classifier of conditions, learned to the end once what it sees, the first features of the reference's encoder, is fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.data.images import read_image
from vloc_ros.data.samples import evenly_of_each
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.networks.domains import DomainNetwork

_BATCH = 16
_STEPS, _RATE, _DECAY = 300, 3e-3, 1e-3


def fit_classifier(network: DomainNetwork, files: Mapping[str, Sequence[Path]], images: int = 1200) -> None:
    """Go on teaching the classifier, all images at a time: while a network learns, it runs after features that change.

    Nothing else of the network changes. Mirrored images are learned from, too. A network without a classifier is left alone.

    Args:
        network: it is changed.
        files: images by condition, those of the network.
        images: at most so many are looked at, evenly chosen, as many of each condition.

    Raises:
        DataError: an image cannot be read.
    """
    if network.classifier is None:
        return
    parts, wanted = [], []
    for name, paths in evenly_of_each(files, max(images, len(files))).items():
        statistics = _statistics(network, paths)
        parts.append(statistics)
        wanted.append(torch.full((len(statistics),), network.form.conditions.index(name)))
    inputs, targets = torch.cat(parts), torch.cat(wanted).to(parts[0].device)
    layers = network.classifier.layers
    with torch.enable_grad():
        optimizer = torch.optim.AdamW(layers.parameters(), lr=_RATE, weight_decay=_DECAY)
        for _ in range(_STEPS):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(layers(inputs), targets).backward()
            optimizer.step()
    layers.zero_grad(set_to_none=True)


def _statistics(network: DomainNetwork, paths: Sequence[Path]) -> Tensor:
    """(2 N, E) of images and of the same mirrored."""
    assert network.classifier is not None
    device = next(network.encoders.parameters()).device
    found: list[Tensor] = []
    for start in range(0, len(paths), _BATCH):
        pictures = [read_image(path) for path in paths[start : start + _BATCH]]
        batch = torch.from_numpy(disam_images(pictures, network.form)).to(device)
        with torch.no_grad():
            features = (network.encoders[0].first(seen) for seen in (batch, batch.flip(-1)))
            found.extend(network.classifier.statistics(one) for one in features)
    return torch.cat(found)
