"""What a node takes from its topics and is asked for: how many messages of each, and what rclpy itself would break at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterType, SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rosgraph_msgs.msg import Clock

Take = Callable[[Any], None]
Answer = Callable[[Any, Any], Any]
_TYPES = range(ParameterType.PARAMETER_NOT_SET, ParameterType.PARAMETER_STRING_ARRAY + 1)


class Reception:
    """Counts, for ``/diagnostics``. Belongs to the executor's thread; others may read."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._refused: dict[str, tuple[int, str]] = {}

    def watched(self, kind: Any, topic: str, callback: Take) -> Take:
        """The callback of a subscription, counted; that of a clock is spared what it would end the process with."""

        def take(message: Any) -> None:
            self._taken[topic] += 1
            # rclpy raises ValueError out of its own callback for a time before 1970, and with it the executor ends.
            if kind is Clock and message.clock.sec < 0:
                count, _ = self._refused.get(topic, (0, ""))
                self._refused[topic] = count + 1, f"{message.clock.sec} s is before 1970"
                return
            callback(message)

        return take

    def taken(self, topic: str) -> int:
        """How many messages of a topic have come."""
        return self._taken[topic]

    @property
    def values(self) -> dict[str, str]:
        """Keys and values for the diagnostics."""
        taken = {f"taken_{topic.lstrip('/')}": str(count) for topic, count in self._taken.copy().items()}
        refused = self._refused.copy().items()
        return taken | {f"refused_{topic.lstrip('/')}": f"{count} (the last: {why})" for topic, (count, why) in refused}


def guarded(kind: Any, answer: Answer) -> Answer:
    """The callback of a service; one that sets parameters is spared types that there are not, for which rclpy ends the process."""
    if kind not in (SetParameters, SetParametersAtomically):
        return answer

    def check(request: Any, response: Any) -> Any:
        strange = [parameter for parameter in request.parameters if parameter.value.type not in _TYPES]
        if not strange:
            return answer(request, response)
        refusal = SetParametersResult(successful=False, reason=f"there is no type {strange[0].value.type} of parameters")
        if kind is SetParameters:
            response.results = [refusal] * len(request.parameters)
        else:
            response.result = refusal
        return response

    return check
