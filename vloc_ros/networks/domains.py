"""A network of DISAM that describes images of several conditions: encoders, and what goes with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.disam import DECODER_BLOCKS, ENCODER_BLOCKS, Decoder, Encoder, ResidualBlock, initialise
from vloc_ros.networks.disam_form import DisamForm, Stage

_GRID, _HIDDEN = 2, 64  # cells along a side in which the classifier looks at first features, and its hidden elements


class ConditionClassifier(nn.Module):
    """Which condition an image was taken in, by means and deviations of first features, which normalisation has not removed yet."""

    def __init__(self, channels: int, conditions: int) -> None:
        """Build it with undefined weights."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * channels * _GRID**2, _HIDDEN), nn.PReLU(), nn.Linear(_HIDDEN, conditions))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) features of the first convolution, H and W even, to (N, K) logits."""
        logits: Tensor = self.layers(self.statistics(features))
        return logits

    @staticmethod
    def statistics(features: Tensor) -> Tensor:
        """(N, 8 C) means and deviations in cells of (N, C, H, W) features."""
        cell = (int(features.shape[2]) // _GRID, int(features.shape[3]) // _GRID)  # an adaptive pool cannot be exported
        mean = functional.avg_pool2d(features, cell)
        square = functional.avg_pool2d(features * features, cell)
        deviation = (square - mean * mean).clamp(min=1e-6).sqrt()
        return torch.cat([mean, deviation], 1).flatten(1)


class LatentCompression(nn.Module):
    """Latents to short vectors of unit length whose dot product stands for the metric of the stage.

    Mean over cells, unit length of what is compared, and where a basis was learned a projection onto it. Uncentred and not
    whitened, a projection keeps dot products as well as so many elements can. What all images of a condition have in common says
    nothing of a place: it is taken away where the mean of each condition was learned.
    """

    cell: Tensor
    mean: Tensor
    basis: Tensor

    def __init__(self, form: DisamForm, cell: int, length: int) -> None:
        """Build it.

        Args:
            form: of the network; its stage says how latents are compared.
            cell: side of the square of latents that are averaged; 1 averages nothing.
            length: of the vectors; 0 for no projection.
        """
        super().__init__()
        channels, height, width = form.latent
        self.side, self.by_channel = cell, form.stage is Stage.COARSE
        pooled = channels * (-(-height // cell)) * (-(-width // cell))
        self.length = length or pooled
        self.register_buffer("cell", torch.tensor([float(cell)]))  # so that a file of weights says it
        self.register_buffer("mean", torch.zeros(len(form.conditions), pooled if length else 0))
        self.register_buffer("basis", torch.zeros(length, pooled if length else 0))

    def forward(self, latents: Tensor, condition: int | Tensor) -> Tensor:
        """(N, C, h, w) latents of one condition, by its number, to (N, D)."""
        vectors = self.whole(latents)
        if len(self.basis):
            vectors = functional.linear(vectors - self.mean[condition], self.basis)
        return functional.normalize(vectors, dim=1)

    def whole(self, latents: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C h' w') of unit length, before any projection: their dot product is the metric of the stage."""
        if self.side > 1:
            latents = functional.avg_pool2d(latents, self.side, ceil_mode=True)
        vectors = latents.flatten(2)
        if self.by_channel:
            vectors = functional.normalize(vectors, dim=2)
        return functional.normalize(vectors.flatten(1), dim=1)


class DomainNetwork(nn.Module):
    """Encoders of all conditions, and as far as there are such: decoders, classifier, compression.

    What decoders are there for on a robot is to find the condition of an image by which of them shows it best.
    """

    def __init__(self, form: DisamForm, decoders: bool = True, classifier: bool = True, cell: int = 1, length: int = 0) -> None:
        """Build it with undefined weights; ``cell`` and ``length`` are those of :class:`LatentCompression`."""
        super().__init__()
        self.form = form
        count = len(form.conditions)
        self.encoders = nn.ModuleList(Encoder(form.channels) for _ in range(count))
        self.decoders = nn.ModuleList(Decoder(form.channels) for _ in range(count if decoders else 0))
        self.classifier = ConditionClassifier(form.channels, count) if classifier else None
        self.compression = LatentCompression(form, cell, length)

    def encode(self, images: Tensor, condition: int) -> Tensor:
        """(N, 3, H, W) images of one condition, from -1 to 1, to (N, C, h, w) latents."""
        latents: Tensor = self.encoders[condition](images)
        return latents

    def decode(self, latents: Tensor, condition: int) -> Tensor:
        """(N, C, h, w) to (N, 3, H, W) images of one condition, from -1 to 1."""
        images: Tensor = self.decoders[condition](latents)
        return images

    def logits(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, K) logits of the conditions. Nothing that is learned by them changes the encoder."""
        assert self.classifier is not None
        made: Tensor = self.classifier(self.encoders[0].first(images).detach())
        return made

    def misfit(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, K) mean absolute differences to what each condition's encoder and decoder make of them."""
        errors = [(self.decode(self.encode(images, k), k) - images).abs().mean(dim=(1, 2, 3)) for k in range(len(self.encoders))]
        return torch.stack(errors, dim=1)


def share_blocks(network: DomainNetwork, count: int) -> None:
    """Make the last residual blocks of all encoders one, and the first ones of all decoders: all conditions teach them.

    Their weights are those of the first condition's. A file holds them once for each condition, as if they were not shared.
    """
    for parts, blocks in ((network.encoders, ENCODER_BLOCKS), (network.decoders, DECODER_BLOCKS)):
        for other in list(parts)[1:]:
            own, first = _layers(other), _layers(parts[0])
            places = [place for place, layer in enumerate(own) if isinstance(layer, ResidualBlock)]
            chosen = places[blocks - min(count, blocks) :] if parts is network.encoders else places[: min(count, blocks)]
            for place in chosen:
                own[place] = first[place]


def _layers(part: nn.Module) -> nn.Sequential:
    layers = part.rest if isinstance(part, Encoder) else part.layers
    assert isinstance(layers, nn.Sequential)
    return layers


def random_domains(form: DisamForm, seed: int = 0) -> DomainNetwork:
    """A network that was never trained, in evaluation mode; its weights depend on the seed alone.

    All conditions begin with the same encoder and decoder, so that their latents mean the same from the first step on.
    """
    network = DomainNetwork(form)
    generator = torch.Generator().manual_seed(seed)
    for parts in (network.encoders, network.decoders):
        initialise(parts[0], generator)
        for part in list(parts)[1:]:
            part.load_state_dict(parts[0].state_dict())
    if network.classifier is not None:
        for layer in network.classifier.layers:
            if isinstance(layer, nn.Linear):
                with torch.no_grad():
                    layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
                    layer.bias.zero_()
    network.eval()
    return network
