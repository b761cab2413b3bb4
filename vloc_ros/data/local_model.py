"""What one must know of a network of local features to use its maps, whatever computes them; known without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vloc_ros.errors import WeightsError


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A network of local features without its layers.

    Attributes:
        sha256: hash of its weights.
        colours: channels of an image: 3 for RGB, 1 for grey.
        multiple: height and width of an image must be multiples of this [px].
        strides: pixels of the image from one element of each descriptor map to the next.
        through_pixels: how descriptor maps are read between their elements, as in ``networks.local.sample_maps``.
        projection: name of the weights that take what is sampled to descriptors, empty when there are none.
        centred: whether without a projection the mean of what is sampled is taken away, as published for U.
        probable: whether scores are probabilities of a key point at each pixel, as published for SuperPoint; what is probable is
            one then, whatever the settings say of the detection of others.
    """

    sha256: str
    colours: int
    multiple: int
    strides: tuple[int, ...]
    through_pixels: bool
    projection: str
    centred: bool = True
    probable: bool = False

    def to_json(self) -> str:
        """As one line of text, for the metadata of a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, what: str) -> LocalModel:
        """Inverse of :meth:`to_json`.

        Raises:
            WeightsError: the text is not of this release; ``what`` names the file.
        """
        kinds: dict[str, Any] = {
            "sha256": str,
            "colours": int,
            "multiple": int,
            "strides": list,
            "through_pixels": bool,
            "projection": str,
        }
        later: dict[str, Any] = {"centred": bool, "probable": bool}  # files of earlier releases are of networks like U's
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            values = None
        found = {name: type(value) for name, value in values.items()} if isinstance(values, dict) else {}
        if later | found != kinds | later:
            raise WeightsError(f"{what} does not say what its network is in words of this release: export it again")
        sound = values["colours"] in (1, 3) and values["multiple"] >= 1 and values["strides"]
        if not sound or not all(type(stride) is int and stride >= 1 for stride in values["strides"]):
            raise WeightsError(f"{what} says of its network what cannot be: export it again")
        return cls(**(values | {"strides": tuple(values["strides"])}))


def preprocessing_of(colours: int) -> str:
    """How an image is prepared, as model cards say it."""
    return f"{'RGB' if colours == 3 else 'grey'}, values from 0 to 1"
