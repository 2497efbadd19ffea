"""An evaluation report as one HTML page that needs nothing else: pictures and style are in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from . import evaluation_plots as plots
from .evaluation_style import STYLE_SHEET


def page(report: Mapping[str, Any]) -> str:
    """The report of `report.evaluate`, with what the command adds, as HTML."""
    names = {group["missing"]: group["name"] for group in report["reliability"]}
    parts = [
        heading(report),
        tiles(report),
        section(
            "Accuracy by live sensors and pruning ratio",
            "Percent of windows right. Every line is a set of live sensors, the others are absent; further right more "
            "heads and channels are pruned away.",
            picture(plots.accuracy_heat_map(report["rows"], report["levels"]), "heat", "accuracy per mask and ratio"),
        ),
        section(
            "Accuracy against computation",
            "Strong lines: the mean over all sets with that many sensors missing. Thin lines: each set. Along a line the "
            "pruning ratio falls from left to right.",
            picture(plots.accuracy_by_flops(report["rows"], names), "flops", "accuracy against FLOPs"),
        ),
        confusions(report),
        section(
            "Is the confidence to be believed?",
            calibration_text(report),
            picture(plots.calibration(report["reliability"]), "calibration", "confidence against accuracy"),
        ),
        conditions(report),
        cost_table(report),
        all_cells(report),
        provenance(report),
    ]
    title = escape(f"{report['model']} on {report['dataset']}")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{STYLE_SHEET}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def section(title: str, text: str, body: str) -> str:
    """``text`` is plain, ``body`` HTML."""
    return f"<section>\n<h2>{escape(title)}</h2>\n<p>{escape(text)}</p>\n{body}\n</section>"


def picture(figure: Any, prefix: str, title: str) -> str:
    """A figure at its natural width, less where the page is narrower."""
    return f'<div class="picture" style="max-width:{figure.get_figwidth() * 96:.0f}px">{plots.svg(figure, prefix, title)}</div>'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """``head`` is plain; ``lines`` hold whole cells (`cell`, `shaded`)."""
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    return (
        '<div class="wide"><table>\n<tr>'
        + top
        + "</tr>\n"
        + "\n".join("<tr>" + "".join(line) + "</tr>" for line in lines)
        + "\n</table></div>"
    )


def cell(text: Any, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(str(text))}</td>' if kind else f"<td>{escape(str(text))}</td>"


def shaded(value: float | None, low: float, high: float) -> str:
    """A share in percent on the colour of its height, paler than in plots; a dash where there is none."""
    if value is None:
        return cell("–")
    rgb, _ = plots.shade(value, low, high)
    colour = ",".join(str(round(255 * (0.4 * c + 0.6))) for c in rgb)
    return f'<td style="background:rgb({colour})">{plots.percent(value)}</td>'


def at_ratio(what: str, level: float) -> str:
    """ "MFLOPs r = 0.5", which does not break before the number."""
    return f"{what} r = {level:g}".replace(" ", "\u00a0").replace("\u00a0r", " r", 1)


def without(live: Sequence[str], modalities: Sequence[str]) -> str:
    """ "without camera, imu" of the sensors that are live."""
    return "without " + ", ".join(name for name in modalities if name not in live)


def interval(ci95: Sequence[float] | None) -> str:
    return f"{plots.percent(ci95[0])} to {plots.percent(ci95[1])}" if ci95 else "–"


def heading(report: Mapping[str, Any]) -> str:
    """Title, what was measured on what, and what to be careful about."""
    groups = report.get("split") or "groups " + words(report["groups"])
    text = (
        f"{report['windows']} windows of {report['recordings']} recordings ({groups}), {len(report['classes'])} classes, "
        f"{len(report['modalities'])} sensors: {', '.join(report['modalities'])}."
    )
    lost = [f"{name} in {plots.percent(1 - share)} %" for name, share in report["present"].items() if share < 1]
    if lost:
        text += (
            f" A sensor was silent in some of the windows ({', '.join(lost)}); these are judged with the sensors left, as "
            "the robot would, and not at all where none is left."
        )
    warnings = [f'<p class="warning">{escape(warning)}</p>' for warning in report.get("warnings", ())]
    return (
        f'<header>\n<h1>{escape(report["model"])}</h1>\n<p class="on">on {escape(report["dataset"])}</p>\n'
        f"<p>{escape(text)}</p>\n" + "\n".join(warnings) + "\n</header>"
    )


def tiles(report: Mapping[str, Any]) -> str:
    """The headline numbers."""
    s, modalities = report["summary"], report["modalities"]
    shown = [
        (
            plots.percent(s["accuracy_all"]) + " %",
            "all sensors, nothing pruned",
            s["accuracy_all_ci95"] and f"95 % interval {interval(s['accuracy_all_ci95'])}",
        )
    ]
    for count in ("one", "two"):
        if s[f"accuracy_{count}_missing_worst"] is not None:
            shown.append(
                (
                    plots.percent(s[f"accuracy_{count}_missing_worst"]) + " %",
                    f"worst with {count} missing",
                    without(s[f"{count}_missing_worst_live"], modalities),
                )
            )
    best = s["best_single_sensor"]
    shown.append((plots.percent(best["accuracy"]) + " %", "best single sensor", best["name"]))
    flops = {row["ratio"]: row["flops"] for row in report["rows"] if "0" not in row["mask"]}
    for key in ("r50", "r70"):
        level = s[f"level_{key}"]
        shown.append(
            (
                f"{s[f'drop_{key}_points']:.2f} pt",
                f"accuracy lost at ratio {level:g}",
                f"mean over sensor sets; {100 * (1 - flops[level] / flops[0.0]):.0f}\u00a0% fewer FLOPs",
            )
        )
    shown.append(
        (
            f"{s['ece_mean']:.3f}",
            "calibration error (ECE)",
            f"mean over sensor sets; {s['ece_mean_all_ratios']:.3f} over all ratios too",
        )
    )
    return (
        '<div class="tiles">\n'
        + "\n".join(
            f'<div class="tile"><b>{escape(number)}</b><span>{escape(what)}</span><small>{escape(detail or "")}</small></div>'
            for number, what, detail in shown
        )
        + "\n</div>"
    )


def confusions(report: Mapping[str, Any]) -> str:
    """Matrices, recall and precision, and the pairs that are mixed up most."""
    matrices, lines = [], [[cell(name, "name")] for name in report["classes"]]
    head = ["class", "windows"]
    for line, counts, silent in zip(lines, report["confusion"][0]["counts"], report["confusion"][0]["without_prediction"]):
        line.append(cell(sum(counts) + silent))
    for i, one in enumerate(report["confusion"]):
        title = "all sensors" if i == 0 else without(one["live"], report["modalities"])
        figure = plots.confusion_matrix(one, report["classes"])
        matrices.append(
            f'<figure style="flex-basis:{figure.get_figwidth() * 90:.0f}px">'
            f"<figcaption>{escape(title[0].upper() + title[1:])}{' (the worst single loss)' if i else ''}</figcaption>\n"
            f"<p>{escape(mixed_up(one, report['classes']))}</p>\n"
            f"{picture(figure, f'confusion{i}', 'confusion matrix, ' + title)}</figure>"
        )
        head += [f"recall, {title}", f"precision, {title}"]
        low = min((share for share in one["recall"] + one["precision"] if share is not None), default=0.0)
        for line, recall, precision in zip(lines, one["recall"], one["precision"]):
            line += [shaded(recall, low, 1), shaded(precision, low, 1)]
    return section(
        "What is taken for what",
        "Nothing pruned. Rows are the truth, columns what the model said; shaded by the share of the true class.",
        '<div class="side">' + "\n".join(matrices) + "</div>\n" + table(head, lines),
    )


def mixed_up(confusion: Mapping[str, Any], classes: Sequence[str]) -> str:
    """The three largest counts off the diagonal in words, and how many windows had no prediction."""
    found = sorted(
        ((count, i, j) for i, row in enumerate(confusion["counts"]) for j, count in enumerate(row) if i != j and count),
        key=lambda pair: -pair[0],
    )[:3]
    text = "Most often: " + ", ".join(f"{classes[i]} taken for {classes[j]} ({count})" for count, i, j in found) + "."
    silent = sum(confusion["without_prediction"])
    return (text if found else "No errors.") + (f" {silent} windows without any live sensor." if silent else "")


def calibration_text(report: Mapping[str, Any]) -> str:
    """What the plot shows, with its numbers."""
    falls = ", ".join(f"{plots.percent(group['confidence'])} % ({group['name']})" for group in report["reliability"])
    return (
        "On the dashed line the model is right as often as it claims; the larger a dot, the more predictions it stands for "
        f"(pale: fewer than {plots.FEW}). "
        f"Nothing pruned. Mean confidence: {falls}."
        + ("" if report["calibrated"] else " This model has no temperatures: its confidence is not calibrated.")
    )


def conditions(report: Mapping[str, Any]) -> str:
    """Accuracy by circumstance."""
    live = {row["mask"]: row["live"] for row in report["rows"]}
    masks = list(report["conditions"][0]["accuracy"])
    count = len(report["modalities"])
    head = ["condition", "windows", "recordings"] + [
        "all" if len(live[m]) == count else f"only {live[m][0]}" if len(live[m]) == 1 else without(live[m], report["modalities"])
        for m in masks
    ]
    seen = [a for row in report["conditions"] for a in row["accuracy"].values() if a is not None]
    lines = [
        [cell(row["condition"], "name"), cell(row["windows"]), cell(row["recordings"])]
        + [shaded(row["accuracy"][m], min(seen), max(seen)) for m in masks]
        for row in report["conditions"]
    ]
    text = "Accuracy in percent by what disturbed the recording, nothing pruned. "
    text += (
        "A recording may have several disturbances and then counts in several lines."
        if len(lines) > 1
        else "This data set names no conditions."
    )
    return section("Under which conditions", text, table(head, lines))


def cost_table(report: Mapping[str, Any]) -> str:
    """MFLOPs and latency of every mask at a few levels."""
    levels = report["levels"]
    s = report["summary"]
    shown = sorted({levels[0], s["level_r50"], s["level_r70"], levels[-1]})
    at = {(row["mask"], row["ratio"]): row for row in report["rows"]}
    timed = report["rows"][0]["latency_ms"] is not None
    head = ["live sensors"] + [at_ratio("MFLOPs", r) for r in shown] + [at_ratio("k params", r) for r in (shown[0], shown[-1])]
    head += [at_ratio("ms", r) for r in shown] if timed else []
    lines = []
    for mask in dict.fromkeys(row["mask"] for row in report["rows"]):
        line = [cell(" + ".join(at[mask, shown[0]]["live"]), "name")]
        line += [cell(f"{at[mask, r]['flops'] / 1e6:.1f}") for r in shown]
        line += [cell(f"{at[mask, r]['params'] / 1e3:.0f}") for r in (shown[0], shown[-1])]
        line += [cell(f"{at[mask, r]['latency_ms']:.2f}") for r in shown] if timed else []
        lines.append(line)
    m = report["machine"]
    threads = "1 thread" if m["threads"] == 1 else f"{m['threads']} threads"
    text = "FLOPs of the whole forward pass, 2 per multiply-add. " + (
        f"Latency: median of {report['latency_runs']} windows at batch 1, {threads} of {m['processor']}, torch {m['torch']}."
        if timed
        else "Latency was not measured."
    )
    return section("What a prediction costs", text, table(head, lines))


def all_cells(report: Mapping[str, Any]) -> str:
    """Every row, folded away."""
    columns = {"accuracy_live": "accuracy % live", "ece_live": "ECE live"} if "accuracy_live" in report["rows"][0] else {}
    head = [
        "live sensors",
        "ratio",
        "judged",
        "accuracy %",
        "95 % interval",
        "ECE",
        "mean confidence %",
        *columns.values(),
        "MFLOPs",
        "k params",
        "latency ms",
    ]
    lines = [
        [
            cell(" + ".join(row["live"]), "name"),
            cell(f"{row['ratio']:g}"),
            cell(row["judged"]),
            cell(plots.percent(row["accuracy"])),
            cell(interval(row["ci95"])),
            cell("–" if row["ece"] is None else f"{row['ece']:.3f}"),
            cell(plots.percent(row["confidence"])),
            *([cell(plots.percent(row["accuracy_live"])), cell(f"{row['ece_live']:.3f}")] if columns else []),
            cell(f"{row['flops'] / 1e6:.1f}"),
            cell(f"{row['params'] / 1e3:.0f}"),
            cell("–" if row["latency_ms"] is None else f"{row['latency_ms']:.2f}"),
        ]
        for row in report["rows"]
    ]
    note = (
        "<p>Accuracy: each sensor's window ends at that sensor's own last row. Live: all windows end where the first sensor "
        "falls silent.</p>"
        if columns
        else ""
    )
    return (
        f"<section>\n<details><summary>All {len(lines)} cells</summary>\n{note}<p>Judged: windows in which one of "
        f"the sensors had data; accuracy and calibration are of these. Intervals: bootstrap over recordings.</p>\n"
        f"{table(head, lines)}</details>\n</section>"
    )


def words(value: Any) -> str:
    """[1, 3] -> "1 3"; of lists by name their lengths."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {len(v) if isinstance(v, (list, tuple)) else v}" for name, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def provenance(report: Mapping[str, Any]) -> str:
    """Where all of it comes from."""
    trained = report.get("model_data") or {}
    facts = {
        "made by": report["command"],
        "model": report["model"],
        "model sha256": report["model_sha256"],
        "model made by": report.get("model_command", ""),
        "trained on": "; ".join(
            f"{key.replace('_', ' ')} {words(value)}" for key, value in trained.items() if value not in ("", [], None)
        ),
        "data set": report["dataset"],
        "data set's origin": report["provenance"],
        "groups": words(report["groups"]),
        "machine": ", ".join(f"{key} {value}" for key, value in report["machine"].items()),
    }
    lines = "\n".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value) or '–')}</dd>" for key, value in facts.items())
    return f"<section>\n<h2>Where this comes from</h2>\n<dl>\n{lines}\n</dl>\n</section>"
