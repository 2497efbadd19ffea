"""An option that takes several values may also be given several times: none of them is lost."""

import argparse
from importlib import import_module

import pytest

from sentryfuse_ros.cli import VERBS


def parser_of(verb):
    parser = argparse.ArgumentParser()
    import_module(f"sentryfuse_ros.cli.{verb.replace('-', '_')}").add_arguments(parser)
    return parser


def actions_of(parser):
    """All options of a parser and of its subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from actions_of(sub)
        elif action.option_strings:
            yield action


def test_labels_and_nuisances_given_one_by_one_are_all_taken():
    common = ["--out", "windows", "--labels", "intervals.csv", "--config", "recipe.yaml"]
    args = parser_of("dataset").parse_args(["bag", *common, "--ignore", "mud", "--ignore", "snow", "ice"])
    assert args.ignore == ["mud", "snow", "ice"]
    args = parser_of("simulate").parse_args(
        ["--seed", "1", "--duration", "2", "--out", "run", "--nuisance", "none", "--nuisance", "darkness=0.8"]
    )
    assert args.nuisance == ["none", "darkness=0.8"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_with_several_values_adds_them(verb):
    several = [action for action in actions_of(parser_of(verb)) if action.nargs in ("+", "*")]
    lost = [action.option_strings[0] for action in several if not isinstance(action, argparse._ExtendAction)]
    assert not lost
    assert all(action.default in (None, []) for action in several), "values are added to the default"
