"""Descriptors from weights: ``models/site.safetensors`` wherever the name of a descriptor is asked for, or those in a map."""

from __future__ import annotations

from pathlib import Path

from vloc_ros.data.weights import DISAM, GLVL, SUFFIX, TWO_STAGES, WeightsCard, hash_of, load_card, tensors_of_bytes
from vloc_ros.errors import WeightsError
from vloc_ros.retrieval.cct import Cct14, CctSmall
from vloc_ros.retrieval.contract import GlobalDescriptor, register_file
from vloc_ros.retrieval.disam import Disam
from vloc_ros.retrieval.gem import GemCompactUNet, GemMobileNetV3, GemVgg16
from vloc_ros.retrieval.glvl import Glvl
from vloc_ros.retrieval.netvlad import NetVladCompactUNet, NetVladMobileNetV3, NetVladVgg16
from vloc_ros.retrieval.network import NetworkDescriptor
from vloc_ros.retrieval.uncertainty import UncertaintyCompactUNet, UncertaintyMobileNetV3, UncertaintyVgg16
from vloc_ros.retrieval.vit import VitSmall

_ALL: tuple[type[NetworkDescriptor], ...] = (
    *(NetVladVgg16, NetVladCompactUNet, NetVladMobileNetV3),
    *(GemVgg16, GemCompactUNet, GemMobileNetV3),
    *(UncertaintyVgg16, UncertaintyCompactUNet, UncertaintyMobileNetV3),
    *(VitSmall, Cct14, CctSmall),
)
_CLASSES: dict[tuple[str, str], type[NetworkDescriptor]] = {
    **{(cls.kind.value, cls.backbone.value): cls for cls in _ALL},
    **{(TWO_STAGES, cls.backbone.value): cls for cls in (Cct14, CctSmall)},
}

_OF_ANY_SIZE: dict[str, type[Disam] | type[Glvl]] = {DISAM: Disam, GLVL: Glvl}


@register_file(SUFFIX)
def load_descriptor(path: Path) -> GlobalDescriptor:
    """The descriptor whose weights are in a file.

    Raises:
        ConfigError: torch is not installed.
        WeightsError: the file or its card is missing or damaged, or of no network that there is.
    """
    return _class_of(load_card(path), str(path)).load(path)


def descriptor_of(weights: bytes, card: WeightsCard) -> GlobalDescriptor:
    """The descriptor of weights that are not in a file of their own.

    Args:
        weights: content of a ``.safetensors`` file.
        card: of these weights; its name becomes that of the descriptor's model.

    Raises:
        ConfigError: torch is not installed.
        WeightsError: the weights are damaged, not those of the card, or of no network that there is.
    """
    what = f"the model '{card.name}'"
    found = _class_of(card, what)
    tensors = tensors_of_bytes(weights, what)
    if hash_of(tensors) != card.sha256:
        raise WeightsError(f"{what} has other weights than its card says (card: {card.sha256[:12]}...): restore a copy")
    return found.of(tensors, card, what)


def _class_of(card: WeightsCard, what: str) -> type[NetworkDescriptor] | type[Disam] | type[Glvl]:
    if card.network in _OF_ANY_SIZE:
        return _OF_ANY_SIZE[card.network]
    if (card.network, card.backbone) not in _CLASSES:
        known = ", ".join([*(f"{network} on {backbone}" for network, backbone in _CLASSES), *_OF_ANY_SIZE])
        raise WeightsError(f"{what} holds weights of {card.network} on {card.backbone}, which is not one of: {known}")
    return _CLASSES[card.network, card.backbone]
