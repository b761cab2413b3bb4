"""Services whose work is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as WorkFuture
from typing import Any

from rclpy.node import Node
from rclpy.service import Service
from rclpy.task import Future
from std_srvs.srv import Trigger

from vloc_ros.errors import VlocError


def trigger_service(node: Node, name: str, begin: Callable[[], WorkFuture[str]]) -> Service[Any, Any]:
    """A std_srvs/Trigger service that awaits work in another thread, so that the executor goes on meanwhile.

    Args:
        node: that offers it.
        name: of the service.
        begin: starts the work; its result is the message of the reply, a VlocError the reason of a failure.
    """

    async def answer(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        work = begin()
        finished: Future[None] = Future(executor=node.executor)
        work.add_done_callback(lambda _work: _wake(node, finished))
        await finished
        error = work.exception()
        if error is not None and not isinstance(error, VlocError):
            node.get_logger().error(f"{name}: internal error: {error!r}")
        response.success = error is None
        response.message = work.result() if error is None else str(error)
        return response

    return node.create_service(Trigger, name, answer)


def _wake(node: Node, finished: Future[None]) -> None:
    finished.set_result(None)
    if node.executor is not None:
        node.executor.wake()
