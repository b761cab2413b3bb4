"""The Makefile, and the set-up of a machine without ROS that it calls."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"


@pytest.fixture(scope="module")
def make_venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv", REQUIREMENTS / "make_venv.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    environment |= variables
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_make_lists_its_targets():
    shown = make("help").stdout
    for target in ("demo", "test", "test-slow", "lint", "benchmark", "clean", "help"):
        assert re.search(rf"^ +make {target} ", shown, re.MULTILINE), target


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["demo"], r"bin/vloc demo --out \"\$OUT\""),
        (["demo", "DATA=a b"], r"bin/vloc demo --out \"\$OUT\" --data \"\$DATA\""),
        (["test"], r'bin/python -m pytest -m "not slow"'),
        (["test-slow"], r"bin/python -m pytest -m slow"),
        (["lint"], r"bin/python -m mypy"),
    ],
)
def test_make_runs(arguments, command):
    result = make("-n", *arguments)
    assert result.returncode == 0 and re.search(command, result.stdout), result.stdout + result.stderr


def test_make_keeps_a_sourced_ros_out():
    sourced = {"AMENT_PREFIX_PATH": "/opt/ros/jazzy", "PYTHONPATH": "/opt/ros/jazzy/lib/python3.12/site-packages"}
    others = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    shown = make("--eval", "show: ; @env", "show", **sourced, **others).stdout
    assert "PATH=" in shown
    assert [name for name in (*sourced, *others) if re.search(rf"^{name}=", shown, re.MULTILINE)] == []
    kept = make("--eval", "show: ; @env", "show", PYTHONPATH="/elsewhere", AMENT_PREFIX_PATH="").stdout
    assert "PYTHONPATH=/elsewhere" in kept


def test_ci_runs_the_test_command():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert re.search(r"^make test\b", script.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def machine(make_venv):
    return make_venv.Machine((3, 12), "Linux", "x86_64", (2, 39), True)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_supported_machines_pass(make_venv, machine, version):
    make_venv.check(dataclasses.replace(machine, version=version, glibc=(2, 28)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": (3, 10)}, ["3.11 to 3.13", "3.10", "PYTHON="]),
        ({"version": (3, 14)}, ["3.11 to 3.13", "3.14", "PYTHON="]),
        ({"architecture": "aarch64"}, ["aarch64", "colcon"]),
        ({"system": "Darwin"}, ["Darwin", "colcon"]),
        ({"glibc": (2, 17)}, ["2.28", "2.17"]),
        ({"glibc": None}, ["2.28", "another C library"]),
        ({"has_ensurepip": False}, ["ensurepip", "python3.12-venv", "PYTHON="]),
    ],
)
def test_other_machines_are_told_why(make_venv, machine, change, words):
    with pytest.raises(make_venv.SetupError) as caught:
        make_venv.check(dataclasses.replace(machine, **change))
    assert [word for word in words if word not in str(caught.value)] == []
    assert str(caught.value).count("\n") == 0


def test_a_failed_step_names_its_error_and_log(make_venv, tmp_path):
    log = tmp_path / "setup.log"
    code = "import sys; print('noise'); print('ERROR: no such package'); sys.exit(3)"
    with pytest.raises(make_venv.SetupError, match=r"code 3: ERROR: no such package .*setup\.log"):
        make_venv.run([sys.executable, "-c", code], log)
    assert "noise" in log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bare_pip(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """pip of a fresh environment that has nothing else."""
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python has no ensurepip")
    venv = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    return [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A pip that finds only what is in an empty folder, whatever this machine is set up with."""
    (tmp_path / "links").mkdir()
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "links")}
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "links"


