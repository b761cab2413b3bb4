"""How a network is trained: the settings of the loop, whatever is learned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from vloc_ros.config import param


@unique
class Schedule(Enum):
    """How the learning rate goes on after the warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"
    LINEAR = "linear"


@unique
class OptimizerKind(Enum):
    """What changes the weights."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


@unique
class Device(Enum):
    """What computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class TrainingSettings:
    """The loop. A batch is what all processes learn from together in one step, so their number changes nothing else."""

    epochs: int = param(24, "at most so many epochs", min=1, max=100000)
    samples: int = param(3000, "pairs of an epoch, drawn with replacement", min=1)
    validation_samples: int = param(100, "held-out pairs on which the loss is watched", min=0)
    validate_every: int = param(1, "epochs from one validation to the next", min=1)
    batch: int = param(4, "pairs of a step, of all processes together", min=1, max=4096)
    optimizer: OptimizerKind = param(OptimizerKind.ADAMW, "adam, adamw or sgd")
    learning_rate: float = param(2e-3, "after the warm-up", min=0.0, max=10.0)
    weight_decay: float = param(1e-4, "of the optimizer", min=0.0, max=10.0)
    momentum: float = param(0.9, "of sgd; of adam, the decay of the mean gradient", min=0.0, max=0.9999)
    schedule: Schedule = param(Schedule.COSINE, "of the learning rate: constant, cosine or linear, which end at zero, or step")
    decay_epochs: int = param(0, "last epochs in which schedule = linear lowers it; 0: all", min=0)
    rate_step: int = param(5, "epochs after which schedule = step lowers the learning rate, again and again", min=1)
    rate_factor: float = param(0.5, "by how much it does", min=0.0, max=1.0)
    warm_up: int = param(200, "steps in which the learning rate rises", min=0)
    gradient_clip: float = param(2.0, "largest norm of the gradient; 0 does not limit it", min=0.0)
    patience: int = param(0, "epochs without a better validation after which it ends early; 0 never ends early", min=0)
    bad_steps: int = param(0, "steps whose loss or gradient is not finite that are left out before it is an error", min=0)
    seed: int = param(1, "of weights, samples and augmentation", min=0)
    device: Device = param(Device.AUTO, "auto takes the GPU when there is one")
    mixed_precision: bool = param(True, "bfloat16 inside the network, on GPUs that have it")
    cpu_bfloat16: bool = param(False, "the same on CPUs that have it: twice as fast or more for transformers")
    workers: int = param(1, "processes that prepare samples, beside each training process; 0 prepares them in the loop", min=0)
    checkpoint_every: int = param(200, "steps from one check point to the next; each epoch ends with one, too", min=1)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return max(1, self.samples // self.batch)

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.steps_per_epoch * self.epochs


PUBLISHED: dict[str, Any] = {
    "epochs": 500,
    "samples": 10000,
    "validation_samples": 2500,
    "batch": 3,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warm_up": 0,
    "gradient_clip": 2.0,
    "patience": 50,
}
"""What was published for U (source_systems 1.3), in place of our defaults."""
