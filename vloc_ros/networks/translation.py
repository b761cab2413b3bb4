"""What learns in DISAM: the network of all conditions, and the discriminators that it is to deceive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from vloc_ros.config import param
from vloc_ros.networks.disam import initialise
from vloc_ros.networks.disam_form import DisamForm
from vloc_ros.networks.discriminator import Discriminator
from vloc_ros.networks.domains import DomainNetwork, random_domains

Predictions = tuple[Tensor, ...]


class Side(NamedTuple):
    """What becomes of N images of one condition on their way to the other and back.

    Attributes:
        latent: (N, C, h, w) z, of the images.
        translated: (N, 3, H, W) what the other condition's decoder makes of it.
        again: (N, C, h, w) z', the latent that the other condition's encoder finds in that.
        cycled: (N, 3, H, W) the image that the own decoder makes of it.
        deceived: what the other condition's discriminator says of ``translated``; gradients do not reach its weights.
        real: what the own discriminator says of the images; gradients reach nothing but its weights.
        made: what the own discriminator says of translated images of some step before; likewise.
        logits: (N, K) of the classifier.
    """

    latent: Tensor
    translated: Tensor
    again: Tensor
    cycled: Tensor
    deceived: Predictions
    real: Predictions
    made: Predictions
    logits: Tensor


class Translated(NamedTuple):
    """Both ways.

    Attributes:
        first: from condition a to b.
        second: from b to a.
        negative: (N, C, h, w) latents of images of b that show another place than those of a.
    """

    first: Side
    second: Side
    negative: Tensor


@dataclass(frozen=True)
class DisturbanceSettings:
    """What is done to a translated image before it is encoded again.

    A decoder hides the latent in traces that nobody sees and no camera takes (Chu et al. 2017): then feature consistency is perfect
    and says nothing of real images. Noise covers them (Bashkirova et al. 2019), and small motions teach that a repeat is not on
    the teach to the centimetre.
    """

    noise: float = param(0.0, "largest deviation of noise, images being from -1 to 1", min=0.0, max=1.0)
    shift: float = param(0.0, "largest shift, of the width and of the height", min=0.0, max=0.5)
    zoom: float = param(0.0, "largest change of the scale", min=0.0, max=0.5)


class TranslationNetwork(nn.Module):
    """Encoders, decoders and discriminators of all conditions as one module.

    A pool keeps translated images of each condition, in 8 bits as real images are; a discriminator is shown those in place of the
    newest half of the time (Shrivastava et al. 2017), so that it does not forget.
    """

    pool: Tensor
    pooled: Tensor

    def __init__(
        self,
        domains: DomainNetwork,
        discriminator_channels: int = 64,
        pool: int = 50,
        seed: int = 0,
        disturbance: DisturbanceSettings | None = None,
    ) -> None:
        """Put discriminators beside a network; their weights follow from the seed, and are the same for all conditions at first."""
        super().__init__()
        self._disturbance = disturbance or DisturbanceSettings()
        form, count = domains.form, len(domains.form.conditions)
        self.domains = domains
        self.discriminators = nn.ModuleList(Discriminator(discriminator_channels) for _ in range(count))
        initialise(self.discriminators[0], torch.Generator().manual_seed(seed))
        for other in list(self.discriminators)[1:]:
            other.load_state_dict(self.discriminators[0].state_dict())
        self.register_buffer("pool", torch.zeros(count, pool, 3, form.height, form.width, dtype=torch.uint8))
        self.register_buffer("pooled", torch.zeros(count, dtype=torch.int64))

    def forward(self, first: Tensor, second: Tensor, candidates: Tensor, a: int, b: int) -> Translated:
        """Translate both ways.

        Args:
            first: (N, 3, H, W) images of condition a, from -1 to 1.
            second: (N, 3, H, W) images of condition b that show other places.
            candidates: (N, M, 3, H, W) further images of b that show other places than ``first``, of which the nearest to what
                becomes of each of ``first`` is taken as its negative; M = 0 takes ``second``.
            a: number of a condition.
            b: number of another.
        """
        one, other = self._way(first, a, b), self._way(second, b, a)
        # Each discriminator judges images that were made of the other condition's.
        sides = (
            Side(*one, *self._judged(first, other[1], a), self.domains.logits(first)),
            Side(*other, *self._judged(second, one[1], b), self.domains.logits(second)),
        )
        return Translated(*sides, self._negative(candidates, one[2], other[0], b))

    def _way(self, images: Tensor, a: int, b: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Predictions]:
        latent = self.domains.encode(images, a)
        translated = self.domains.decode(latent, b)
        again = self.domains.encode(self._disturbed(translated), b)
        frozen = {name: value.detach() for name, value in self.discriminators[b].named_parameters()}
        deceived: Predictions = functional_call(self.discriminators[b], frozen, (translated,))
        return latent, translated, again, self.domains.decode(again, a), deceived

    def _disturbed(self, images: Tensor) -> Tensor:
        settings, count = self._disturbance, len(images)
        if not self.training:
            return images
        if settings.shift > 0.0 or settings.zoom > 0.0:
            change = 2.0 * torch.rand(count, 3, device=images.device) - 1.0
            scale = 1.0 + settings.zoom * change[:, 0]
            motion = torch.zeros(count, 2, 3, device=images.device)
            motion[:, 0, 0] = motion[:, 1, 1] = scale
            motion[:, :, 2] = 2.0 * settings.shift * change[:, 1:]
            grid = functional.affine_grid(motion, list(images.shape), align_corners=False).to(images.dtype)
            images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        if settings.noise > 0.0:
            deviation = settings.noise * torch.rand(count, 1, 1, 1, device=images.device)
            images = images + (deviation * torch.randn(images.shape, device=images.device)).to(images.dtype)
        return images

    def _judged(self, images: Tensor, translated: Tensor, condition: int) -> tuple[Predictions, Predictions]:
        judge = self.discriminators[condition]
        return judge(images), judge(self._from_pool(translated.detach(), condition))

    def _negative(self, candidates: Tensor, anchor: Tensor, second: Tensor, b: int) -> Tensor:
        """Of each image's candidates, the latent of the one nearest to the anchor."""
        if candidates.shape[1] == 0:
            return second
        with torch.no_grad():
            latents = self.domains.encode(candidates.flatten(0, 1), b).unflatten(0, candidates.shape[:2])
            nearest = (latents - anchor[:, None]).square().mean(dim=(2, 3, 4)).argmin(dim=1)
        return self.domains.encode(candidates[torch.arange(len(nearest)), nearest], b)

    def _from_pool(self, translated: Tensor, condition: int) -> Tensor:
        """For each translated image itself, or one of before, which it then replaces in the pool."""
        size = self.pool.shape[1]
        if not self.training or size == 0:
            return translated
        kept, chosen = self.pool[condition], []
        for image in translated:
            code = ((image.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
            filled = int(self.pooled[condition])
            if filled < size:
                kept[filled] = code
                self.pooled[condition] += 1
                chosen.append(code)
            elif torch.rand(()) < 0.5:
                row = int(torch.randint(size, ()))
                chosen.append(kept[row].clone())
                kept[row] = code
            else:
                chosen.append(code)
        return torch.stack(chosen).to(translated.dtype) / 127.5 - 1.0


def random_translation(form: DisamForm, discriminator_channels: int, pool: int, seed: int) -> TranslationNetwork:
    """A network that was never trained; its weights depend on the seed alone."""
    return TranslationNetwork(random_domains(form, seed), discriminator_channels, pool, seed)
