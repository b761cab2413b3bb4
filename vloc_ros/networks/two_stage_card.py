"""What the card of a network of both stages must say; known without torch."""

from __future__ import annotations

from vloc_ros.data.weights import TWO_STAGES, WeightsCard
from vloc_ros.errors import WeightsError
from vloc_ros.networks.names import Backbone, NetworkKind, backbones_of
from vloc_ros.networks.preprocessing import require_preprocessing


def two_stage_backbone(card: WeightsCard, what: str) -> Backbone:
    """The backbone of a network of both stages, after a look at all that its card says.

    Raises:
        WeightsError: the card is that of another network, or of one that there cannot be; ``what`` names the weights.
    """
    if card.network != TWO_STAGES:
        raise WeightsError(
            f"{what} holds weights of {card.network} on {card.backbone}, and a homography needs some of {TWO_STAGES}"
        )
    known = [backbone.value for backbone in backbones_of(NetworkKind.PLAIN_GEM)]
    if card.backbone not in known:
        raise WeightsError(f"{what} holds weights of {TWO_STAGES} on {card.backbone}, which must be one of: {', '.join(known)}")
    backbone = Backbone(card.backbone)
    require_preprocessing(card.preprocessing, what, backbone.size)
    if card.dimension != backbone.channels:
        raise WeightsError(f"{what} makes descriptors of {backbone.channels} elements and its card says {card.dimension}")
    return backbone
