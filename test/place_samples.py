"""A toy training of place recognition: pictures of made-up places at several brightnesses, a tiny network; also as a program."""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
import torch
from network_samples import place as picture
from torch import Tensor, nn

from vloc_ros.config import from_dict, parse_assignments, to_flat_dict
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.distributed import joined
from vloc_ros.training.live_norm import normalise_inputs
from vloc_ros.training.loop import Outcome, Training
from vloc_ros.training.multi_similarity import MultiSimilarityObjective, MultiSimilaritySettings
from vloc_ros.training.place_feed import PlaceFeed
from vloc_ros.training.place_views import PlaceImageSettings
from vloc_ros.training.places import Place, PlaceSource, PlaceView
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted
from vloc_ros.training.settings import TrainingSettings

SMALL = {"samples": 15, "batch": 5, "epochs": 2, "validation_samples": 5, "warm_up": 1, "workers": 0, "checkpoint_every": 1}
IMAGES = PlaceImageSettings(size=64, per_place=3, zoom=1.1, shift=0.02, rotation_deg=1.0, perspective=0.01)


def seen(number: int, brightness: float) -> np.ndarray:
    return picture(number, brightness, colour=True)


class MadeUpPlaces(PlaceSource):
    """Places by number, each by day, at dusk and at night; the last one is near the one before it."""

    def __init__(self, first: int, count: int = 8) -> None:
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def place(self, index: int) -> Place:
        levels = {"day": 1.0, "dusk": 0.5, "night": 0.2}
        views = (PlaceView(name, partial(seen, self.first + index, level)) for name, level in levels.items())
        return Place(f"made:{index}", tuple(views))

    def near(self, index: int) -> Collection[int]:
        last = {self.count - 1, self.count - 2}
        return last - {index} if index in last else ()


class TinyNetwork(nn.Module):
    """A convolution, and a linear layer on coarse means of it, normalised as in training."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 5, stride=4, padding=2, bias=False), nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 16, 16)
        normalise_inputs(self)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.first(images)))
        return nn.functional.normalize(self.last(nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)), dim=1)


def save_plain(path: Path, network: nn.Module, learned_from: str) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)


def train_tiny(out: Path, changes: dict[str, object], **others: object) -> Outcome:
    """Train it as the settings say."""
    settings = from_dict(TrainingSettings, SMALL | changes)
    torch.manual_seed(settings.seed)
    with joined(settings.device) as group:
        learned = [Weighted(MadeUpPlaces(0), 2.0, "a"), Weighted(MadeUpPlaces(100), 1.0, "b")]
        watched = [Weighted(MadeUpPlaces(200), 1.0, "c")]
        feed = PlaceFeed(learned, watched, settings, IMAGES, AugmentationSettings(0.3))
        all_settings = to_flat_dict(settings, "training.") | feed.settings()
        folder: RunFolder[nn.Module] = RunFolder(out, all_settings, save_plain, "made-up places")
        objective = MultiSimilarityObjective(MultiSimilaritySettings(), feed.numbers, group)
        with folder.claimed(group):
            return Training(TinyNetwork(), objective, feed, settings, folder, group, **others).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_tiny(Path(sys.argv[1]), parse_assignments(sys.argv[2:]))
