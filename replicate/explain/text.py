"""An Answer as lines for a terminal."""

import os
from collections.abc import Sequence
from typing import Any

from replicate.explain.figures import SHOWN
from replicate.explain.protocols import SCORE_CUTS
from replicate.explain.search import Answer
from replicate.explain.told_figures import ToldFigure

#: How an explanation is introduced.
KINDS = {
    "official": "COCO's own protocol",
    "alone": "one protocol",
    "library": "a library's way",
    "ties": "another order of equal scores (within its range)",
    "pair": "two protocols",
}
#: What to look at where nothing gives the told figures.
NEXT = (
    "next: is this the annotation file, and are these the images, of the told figure "
    "(--num_images scores the first N by id)? How many were scored, and detections, stands here",
    f"other cuts than {', '.join(f'{cut:g}' for cut in SCORE_CUTS)} are not tried: where its "
    "evaluator's threshold is known, leave out lower scores in the file; detections that were "
    "cut or suppressed before are to be made again without",
    "more of its figures (AP50, AP75, AR@100), each with more digits, show whether it is near",
)
# More values of a protocol than this are shown by their ends.
_MANY = 8


def of_answer(answer: Answer, output: str | os.PathLike[str] | None = None) -> str:
    """The official figures, what gives the told ones, and each protocol's effect.

    Args:
      answer: what re-scoring found.
      output: the file in which all figures are, or None.
    """
    lines = [
        "COCO's own protocol: "
        + "  ".join(f"{name} {figure(answer.official[name])}" for name in SHOWN)
    ]
    if answer.annotations and answer.detections:
        lines.append(of_scored(answer.annotations, answer.detections))
    lines += [f"! {line}" for line in answer.remarks]
    if answer.told:
        lines += ["", *of_explanations(answer)]
    lines += ["", "what each protocol would change", *of_effects(answer, output)]
    lines += ["", *of_ties(answer)]
    return "\n".join(lines)


def of_scored(annotations: dict, detections: dict) -> str:
    """How many detections were scored on how many images, of `Answer`'s facts of both."""
    images, in_file = annotations["images"], annotations["images_in_file"]
    some = "" if images == in_file else f", the others of the file's {in_file:,} left out"
    return f"{counted(detections['count'], 'detection')} on {counted(images, 'image')}{some}"


