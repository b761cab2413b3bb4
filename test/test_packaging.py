"""What is installed, by pip without ROS and by colcon with it, and what is pinned for either."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree
import zipfile
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vloc_ros

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
ON_TOP = ("torch.txt", "engines.txt", "openvino.txt", "view.txt", "aerial.txt")  # what only networks, the viewer or some maps need
LOCKS = ("run.txt", "dev.txt", *ON_TOP, "ros.txt")
# Distributions whose modules are called otherwise.
DISTRIBUTIONS = {"faiss": "faiss-cpu", "cv2": "opencv-python-headless", "yaml": "PyYAML", "rerun": "rerun-sdk"}
# rosdep's keys for the system packages, where they are not python3-<module>.
ROSDEP_KEYS = {"cv2": "python3-opencv"}
# The wheel of gtsam declares the runner of its own tests, that of openvino a reporter of its use: nothing needs them to run.
DECLARED_IN_ERROR = {("gtsam", "pytest"), ("openvino", "openvino-telemetry")}
# Installed by requirements/ros.txt, torch.txt and so on instead, as rosdep has no key for them, or only one that calls pip.
BY_PIP = {"faiss", "gtsam", "onnxruntime", "openvino", "poselib", "pyproj", "rasterio", "rerun", "rosbags", "safetensors", "torch"}
# What `ros/` uses in a ROS installation and does without elsewhere; none of them is on PyPI.
ROS_ONLY = {"cv_bridge", "message_filters", "tf2_msgs", "tf2_ros", "tf2_py", "tf_transformations", "launch", "launch_ros"}
SHARED = {"launch": "*.launch.py", "config": "*.*", "rviz": "*.rviz", "models": "*"}


@pytest.fixture(scope="module")
def setup_arguments() -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", given.update)
        runpy.run_path("setup.py", run_name="__main__")
    return given


@pytest.fixture(scope="module")
def package_xml() -> xml.etree.ElementTree.Element:
    return xml.etree.ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, as a build writes into the folder it builds from."""
    folder = tmp_path_factory.mktemp("vloc_ros")
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("vloc_ros", "resource", *SHARED):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def requirement_lines(lock: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (REQUIREMENTS / lock).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def pinned(lock: str) -> dict[str, str]:
    """Version of every distribution that a file, or one it includes, asks for on this Python."""
    found: dict[str, str] = {}
    for line in requirement_lines(lock):
        if line.startswith("-r "):
            found |= pinned(line[3:].strip())
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def direct(lock: str) -> set[str]:
    """Names in the groups of a file that are marked as needed directly."""
    groups = (REQUIREMENTS / lock).read_text(encoding="utf-8").split("# ---")[1:]
    wanted = "\n".join(group.split("\n", 1)[1] for group in groups if "needed directly" in group.split("\n", 1)[0])
    return {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", wanted, re.MULTILINE)}


def is_exact(line: str) -> bool:
    return line.startswith("-r ") or re.fullmatch(r"[\w.-]+==\d[\w.]*(\+\w+)?( *;.*)?", line) is not None


def foreign_imports(folder: str) -> set[str]:
    """Top-level names that a folder imports and that are neither ours nor the standard library's."""
    names: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"vloc_ros"}


def is_ros(module: str) -> bool:
    return module in ROS_ONLY | {"rclpy", "ament_index_python"} or re.fullmatch(r"\w+_(msgs|srvs|interfaces)", module) is not None


# --- requirements


@pytest.mark.parametrize("lock", LOCKS)
def test_pins_are_exact(lock):
    lines = requirement_lines(lock)
    assert lines and [line for line in lines if not is_exact(line)] == []


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy==2.*", "numpy~=2.4", "-e .", "a @ https://a.org/a.whl"])
def test_a_loose_pin_is_seen(line):
    assert not is_exact(line)


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt", *ON_TOP])
def test_pins_are_complete_and_agree(lock):
    """Everything a pinned distribution declares is pinned too, in a version it accepts: --no-deps leaves nothing out."""
    own, problems, checked = pinned(lock), [], 0
    pins = pinned("run.txt") | own
    for name, version in own.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.version != version:
            continue
        checked += 1
        for requirement in map(Requirement, distribution.requires or []):
            if (canonicalize_name(name), requirement.name) in DECLARED_IN_ERROR:
                continue
            if requirement.marker is None or requirement.marker.evaluate(default_environment() | {"extra": ""}):
                found = pins.get(canonicalize_name(requirement.name))
                if found is None or not requirement.specifier.contains(found, prereleases=True):
                    problems.append(f"{name} needs {requirement}, pinned: {found}")
    if checked < (len(own) + 1) // 2:
        pytest.skip(f"this environment was not made from requirements/{lock}")
    assert problems == []


def test_every_import_is_pinned():
    pins = direct("run.txt").union(*map(direct, ON_TOP))
    missing = {name for name in foreign_imports("vloc_ros") - ROS_ONLY if not is_ros(name)}
    assert {name for name in missing if canonicalize_name(DISTRIBUTIONS.get(name, name)) not in pins} == set()
    ros = {name for name in foreign_imports("vloc_ros") - ROS_ONLY if is_ros(name)}
    assert {name for name in ros if canonicalize_name(f"ros-{name}") not in pinned("run.txt")} == set()


def test_nothing_is_pinned_for_nobody():
    modules = {name for folder in ("vloc_ros", "benchmarks", "test") for name in foreign_imports(folder)}
    used = {canonicalize_name(DISTRIBUTIONS.get(name, f"ros-{name}" if is_ros(name) else name)) for name in modules}
    # the middleware is loaded by name, setuptools is the builder
    assert direct("run.txt").union(*map(direct, ON_TOP)) - used - {"ros-rmw-fastrtps-cpp"} == set()


def test_setup_declares_what_is_pinned(setup_arguments):
    declared = {canonicalize_name(name) for name in setup_arguments["install_requires"]}
    assert declared == {name for name in direct("run.txt") if not name.startswith("ros-")}
    extras = {name: f"{name}.txt" for name in ("engines", "openvino", "view", "aerial")} | {"networks": "torch.txt"}
    assert {name: set(wanted) for name, wanted in setup_arguments["extras_require"].items()} == {
        name: direct(lock) for name, lock in extras.items()
    }


# --- package.xml


def test_versions_agree(setup_arguments, package_xml):
    assert {setup_arguments["version"], package_xml.findtext("version"), vloc_ros.__version__} == {"0.1.0"}
    assert setup_arguments["name"] == package_xml.findtext("name") == "vloc_ros"
    assert setup_arguments["license"] == package_xml.findtext("license") == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").split()[:4] == ["Apache", "License", "Version", "2.0,"]


def test_package_xml_is_for_colcon(package_xml):
    assert package_xml.get("format") == "3"
    assert package_xml.findtext("export/build_type") == "ament_python"
    keys = [node.text for node in package_xml if node.tag.endswith("depend")]
    assert len(keys) == len(set(keys))


def test_package_xml_names_every_import(package_xml):
    declared = {node.text for node in package_xml if node.tag.endswith("depend")}
    needed = foreign_imports("vloc_ros") | foreign_imports("launch")
    keys = {name if is_ros(name) else ROSDEP_KEYS.get(name, f"python3-{name}") for name in needed - BY_PIP}
    assert keys - declared == set()


def test_package_xml_names_nothing_else(package_xml):
    declared = {node.text for node in package_xml if node.tag in {"depend", "exec_depend"}}
    modules = foreign_imports("vloc_ros") | foreign_imports("launch")
    used = {name if is_ros(name) else ROSDEP_KEYS.get(name, f"python3-{name}") for name in modules}
    assert declared - used - {"ros2launch"} == set()


def test_pip_fills_what_rosdep_lacks():
    wanted = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in BY_PIP & foreign_imports("vloc_ros")}
    assert wanted <= set(pinned("ros.txt")).union(*map(pinned, ON_TOP))


