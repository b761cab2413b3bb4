"""Which weights of a place network a training changes, and which stay as they are.

Batch normalisations of MobileNetV3 never learn (:class:`vloc_ros.networks.mobilenetv3.FrozenBatchNorm`): batches of a few tuples
are too small for that.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from vloc_ros.errors import ConfigError
from vloc_ros.networks.cct import Cct
from vloc_ros.networks.names import Backbone, LearnedPart
from vloc_ros.networks.network import PlaceNetwork, UncertaintyNetwork

__all__ = ["LearnedPart", "freeze"]

_CONV5_1, _CONV5_2 = 24, 26  # layers of VGG16.features
_TRANSFORMER_BLOCKS = 2


def freeze(network: PlaceNetwork, learned: LearnedPart) -> int:
    """Let a part of a network learn and freeze the rest; what was frozen before is forgotten.

    A whitening is frozen always: it is that of the descriptors before, and is to be learned again after a training.

    Args:
        network: changed in place.
        learned: the part.

    Returns:
        The number of weights that learn.

    Raises:
        ConfigError: the network has no such part, or nothing in it would learn.
    """
    network.requires_grad_(False)
    for module in _learning(network, learned):
        for part in module.modules():
            if not _is_normalisation_by_statistics(part):
                for parameter in part.parameters(recurse=False):
                    parameter.requires_grad_(True)
    count = sum(int(parameter.numel()) for parameter in network.parameters() if parameter.requires_grad)
    if count == 0:
        raise ConfigError(
            f"nothing in {network.kind.value} on {network.backbone.value} learns with '{learned.value}': take another"
        )
    return count


def _learning(network: PlaceNetwork, learned: LearnedPart) -> Iterator[nn.Module]:
    """The modules that learn."""
    if isinstance(network, UncertaintyNetwork):
        yield network.variance
    elif learned is LearnedPart.VARIANCE:
        raise ConfigError(f"a network of {network.kind.value} has no variance head: import or start one of 'uncertainty'")
    if learned is LearnedPart.VARIANCE:
        return
    yield network.pool
    if learned is not LearnedPart.HEADS:
        yield from _of_backbone(network, learned)


def _of_backbone(network: PlaceNetwork, learned: LearnedPart) -> Iterator[nn.Module]:
    backbone, encoder = network.backbone, network.encoder
    if learned is LearnedPart.CONV5_2 and backbone is not Backbone.VGG16:
        raise ConfigError(
            f"'{learned.value}' is a layer of vgg16, and this is {backbone.value}: take '{LearnedPart.PUBLISHED.value}'"
        )
    if learned is LearnedPart.ALL or backbone in (Backbone.MOBILENETV3, Backbone.COMPACT_UNET):
        yield encoder
    elif backbone is Backbone.VGG16:
        yield from encoder.features[_CONV5_1 if learned is LearnedPart.PUBLISHED else _CONV5_2 :]
    elif isinstance(encoder, Cct):
        yield from encoder.classifier.blocks[-_TRANSFORMER_BLOCKS:]
    else:
        yield from (*encoder.blocks[-_TRANSFORMER_BLOCKS:], encoder.norm)


def _is_normalisation_by_statistics(module: nn.Module) -> bool:
    return "running_var" in dict(module.named_buffers(recurse=False))