def counted(count: int, noun: str) -> str:
    """ "1 pair", "2 pairs"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def of_explanations(answer: Answer) -> list[str]:
    """What gives the told figures, and how many would by chance."""
    written = read_as(answer.told)
    if not answer.explanations:
        return [
            f"told: {written}. Nothing that was tried gives it: "
            f"{counted(answer.tried, 'different figure')} of single protocols and "
            f"{counted(answer.pairs, 'pair')}",
            "  so the detections, the images or the annotations differ from those it was told of, "
            "or the evaluator does something that is not in the list",
            *(f"  {line}" for line in NEXT),
        ]
    lines = [f"told: {written}. Within its rounding it is given by"]
    for explanation in answer.explanations:
        name = " + ".join(explanation["protocols"])
        figures = "  ".join(
            f"{key} {figure(value)}" for key, value in explanation["figures"].items()
        )
        lines.append(f"  {KINDS[explanation['kind']]}{': ' + name if name else ''}   {figures}")
        lines += [f"      {line}" for line in _said_of(explanation, answer)]
    if answer.subsumed:
        pairs = (
            "1 pair gives it too; it holds"
            if answer.subsumed == 1
            else f"{answer.subsumed:,} pairs give it too; each holds"
        )
        lines.append(f"  ({pairs} a protocol that is enough alone)")
    lines.append(
        f"  of {counted(answer.tried, 'different figure')} tried, "
        f"{answer.chance:.2f} would be expected to fall there by chance"
    )
    return lines


def read_as(told: Sequence[dict]) -> str:
    """The told figures (of `Answer.told`) as they were written and as they were taken."""
    return ", ".join(ToldFigure(**figure).read_as for figure in told)


def of_effects(answer: Answer, output: str | os.PathLike[str] | None = None) -> list[str]:
    """The protocols by their effect on AP, those without any on one line.

    Of a protocol that comes with many values, the one that changes least and the one that changes
    most; the others stand in `output`, where there is one.
    """
    rows = [row for row in answer.alone if any(row["effects"][name] for name in SHOWN)]
    rest = [row for row in answer.alone if not any(row["effects"][name] for name in SHOWN)]
    none = [name_of(row) for row in rest if not any(row["effects"].values())]
    others = [name_of(row) for row in rest if any(row["effects"].values())]
    shown = ends_of_many(rows)
    width = max((len(name_of(row)) for row in shown), default=8)
    lines = [f"  {'':{width}}" + "".join(f"{name:>10}" for name in SHOWN)]
    lines += [
        f"  {name_of(row):{width}}"
        + "".join(f"{change(row['effects'][name]):>10}" for name in SHOWN)
        for row in shown
    ]
    if len(rows) > len(shown):
        place = f"in {output}" if output else "which --output=FILE writes"
        lines.append(f"  and {counted(len(rows) - len(shown), 'more value')}, {place}")
    if others:
        lines.append(f"  other metrics alone: {', '.join(others)}")
    if none:
        lines.append(f"  nothing here: {', '.join(none)}")
    return lines


def ends_of_many(rows: Sequence[dict]) -> list[dict]:
    """`rows` (largest effect first) with the first and last alone of protocols of many values."""
    by_protocol: dict[str, list[str]] = {}
    for row in rows:
        by_protocol.setdefault(row["protocol"], []).append(name_of(row))
    distinct = {
        name
        for names in by_protocol.values()
        for name in (names if len(names) <= _MANY else (names[0], names[-1]))
    }
    return [row for row in rows if name_of(row) in distinct]


def of_ties(answer: Answer) -> list[str]:
    """The range over orders of equal scores."""
    low, high = answer.ties.get("AP", (None, None))
    if low is None or low == high:
        return ["unstable_ties: no order of equal scores changes AP"]
    return [f"unstable_ties: AP {figure(low)} to {figure(high)} by the order of equal scores"]


def name_of(row: dict) -> str:
    """ "score_cut=0.3" of a row of `Answer.alone`."""
    return f"{row['protocol']}={row['value']}" if row["value"] else row["protocol"]


def figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def change(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _said_of(explanation: dict, answer: Answer) -> list[str]:
    """What the members do and who does it."""
    rows = {name_of(row): row for row in answer.alone}
    libraries = {library["name"]: library for library in answer.libraries}
    lines = []
    for name in explanation["protocols"]:
        said = rows.get(name) or libraries.get(name)
        if said:
            who = said["who"] if isinstance(said["who"], str) else "; ".join(said["who"])
            lines.append(f"{said['what']} ({who})")
    return lines


def of_model(content: dict) -> str:
    """A `changes.from_model` as lines."""
    baseline = content["baseline"]["figures"]
    width = max(len(f"{row['step']}: {row['value']}") for row in content["changes"])
    lines = [
        f"{content['model']['name']} on {counted(content['annotations']['images'], 'image')}: "
        + "  ".join(f"{name} {figure(value)}" for name, value in baseline.items()),
        *(f"! {remark}" for remark in content["remarks"]),
        "",
        f"{'one change':{width}}  points of AP   95 % over images     pixels   matters",
    ]
    for row in content["changes"]:
        name = f"{row['step']}: {row['value']}"
        delta = "undefined" if row["delta_ap"] is None else f"{row['delta_ap']:+.2f}"
        interval = row["interval"]
        span = f"{interval[0]:+.2f} to {interval[1]:+.2f}" if interval else "not measured"
        pixel = "" if row["pixel_difference"] is None else f"{row['pixel_difference']:.2f}"
        matters = "yes" if row["matters"] else "no"
        lines.append(f"{name:{width}}  {delta:>12}   {span:>16}  {pixel:>9}   {matters}")
    lines.append(
        f"matters: moves AP on these images by more than {content['tolerance_points']} points, "
        "within which a checkpoint that is evaluated again counts as replicated"
    )
    lines += [
        f"not measured: {change['step']}, {change['value']}: {change['reason']}"
        for change in content["left_out"]
    ]
    return "\n".join(lines)


def of_runs(content: dict) -> str:
    """A `runs.from_runs` as lines."""
    lines = [
        f"{run['path']}: AP {run['AP']:.2f} at step {run['step']}"
        if run["AP"] is not None
        else f"{run['path']}: AP undefined"
        for run in content["runs"]
    ]
    if content["gap"] is not None:
        lines.append(f"gap {content['gap']:+.2f} points" + _of_interval(content["interval"]))
    if content["split"]:
        lines += [f"  of {name} {value:+.2f}" for name, value in content["split"].items()]
    if content["note"]:
        lines.append(content["note"])
    lines += ["", "differences, in the order in which they could matter"]
    lines += [
        f"  {difference['part']}: {difference['what']}: "
        f"{_short(difference['a'])} against {_short(difference['b'])}"
        + (f" ({difference['why']})" if difference["why"] else "")
        for difference in content["differences"]
    ] or ["  none"]
    return "\n".join(lines)


def _of_interval(interval: list[float] | None) -> str:
    return f" (95 % over images {interval[0]:+.2f} to {interval[1]:+.2f})" if interval else ""


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(field)}" for name, field in value.items()) or "nothing"
    if value is None:
        return "none"
    shown = str(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"
