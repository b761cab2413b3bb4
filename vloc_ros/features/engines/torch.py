"""PyTorch itself: slower on a CPU than the others, and what they are checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from vloc_ros.data.local_model import LocalModel
from vloc_ros.features.engines.contract import Array, Engine

if TYPE_CHECKING:
    from vloc_ros.networks.local import LocalNetwork


class TorchEngine(Engine):
    """A network in evaluation mode, on the CPU."""

    name = "torch"

    def __init__(self, model: LocalModel, network: LocalNetwork, threads: int) -> None:
        """Take a network; the number of threads is torch's own, shared by all networks of the process."""
        import torch

        super().__init__(model)
        self._network = network.eval()
        torch.set_num_threads(threads)

    def _compute(self, image: Array) -> list[NDArray[Any]]:
        import torch

        with torch.inference_mode():
            made = self._network(torch.from_numpy(image))
        return [one.numpy() for one in (made.logits, made.scores, *made.maps)]
