"""The pages of the project: what they link to and name exists, and their tables are whole."""

import argparse
import importlib
import json
import re
from pathlib import Path

import pytest

from benchmarks.ratio_tables import write_pages
from benchmarks.stream_fidelity import MARK as FIDELITY_MARK
from benchmarks.stream_fidelity import page_table
from sentryfuse_ros.cli import VERBS
from sentryfuse_ros.evaluation.streaming_model import section_sha256
from sentryfuse_ros.model.checkpoint import read_checkpoint
from sentryfuse_ros.paths import model_path
from sentryfuse_ros.reporting.streaming_page import write_streaming_page

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks", ROOT / "examples") for path in folder.glob("**/*.md")
)
PAGES = [page for page in dict.fromkeys(PAGES) if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)]
NAMED_FROM = ("", "sentryfuse_ros", "docs", "benchmarks/results")  # folders that a page may name a file from
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        if "://" not in target and (not linked.exists() or (anchor and anchor not in anchors(linked))):
            missing.append(f"{target}#{anchor}")
    assert not missing


@each_page
def test_files_of_the_project_exist(page):
    """Names with a folder, such as `runtime/engine.py`; those below out/ and runs/ are made by commands."""
    named = set(
        re.findall(r"`((?:[\w*]+/)+[\w*]+\.(?:py|md|msg|srv|yaml|xml|json|jsonl|csv|png))`", page.read_text(encoding="utf-8"))
    )
    folders = [*(ROOT / folder for folder in NAMED_FROM), page.parent]
    made = {name for name in named if name.startswith(("out/", "runs/", "models/"))}
    assert [name for name in sorted(named - made) if not any(list(folder.glob(name)) for folder in folders)] == []


def options():
    """The options of every verb, and of every bench by the name "bench NAME"."""
    found = {}
    for verb in VERBS:
        parser = argparse.ArgumentParser()
        importlib.import_module("sentryfuse_ros.cli." + verb.replace("-", "_")).add_arguments(parser)
        found[verb] = set(parser._option_string_actions)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= {f"{verb} {name}": set(sub._option_string_actions) for name, sub in action.choices.items()}
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_commands_have_the_options_that_they_are_shown_with(page):
    known = options()
    wrong = []
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for verb, rest in re.findall(r"(?:^ {4}(?:\S*/)?|`(?:\.venv/bin/)?)sentryfuse ([a-z-]+)([^\n`#]*)", text, re.MULTILINE):
        command = verb if verb != "bench" else f"bench {rest.split()[0]}" if rest.split() else verb
        given = re.findall(r"(?<!\S)--[a-z-]+", rest)
        wrong += [f"sentryfuse {command} {option}" for option in given if option not in known.get(command, ())]
        wrong += [] if command in known else [f"sentryfuse {command}"]
    assert not wrong


@each_page
def test_tables_are_whole(page):
    """A row after a blank line is not a row of the table above it, but text; unless the line below it begins a new table."""
    lines = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL).splitlines()
    loose = [
        line
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False)
        if line.lstrip().startswith("|")
        and not before.lstrip().startswith("|")
        and not re.match(r"\s*\|(\s*:?-+:?\s*\|)+$", after)
    ]
    assert not loose


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))


def test_pages_have_the_tables_of_the_committed_results_on_what_a_ratio_buys(tmp_path):
    """`python -m benchmarks.ratio_tables` writes them."""
    pages = ("README.md", "docs/PERFORMANCE.md", "docs/RESULTS.md")
    (tmp_path / "docs").mkdir()
    for page in pages:
        (tmp_path / page).write_text((ROOT / page).read_text(encoding="utf-8"), encoding="utf-8")
    write_pages(tmp_path)
    for page in pages:
        assert (tmp_path / page).read_text(encoding="utf-8") == (ROOT / page).read_text(encoding="utf-8"), page


def test_pages_state_the_committed_results_of_a_stream():
    summary = result("streaming.json")["summary"]
    encoded, kept = 1 - summary["sttf_token_reduction"], summary["sttf_accuracy_kept"]
    results = " ".join((ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8").split())
    assert f"encodes {100 * encoded:.1f} % of the windows of a picture, and keeps {kept:.3f} (" in results
    assert f"which is {100 * summary['accuracy_plain']:.1f} % on 27 actions" in results
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"the model encodes {100 * encoded:.0f} % of a picture's tokens, keeps {kept:.3f} (" in readme


def test_records_of_models_and_measurements_name_no_folder_of_one_machine():
    records = sorted([*ROOT.glob("benchmarks/results/*.json"), *ROOT.glob("models/*/*.json")])
    assert records
    named = {
        str(path.relative_to(ROOT)): re.findall(r"(?<![\w.])/(?:home|root|tmp|work)/[\w./-]*", path.read_text())
        for path in records
    }
    assert not {path: folders for path, folders in named.items() if folders}


def test_the_page_of_streams_has_the_tables_of_the_committed_results(tmp_path):
    """`sentryfuse bench streaming --read benchmarks/results/streaming.json --page docs/STREAMING.md` writes them."""
    committed = (ROOT / "docs" / "STREAMING.md").read_text(encoding="utf-8")
    page, found = tmp_path / "STREAMING.md", result("streaming.json")
    page.write_text(committed, encoding="utf-8")
    write_streaming_page(found, page)
    assert page.read_text(encoding="utf-8") == committed
    assert sorted(model["tokens"] for model in found["by_model"].values()) == [196, 1200]


def test_committed_results_of_streams_are_of_the_models_that_ship():
    for name, model in result("streaming.json")["by_model"].items():
        checkpoint = read_checkpoint(model_path(name))
        measured = model["sha256"], model["section_sha256"]
        assert measured == (checkpoint.info["sha256"], section_sha256(checkpoint)), f"{name} was measured before it was changed"


def test_the_page_of_streams_has_the_table_of_ordinary_video_as_it_was_measured():
    page = (ROOT / "docs" / "STREAMING.md").read_text(encoding="utf-8")
    assert f"<!-- {FIDELITY_MARK} -->\n{page_table(result('stream_fidelity.json'))}\n<!-- end" in page


@pytest.mark.parametrize(
    ("corruptions", "module", "table", "results"),
    [
        (False, "lie_table", "markdown", "trust.json"),
        (True, "corruption_table", "corruption_markdown", "trust_corruptions.json"),
    ],
)
def test_the_page_of_trust_has_the_tables_of_the_committed_results(corruptions, module, table, results):
    pytest.importorskip("torch", reason="the benchmark runs the model on torch")
    page = (ROOT / "docs" / "TRUST.md").read_text(encoding="utf-8")
    mark = importlib.import_module("benchmarks.trust.__main__").MARKS[corruptions]
    text = getattr(importlib.import_module(f"benchmarks.trust.{module}"), table)(result(results)).rstrip("\n")
    assert f"<!-- {mark} -->\n{text}\n<!-- end {mark} -->" in page
