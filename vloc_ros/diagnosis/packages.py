"""Whether compiled packages fit each other: each is imported and used in a child process, so that a crash can be told."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

from vloc_ros.diagnosis.finding import Check, Finding, error, fine, warning

_PATIENCE_S = 60.0
_KEPT = 200


@dataclass(frozen=True, slots=True)
class Package:
    """A compiled package, and a line of Python that passes an array through it.

    Attributes:
        name: to import.
        use: raises or crashes when the package does not fit NumPy; it may use ``numpy`` and the package.
        needed_for: what does not work without it.
        distribution: what provides it, for its version.
    """

    name: str
    use: str
    needed_for: str
    distribution: str


GTSAM = Package("gtsam", "assert (gtsam.Pose3(numpy.eye(4)).matrix() == numpy.eye(4)).all()", "the pose graph", "gtsam")
PACKAGES = (
    Package("cv2", "cv2.GaussianBlur(numpy.eye(8, dtype=numpy.float32), (3, 3), 1.0)", "everything", "opencv-python-headless"),
    Package("scipy.linalg", "scipy.linalg.inv(numpy.eye(3))", "everything", "scipy"),
    GTSAM,
)


def check_package(package: Package) -> Finding:
    """Import and use a package in a child process."""
    code = f"import numpy\nimport {package.name}\n{package.use}\n"
    try:
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        sentence = f"{package.name} is not imported within {_PATIENCE_S:g} s"
        return warning(Check.PACKAGES, sentence, "look for a busy machine or a slow disk")
    except OSError as problem:
        return error(Check.PACKAGES, f"no Python process can be started ({problem})", "look at memory and limits of this user")
    versions = f"numpy {version_of('numpy')} and {package.name} {version_of(package.distribution)}"
    if child.returncode == 0:
        return fine(Check.PACKAGES, f"{versions} fit each other")
    why = _last_words(child.stderr)
    again = "install the versions of requirements/run.txt (with ROS: ros.txt)"
    if child.returncode < 0:
        how = _signal_name(-child.returncode)
        sentence = f"{versions} do not fit each other: importing and using it crashes ({how}), and {package.needed_for} needs it"
        return error(Check.PACKAGES, sentence, again)
    if why.startswith("ModuleNotFoundError") and repr(package.name.partition(".")[0]) in why:
        return error(Check.PACKAGES, f"{package.name} is not installed, and {package.needed_for} needs it", again)
    return error(Check.PACKAGES, f"{versions} do not fit each other: {why}; {package.needed_for} needs it", again)


def version_of(distribution: str) -> str:
    """The installed version, or "of unknown version"."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:_KEPT] if lines else "no reason was given"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
