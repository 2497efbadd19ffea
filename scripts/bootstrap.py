#!/usr/bin/env python3
"""Set up .venv: the pinned packages, ROS 2 and the messages, which colcon builds. `make setup` runs this script.

Running it again is quick: a step whose inputs have not changed since it last succeeded is skipped. The script uses
only the standard library and syntax that every Python 3 reads, so that an unsupported version gets a clear message.
"""

import hashlib
import os
import platform
import re
import select
import shutil
import subprocess
import sys

from package_hashes import compare
from setup_status import PipProgress, StatusLine, ninja_status

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
LOG = os.path.join(VENV, "setup.log")
SUPPORTED = [(3, 11), (3, 12), (3, 10), (3, 13)]  # in order of preference
ROS_DISTROS = ("jazzy", "kilted", "humble")  # in order of preference below /opt/ros


def fail(problem, remedy):
    """End the setup with one line that names the problem and one that names the remedy."""
    sys.exit("setup: %s\n  remedy: %s" % (problem, remedy))


def say(text):
    print("setup: " + text, flush=True)


def version_of(python):
    """(major, minor) of an interpreter, None where it does not start."""
    try:
        out = subprocess.run(
            [python, "-c", "import sys; print('%d %d' % sys.version_info[:2])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
        ).stdout
        return tuple(int(x) for x in out.split()) or None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def choose_python(system_ros):
    """The interpreter to build the environment from.

    Links are resolved: in an activated virtual environment, perhaps .venv itself, `python3` leads to the interpreter that
    the environment was made from.
    """
    if system_ros:
        return "/usr/bin/python3"  # the one the distribution's rclpy was compiled for
    wanted = os.environ.get("PYTHON") or sys.executable
    wanted = os.path.realpath(shutil.which(wanted) or wanted)
    if version_of(wanted) in SUPPORTED:
        return wanted
    if not os.environ.get("PYTHON"):
        for version in SUPPORTED:
            found = shutil.which("python%d.%d" % version)
            if found and version_of(found) == version:
                return os.path.realpath(found)
    seen = version_of(wanted)
    fail(
        "%s is %s; Python 3.10 to 3.13 is needed" % (wanted, "Python %d.%d" % seen if seen else "not a working Python"),
        "install one (apt-get install python3 python3-venv python3-dev) or name it: make PYTHON=/path/to/python3.11",
    )


def find_system_ros():
    """Prefix of a ROS 2 installed on this machine, or None."""
    root = os.environ.get("SENTRYFUSE_OPT_ROS", "/opt/ros")
    for distro in (os.environ.get("ROS_DISTRO"),) + ROS_DISTROS:
        if distro and os.path.exists(os.path.join(root, distro, "setup.bash")):
            return os.path.join(root, distro)
    return None


def check_machine(python, system_ros):
    """Fail early where a step would fail late for want of a compiler, headers or a supported machine."""
    if not system_ros and (platform.system() != "Linux" or platform.machine() != "x86_64"):
        fail(
            "ROS 2 from PyPI exists for Linux on x86-64 only, this is %s %s" % (platform.system(), platform.machine()),
            "install ROS 2 (Humble, Jazzy or Kilted) under /opt/ros and run make again",
        )
    # The build of the messages fails on other letters than ASCII, and the kernel starts no script whose first line has a space.
    if re.search(r"[^!-~]", ROOT):
        fail(
            "the path %r has a space or a letter that is not ASCII" % ROOT, "move the folder to a path without and run make again"
        )
    for tool in ("cc", "c++", "make"):
        if not shutil.which(tool):
            fail("no %s on PATH; the messages are compiled here" % tool, "apt-get install build-essential")
    probe = (
        "import sysconfig, os, ensurepip, venv;print(os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')))"
    )
    out = subprocess.run([python, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if out.returncode:
        fail("%s has no venv module" % python, "apt-get install python3-venv")
    if out.stdout.strip() != "True":
        fail("the C headers of %s are missing (Python.h)" % python, "apt-get install python3-dev")


def run(command, what, remedy, env=None, doing="working", status_of=None):
    """Run one step with its output in the log. On failure one line names the step, the cause and the remedy.

    status_of(line) may return a new text for the status line, which begins as ``doing``.
    """
    with open(LOG, "a") as log:
        log.write("\n$ %s\n" % " ".join(command))
        log.flush()
        start = log.tell()
        code = run_with_status(command, env, log, StatusLine(doing), status_of)
    if code:
        fail(*explain_failure(what, remedy, start))


def run_with_status(command, env, log, status, status_of):
    """Run a command, copy its output to ``log`` and keep the status line current; returns the exit status."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, env=env
    )
    pending = b""
    try:
        while True:
            ready = select.select([process.stdout], [], [], 1.0)[0]
            chunk = os.read(process.stdout.fileno(), 1 << 16) if ready else None
            if chunk == b"":
                log.write(pending.decode("utf-8", "replace"))
                return process.wait()
            lines = (pending + (chunk or b"")).split(b"\n")
            pending = lines.pop()
            for line in lines:
                text = line.decode("utf-8", "replace")
                if not text.startswith("Progress "):
                    log.write(text + "\n")
                if status_of:
                    status.text = status_of(text) or status.text
            log.flush()
            status.show()
    finally:
        status.close()
        if process.poll() is None:  # interrupted
            process.kill()
            process.wait()
        process.stdout.close()


def explain_failure(what, remedy, start):
    """(problem, remedy) of the step whose output begins at ``start`` in the log."""
    with open(LOG) as log:
        log.seek(start)
        lines = [line.strip() for line in log if line.strip()]
    telling = [line for line in lines if re.search(r"error|fatal|no matching|not find", line, re.I)] or lines
    # A pip that reaches no index either says so or says only that it knows of no version at all.
    network = any(
        re.search(r"connection|name resolution|timed out|unreachable|proxy|from versions: none", line, re.I) for line in lines
    )
    if network:
        what, remedy = what + ": the package index cannot be reached", "check the network or proxy, then run make again"
    problem = "%s (%s)" % (what, telling[-1][:200] if telling else "no output")
    return problem, "%s; whole log: %s" % (remedy, LOG)


def file_hash(paths):
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(os.path.relpath(path, ROOT).encode())
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamped(name, value):
    """Whether this step last succeeded with the same inputs."""
    try:
        with open(os.path.join(VENV, name)) as file:
            return file.read() == value
    except OSError:
        return False


def write_stamp(name, value):
    with open(os.path.join(VENV, name), "w") as file:
        file.write(value)


def remove_stamp(name):
    try:
        os.unlink(os.path.join(VENV, name))
    except OSError:
        pass


def install_packages(python, system_ros):
    """Create .venv and install requirements.txt into it, unless that was done before for the same interpreter."""
    requirements = os.path.join(ROOT, "requirements.txt")
    # With the place, which the scripts of an environment name: they start no more where the folder has been moved.
    stamp = "%s %s %s %s" % (file_hash([requirements]), python, system_ros, VENV)
    if stamped("packages.stamp", stamp):
        return
    remove_stamp("build.stamp")  # both first, so that nobody trusts what is left where this is interrupted
    remove_stamp("packages.stamp")
    if os.path.exists(VENV):
        shutil.rmtree(VENV)
    os.makedirs(VENV)
    say("making .venv from %s (Python %d.%d)" % ((python,) + version_of(python)))
    venv = [python, "-m", "venv", VENV] + (["--system-site-packages"] if system_ros else [])
    run(venv, "making the virtual environment failed", "apt-get install python3-venv")
    if system_ros:
        requirements = write_system_requirements()
    say("installing the pinned packages of requirements.txt; torch and its libraries are the largest of them")
    pip = [os.path.join(VENV, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    # Install the pinned pip first: the pip of an older Python spends hours on a resolution that takes this one seconds.
    with open(requirements) as source:
        pinned = [line.strip() for line in source if line.startswith("pip==")]
    run(pip + pinned, "installing pip failed", "see the log", clean_environment(), "installing pip")
    report = os.path.join(VENV, "installed.json")
    install = pip + ["--progress-bar=raw", "--report", report, "-r", requirements]
    status_of = PipProgress().status_of
    run(install, "installing packages failed", "see the log", clean_environment(), "reading the package index", status_of)
    refuse_other_files(report)
    if not system_ros:
        relocate()
    write_stamp("packages.stamp", stamp)


def refuse_other_files(report):
    """End the setup, without .venv, if a package is not the one whose hash requirements.hashes has. Nothing of it has run yet."""
    wrong, unlisted = compare(report, os.path.join(ROOT, "requirements.hashes"))
    if wrong:
        shutil.rmtree(VENV)
        fail("the index sent other files than were published for " + ", ".join(wrong), "check the index or proxy that pip uses")
    if unlisted:
        say("  no hash is known of these builds: " + ", ".join(unlisted))


def write_system_requirements():
    """Write the requirements for a machine with its own ROS 2: no ROS wheels, and the `#system` lines take effect."""
    with open(os.path.join(ROOT, "requirements.txt")) as source:
        lines = source.read().split("\n")
    system = [line[len("#system ") :] for line in lines if line.startswith("#system ")]
    names = {re.split("[<=>]", line)[0] for line in system}
    kept = [line for line in lines if not line.startswith("ros-") and re.split("[<=>]", line)[0] not in names]
    path = os.path.join(VENV, "requirements-system-ros.txt")
    with open(path, "w") as out:
        out.write("\n".join(system + kept))
    return path


def relocate():
    """Point the CMake files of the ROS wheels to the Python and numpy headers of this machine.

    As published, they name the include folders of the machine on which the wheels were built.
    """
    probe = "import sysconfig, numpy; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    python = os.path.join(VENV, "bin", "python")
    python_include, numpy_include = subprocess.check_output([python, "-c", probe], universal_newlines=True).split("\n")[:2]
    share = os.path.join(VENV, "share")
    for package in os.listdir(share):
        path = os.path.join(share, package, "cmake", "export_%s__rosidl_generator_pyExport.cmake" % package)
        if not os.path.exists(path):
            continue
        with open(path) as file:
            text = file.read()
        text = re.sub(r'/opt/python/[^;"]*?/site-packages/numpy/[^;"]*', numpy_include, text)
        text = re.sub(r'/opt/python/[^;"]*?/include/python[0-9.]+', python_include, text)
        with open(path, "w") as file:
            file.write(text)


def clean_environment():
    """The environment without another ROS workspace or virtual environment in it."""
    drop = (
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
        "LD_LIBRARY_PATH",
        "AMENT_PREFIX_PATH",
        "CMAKE_PREFIX_PATH",
        "COLCON_PREFIX_PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
    )
    return {key: value for key, value in os.environ.items() if key not in drop}


def package_files():
    """What the built package depends on: the contents of the build files and messages, and the names of all other files.

    Other contents do not matter, because the package is installed as links to the source tree.
    """
    contents = [os.path.join(ROOT, name) for name in ("CMakeLists.txt", "package.xml", "scripts/start_script.py.in")]
    for folder in ("msg", "srv"):
        contents += [os.path.join(ROOT, folder, name) for name in os.listdir(os.path.join(ROOT, folder))]
    names = []
    for folder in ("sentryfuse_ros", "config", "launch", "models"):
        for base, folders, files in os.walk(os.path.join(ROOT, folder)):
            folders[:] = [name for name in folders if name != "__pycache__"]
            names += [os.path.relpath(os.path.join(base, name), ROOT) for name in files if not name.endswith(".pyc")]
    return contents, sorted(names)


def build(system_ros):
    """Build the package with colcon and install it into .venv, unless nothing that it depends on has changed.

    The lib/ folder of .venv is already on the library path of the ROS wheels, so nothing has to be sourced.
    """
    contents, names = package_files()
    stamp = file_hash(contents) + hashlib.sha256("\n".join(names).encode()).hexdigest() + str(system_ros)
    if stamped("build.stamp", stamp):
        return
    say("building the messages and the package with colcon")
    remove_stamp("build.stamp")
    installed = os.path.join(
        VENV, "lib", "python%d.%d" % version_of(os.path.join(VENV, "bin", "python")), "site-packages", "sentryfuse_ros"
    )
    shutil.rmtree(installed, ignore_errors=True)  # a link to a removed file would remain otherwise
    env = clean_environment()
    env["PATH"] = os.path.join(VENV, "bin") + os.pathsep + env.get("PATH", "")
    python = os.path.join(VENV, "bin", "python")
    command = [
        os.path.join(VENV, "bin", "colcon"),
        "--log-base",
        os.path.join(VENV, "log"),
        "build",
        "--merge-install",
        "--symlink-install",
        "--install-base",
        VENV,
        "--build-base",
        os.path.join(VENV, "build"),
        "--base-paths",
        ROOT,
        "--packages-select",
        "sentryfuse_ros",
        "--event-handlers",
        "console_direct+",
        "--cmake-args",
        "-GNinja",
        "-DPython3_EXECUTABLE=" + python,
        "-DBUILD_TESTING=OFF",
    ]
    if system_ros:
        script = '. "%s/setup.bash" && exec "$@"' % system_ros
        command = ["bash", "-c", script, "colcon"] + command
    else:
        env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = VENV
    run(command, "building the messages failed", "see the log", env, "configuring the build", ninja_status)
    write_environment_script(system_ros)
    write_stamp("build.stamp", stamp)


def write_environment_script(system_ros):
    """Write .venv/bin/with-ros, which runs a command with the ROS 2 of this machine sourced.

    ROS 2 from PyPI needs no sourcing; there the script only passes the command on.
    """
    path = os.path.join(VENV, "bin", "with-ros")
    sourced = ". '%s/setup.bash'\n. '%s/local_setup.bash'\n" % (system_ros, VENV) if system_ros else ""
    write_executable(path, '#!/bin/bash\n%sexec "$@"\n' % sourced)
    if system_ros:  # `.venv/bin/sentryfuse` must work without sourcing anything, too
        start = os.path.join(VENV, "bin", "sentryfuse")
        os.unlink(start)
        code = "import sys; from sentryfuse_ros.cli import main; sys.exit(main())"
        write_executable(start, "#!/bin/bash\nexec '%s' '%s/bin/python' -c '%s' \"$@\"\n" % (path, VENV, code))


def write_executable(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def main():
    system_ros = find_system_ros()
    python = choose_python(system_ros)
    check_machine(python, system_ros)
    if system_ros:
        say("using ROS 2 at %s" % system_ros)
    install_packages(python, system_ros)
    build(system_ros)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nsetup: interrupted; run make again to continue")