@pytest.mark.parametrize("added", ON_TOP)
def test_both_files_agree_where_both_are_installed(added):
    """What is put on top must not change what run.txt, ros.txt or another on top has put there."""
    new = pinned(added)
    for lock in ("dev.txt", "ros.txt", *ON_TOP):
        both = pinned(lock)
        assert {name: version for name, version in new.items() if both.get(name, version) != version} == {}, lock


def test_torch_is_never_the_build_with_cuda():
    """A local version is not on the public index, whose plain build brings gigabytes of CUDA along."""
    assert re.fullmatch(r"\d[\d.]*\+cpu", pinned("torch.txt")["torch"])
    assert not {name for lock in LOCKS for name in pinned(lock) if name.startswith(("nvidia", "triton"))}
    assert "torch" not in set(pinned("run.txt")) | set(pinned("dev.txt")) | set(pinned("ros.txt"))


# --- what is installed


def test_console_scripts_exist(setup_arguments):
    scripts = dict(re.split(r"\s*=\s*", script) for script in setup_arguments["entry_points"]["console_scripts"])
    assert {"vloc", "localization", "player"} <= set(scripts)
    for target in scripts.values():
        module, function = target.split(":")
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        names = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
        assert function in names, target


def test_every_node_has_a_script(setup_arguments):
    scripts = {script.split("=")[0].strip() for script in setup_arguments["entry_points"]["console_scripts"]}
    assert {path.stem for path in (ROOT / "vloc_ros" / "nodes").glob("[a-z]*.py")} <= scripts


