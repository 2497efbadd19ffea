"""The ROS-free part (model, training, replay's judge, command line) for a workstation: `pip install .`

On a robot the package is built by colcon through CMakeLists.txt, which adds the messages and nodes. Versions are
pinned in requirements.txt; here stand only the lowest that work.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def shipped(folder):
    files = {}
    for path in sorted((HERE / folder).rglob("*")):
        if path.is_file():
            files.setdefault(f"share/sentryfuse_ros/{path.parent.relative_to(HERE)}", []).append(str(path.relative_to(HERE)))
    return list(files.items())


setup(
    name="sentryfuse_ros",
    version="0.1.0",
    description="Multimodal sensor fusion that survives sensor dropout and a draining battery",
    license="Apache-2.0",
    packages=find_packages(include=["sentryfuse_ros", "sentryfuse_ros.*"], exclude=["sentryfuse_ros.nodes*"]),
    python_requires=">=3.10,<3.14",
    install_requires=[
        "torch>=2.1",
        "numpy>=1.23",
        "opencv-python-headless>=4.7",
        "PyYAML>=6",
        "safetensors>=0.4",
        "rosbags>=0.10.5",
        "rich>=13",
        "matplotlib>=3.6",
        "Jinja2>=3.0",
    ],
    extras_require={"simulate": ["mujoco>=3.3"], "tensorboard": ["tensorboard"], "benchmark": ["torch-pruning==1.6.1"]},
    package_data={"sentryfuse_ros.reporting": ["templates/*"]},
    data_files=shipped("config") + shipped("models") + shipped("msg"),
    entry_points={"console_scripts": ["sentryfuse = sentryfuse_ros.cli:main"]},
    zip_safe=False,
)
