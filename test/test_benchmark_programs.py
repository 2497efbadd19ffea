"""Every program in benchmarks/ starts, and tells in one line what is missing instead of writing over its results."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8") and "parse_args()" in path.read_text(encoding="utf-8")
)


def ended(program, monkeypatch, *arguments):
    """The exit status of a program that is left by its parser of arguments."""
    pytest.importorskip("rclpy")
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ending:
        import_module(program).main()
    return ending.value.code


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_how_it_is_called(program, monkeypatch, capsys):
    assert ended(program, monkeypatch, "--help") == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("captions", (), "--dataset and --drives are needed"),
        ("captions", ("--time-only",), "--dataset and --drives are needed"),
        ("captions", ("--dataset", "w", "--drives", "d", "--time-only", "--json", "no.json"), "--json no.json: no such file"),
        ("stream_fidelity", (), "no clip and no --bags"),
        *((name, ("--rounds", "0"), "saw 0, expected 1 or more") for name in ("cuda", "curves", "decode", "larger_network")),
        ("coverage_fuzz", ("--seconds", "-1"), "saw -1, expected 1 or more"),
        ("streamed_captions", ("--model", str(FOLDER.parent / "models" / "ground_robot")), "no section streaming"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_written(program, arguments, words, monkeypatch, capsys):
    assert ended(f"benchmarks.{program}", monkeypatch, *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_told_so(monkeypatch, capsys):
    assert ended("benchmarks.cuda", monkeypatch) == 2
    assert "no GPU that this torch can use" in capsys.readouterr().err
