"""A toy training: textures moved by a known shift, a very small network, an objective of a few lines; also as a program."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from data_samples import texture
from torch import Tensor

from vloc_ros.config import from_dict, parse_assignments, to_flat_dict
from vloc_ros.networks.compact import CompactUNet
from vloc_ros.networks.local import sample_maps
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.batching import PairFeed
from vloc_ros.training.distributed import joined
from vloc_ros.training.loop import Outcome, Training
from vloc_ros.training.objective import Objective, PairBatch
from vloc_ros.training.pairs import PairSource, TrainingPair
from vloc_ros.training.preparation import ImageSettings
from vloc_ros.training.run_folder import RunFolder
from vloc_ros.training.sampling import Weighted
from vloc_ros.training.settings import TrainingSettings

SMALL = {"samples": 12, "batch": 4, "epochs": 3, "validation_samples": 4, "warm_up": 2, "workers": 0, "checkpoint_every": 1}
SMALL |= {"learning_rate": 1e-3}


def shifted(number: int, width: int = 96, height: int = 64, du: int = 5, dv: int = 3) -> TrainingPair:
    """A texture and the same moved by whole pixels."""
    large = texture(number, False, (width + du, height + dv))
    v, u = np.mgrid[:height, :width].astype(np.float32)
    warp = np.stack([u - du, v - dv], -1)
    warp[(warp < 0).any(-1)] = np.nan
    return TrainingPair(large[:height, :width].copy(), large[dv:, du:].copy(), warp.astype(np.float32), None, f"shift:{number}")


class ShiftSource(PairSource):
    """Eight such pairs."""

    def __len__(self) -> int:
        return 8

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        return shifted(index)


class SparseSource(ShiftSource):
    """Half of the pairs teach nothing."""

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        pair = shifted(index)
        if index % 2:
            pair.warp[:] = np.nan
        return pair


class NearestObjective(Objective):
    """Descriptors on a fixed grid must be nearest to their like: no random numbers, a mean over pairs."""

    def __call__(self, network: CompactUNet, batch: PairBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        count = len(batch.warp)
        maps = network(torch.cat([batch.images_a, batch.images_b]))
        v, u = torch.meshgrid(torch.arange(12, 56, 8), torch.arange(12, 88, 8), indexing="ij")
        points = torch.stack([u, v], -1).reshape(1, -1, 2).float().expand(2 * count, -1, 2)
        there = batch.warp[:, v.flatten(), u.flatten()]
        points = torch.cat([points[:count], torch.nan_to_num(there, nan=0.0)])
        descriptors = network.describe(sample_maps(maps, network, points))
        losses, right, learned = [], [], 0
        for a, b, known in zip(descriptors[:count], descriptors[count:], torch.isfinite(there).all(-1), strict=True):
            if int(known.sum()) < 4:
                continue
            learned += 1
            similarity = a[known] @ b[known].T / 0.1
            number = torch.arange(len(similarity))
            losses.append(torch.nn.functional.cross_entropy(similarity, number))
            right.append(float((similarity.argmax(1) == number).float().mean()))
        if not losses:
            return torch.zeros(()), {"right": 0.0, "pairs": 0.0}
        return torch.stack(losses).mean(), {"right": float(np.mean(right)), "pairs": float(learned)}


def save_plain(path: Path, network: torch.nn.Module, learned_from: str) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)


def train_toy(
    out: Path, changes: dict[str, object], objective: Objective | None = None, source: PairSource | None = None, **others: object
) -> Outcome:
    """Train it as the settings say."""
    settings = from_dict(TrainingSettings, SMALL | changes)
    torch.manual_seed(settings.seed)
    with joined(settings.device) as group:
        sources = [Weighted(source or ShiftSource(), 1.0, "toy")]
        feed = PairFeed(sources, sources, settings, ImageSettings(96, 64, 1.0, 1.0), AugmentationSettings(0.3), 1)
        all_settings = to_flat_dict(settings, "training.") | feed.settings()
        folder: RunFolder[CompactUNet] = RunFolder(out, all_settings, save_plain, "shifted textures")
        with folder.claimed(group):
            training = Training(CompactUNet(6, 16), objective or NearestObjective(), feed, settings, folder, group, **others)
            return training.run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = [word for word in sys.argv[2:] if word != "sparse"]
    train_toy(Path(sys.argv[1]), parse_assignments(words), source=SparseSource() if "sparse" in sys.argv else None)