def test_shared_files_are_installed(setup_arguments):
    installed = {name: place for place, names in setup_arguments["data_files"] for name in names}
    for folder, pattern in SHARED.items():
        for path in (ROOT / folder).rglob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                assert installed.get(name) == f"share/vloc_ros/{path.parent.relative_to(ROOT).as_posix()}", name
    assert installed["package.xml"] == "share/vloc_ros"
    assert installed["resource/vloc_ros"] == "share/ament_index/resource_index/packages"


def test_every_folder_with_code_is_a_package(setup_arguments):
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in (ROOT / "vloc_ros").rglob("*.py")}
    assert folders == set(setup_arguments["packages"])


def build(folder: Path, *command: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_wheel_has_everything(copied, tmp_path, setup_arguments):
    pytest.importorskip("pip")
    if all(importlib.util.find_spec(name) is None for name in ("setuptools.command.bdist_wheel", "wheel")):
        pytest.skip("neither this setuptools nor the package wheel can build a wheel")
    build(copied, sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), ".")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read("vloc_ros-0.1.0.dist-info/entry_points.txt").decode()
    code = [path.relative_to(copied).as_posix() for path in (copied / "vloc_ros").rglob("*") if path.is_file()]
    assert {name for name in code if "__pycache__" not in name} <= names
    shared = [f"{place}/{Path(name).name}" for place, files in setup_arguments["data_files"] for name in files]
    assert {f"vloc_ros-0.1.0.data/data/{name}" for name in shared} <= names
    # pip makes the scripts from these, in the environment's bin/; a script in the wheel itself would go to lib/vloc_ros
    assert "vloc = vloc_ros.cli:main" in entry_points
    assert not [name for name in names if "lib/vloc_ros" in name or ".data/scripts" in name]


def install_as_colcon(folder: Path, prefix: Path) -> Path:
    """Install with the command colcon uses; returns the folder of the executables."""
    build(
        folder,
        *(sys.executable, "setup.py", "-q", "install", "--prefix", str(prefix)),
        *("--record", str(prefix / "record.txt"), "--single-version-externally-managed"),
    )
    return prefix / "lib" / "vloc_ros"


def test_colcon_scripts_follow_the_environment(copied, tmp_path):
    scripts = install_as_colcon(copied, tmp_path / "ours")
    assert {"vloc", "localization", "player"} <= {path.name for path in scripts.iterdir()}
    for script in scripts.iterdir():
        assert script.read_text(encoding="utf-8").splitlines()[0] == "#!/usr/bin/env python3"
        assert script.stat().st_mode & stat.S_IXUSR
    assert (tmp_path / "ours" / "share" / "vloc_ros" / "package.xml").is_file()


def test_without_the_setting_they_would_not(copied, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(copied, plain)
    text = (plain / "setup.cfg").read_text(encoding="utf-8")
    (plain / "setup.cfg").write_text(text.split("[build_scripts]")[0], encoding="utf-8")
    first = (install_as_colcon(plain, tmp_path / "theirs") / "vloc").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"#!{sys.executable}"


def test_a_colcon_script_runs_with_the_active_python(copied, tmp_path):
    """The script's first line finds the python3 that comes first on PATH, which is what activating an environment changes."""
    scripts = install_as_colcon(copied, tmp_path)
    chosen = tmp_path / "bin"
    chosen.mkdir()
    witness = chosen / "python3"
    witness.write_text('#!/bin/sh\necho "chosen $1"\n', encoding="utf-8")
    witness.chmod(0o755)
    environment = os.environ | {"PATH": f"{chosen}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run([scripts / "player"], env=environment, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == f"chosen {scripts / 'player'}"


def test_the_installed_command_answers():
    command = Path(sysconfig.get_path("scripts")) / "vloc"
    if not command.exists():
        pytest.skip("vloc_ros is not installed in this environment (make setup does it)")
    result = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "teach" in result.stdout, result.stderr