def make_wheel(folder: Path, version: str, name: str = "torch") -> None:
    """A wheel with nothing in it."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_without_the_build_for_cpus_the_networks_are_left_out(make_venv, bare_pip, nowhere, tmp_path):
    make_wheel(nowhere, "2.13.0")  # the plain version must not be taken for it
    said: list[str] = []
    make_venv.add_torch(bare_pip, make_venv.TORCH, "", tmp_path / "setup.log", said.append)
    (last,) = [text for text in said if text.startswith("vloc_ros: ")]
    assert [word for word in ("torch==2.13.0+cpu", "netvlad", "make setup TORCH_INDEX=URL") if word not in last] == []
    assert last.count("\n") == 1 and "://" not in last
    assert subprocess.run([bare_pip[0], "-m", "pip", "show", "-q", "torch"], timeout=60, capture_output=True).returncode != 0


def test_an_address_that_does_not_have_it_is_an_error(make_venv, bare_pip, nowhere, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    (tmp_path / "simple").mkdir()
    with pytest.raises(make_venv.SetupError, match="No matching distribution found for torch"):
        make_venv.add_torch(bare_pip, make_venv.TORCH, (tmp_path / "simple").as_uri(), tmp_path / "setup.log", lambda text: None)


def test_the_build_is_taken_from_its_address(make_venv, bare_pip, nowhere, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    page = tmp_path / "simple" / "torch"
    page.mkdir(parents=True)
    make_wheel(page, "2.13.0+cpu")
    (page / "index.html").write_text('<a href="torch-2.13.0%2Bcpu-py3-none-any.whl">torch</a>', encoding="utf-8")
    lock = tmp_path / "torch.txt"
    lock.write_text("torch==2.13.0+cpu\n", encoding="utf-8")
    make_venv.add_torch(bare_pip, lock, (tmp_path / "simple").as_uri(), tmp_path / "setup.log", lambda text: None)
    shown = subprocess.run([bare_pip[0], "-m", "pip", "list", "--format=freeze"], timeout=60, capture_output=True, text=True).stdout
    assert "torch==2.13.0+cpu" in shown.splitlines()


def installed(python: str) -> list[str]:
    command = [python, "-m", "pip", "list", "--format=freeze"]
    return subprocess.run(command, timeout=60, capture_output=True, text=True, check=True).stdout.splitlines()


def test_engines_are_installed_where_found_and_else_left_out(make_venv, bare_pip, nowhere, tmp_path):
    assert "onnxruntime" in {pin.split("==")[0] for pin in make_venv.pins(make_venv.ENGINES)}
    lock, said = tmp_path / "engines.txt", []
    lock.write_text("onnxruntime==1.31.1\nflatbuffers==25.12.19\n", encoding="utf-8")
    make_wheel(nowhere, "25.12.19", "flatbuffers")
    make_venv.add_engines(bare_pip, lock, tmp_path / "setup.log", said.append)
    (last,) = [text for text in said if text.startswith("vloc_ros: ")]
    assert "engines.txt" in last and "torch" in last and last.count("\n") == 1
    assert "flatbuffers==25.12.19" not in installed(bare_pip[0]), "all or none"
    make_wheel(nowhere, "1.31.1", "onnxruntime")
    make_venv.add_engines(bare_pip, lock, tmp_path / "setup.log", said.append)
    assert {"onnxruntime==1.31.1", "flatbuffers==25.12.19"} <= set(installed(bare_pip[0]))
    assert len([text for text in said if text.startswith("vloc_ros: ")]) == 1


def test_engines_that_cannot_be_installed_for_another_reason_are_an_error(make_venv, bare_pip, nowhere, tmp_path):
    (tmp_path / "engines.txt").write_text("not a requirement at all\n", encoding="utf-8")
    with pytest.raises(make_venv.SetupError, match="Invalid requirement"):
        make_venv.add_engines(bare_pip, tmp_path / "engines.txt", tmp_path / "setup.log", lambda text: None)


def test_an_address_makes_the_set_up_run_again():
    again = make("-n", "setup", "TORCH_INDEX=file:///a b")
    assert 'run.txt --torch-index "$TORCH_INDEX"' in again.stdout, again.stdout + again.stderr
    assert "--torch-index" not in make("-n", "-B", "setup", TORCH_INDEX="").stdout


def test_progress_counts_packages(make_venv):
    said: list[str] = []
    follow = make_venv.progress(20, False, said.append)
    for number in range(20):
        follow(f"Collecting package-{number}==1.0\n")
        follow("  Downloading something (1 MB)\n")
    assert said == ["   10/20\n", "   20/20\n"]


def test_pins_of_included_files_are_counted(make_venv):
    run, dev = (list(make_venv.pins(REQUIREMENTS / name)) for name in ("run.txt", "dev.txt"))
    assert set(run) < set(dev) and len(dev) == len(set(dev))
    assert {"numpy", "setuptools", "ros-rclpy"} <= {pin.split("==")[0] for pin in run}
    assert "ruff" in {pin.split("==")[0] for pin in set(dev) - set(run)}


def test_an_environment_that_lost_its_python_is_not_used(make_venv, tmp_path):
    assert not make_venv.works(tmp_path / "bin" / "python")
    assert make_venv.works(Path(sys.executable)) == (importlib.util.find_spec("pip") is not None)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    assert not make_venv.works(broken)


def test_the_command_refuses_in_one_sentence(make_venv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_venv.platform, "machine", lambda: "aarch64")
    assert make_venv.main([str(tmp_path / "venv"), "run.txt"]) == 1
    assert capsys.readouterr().err.strip().startswith("vloc_ros: ROS 2 on PyPI is built for Linux on x86_64 only")
    assert not (tmp_path / "venv").exists()
