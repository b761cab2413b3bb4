"""The rules of CONTRIBUTING.md that a program can check. Every check is also shown a text that breaks the rule."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vloc_ros"
MAX_LINES = 400
HAS_TORCH = importlib.util.find_spec("torch") is not None
ROS_ROOMS = ("ros", "nodes")
# rclpy, and what a ROS installation has on top of it; message packages are recognised by their endings.
ROS_MODULES = {"rclpy", "cv_bridge", "message_filters", "tf2_ros", "tf2_py", "tf_transformations", "launch", "launch_ros"}
MESSAGE_PACKAGE = re.compile(r"\w+_(msgs|srvs|interfaces)")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(work|tmp|root|home|Users)/\w")
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SAFE_YAML = {"SafeLoader", "CSafeLoader"}
UNSAFE_CALLS = {
    *("eval", "exec", "compile", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("torch.jit.load", "torch.hub.load", "shutil.unpack_archive", "tempfile.mktemp", "cv2.FileStorage"),
}
UNSAFE_METHODS = {"extractall", "enable_load_extension", "load_extension"}
"""Of archives, whose members may climb out of the folder, and of databases."""


def python_files(*folders: str) -> list[Path]:
    """Python files of the repository, without what is generated."""
    names = folders or ("vloc_ros", "test", "launch", "benchmarks", "requirements")
    found = [path for name in names for path in sorted((ROOT / name).rglob("*.py"))]
    return found if folders else [*found, ROOT / "setup.py"]


def text_files() -> list[Path]:
    """Every file a reader of the repository sees."""
    endings = {".md", ".yaml", ".yml", ".toml", ".cfg", ".txt", ".xml", ".rviz", ".sh", ".html", ".json"}
    rooms = ("config", "docs", "rviz", "models", "requirements", "launch", "vloc_ros", "benchmarks", ".ci")
    inside = [path for room in rooms for path in sorted((ROOT / room).rglob("*")) if path.suffix in endings]
    on_top = [path for path in sorted(ROOT.iterdir()) if path.suffix in endings]
    return [*python_files(), *inside, *on_top, ROOT / "Makefile", ROOT / ".ci" / "run"]


def needs_torch(path: Path) -> bool:
    """Whether a file may import torch: those of the networks that do more than say which there are, and of their training."""
    if path.parent == PACKAGE / "training":
        return path.name != "__init__.py"
    return path.parent == PACKAGE / "networks" and path.name not in {
        "__init__.py",
        "availability.py",
        "disam_form.py",
        "disam_preprocessing.py",
        "names.py",
        "preprocessing.py",
    }


def core_modules() -> list[str]:
    """Dotted names of all modules outside the rooms that may know ROS; where torch is not installed, without its room."""
    names = []
    for path in python_files("vloc_ros"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] not in ROS_ROOMS and parts[-1] != "__main__" and (HAS_TORCH or not needs_torch(path)):
            names.append(".".join(part for part in parts if part != "__init__"))
    return names


def dotted(node: ast.expr) -> str:
    """``np.load`` of the expression that says so, ``.load`` of one on something else, an empty text for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of every imported module, those named in ``import_module("...")`` and ``__import__("...")`` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in {"import_module", "__import__"}:
            yield from ((node.lineno, name.value) for name in node.args[:1] if isinstance(name, ast.Constant) and name.value)


def is_ros(module: str) -> bool:
    """Whether a module belongs to ROS."""
    top = module.split(".")[0]
    return top in ROS_MODULES or MESSAGE_PACKAGE.fullmatch(top) is not None


def ros_imports(source: str) -> list[str]:
    """ROS modules that a text imports."""
    return [f"line {line}: {name}" for line, name in imported(ast.parse(source)) if is_ros(name)]


def unsafe_calls(source: str) -> list[str]:
    """Ways to run code that comes with the data: pickles in their disguises, full YAML, eval, a shell."""
    tree = ast.parse(source)
    found = [f"line {line}: import {name}" for line, name in imported(tree) if name.split(".")[0] in UNSAFE_MODULES]
    # Under another name a call would not be recognised below.
    found += [
        f"line {node.lineno}: from {node.module} import {alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in {"torch", "yaml", "os"}
        for alias in node.names
        if alias.name in {"load", "load_all", "unsafe_load", "full_load", "system", "popen"}
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (reason := unsafe_call(node)):
            found.append(f"line {node.lineno}: {reason}")
    return found


def unsafe_call(call: ast.Call) -> str:
    """Why a call is unsafe, an empty text when it is not."""
    name = dotted(call.func)
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}

    def is_true(keyword: str) -> bool:
        value = keywords.get(keyword)
        return isinstance(value, ast.Constant) and value.value is True

    if name in UNSAFE_CALLS or name.split(".")[-1] in UNSAFE_METHODS:
        return name
    if "allow_pickle" in keywords and not (isinstance(keywords["allow_pickle"], ast.Constant) and not is_true("allow_pickle")):
        return "allow_pickle"
    if is_true("shell"):
        return "shell=True"
    if name == "torch.load" and not is_true("weights_only"):
        return "torch.load without weights_only=True"
    if name == "yaml.load":
        loader = keywords.get("Loader", call.args[1] if len(call.args) > 1 else ast.Constant(None))
        return "" if dotted(loader).split(".")[-1] in SAFE_YAML else "yaml.load without a safe loader"
    return ""


