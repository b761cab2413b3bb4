"""Published weights of DHE-VPR: those of the backbone, of the benchmark that it was trained in, and those of the homography.

Layouts that are understood, each with or without the ``module.`` of parallel training and inside a ``model_state_dict`` or not:

- the deep visual geo-localization benchmark (Berton et al. 2022): ``backbone.*`` and ``aggregation.1.p``;
- the feature extractor of DHE-VPR: ``encoder.*`` and ``pool.1.p``;
- a CCT-14/7x2 of 384 px on its own (Hassani et al. 2021): ``tokenizer.*`` and ``classifier.*``, from a classifier of ImageNet;
- the homography network of DHE-VPR: ``pe``, ``encoder.layers.*``, ``encoder2.layers.*`` and ``linear.*``.

Layers after the eighth, the attention pool and the classifier are left out. The homography network is published with the positions
of the query before those of the candidate, which are our tokens: its learned positions and its last layer are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.weights import TWO_STAGES, WeightsCard, load_card
from vloc_ros.errors import ConfigError, WeightsError
from vloc_ros.networks.checkpoint import Imported, read_checkpoint
from vloc_ros.networks.dhe import CORNERS, PUBLISHED, DheNetwork
from vloc_ros.networks.files import load_network, require_fit, require_tensors, some
from vloc_ros.networks.names import Backbone, NetworkKind
from vloc_ros.networks.network import PlaceNetwork, load_tensors, make_network
from vloc_ros.networks.two_stage import TwoStageNetwork
from vloc_ros.networks.two_stage_files import load_two_stage

Tensors = Mapping[str, NDArray[np.float32]]
_POOL = "pool.p"
_POWER = 3.0
_OF_PLACE = (
    (r"(?:backbone|encoder)\.(.+)", r"encoder.\1"),
    (r"((?:tokenizer|classifier)\..+)", r"encoder.\1"),
    (r"(?:aggregation|pool)\.(?:1\.)?p", _POOL),
)
_LEFT_OUT = re.compile(r"encoder\.classifier\.(attention_pool|fc)\..+")
_BLOCK = re.compile(r"encoder\.classifier\.blocks\.(\d+)\..+")
_OF_REGRESSION = (
    (r"pe", "positions"),
    (r"encoder\.(layers\..+)", r"first.\1"),
    (r"encoder2\.(layers\..+)", r"second.\1"),
    (r"linear\.(weight|bias)", r"points.\1"),
)


def import_first_stage(path: Path) -> Imported:
    """Read a published CCT-14/7x2 of 384 px, with the power of its pooling where it has one; a classifier's pooling begins at 3.

    Raises:
        WeightsError: the file cannot be read, holds code, or is of another network; the text says what is wrong.
    """
    network = make_network(NetworkKind.PLAIN_GEM, Backbone.CCT14)
    used = len(network.encoder.classifier.blocks)
    given = {name: tensor for name, tensor in _renamed(read_checkpoint(path), _OF_PLACE).items() if not _is_left_out(name, used)}
    if not any(name.startswith("encoder.tokenizer.") for name in given):
        raise WeightsError(f"{path} holds no weights of {Backbone.CCT14.value}: it has {some(list(given)) or 'none at all'}")
    absent = () if _POOL in given else ("pool",)
    if absent:
        given[_POOL] = np.array([_POWER], dtype=np.float32)
    require_fit(network, given, path)
    load_tensors(network, given)
    return Imported(network, absent)


def import_regression(path: Path) -> DheNetwork:
    """Read a published homography network, of maps of 24x24 local descriptors and images of 384 px.

    Raises:
        WeightsError: the file cannot be read, holds code, or is of another network; the text says what is wrong.
    """
    network = DheNetwork(PUBLISHED, Backbone.CCT14.size)
    given = _renamed(read_checkpoint(path), _OF_REGRESSION)
    tokens = PUBLISHED.tokens
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    require_tensors(shapes, given, path, f"the homography network of {TWO_STAGES}")
    last = given["points.weight"].reshape(4 * CORNERS, tokens, tokens)
    given["positions"] = np.ascontiguousarray(given["positions"].transpose(0, 2, 1))
    given["points.weight"] = np.ascontiguousarray(last.transpose(0, 2, 1)).reshape(4 * CORNERS, -1)
    load_tensors(network, given)
    return network


def import_both(homography: Path, place: Path | None) -> tuple[TwoStageNetwork, WeightsCard | None]:
    """Both stages from the published files of either.

    Args:
        homography: check point of the homography network.
        place: check point of the first stage that it was trained with, or one of our files that has it on ``cct14``.

    Returns:
        The network, in evaluation mode, and the card of the first stage where that is a file of ours.

    Raises:
        ConfigError: ``place`` is missing.
        WeightsError: a file cannot be read, holds code, or is of another network; the text says what is wrong.
    """
    if place is None:
        raise ConfigError(
            f"{homography} is half of a network: name the weights of the descriptors it was trained with, too, with --with FILE"
        )
    first, card = _first_stage(place)
    network = TwoStageNetwork(Backbone.CCT14)
    network.place.load_state_dict(first.state_dict())
    network.regression.load_state_dict(import_regression(homography).state_dict())
    network.eval()
    return network, card


def _first_stage(path: Path) -> tuple[PlaceNetwork, WeightsCard | None]:
    if not path.with_suffix(".json").is_file():
        return import_first_stage(path).network, None
    card = load_card(path)
    if card.backbone != Backbone.CCT14.value:
        raise WeightsError(
            f"{path} holds weights on {card.backbone}, and published homography networks go with {Backbone.CCT14.value}"
        )
    if card.network == TWO_STAGES:
        both, card = load_two_stage(path)
        return both.place, card
    return load_network(path)


def _renamed(tensors: Tensors, rules: tuple[tuple[str, str], ...]) -> dict[str, NDArray[np.float32]]:
    """Under our names; what has no rule keeps its own."""
    result = {}
    for name, tensor in tensors.items():
        plain = ".".join(part for part in name.split(".") if part != "module")
        matching = (re.sub(f"^{pattern}$", new, plain) for pattern, new in rules if re.fullmatch(pattern, plain))
        result[next(matching, plain)] = tensor
    return result


def _is_left_out(name: str, used: int) -> bool:
    block = _BLOCK.fullmatch(name)
    return int(block[1]) >= used if block else _LEFT_OUT.fullmatch(name) is not None
