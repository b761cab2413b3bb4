"""The network that a joint training begins with, and the file that it ends in."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.data.weights import TWO_STAGES, load_card
from vloc_ros.errors import ConfigError
from vloc_ros.networks.files import load_network, save_network
from vloc_ros.networks.freezing import freeze
from vloc_ros.networks.names import LearnedPart, NetworkKind
from vloc_ros.networks.network import load_tensors, tensors_of
from vloc_ros.networks.two_stage import TwoStageNetwork
from vloc_ros.networks.two_stage_files import load_two_stage, save_two_stage
from vloc_ros.training.vpr_objective import VprNetwork, place_of


def start_network(start: Path, dhe: Path | None, homography: bool) -> tuple[VprNetwork, str]:
    """The network to begin with, and the hash of the weights that it was made from.

    Args:
        start: file of weights: of both stages, or of a place network.
        dhe: file of weights whose second stage is taken; None takes that of ``start``.
        homography: whether there must be a second stage.

    Raises:
        ConfigError: there is no second stage where there must be one, or the two do not fit each other.
        WeightsError: a file cannot be read.
    """
    both = load_card(start).network == TWO_STAGES
    network, card = load_two_stage(start) if both else load_network(start)
    if dhe is None:
        if homography and not both:
            raise ConfigError(
                f"{start} has no second stage to re-rank with: name one with --dhe FILE, as `vloc train dhe` writes it"
            )
        return network, card.sha256
    second, second_card = load_two_stage(dhe)
    place = place_of(network)
    if (place.kind, place.backbone, place.whitening) != (NetworkKind.PLAIN_GEM, second.backbone, None):
        raise ConfigError(
            f"{dhe} compares local descriptors of plain_gem on {second.backbone.value}, and {start} holds {card.network} on "
            f"{card.backbone}: begin with weights of the same backbone"
        )
    joined = TwoStageNetwork(second.backbone)
    joined.regression.load_state_dict(second.regression.state_dict())
    load_tensors(joined.place, tensors_of(place))
    joined.eval()
    return joined, f"{card.sha256}+{second_card.sha256}"


def freeze_all_but(network: VprNetwork, part: LearnedPart, homography: bool) -> None:
    """Let a part of the first stage learn, and all of the second where homographies are learned.

    Raises:
        ConfigError: the network has no such part.
    """
    freeze(place_of(network), part)
    if isinstance(network, TwoStageNetwork):
        network.regression.requires_grad_(homography)


def save_vpr(path: Path, network: VprNetwork, trained_on: str, parent: str, licence: str) -> None:
    """Write the weights, of both stages where there are two.

    Raises:
        DataError: they cannot be written.
    """
    if isinstance(network, TwoStageNetwork):
        save_two_stage(path, network, trained_on, parent, licence)
    else:
        save_network(path, network, trained_on, parent, licence)
