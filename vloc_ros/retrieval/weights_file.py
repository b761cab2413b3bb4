"""Descriptors from the files of their weights: ``models/site.safetensors`` wherever the name of a descriptor is asked for."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.data.weights import SUFFIX, load_card
from vloc_ros.errors import WeightsError
from vloc_ros.retrieval.contract import GlobalDescriptor, register_file
from vloc_ros.retrieval.gem import GemCompactUNet, GemMobileNetV3, GemVgg16
from vloc_ros.retrieval.netvlad import NetVladCompactUNet, NetVladMobileNetV3, NetVladVgg16
from vloc_ros.retrieval.network import NetworkDescriptor
from vloc_ros.retrieval.uncertainty import UncertaintyCompactUNet, UncertaintyMobileNetV3, UncertaintyVgg16
from vloc_ros.retrieval.vit import VitSmall

_ALL: tuple[type[NetworkDescriptor], ...] = (
    *(NetVladVgg16, NetVladCompactUNet, NetVladMobileNetV3),
    *(GemVgg16, GemCompactUNet, GemMobileNetV3),
    *(UncertaintyVgg16, UncertaintyCompactUNet, UncertaintyMobileNetV3),
    VitSmall,
)
_CLASSES = {(cls.kind.value, cls.backbone.value): cls for cls in _ALL}


@register_file(SUFFIX)
def load_descriptor(path: Path) -> GlobalDescriptor:
    """The descriptor whose weights are in a file.

    Raises:
        ConfigError: torch is not installed.
        WeightsError: the file or its card is missing or damaged, or of no network that there is.
    """
    card = load_card(path)
    if (card.network, card.backbone) not in _CLASSES:
        known = ", ".join(f"{network} on {backbone}" for network, backbone in _CLASSES)
        raise WeightsError(f"{path} holds weights of {card.network} on {card.backbone}, which is not one of: {known}")
    return _CLASSES[card.network, card.backbone].load(path)
