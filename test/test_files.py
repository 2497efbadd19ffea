"""Writing files, and what the commands say where they cannot."""

import os
import subprocess
import sys

import pytest

from sentryfuse_ros.cli import main
from sentryfuse_ros.errors import SentryFuseError
from sentryfuse_ros.files import check_writable, make_folder, replacing, write_atomically


def test_a_file_that_cannot_be_replaced_is_named_and_nothing_is_left(tmp_path):
    target = tmp_path / "folder"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder") as caught:
        write_atomically(target, "text")
    assert caught.value.filename == str(target) and caught.value.filename2 is None
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_cannot_be_written_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SentryFuseError, match="folder .*/file/deep: saw .*, expected a folder that can be written"):
        make_folder(tmp_path / "file" / "deep")
    with pytest.raises(SentryFuseError, match="file .*/file/x.json: saw File exists, expected a file that can be written"):
        check_writable(tmp_path / "file" / "x.json")
    with pytest.raises(SentryFuseError, match="file .*: saw a folder, expected a file that can be written"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "file.json")
    assert (tmp_path / "new").is_dir()


def test_nothing_is_left_of_a_file_whose_writer_was_stopped(tmp_path):
    path = tmp_path / "windows.npz"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    check_writable(link)
    write_atomically(link, "new")
    assert link.is_symlink() and target.read_text() == "new" and list(target.parent.iterdir()) == [target]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_writable(pipe)
        write_atomically(pipe, "text")
        assert os.read(reader, 100) == b"text" and pipe.is_fifo()
    finally:
        os.close(reader)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_the_result_of_a_command_can_go_to_its_standard_output(tmp_path):
    out = tmp_path / "out"  # not the device itself, which a fault would replace
    out.symlink_to("/dev/stdout")
    command = [sys.executable, "-m", "sentryfuse_ros.cli", "policy", "--out", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0 and "</policy>" in ended.stdout and out.is_symlink()


@pytest.mark.parametrize("option", ["--out", "--html", "--json", "--mcap"])
def test_replay_says_so_before_it_plays(option, simulated, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    arguments = ["replay", str(simulated), "--headless", "--out", str(tmp_path / "out"), option, str(tmp_path / "file" / "x")]
    assert main(arguments) == 2
    told = capsys.readouterr()
    named = "folder" if option == "--out" else "file"
    assert f"sentryfuse replay: {named}" in told.err and str(tmp_path / "file") in told.err and "predictions" not in told.out


@pytest.mark.parametrize("arguments", [["policy", "--out"], ["bench", "latency", "--quick", "--json"]])
def test_other_commands_say_so_in_one_line(arguments, tmp_path, capsys):
    assert main([*arguments, str(tmp_path)]) == 2
    assert f"file {tmp_path}: saw a folder, expected a file that can be written" in capsys.readouterr().err


def test_an_error_of_the_system_is_one_line(tmp_path):
    path = tmp_path / "policy.xml"
    command = f"ulimit -f 0; exec {sys.executable} -m sentryfuse_ros.cli policy --out {path}"  # no file may have a byte
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (
        2,
        f"sentryfuse policy: file {path}: saw File too large, expected a file that can be read or written\n",
    )
    assert list(tmp_path.iterdir()) == []


def run_policy(tmp_path, command, **variables):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    script = command.format(policy=f"{sys.executable} -m sentryfuse_ros.cli policy")
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**kept, **variables}, cwd=tmp_path)


def test_a_full_console_and_a_closed_pipe_are_told_by_the_exit_status(tmp_path):
    ended = run_policy(tmp_path, "{policy} > /dev/full")
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "No space left on device" in ended.stderr
    ended = run_policy(tmp_path, "{policy} | true; exit ${{PIPESTATUS[0]}}")
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_name_that_the_console_cannot_show_ends_no_command(tmp_path):
    write = (
        r"from sentryfuse_ros.cli import main, policy; policy.run = lambda args: print('stra\u00dfe \udce9'); main(['policy'])"
    )
    variables = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run([sys.executable, "-c", write], capture_output=True, text=True, env=variables)
    assert (ended.returncode, ended.stdout) == (0, "stra\\xdfe \\udce9\n"), ended.stderr
