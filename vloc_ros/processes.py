"""Runs nodes as child processes, also where ROS's launch is not installed, and ends them cleanly."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

import yaml

from vloc_ros import parent_death
from vloc_ros.errors import ConfigError
from vloc_ros.interfaces.policy import enclave_arguments

_log = logging.getLogger(__name__)
PARENT_VARIABLE = "VLOC_PARENT_PID"
"""Environment variable that names the process whose death ends this one too."""
_POLL_S = 0.05
_INTERRUPTED = 130
_TIMED_OUT = 124
_HIGHEST_DOMAIN = 101
_DOMAIN_PORT, _PORTS_PER_DOMAIN = 7410, 250

FASTDDS_PROFILE = Path(__file__).resolve().parent / "ros" / "fastdds.xml"
"""Fast DDS profile with room for images in shared memory."""
_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_OLD_NAME_IN = ("humble", "iron", "jazzy")
"""ROS releases whose Fast DDS knows only the second name; newer ones warn about it."""

Printer = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to run.

    Attributes:
        name: of the node, and before each line of its output; unique among those that run together.
        executable: the module under ``vloc_ros.nodes`` that holds it.
        parameters: ROS parameters; None values are left out. Handed over in a file, so that any text arrives as it is.
        remappings: topics by other names.
        namespace: of the node; empty for none.
        parameter_files: YAML files of parameters; those of ``parameters`` count more.
    """

    name: str
    executable: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    parameter_files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class StopTimes:
    """How long a node may take to end after each signal [s] before the next, harsher one is sent."""

    interrupt: float = 15.0
    terminate: float = 5.0
    kill: float = 5.0


