"""Install what needs no ROS (model, training, evaluation, command line) on a workstation: `pip install .`

On a robot, colcon builds the package through CMakeLists.txt, which adds the messages and the start scripts of the nodes. The
versions below are the lowest that work; requirements.txt pins those that the project is tested with.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version():
    """The version that sentryfuse_ros/__init__.py states. Importing it here would need the packages installed below."""
    text = (HERE / "sentryfuse_ros" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def shipped(folder):
    """`data_files` entries for everything in a folder of the source tree."""
    files = {}
    for path in sorted((HERE / folder).rglob("*")):
        if path.is_file():
            files.setdefault(f"share/sentryfuse_ros/{path.parent.relative_to(HERE)}", []).append(str(path.relative_to(HERE)))
    return list(files.items())


setup(
    name="sentryfuse_ros",
    version=version(),
    description="Multimodal sensor fusion that survives sensor dropout and a draining battery",
    license="Apache-2.0",
    packages=find_packages(include=["sentryfuse_ros", "sentryfuse_ros.*"]),
    package_data={"sentryfuse_ros.reporting": ["templates/*"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "torch>=2.1",
        "onnxruntime>=1.17",
        "numpy>=1.23",
        "opencv-python-headless>=4.7",
        "PyYAML>=6",
        "safetensors>=0.4",
        "rosbags>=0.10.5",
        "rich>=13",
        "matplotlib>=3.6",
        "Jinja2>=3.0",
    ],
    extras_require={
        "simulate": ["mujoco>=3.3"],
        "tensorboard": ["tensorboard"],
        "benchmark": ["torch-pruning==1.6.1", "pycocoevalcap==1.2"],
        "cluster": ["distributed>=2024.1"],
    },
    data_files=shipped("config") + shipped("models") + shipped("msg") + shipped("srv"),
    entry_points={"console_scripts": ["sentryfuse = sentryfuse_ros.cli:main"]},
    zip_safe=False,
)
