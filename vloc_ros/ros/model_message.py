"""What the topic ``model`` says: which version of the place recognition model somebody asked for. Imports no ROS.

It is a hint to look into the map, which alone decides: a message that is lost, late or wrong does no harm.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from vloc_ros.errors import DataError

_MOST_CHARACTERS = 4096
_NAME, _HASH = re.compile(r"site-[1-9]\d{0,8}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelHint:
    """A version of the model.

    Attributes:
        version: its name, ``site-3``; empty for what the map had before its first version.
        sha256: hash of its weights; empty where there are none.
    """

    version: str = ""
    sha256: str = ""


def dumps(hint: ModelHint) -> str:
    """As the text of a message; what :func:`loads` makes of it is equal."""
    return json.dumps({"version": hint.version, "sha256": hint.sha256})


def loads(text: str) -> ModelHint:
    """Inverse of :func:`dumps`.

    Raises:
        DataError: the text is not such a message; it says what is wrong.
    """
    if len(text) > _MOST_CHARACTERS:
        raise DataError(f"the message on the topic 'model' has {len(text)} characters; it is not one of vloc_ros")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the message on the topic 'model' is no JSON ({error})") from None
    version, sha256 = (values.get(key) for key in ("version", "sha256")) if isinstance(values, dict) else (None, None)
    if not isinstance(version, str) or not isinstance(sha256, str):
        raise DataError("the message on the topic 'model' must be a JSON object of the texts 'version' and 'sha256'")
    if (version or sha256) and not (_NAME.fullmatch(version) and _HASH.fullmatch(sha256)):
        raise DataError(f"the message on the topic 'model' names no version and hash of a model: {text[:80]!r}")
    return ModelHint(version, sha256)
