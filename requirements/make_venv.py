"""Make the virtual environment of a machine without ROS: ``python3 requirements/make_venv.py .venv run.txt``.

Needs nothing but the standard library, a network and a supported Python. May be run again at any time: what is installed in
the pinned version is left alone, and a set-up that was interrupted is completed.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
TORCH = REQUIREMENTS / "torch.txt"
ENGINES = REQUIREMENTS / "engines.txt"
SUPPORTED = ((3, 11), (3, 13))
MINIMUM_GLIBC = (2, 28)
# Wheels only, so that no compiler is needed; empy alone is published as a source archive (of pure Python).
PIP_OPTIONS = ["--no-deps", "--no-build-isolation", "--no-compile", "--only-binary=:all:", "--no-binary=empy"]
NOT_FOUND = "No matching distribution found"  # as pip says it


class SetupError(Exception):
    """The environment cannot be made here; the text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Machine:
    """What decides whether the pinned wheels can be installed."""

    version: tuple[int, int]  # of the Python that will own the environment
    system: str  # as platform.system() gives it
    architecture: str  # as platform.machine() gives it
    glibc: tuple[int, int] | None  # None where the C library is another one (musl)
    has_ensurepip: bool  # whether `python -m venv` can put pip into the environment


def check(machine: Machine) -> None:
    """Refuse a machine that the pinned wheels do not cover, before anything is downloaded.

    Raises:
        SetupError: for the first condition that does not hold.
    """
    low, high, name, minimum = map(dotted, (*SUPPORTED, machine.version, MINIMUM_GLIBC))
    ros = "install ROS 2 and build with colcon instead (README, «In a ROS 2 workspace»)"
    if machine.system != "Linux" or machine.architecture != "x86_64":
        found = f"{machine.system} on {machine.architecture}"
        raise SetupError(f"ROS 2 on PyPI is built for Linux on x86_64 only and this is {found}: {ros}.")
    if not SUPPORTED[0] <= machine.version <= SUPPORTED[1]:
        raise SetupError(f"Python {low} to {high} is needed and this is {name}: name another with `make demo PYTHON=python{high}`.")
    if machine.glibc is None or machine.glibc < MINIMUM_GLIBC:
        found = f"glibc {dotted(machine.glibc)}" if machine.glibc else "another C library"
        raise SetupError(f"The wheels need glibc {minimum} or newer and this system has {found}: {ros}.")
    if not machine.has_ensurepip:
        raise SetupError(
            f"Python {name} has no venv module with pip (ensurepip): install it (Debian, Ubuntu: python{name}-venv), "
            "or name a Python that has one, as in `make demo PYTHON=PATH`."
        )


def dotted(version: tuple[int, int]) -> str:
    """``(3, 11)`` as ``3.11``."""
    return ".".join(map(str, version))


def this_machine() -> Machine:
    """The machine and the Python that run this file."""
    name, version = platform.libc_ver()
    numbers = re.match(r"(\d+)\.(\d+)", version)
    glibc = (int(numbers[1]), int(numbers[2])) if name == "glibc" and numbers else None
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    return Machine(sys.version_info[:2], platform.system(), platform.machine(), glibc, has_ensurepip)


def pins(path: Path) -> Iterator[str]:
    """The ``name==version`` of every requirement in a file and in those it includes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r "):
            yield from pins(path.parent / text[3:].strip())
        elif text:
            yield text


def progress(total: int, terminal: bool, say: Callable[[str], None]) -> Callable[[str], None]:
    """Turn lines of pip's output into a count: on a terminal one line that is rewritten, elsewhere every tenth package."""
    done = 0

    def follow(line: str) -> None:
        nonlocal done
        collecting = re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line)
        if collecting:
            done += 1
            if terminal:
                say(f"\r  {done:3d}/{total}  {collecting[1]:<50.50}")
            elif done % 10 == 0 or done == total:
                say(f"  {done:3d}/{total}\n")
        elif line.startswith("Installing collected packages"):
            say("\r  unpacking, about half a minute ...\n" if terminal else "  unpacking ...\n")

    return follow


