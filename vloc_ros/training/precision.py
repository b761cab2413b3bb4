"""Mixed precision: bfloat16 inside the network, float32 in the objective, whose coordinates and softmaxes need the digits."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

_log = logging.getLogger(__name__)


def half_inside(network: nn.Module, device: torch.device, on_cpu: bool = False) -> None:
    """Let a network compute in bfloat16 on a device that has it, from float32 inputs to float32 outputs; elsewhere change nothing.

    Args:
        network: changed in place.
        device: on which it computes.
        on_cpu: on a CPU, too, where that is wanted.
    """
    if device.type == "cpu" and not on_cpu:
        return
    if not _has_bfloat16(device):
        _log.info("this %s does not compute in bfloat16: everything is in float32", device.type)
        return
    forward = network.forward

    def mixed(*arguments: Any, **named: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            return _full(forward(*arguments, **named))

    # An attribute of the instance: the class, and with it the names of the weights, stay as they are.
    network.forward = mixed


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _full(output: Any) -> Any:
    """The output with float32 in place of shorter floats, in the same tuples."""
    if isinstance(output, torch.Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, tuple):
        parts = [_full(part) for part in output]
        return type(output)(*parts) if hasattr(output, "_fields") else tuple(parts)
    return output
