"""Starting and stopping a node: the import of rclpy, signals, exit codes, and the way of log records to ROS."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from vloc_ros.errors import VlocError
from vloc_ros.processes import end_with_parent

if TYPE_CHECKING:
    from vloc_ros.ros.managed_node import ManagedNode

_SPIN_S = 0.1


class RosUnavailableError(VlocError):
    """ROS 2 for Python cannot be imported here."""


def require_rclpy() -> ModuleType:
    """Import rclpy.

    Raises:
        RosUnavailableError: it is not installed, or its libraries cannot be loaded; the text says what to do.
    """
    try:
        return importlib.import_module("rclpy")
    except ImportError as error:
        raise RosUnavailableError(_import_advice(error)) from error


def _import_advice(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "rclpy":
        if "ROS_DISTRO" in os.environ:
            return (
                f"this Python ({sys.executable}) does not find the rclpy of ROS {os.environ['ROS_DISTRO']}; "
                "use the Python that ROS was built for, in a virtual environment made with --system-site-packages"
            )
        return "ROS 2 for Python (rclpy) is not installed; source a ROS 2 installation, or pip install 'ros-rclpy[fastrtps]'"
    if importlib.util.find_spec("ros_wheels_bootstrapper") is not None and "LD_LIBRARY_PATH" not in os.environ:
        return (
            "rclpy does not find its libraries, because LD_LIBRARY_PATH was removed after its wheels had set it; "
            f"unset _ROS_WHEELS_BOOTSTRAP_COMPLETE and start again ({error})"
        )
    return f"rclpy is installed but cannot be loaded ({error}); was another ROS distribution or Python sourced in this shell?"


def run_node(make: Callable[[], ManagedNode], arguments: list[str] | None = None) -> int:
    """Run one node until it is done, fails, or SIGINT or SIGTERM arrives.

    A :class:`VlocError` of the node becomes one line on stderr and exit code 1, never a traceback.

    Returns:
        The exit code: 0 when the node was stopped or done, 1 when it failed.
    """
    try:
        rclpy = require_rclpy()
    except RosUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    from rclpy.signals import SignalHandlerOptions

    end_with_parent()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopper(stop))
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # of the C library: an argument or a parameter file that it cannot read
        sys.stderr.write(f"ROS cannot be started: {error}\n")
        return 1
    try:
        return _run(make, stop)
    finally:
        rclpy.try_shutdown()


def _run(make: Callable[[], ManagedNode], stop: threading.Event) -> int:
    from rclpy.executors import SingleThreadedExecutor

    try:
        node = make()
    except VlocError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    handler = RosLogHandler(node.get_logger())
    logging.getLogger("vloc_ros").addHandler(handler)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        node.start()
        while not stop.is_set() and not node.done.is_set():
            executor.spin_once(timeout_sec=_SPIN_S)
    finally:
        node.stop()
        failure = node.failure
        executor.remove_node(node)
        executor.shutdown(timeout_sec=1.0)
        logging.getLogger("vloc_ros").removeHandler(handler)
        node.destroy_node()
    return 0 if failure is None else 1


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    return handle


class RosLogHandler(logging.Handler):
    """Hands the records of the library's loggers to the logger of a node, and so to the console and /rosout."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its level."""
        text = self.format(record)
        # One call site per level: rclpy refuses a call site whose severity changes.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
