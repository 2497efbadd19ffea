"""What `judge` measured, as the tables of docs/TRUST.md."""

from __future__ import annotations

import textwrap
from typing import Any

from .judge import ENOUGH, HARM_POINTS


def markdown(result: dict[str, Any]) -> str:
    """The part of docs/TRUST.md that is measured."""
    harmful, flagged = result["lies_that_harm"], result["lies_flagged"]
    by_sensor = ", ".join(f"{n} {share:.2%}" for n, share in result["false_mask_share_by_sensor"].items())
    in_drives = ", ".join(f"{n} {share:.2%}" for n, share in result["false_mask_share_in_drives_by_sensor"].items())
    worst_in_drives = max(n["in_drives"] for n in result["new_nuisances"])
    paragraphs = (
        f"`{result['model']}`, {result['lies']} lies told in the messages of {result['drives']} simulated drives of the test "
        f"set, {result['windows']} windows, by `python -m benchmarks.trust`. *Noticed* is the share of the windows that are "
        "implausible, or refused by the decoder, once the lie fills the part that is judged, a second after its beginning. "
        "*Cleared* is the share of the windows at which the sensor's bit is cleared, from two seconds after its beginning on. Of "
        "lies that are noticed in some windows only, whole drives were played to the code that runs on the robot; the bit of "
        "the others is cleared where they are noticed. *Believed* is the accuracy in percent with the lying sensor, *masked* "
        "that in which it is left out where its bit is cleared, *unplugged* that without the sensor.",
        f"- {flagged} of the {harmful} lies that the decoder refuses, or that cost more than a point against the unplugged "
        f"sensor, have their bit cleared in at least 95 % of the windows; of the windows of all {harmful}, it is in "
        f"{result['harmful_windows_flagged']:.1%}. In {result['costly_windows']} of their windows the model is wrong with the "
        f"lying sensor and right without it; of these, it is in {result['costly_windows_flagged']}.",
        _rest(result),
        f"- The worst lie ({result['worst_lie']}) leaves the accuracy {-result['worst_lie_vs_unplugged_points']:.1f} points "
        "below that without the sensor.",
        f"- In {result['false_mask_share']:.2%} of all windows of the test set, under all nuisances, a sensor that tells the "
        f"truth is implausible there and half a second before ({by_sensor}); in {result['false_implausible_share']:.2%}, one is "
        "implausible. If whole drives are played, a sensor that tells the truth is masked in "
        f"{result['false_mask_share_in_drives']:.2%} of the windows ({in_drives}). That counts the time until it is believed "
        "again as well.",
        "- Under a nuisance that was left out of the fit, with every drive that has it, it is at most "
        f"{result['false_mask_share_new_nuisance']:.2%}, and in whole drives {worst_in_drives:.2%}.",
    )
    wrapped = [textwrap.fill(text, 140, subsequent_indent="  " * text.startswith("- ")) for text in paragraphs]
    summary = [wrapped[0], "", *wrapped[1:], ""]
    lines = [
        "| sensor | lie | noticed (by decoder) | if its kind was not made up | cleared | believed | masked | unplugged |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        harm = "**" if r["unplugged"] - r["masked"] > HARM_POINTS else ""
        by = f" ({r['by_decoder']:.0%})" if r["by_decoder"] else ""
        lines.append(
            f"| {r['sensor']} | {r['text']} | {r['noticed']:.0%}{by} | {r['noticed_if_unknown']:.0%} | {r['cleared']:.0%} | "
            f"{r['believed']:.1f} | {harm}{r['masked']:.1f}{harm} | {r['unplugged']:.1f} |"
        )
    lines += [
        "",
        "| nuisance left out of the fit | sensor | windows | implausible twice | in whole drives | implausible | warned of |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {n['nuisance']} | {n['sensor']} | {n['windows']} | {n['masked']:.2%} | {n['in_drives']:.2%} | "
        f"{n['implausible']:.2%} | {n['warned']:.1%} |"
        for n in result["new_nuisances"]
    ]
    return "\n".join((*summary, *lines)) + "\n"


def _rest(result: dict[str, Any]) -> str:
    """What is to be said of the lies that harm and are not always noticed."""
    rest = [r for r in result["rows"] if r["unplugged"] - r["believed"] > HARM_POINTS and r["cleared"] < ENOUGH]
    if not rest:
        return "- No lie that harms is cleared in fewer."
    names = "; ".join(f"{r['text']} ({r['cleared']:.0%})" for r in rest)
    least = min(r["stays_cleared"] or 0.0 for r in rest)
    believed = min(r["not_cleared_believed"] for r in rest)
    unplugged = max(r["not_cleared_unplugged"] for r in rest)
    costly, cleared = (sum(r[name] for r in rest) for name in ("costly_windows", "costly_cleared"))
    return (
        f"- The others are {names}. Once such a bit is cleared, it stays so in {least:.0%} of the windows that follow. In the "
        f"windows in which it is not, the model is right in at least {believed:.1f} % with the lying sensor, and in at most "
        f"{unplugged:.1f} % without it. In {costly} windows with these lies, it is wrong with the sensor and right without; "
        f"the bit is cleared in {cleared} of them."
    )
