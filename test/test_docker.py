"""The Dockerfiles, which nobody builds here, are in step with the requirements, package.xml, the Makefile and the README."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from test_packaging import BY_PIP, SHARED, is_ros, pinned

ROOT = Path(__file__).resolve().parent.parent
FILES = {"": ROOT / "docker" / "Dockerfile", "jazzy": ROOT / "docker" / "Dockerfile.jazzy"}
KNOWN = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "ARG", "USER", "ENTRYPOINT", "CMD"}


@dataclass(frozen=True)
class Step:
    """An instruction, its continued lines joined."""

    word: str
    text: str


def steps(path: Path) -> list[Step]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def of(path: Path, word: str) -> list[str]:
    return [step.text for step in steps(path) if step.word == word]


def ignored(name: str) -> bool:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    return any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for pattern in patterns for part in Path(name).parts)


@pytest.fixture(scope="module")
def make_venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv_of_docker", ROOT / "requirements" / "make_venv.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES.values(), ids=lambda path: path.name)
class TestBoth:
    def test_it_is_a_dockerfile(self, path):
        assert {step.word for step in steps(path)} <= KNOWN
        assert steps(path)[0].word == "FROM" and len(of(path, "FROM")) == 1

    def test_the_base_image_is_named_exactly(self, path):
        (base,) = of(path, "FROM")
        assert re.fullmatch(r"[\w.-]+:[\w.-]+", base) and not base.endswith(":latest")

    def test_what_it_copies_is_here(self, path):
        copied = [text.split() for text in of(path, "COPY")]
        assert copied
        for *sources, _target in copied:
            for source in sources:
                assert (ROOT / source).exists() and not ignored(source), source

    def test_it_runs_as_a_user_of_its_own(self, path):
        assert of(path, "USER") == ["vloc"] and any("useradd --create-home vloc" in text for text in of(path, "RUN"))
        words = [step.word for step in steps(path)]
        assert words.index("USER") > max(index for index, word in enumerate(words) if word == "RUN")

    def test_nothing_is_left_behind_or_fetched_by_hand(self, path):
        for text in of(path, "RUN"):
            assert ("apt-get update" in text) == ("rm -rf /var/lib/apt/lists/*" in text)
            assert not re.search(r"curl|wget|--break-system-packages|chmod 777|http", text)
            assert "pip install" not in text or "--no-deps -r" in text

    def test_the_shell_understands_it(self, path):
        for text in of(path, "RUN"):
            assert subprocess.run(["sh", "-n", "-c", text], capture_output=True).returncode == 0, text

    def test_its_own_examples_name_it(self, path):
        head = "".join(line[1:] for line in path.read_text().splitlines() if line.startswith("#"))
        assert f"docker build -f docker/{path.name} " in head


def test_what_the_package_needs_is_not_ignored(tmp_path):
    needed = ["setup.py", "setup.cfg", "pyproject.toml", "package.xml", "Makefile", "requirements/run.txt", "vloc_ros/cli.py"]
    shared = [path.relative_to(ROOT).as_posix() for folder, pattern in SHARED.items() for path in (ROOT / folder).rglob(pattern)]
    assert [name for name in (*needed, *shared) if ignored(name)] == []
    for name in (".git/config", ".venv/bin/python", "vloc_ros/__pycache__/cli.pyc", "maps/site.vloc"):
        assert ignored(name), name


# --- without ROS


def test_the_python_of_the_image_is_one_that_the_set_up_takes(make_venv):
    (base,) = of(FILES[""], "FROM")
    found = re.fullmatch(r"python:(\d+)\.(\d+)-slim-\w+", base)
    version = int(found[1]), int(found[2])
    assert make_venv.SUPPORTED[0] <= version <= make_venv.SUPPORTED[1]
    assert any(f"PYTHON=python{found[1]}.{found[2]}" in text for text in of(FILES[""], "RUN"))


def test_it_is_set_up_as_the_readme_says():
    (command,) = [text for text in of(FILES[""], "RUN") if text.startswith("make ")]
    assert command.split()[:2] == ["make", "setup"]
    assert "make setup" in (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^setup:", makefile, re.MULTILINE)
    for name in re.findall(r"(\w+)=", command):
        assert f"{name} " in makefile or f"$({name})" in makefile, name
    if shutil.which("make"):
        plain = command.replace('"$TORCH_INDEX"', "").replace("python3.12", sys.executable)
        dry = subprocess.run(["sh", "-c", f"{plain} -n"], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert dry.returncode == 0, dry.stderr


def test_its_command_is_one_that_is_installed():
    (entry,) = of(FILES[""], "ENTRYPOINT")
    name = entry.strip('[]"')
    assert f'"{name} = vloc_ros.cli:main"' in (ROOT / "setup.py").read_text()
    assert 'ENV PATH="/vloc_ros/.venv/bin:$PATH"' in FILES[""].read_text()


# --- in ROS 2 Jazzy


def test_it_builds_as_the_readme_says():
    commands = " && ".join(of(FILES["jazzy"], "RUN"))
    readme = (ROOT / "README.md").read_text()
    for command in ("rosdep install --from-paths src --ignore-src -y", "colcon build"):
        assert command in readme and command in commands, command
    asked = re.search(r"python3 -m pip install --no-deps -r src/vloc_ros/(requirements/\w+\.txt)", readme)
    assert asked is not None and (ROOT / asked[1]).is_file()
    assert f"--no-deps -r src/vloc_ros/{asked[1]}" in commands
    assert "--symlink-install" not in commands
    assert "python3 -m venv --system-site-packages" in (ROOT / "requirements" / "ros.txt").read_text()


def test_what_rosdep_does_not_know_is_installed_by_pip():
    named = re.findall(r"requirements/(\w+\.txt)", " ".join(of(FILES["jazzy"], "RUN")))
    assert named and all((ROOT / "requirements" / name).is_file() for name in named)
    have = set().union(*map(pinned, named))
    wanted = {"faiss": "faiss-cpu"} | {name: name for name in BY_PIP}
    optional = {"torch", "openvino", "rerun", "pyproj", "rasterio"}
    assert {wanted.get(name, name) for name in BY_PIP - optional} - {"faiss"} <= have | {"faiss"}
    assert "faiss-cpu" in have


def test_rosdep_reads_package_xml_before_the_code_is_copied():
    copies = of(FILES["jazzy"], "COPY")
    assert [text.split()[0] for text in copies] == ["package.xml", "requirements", "."]
    assert not any(is_ros(word) for text in of(FILES["jazzy"], "RUN") for word in re.findall(r"ros-jazzy-[\w-]+", text))
    text = FILES["jazzy"].read_text()
    assert text.index("package.xml") < text.index("rosdep install") < text.index("COPY . ") < text.index("colcon build")


def test_it_is_all_of_one_distribution():
    text = FILES["jazzy"].read_text()
    assert set(re.findall(r"\b(?:humble|iron|jazzy|kilted|lyrical|rolling)\b", text)) == {"jazzy"}
    assert "Humble to Lyrical" in (ROOT / "README.md").read_text()


def test_its_launch_file_exists():
    for name in re.findall(r"\w+\.launch\.py", FILES["jazzy"].read_text()):
        assert (ROOT / "launch" / name).is_file(), name
