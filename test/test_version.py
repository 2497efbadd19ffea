"""The version is stated once; everything else agrees with it."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import sentryfuse_ros

ROOT = Path(__file__).parents[1]


def test_package_xml_agrees():
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == sentryfuse_ros.__version__


def test_setup_py_agrees():
    shown = subprocess.run([sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.split()[-1] == sentryfuse_ros.__version__


def test_the_changelog_has_an_entry():
    assert f"## {sentryfuse_ros.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
