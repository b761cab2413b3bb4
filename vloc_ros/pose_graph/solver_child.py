"""The solver's process: ``python -m vloc_ros.pose_graph.solver_child``. Requests come on stdin, answers go to stdout."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from vloc_ros.errors import VlocError
from vloc_ros.pose_graph.solver_messages import answer_to_message, request_from_message
from vloc_ros.pose_graph.solving import solve_and_label
from vloc_ros.pose_graph.wire import LENGTH_BYTES, Message, decode, encode, length_of
from vloc_ros.priority import give_way
from vloc_ros.processes import end_with_parent


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while head := requests.read(LENGTH_BYTES):
        body = requests.read(length_of(head))
        answers.write(encode(_answer(body)))
        answers.flush()


def _answer(body: bytes) -> Message:
    try:
        request = request_from_message(decode(body))
        answer = solve_and_label(request.graph, request.settings, request.start, request.revision)
    except VlocError as error:
        return Message({"error": str(error)}, {})
    except MemoryError:
        raise  # another process may find more
    except Exception as error:  # gtsam raises RuntimeError for whatever it cannot do
        return Message({"error": f"the solver failed: {type(error).__name__}: {error}"}, {})
    return answer_to_message(answer)


def main() -> int:
    """Serve the process that started this one, and end with it."""
    end_with_parent()
    give_way(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    # What gtsam prints must not get between the answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        answers.write(encode(Message({"ready": True}, {})))
        answers.flush()
        try:
            serve(sys.stdin.buffer, answers)
        except MemoryError:
            sys.stderr.write("the solver's process gets no memory, and ends\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
