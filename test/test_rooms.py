"""The floors of the house: what may import what, shown on the real imports."""

import ast
import subprocess
import sys
from pathlib import Path

import sentryfuse_ros

PACKAGE = Path(sentryfuse_ros.__file__).parent
FLOORS = (  # each may import from the floors before it and from its own
    {"errors", "files", "masks", "nanoseconds", "parameters", "paths", "sensor_kinds", "settings"},
    {"preprocessing", "simulation"},
    {"decoders", "model"},
    {"pruning", "sensing", "bags"},
    {"runtime", "datasets", "replay"},
    {"training"},
    {"evaluation"},
    {"reporting"},
    {"nodes"},
    {"cli"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_files():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if parts[0] not in ("msg", "__init__.py"):
            yield path, parts[0].removesuffix(".py")


def imports(path):
    """(module, is at top level) for every import of the package in a file, as absolute names."""
    package = ["sentryfuse_ros", *path.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(x for x in (base, node.module) if x)
            if module == "sentryfuse_ros":
                yield from ((f"{module}.{alias.name}", id(node) in top) for alias in node.names)
            else:
                yield module, id(node) in top


def test_every_room_has_a_floor():
    assert {room for _, room in room_files()} <= set(FLOOR_OF)


def test_no_import_runs_up():
    wrong = []
    for path, room in room_files():
        for module, top in imports(path):
            parts = module.split(".")
            if parts[0] == "sentryfuse_ros" and len(parts) > 1 and parts[1] in FLOOR_OF and FLOOR_OF[parts[1]] > FLOOR_OF[room]:
                if room == "cli" and parts[1] == "nodes" and not top:
                    continue  # replay starts nodes, and only when it runs
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong


def test_only_nodes_name_ros():
    ros = {"rclpy", "rcl_interfaces", "sensor_msgs", "std_msgs", "diagnostic_msgs", "builtin_interfaces", "launch", "launch_ros"}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path, room in room_files()
        if room not in ("nodes", "cli")
        for module, _ in imports(path)
        if module.split(".")[0] in ros or module.startswith("sentryfuse_ros.msg")
    ]
    wrong += [
        f"{path.relative_to(PACKAGE)} imports {module} at its top"
        for path, room in room_files()
        if room == "cli"
        for module, top in imports(path)
        if top and module.split(".")[0] in ros
    ]
    assert not wrong


def test_ros_free_rooms_import_without_rclpy():
    """In a fresh interpreter where importing anything of ROS fails."""
    modules = sorted(
        {
            ".".join(("sentryfuse_ros", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
            for path, room in room_files()
            if room != "nodes"
        }
    )
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('rclpy', 'sensor_msgs', 'std_msgs') or name.startswith('sentryfuse_ros.msg'):\n"
        "            raise ImportError('refused: ' + name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
        "assert 'rclpy' not in sys.modules\nprint('imported', len(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "imported" in done.stdout