def run(command: list[str], log: Path, follow: Callable[[str], None] = lambda line: None) -> None:
    """Run a command with its output in the log.

    Raises:
        SetupError: the command failed; its last error line is part of the text.
    """
    with log.open("a", encoding="utf-8") as sink:
        sink.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        assert process.stdout is not None
        last_error = ""
        for line in process.stdout:
            sink.write(line)
            follow(line)
            if line.startswith(("ERROR", "Error")):
                last_error = line.strip()
        code = process.wait()
    if code != 0:
        raise SetupError(
            f"{' '.join(command[1:4])} ended with code {code}: {last_error or 'see the log'} (all output is in {log})."
        )


def works(python: Path) -> bool:
    """Whether an environment is there and whole enough to go on with, for instance after the system's Python was upgraded."""
    if not python.exists():
        return False
    probe = [str(python), "-c", "import sys, pip; sys.exit(sys.version_info[:2] != tuple(map(int, sys.argv[1:])))"]
    return subprocess.run([*probe, *map(str, sys.version_info[:2])], capture_output=True, check=False).returncode == 0


def add_torch(pip: list[str], lock: Path, index: str, log: Path, say: Callable[[str], None]) -> None:
    """Install what the networks need; where pip does not find the CPU build of torch, say so and leave the networks out.

    Args:
        pip: the command that installs.
        lock: file of the pins, torch's among them.
        index: address at which pip finds torch, and looks for nothing else; empty for the places pip knows.
        log: file for the output.
        say: where to tell the user.

    Raises:
        SetupError: a step failed for another reason, or although an address was given.
    """
    (torch,) = (pin for pin in pins(lock) if pin.startswith("torch=="))
    say(f"Installing {torch} and what it needs, about 200 MB, of {lock.name} ...\n")
    try:
        run([*pip, *PIP_OPTIONS, *(["--index-url", index] if index else []), torch], log)
    except SetupError as error:
        if index or NOT_FOUND not in str(error):
            raise
        say(
            f"vloc_ros: pip does not find {torch}, the build without gigabytes of CUDA, so the networks (netvlad, gem) are left "
            "out and all the rest works: to add them, run `make setup TORCH_INDEX=URL` with the address of the CPU wheels that "
            "the start page of PyTorch gives.\n"
        )
        return
    run([*pip, *PIP_OPTIONS, "-r", str(lock)], log)


def add_engines(pip: list[str], lock: Path, log: Path, say: Callable[[str], None]) -> None:
    """Install what computes networks fast; where pip does not find it, say so: torch takes its place.

    Args:
        pip: the command that installs.
        lock: file of the pins.
        log: file for the output.
        say: where to tell the user.

    Raises:
        SetupError: the step failed for another reason.
    """
    say(f"Installing onnxruntime and what it needs, about 50 MB, of {lock.name} ...\n")
    try:
        run([*pip, *PIP_OPTIONS, "-r", str(lock)], log)
    except SetupError as error:
        if NOT_FOUND not in str(error):
            raise
        say(f"vloc_ros: pip does not find all of {lock.name}, so learned features run with torch, slower, where that is there.\n")


def make(venv: Path, lock: Path, torch_index: str, say: Callable[[str], None]) -> None:
    """Create the environment if it is not there; install the pinned packages, vloc_ros itself, and engines and torch where found.

    Raises:
        SetupError: a step failed.
    """
    python, log = venv / "bin" / "python", venv / "setup.log"
    if not works(python):
        say(f"Making {venv.name} with Python {platform.python_version()} ...\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    log.write_text("", encoding="utf-8")
    wanted = list(pins(lock))
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    say(f"Installing {len(wanted)} pinned packages of {lock.name} ...\n")
    run([*pip, *(pin for pin in wanted if pin.startswith("setuptools=="))], log)
    run([*pip, *PIP_OPTIONS, "-r", str(lock)], log, progress(len(wanted), sys.stdout.isatty(), say))
    run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], log)
    add_engines(pip, ENGINES, log, say)
    add_torch(pip, TORCH, torch_index, log, say)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the virtual environment of a machine without ROS.")
    parser.add_argument("venv", type=Path, help="folder of the environment")
    parser.add_argument("lock", help="name of the file in requirements/ to install")
    parser.add_argument("--torch-index", default="", metavar="URL", help="where pip finds the CPU build of torch")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    began = time.monotonic()
    try:
        check(this_machine())
        make(options.venv.resolve(), REQUIREMENTS / options.lock, options.torch_index, say)
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"\nvloc_ros: {error}\n")
        return 1
    say(f"{options.venv} is ready ({time.monotonic() - began:.0f} s).\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