def silent_handlers(source: str) -> list[str]:
    """Exception handlers that swallow what happened."""
    handlers = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler))
    return [f"line {handler.lineno}" for handler in handlers if all(isinstance(step, ast.Pass) for step in handler.body)]


def prints(source: str) -> list[str]:
    """Calls of ``print``."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [f"line {call.lineno}" for call in calls if dotted(call.func) == "print"]


def offences(paths: list[Path], check: Callable[[str], list[str]]) -> list[str]:
    """What a check finds in each file, with the name of the file."""
    assert paths, "no files to check: the rule would hold for nothing"
    return [f"{path.relative_to(ROOT)}: {found}" for path in paths for found in check(path.read_text(encoding="utf-8"))]


def core_files() -> list[Path]:
    return [path for path in python_files("vloc_ros") if path.relative_to(PACKAGE).parts[0] not in ROS_ROOMS]


def test_only_ros_and_nodes_know_ros():
    assert offences(core_files(), ros_imports) == []


@pytest.mark.parametrize(
    "text",
    [
        "import rclpy.node",
        "from sensor_msgs.msg import Image",
        "def f():\n    from std_srvs.srv import Trigger",
        "importlib.import_module('tf2_ros')",
        "from builtin_interfaces.msg import Time",
    ],
)
def test_an_import_of_ros_is_seen(text):
    assert len(ros_imports(text)) == 1


def test_our_own_modules_are_not_ros():
    assert ros_imports("from vloc_ros.ros import images\nimport launcher\nfrom . import rclpy") == []


BLOCKER = """
import importlib, re, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in {ros!r} or re.fullmatch({pattern!r}, top):
            raise ModuleNotFoundError(f"no ROS on this machine: {{name}}", name=name)
sys.meta_path.insert(0, Blocker())
assert not [name for name in sys.modules if name.split(".")[0] == "rclpy"]
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def import_without_ros(*modules: str) -> subprocess.CompletedProcess:
    code = BLOCKER.format(ros=ROS_MODULES, pattern=MESSAGE_PACKAGE.pattern)
    return subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_core_imports_without_ros():
    modules = core_modules()
    assert {"vloc_ros", "vloc_ros.config", "vloc_ros.geometry.se3"} <= set(modules)
    result = import_without_ros(*modules)
    assert result.returncode == 0, result.stderr


def test_the_blocker_blocks():
    for module in ("rclpy", "sensor_msgs.msg", "vloc_ros.nodes.localization"):
        result = import_without_ros(module)
        assert result.returncode == 1 and "no ROS on this machine" in result.stderr, module


def test_files_are_small():
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_no_path_of_one_machine():
    assert offences(text_files(), lambda text: [match[0] for match in MACHINE_PATH.finditer(text)]) == []


@pytest.mark.parametrize("parts", [("", "work", "main"), ("", "home", "me", "map"), ("x = '", "tmp", "map'"), ("cd ", "root", "a")])
def test_a_path_of_one_machine_is_seen(parts):
    assert MACHINE_PATH.search("/".join(parts))


@pytest.mark.parametrize("text", ["../shared/data/x", "~/work/map.vloc", "/dev/video0", "https://a.org/data/x", "frame/work/x"])
def test_other_paths_are_allowed(text):
    assert not MACHINE_PATH.search(text)


def test_nothing_is_left_unfinished():
    assert offences(python_files(), lambda text: [match[0] for match in UNFINISHED.finditer(text)]) == []
    assert UNFINISHED.search("# TO" + "DO: later")


def test_nothing_runs_code_from_data():
    found = offences(python_files(), unsafe_calls)
    # What `vloc export` has just written itself, to see that it computes the same.
    own = [text for text in found if text.startswith("vloc_ros/networks/export_files.py: ") and text.endswith("torch.jit.load")]
    assert found == own and len(own) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "from torch import load",
        "from yaml import load",
        "torch.jit.load(path)",
        "compile(text, 'map', 'exec')",
        "archive.extractall(folder)",
        "connection.enable_load_extension(True)",
    ],
)
def test_an_unsafe_call_is_seen(text):
    assert len(unsafe_calls(text)) == 1


def test_safe_calls_are_allowed():
    calls = ["np.load(p, allow_pickle=False)", "torch.load(p, weights_only=True)", "yaml.load(t, Loader=yaml.SafeLoader)"]
    assert unsafe_calls("\n".join([*calls, "yaml.safe_load(t)", "model.eval()", "Model(3).eval()", "subprocess.run(['ls'])"])) == []


def test_no_error_is_swallowed():
    assert offences(python_files(), silent_handlers) == []
    assert silent_handlers("try:\n    f()\nexcept OSError:\n    pass") == ["line 3"]
    assert silent_handlers("try:\n    f()\nexcept OSError:\n    log()") == []


def test_the_library_does_not_print():
    cli = [path for path in core_files() if path.name == "cli.py" or "commands" in path.parts]
    library = [path for path in python_files("vloc_ros") if path not in cli]
    assert offences(library, prints) == []
    assert prints("f(1)\nprint(2)") == ["line 2"]


def run_tool(*arguments: str) -> None:
    if importlib.util.find_spec(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed (requirements/dev.txt has it)")
    result = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_check():
    run_tool("ruff", "check", "--output-format=concise", ".")


def test_ruff_format():
    run_tool("ruff", "format", "--check", "--output-format=concise", ".")


def test_mypy():
    run_tool("mypy")