def print_line(line: str) -> None:
    """Write a line to stdout at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_nodes(
    specs: Sequence[NodeSpec],
    until: str | None = None,
    timeout_s: float | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    output: Printer = print_line,
    stop_times: StopTimes | None = None,
) -> int:
    """Run nodes until one of them is done, one fails, the time is over, or Ctrl-C.

    Args:
        specs: what to run.
        until: name of the node whose end ends all, for example the player; None: all run until they end by themselves.
        timeout_s: longest time; None: no limit.
        environment: variables to add to or change in the nodes' environment, for example ROS_DOMAIN_ID.
        output: called with each line that a node writes, its name before it; may be called from several threads.
        stop_times: patience after SIGINT, SIGTERM and SIGKILL.

    Returns:
        0 when all went well; the exit code of the first node that failed (128 + n for one that signal n killed); 130 after
        Ctrl-C; 124 when the time was over.
    """
    group = _Group(stop_times or StopTimes(), output)
    interrupted = threading.Event()
    with tempfile.TemporaryDirectory(prefix="vloc_up_") as folder, _on_signals(interrupted):
        variables = child_environment(environment or {})
        try:
            for spec in specs:
                group.start(spec, command_of(spec, Path(folder)), variables)
            code = group.watch(until, timeout_s, interrupted)
        finally:
            stop_code = group.stop()
    return code or stop_code


def command_of(spec: NodeSpec, folder: Path) -> list[str]:
    """Command line of a node; its parameters are written to a file in ``folder``. With security it runs in its enclave."""
    arguments = ["--ros-args", "-r", f"__node:={spec.name}"]
    if spec.namespace:
        arguments += ["-r", f"__ns:=/{spec.namespace.strip('/')}"]
    for source, target in spec.remappings.items():
        arguments += ["-r", f"{source}:={target}"]
    for file in spec.parameter_files:
        arguments += ["--params-file", str(file)]
    values = {name: value for name, value in spec.parameters.items() if value is not None}
    if values:
        file = folder / f"{spec.name}.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}), encoding="utf-8")
        arguments += ["--params-file", str(file)]
    return [sys.executable, "-m", f"vloc_ros.nodes.{spec.executable}", *arguments, *enclave_arguments(spec.executable)]


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a node: ours with some variables changed, this package importable, room for images, output unbuffered."""
    root = Path(__file__).resolve().parent.parent
    installed = root.name in ("site-packages", "dist-packages")
    paths = ["" if installed else str(root), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    own = {
        **dds_profile(),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        PARENT_VARIABLE: str(os.getpid()),
    }
    return {**os.environ, **own, **changes}


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started us dies, so that killing it leaves no child behind (Linux).

    Only if that process said so, as :func:`child_environment` does.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None or not sys.platform.startswith("linux") or parent != str(os.getppid()):
        return
    parent_death.ask_for_signal(signal.SIGTERM)
    if parent != str(os.getppid()):  # it died in between
        os.kill(os.getpid(), signal.SIGTERM)


def dds_profile() -> dict[str, str]:
    """Variables that give Fast DDS room for images in shared memory; none when the user has named a profile."""
    if any(name in os.environ for name in _PROFILE_VARIABLES):
        return {}
    name = _PROFILE_VARIABLES[os.environ.get("ROS_DISTRO", "") in _OLD_NAME_IN]
    return {name: str(FASTDDS_PROFILE)}


def parameter_files(*names: str) -> list[str]:
    """Those files of parameters that were named; an empty name is none. ROS's launch only warns of one that is not there.

    Raises:
        ConfigError: there is no such file; without it the nodes would run with other settings than were asked for.
    """
    for name in filter(None, names):
        if not Path(name).is_file():
            raise ConfigError(f"there is no file of parameters at {name}: check the name")
    return [name for name in names if name]


def free_domain_id(seed: int | None = None) -> int:
    """A ROS_DOMAIN_ID that no process on this machine uses, so that runs side by side do not hear each other.

    Domain d takes the UDP ports from 7400 + 250 d (DDSI-RTPS, 9.6.2.3); up to 101 they lie below Linux's ephemeral ports.

    Raises:
        OSError: all are taken.
    """
    candidates = list(range(1, _HIGHEST_DOMAIN + 1))
    random.Random(seed).shuffle(candidates)
    for domain in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", _DOMAIN_PORT + _PORTS_PER_DOMAIN * domain))
            except OSError:
                continue
            return domain
    raise OSError("every ROS_DOMAIN_ID from 1 to 101 is in use on this machine")


class _Child:
    """One process with a thread that hands on its output."""

    def __init__(self, spec: NodeSpec, command: list[str], environment: Mapping[str, str], output: Printer, width: int) -> None:
        # A session of its own, so that Ctrl-C reaches the nodes once, by us, and not also from the terminal.
        self.name = spec.name
        self.process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        label = f"{f'[{spec.name}]':<{width + 2}} "
        self._reader = threading.Thread(target=_forward, args=(self.process.stdout, label, output), daemon=True)
        self._reader.start()

    @property
    def code(self) -> int | None:
        """Exit code, 128 + n after signal n; None while it runs."""
        code = self.process.poll()
        return None if code is None else (128 - code if code < 0 else code)

    def drain(self) -> None:
        """Wait for the rest of the output."""
        self._reader.join(timeout=2.0)


class _Group:
    """The processes that run together."""

    def __init__(self, stop_times: StopTimes, output: Printer) -> None:
        self._stop_times, self._output = stop_times, output
        self._children: list[_Child] = []

    def start(self, spec: NodeSpec, command: list[str], environment: Mapping[str, str]) -> None:
        if any(child.name == spec.name for child in self._children):
            raise ValueError(f"two nodes are called '{spec.name}'")
        self._children.append(_Child(spec, command, environment, self._output, width=12))

    def watch(self, until: str | None, timeout_s: float | None, interrupted: threading.Event) -> int:
        """Wait for a reason to end; the exit code it deserves."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not interrupted.is_set():
            ended = [child for child in self._children if child.code is not None]
            failed = next((child for child in ended if child.code), None)
            if failed is not None:
                self._output(f"{failed.name} ended with exit code {failed.code}; stopping the others")
                return failed.code or 1
            if len(ended) == len(self._children) or any(child.name == until for child in ended):
                return 0
            if deadline is not None and time.monotonic() > deadline:
                self._output(f"the time of {timeout_s:g} s is over; stopping")
                return _TIMED_OUT
            interrupted.wait(_POLL_S)
        return _INTERRUPTED

    def stop(self) -> int:
        """End what still runs, by ever harsher signals; the first exit code among those that failed to end well, else 0."""
        times = self._stop_times
        steps = ((signal.SIGINT, times.interrupt), (signal.SIGTERM, times.terminate), (signal.SIGKILL, times.kill))
        running = self._running()
        for number, patience in steps:
            for child in self._running():
                if number != signal.SIGINT:
                    self._output(f"{child.name} does not end; sending {number.name}")
                _send(child.process, number)
            self._wait(patience)
        for child in self._children:
            child.drain()
        return next((child.code for child in running if child.code), 0)

    def _running(self) -> list[_Child]:
        return [child for child in self._children if child.code is None]

    def _wait(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self._running() and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        _log.debug("process %d had ended already", process.pid)


def _forward(stream: IO[bytes], label: str, output: Printer) -> None:
    for raw in stream:
        output(label + raw.decode("utf-8", "replace").rstrip("\r\n"))


@contextmanager
def _on_signals(event: threading.Event) -> Iterator[None]:
    """While it lasts, SIGINT and SIGTERM set an event instead of ending this process (in the main thread only)."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
