"""Learning rate and optimizer: both follow from the settings and the number of the step, so nothing of them is ever stored."""

from __future__ import annotations

import math

import torch
from torch import nn

from vloc_ros.training.settings import OptimizerKind, Schedule, TrainingSettings


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """The learning rate of a step, which counts from 0."""
    peak = settings.learning_rate
    if step < settings.warm_up:
        return peak * (step + 1) / settings.warm_up
    if settings.schedule is Schedule.CONSTANT:
        return peak
    if settings.schedule is Schedule.STEP:
        return float(peak * settings.rate_factor ** (step // settings.steps_per_epoch // settings.rate_step))
    if settings.schedule is Schedule.LINEAR:
        first = (settings.epochs - (settings.decay_epochs or settings.epochs)) * settings.steps_per_epoch
        return peak * min(1.0, (settings.steps - step) / max(1, settings.steps - first))
    share = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return 0.5 * peak * (1.0 + math.cos(math.pi * min(share, 1.0)))


def make_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of all parameters that are learned."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if settings.optimizer is OptimizerKind.SGD:
        return torch.optim.SGD(learned, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay)
    kind = torch.optim.Adam if settings.optimizer is OptimizerKind.ADAM else torch.optim.AdamW
    optimizer: torch.optim.Optimizer = kind(
        learned, lr=settings.learning_rate, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay
    )
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use this learning rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
