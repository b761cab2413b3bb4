"""Installation of vloc_ros, by colcon (ament_python) into a ROS 2 workspace or by pip into a virtual environment."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

NAME = "vloc_ros"
ROOT = Path(__file__).resolve().parent


def share(folder: str, pattern: str) -> list[tuple[str, list[str]]]:
    """``data_files`` entries that install what matches in `folder` under share/vloc_ros, keeping sub-folders."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).rglob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(ROOT)
            found.setdefault(f"share/{NAME}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return list(found.items())


def package_data() -> list[str]:
    """Files of the package that are not Python, relative to it; listed one by one, as Humble's setuptools knows no ``**``."""
    package = ROOT / NAME
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(package).as_posix() for path in files if path.suffix not in {".py", ".pyc"})


setup(
    name=NAME,
    version="0.1.0",
    description="Long-term visual teach and repeat with self-calibrating place recognition.",
    author="vloc_ros maintainers",
    author_email="maintainers@vloc-ros.invalid",
    maintainer="vloc_ros maintainers",
    maintainer_email="maintainers@vloc-ros.invalid",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: package_data()},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *share("launch", "*.launch.py"),
        *share("config", "*.*"),
        *share("rviz", "*.rviz"),
        *share("models", "*"),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    # Without pins, for whoever uses the library in an environment of their own (requirements/run.txt has the tried versions).
    # colcon resolves none of these: package.xml and requirements/ros.txt do.
    install_requires=[
        "faiss-cpu",
        "gtsam",
        "matplotlib",
        "numba",
        "numpy",
        "opencv-python-headless",
        "poselib",
        "PyYAML",
        "rosbags",
        "safetensors",
        "scipy",
        "tqdm",
    ],
    # The networks, what computes those of local features without torch, faster, a viewer, and what reads unusual aerial maps;
    # everything else works without.
    extras_require={
        "networks": ["torch"],
        "engines": ["onnxruntime"],
        "openvino": ["openvino"],
        "view": ["rerun-sdk"],
        "aerial": ["pyproj", "rasterio"],
    },
    entry_points={
        "console_scripts": [
            "vloc = vloc_ros.cli:main",
            "localization = vloc_ros.nodes.localization:main",
            "aerial = vloc_ros.nodes.aerial:main",
            "place_recognition = vloc_ros.nodes.place_recognition:main",
            "path_follower = vloc_ros.nodes.path_follower:main",
            "simulator = vloc_ros.nodes.simulator:main",
            "calibration = vloc_ros.nodes.calibration:main",
            "pose_graph = vloc_ros.nodes.pose_graph:main",
            "player = vloc_ros.nodes.player:main",
        ],
    },
)
