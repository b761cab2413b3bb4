"""A small joint training of retrieval and re-ranking; also as a program: ``vpr_samples.py START TREE OUT KEY=VALUE ...``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from network_samples import place as picture

from vloc_ros.config import parse_assignments, replace
from vloc_ros.data.output import write_image
from vloc_ros.networks import Backbone
from vloc_ros.networks import cct as layers
from vloc_ros.networks.two_stage import random_two_stage
from vloc_ros.networks.two_stage_files import save_two_stage
from vloc_ros.training.distributed import Group
from vloc_ros.training.loop import Outcome, Progress
from vloc_ros.training.registry import DataSpec
from vloc_ros.training.vpr_settings import VprTraining, default_settings
from vloc_ros.training.vpr_training import VprJob, train_vpr

SMALL = {
    "training.epochs": 1,
    "training.samples": 8,
    "training.batch": 2,
    "training.workers": 0,
    "training.checkpoint_every": 1,
    "training.learning_rate": 1e-4,
    "mining.cache_refresh_rate": 4,
    "mining.neg_samples_num": 5,
    "mining.negs_num_per_query": 1,
    "mining.infer_batch_size": 4,
    "validation.num_reranked_preds": 3,
    "validation.queries": 3,
    "validation.database": 6,
}


def write_tree(root: Path, places: int = 5, database: str = "database") -> Path:
    """A VPR-datasets tree whose places are 100 m apart; each is in the database twice, and asked for by day and at night."""
    for split in ("train", "val"):
        for number in range(places):
            look = number + (50 if split == "val" else 0)
            for k, shift in enumerate((0.0, 5.0)):
                name = f"@{100.0 * number + shift:.1f}@0.0@{k}@.png"
                write_image(root / "images" / split / database / name, picture(look, 1.0 - 0.1 * k, colour=True))
            for note, brightness in (("", 0.8), ("night", 0.4)):
                fields = [f"{100.0 * number + 2.0:.1f}", "1.0", *["0"] * 11, note]
                name = f"@{'@'.join(fields)}@.png"
                write_image(root / "images" / split / "queries" / name, picture(look, brightness, colour=True))
    return root


def write_start(path: Path) -> Path:
    """A network of both stages that was never trained."""
    save_two_stage(path, random_two_stage(Backbone.CCT_SMALL, 3), "nothing")
    return path


def settings_of(**changes: object) -> VprTraining:
    """Small ones, with changes by dotted keys."""
    return replace(replace(default_settings(), SMALL), changes)


def train_small(start: Path, data: Path, out: Path, changes: dict[str, object], **others: object) -> tuple[Outcome, Group]:
    """Train it on a tree."""
    job = VprJob(start, settings_of(**changes), [DataSpec("tree", data)])
    return train_vpr(job, out, **others)


def _dying(done: Progress) -> None:
    """Killed as by a power cut, at a step of the environment."""
    if str(done.step) == os.environ.get("DIE_AT"):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if os.environ.get("NO_DROPOUT"):
        layers._DROPPED = 0.0  # what is dropped differs between processes
    arguments = [Path(text) for text in sys.argv[1:4]]
    train_small(*arguments, parse_assignments(sys.argv[4:]), on_step=_dying)
