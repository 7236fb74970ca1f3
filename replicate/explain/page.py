"""One page for each form: the told figure as a line, what was tried as dots with intervals."""

import os
import pathlib
from collections.abc import Sequence

from replicate.explain import text
from replicate.explain.figures import SHOWN
from replicate.report import pages
from replicate.run import write_text

_STYLE = """
td.track{min-width:150px;width:30%;padding-right:0}
td.track svg{display:block;width:100%;height:1.35em;overflow:visible}
.track line.zero{stroke:var(--muted);stroke-width:1;vector-effect:non-scaling-stroke}
.track line.told{stroke:var(--s2);stroke-width:2.5;vector-effect:non-scaling-stroke}
.track line.span{stroke:var(--s1);stroke-width:2;vector-effect:non-scaling-stroke}
.track .dot{stroke:var(--s1);stroke-width:9;stroke-linecap:round;vector-effect:non-scaling-stroke}
.track .dot.hit{stroke:var(--s2)}
td.says{min-width:15rem}
.tried thead th{white-space:normal;overflow-wrap:normal;vertical-align:bottom}
.mark{display:inline-block;width:.62em;height:.62em;border-radius:50%;margin-right:.35em}
.mark{background:var(--s1)}.mark.hit{background:var(--s2)}
th.change{min-width:7.5rem;overflow-wrap:anywhere}
@media (min-width:641px){th.change{min-width:13rem}}
@media (max-width:640px){
.tried thead th:not(.falls),.differing thead{position:absolute;clip-path:inset(50%)}
.tried tr,.differing tr{display:block;padding:.4rem 0;border-bottom:1px solid var(--grid)}
:is(.tried,.differing) :is(th,td){display:block;border:0;padding:.05rem 0;text-align:left}
td.track{width:100%}.tried td.num{display:inline-block;margin-right:1rem}
[data-label]:not(:empty)::before{content:attr(data-label) " ";color:var(--muted)}
}
tr.hit th{font-weight:700}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;color:var(--muted);font-size:.88rem}
.key b.told{color:var(--s2)}
"""


_DOTS_OF_TOLD = (("", "gives another figure"), ("hit", "gives the told one, alone or with others"))
_CONTROLS = {
    None: "",
    "none": "control: must be 0",
    "large": "control: large, unless the model does not look at it (drawn shapes of any colour)",
}


def write(content: dict, path: str | os.PathLike[str], command: str = "") -> None:
    """Writes the page of an answer of any form.

    Args:
      content: as `explain/*.json` holds it.
      path: of the page.
      command: what made it.
    """
    drawn = {"detections": _of_detections, "model": _of_model, "runs": _of_runs}
    page = drawn[content["form"]](content)
    write_text(
        path,
        pages.html(
            "explain.html.j2",
            ["page.js"],
            templates=pathlib.Path(__file__).resolve().parent / "templates",
            extra_style=_STYLE,
            page=page,
            command=command,
        ),
    )


def _of_detections(content: dict) -> dict:
    told_ap = next((figure for figure in content["told"] if figure["metric"] == "AP"), None)
    named = {
        name: explanation
        for explanation in content["explanations"]
        for name in explanation["protocols"]
    }
    effective = [row for row in content["alone"] if row["effects"]["AP"]]
    shown = text.ends_of_many(effective)
    more = len(effective) - len(shown)
    rows = [
        {
            "name": text.name_of(row),
            "says": row["what"],
            "who": row["who"],
            "value": row["figures"]["AP"],
            "low": None,
            "high": None,
            "cells": [_signed(row["effects"][name], 4) for name in SHOWN],
            "hit": text.name_of(row) in named,
        }
        for row in shown
    ]
    official = content["official"]
    return _scaled(
        {
            "title": "Which protocol gives the figure that was told?",
            "heading": "Protocols, largest effect on AP first",
            "sentences": [
                *_sentences(content),
                text.of_scored(content["annotations"], content["detections"]) + ".",
            ],
            "remarks": content["remarks"],
            "figures": [(f"COCO's own {name}", text.figure(official[name])) for name in SHOWN],
            "dots": _DOTS_OF_TOLD if content["told"] else (),
            "in_points": False,
            "zero": ("COCO's own AP", official["AP"]),
            "zero_shown": text.figure(official["AP"]),
            "told_shown": told_ap and told_ap["written"],
            "told": ("the told AP", told_ap["value"]) if told_ap else None,
            "heads": [f"Δ {name}" for name in SHOWN],
            "rows": rows,
            "notes": [
                *([f"{more} more values are in --output's JSON"] if more else []),
                *content["notes"],
            ],
        }
    )


def _sentences(content: dict) -> list[str]:
    written = ", ".join(f"{figure['metric']} {figure['written']}" for figure in content["told"])
    if not written:
        return ["What each protocol would change; no figure was told."]
    if not content["explanations"]:
        figures = text.read_as(content["told"])
        return [f"Told: {figures}. Nothing that was tried gives it.", *map(_sentence, text.NEXT)]
    lines = [
        f"{written} is given by {text.KINDS[explanation['kind']]}"
        + (f": {' + '.join(explanation['protocols'])}." if explanation["protocols"] else ".")
        for explanation in content["explanations"]
    ]
    return [
        f"Told: {text.read_as(content['told'])}.",
        *lines,
        f"Of {text.counted(content['tried'], 'different figure')} tried, "
        f"{content['chance']:.2f} would be expected to fall there by chance.",
    ]


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _signed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else pages.signed(value, digits)


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else " to ".join(_signed(value) for value in interval)


def _of_model(content: dict) -> dict:
    baseline = content["baseline"]["figures"]
    rows = [
        {
            "name": f"{row['step']}: {row['value']}",
            "says": _CONTROLS[row["control"]],
            "who": [],
            "value": row["delta_ap"],
            "low": row["interval"] and row["interval"][0],
            "high": row["interval"] and row["interval"][1],
            "cells": [
                _signed(row["delta_ap"]),
                _interval(row["interval"]),
                row["elsewhere"],
                "–" if row["pixel_difference"] is None else f"{row['pixel_difference']:.2f}",
            ],
            "hit": bool(row["matters"]),
        }
        for row in content["changes"]
    ]
    mattering = [change for change in content["changes"] if change["matters"]]
    everywhere = sum(change["elsewhere"] == "yes" for change in content["changes"])
    beyond = f"beyond ±{content['tolerance_points']:g} points"
    return _scaled(
        {
            "title": f"What does each step of the pipeline of {content['model']['name']} cost?",
            "heading": "Changes, largest effect first",
            "sentences": [
                f"On these {content['annotations']['images']:,} images {len(mattering)} of "
                f"{len(rows)} changes move AP by more than {content['tolerance_points']:g} points, "
                "within which a checkpoint that is evaluated again counts as replicated; of "
                f"{everywhere or 'none'} the intervals tell that other images would show it too.",
            ],
            "remarks": content["remarks"],
            "figures": [(name, text.figure(baseline[name])) for name in SHOWN],
            "dots": (("", f"within ±{content['tolerance_points']:g} points"), ("hit", beyond)),
            "in_points": True,
            "zero": ("nothing changed", 0.0),
            "zero_shown": "0 points",
            "told": None,
            "heads": [
                "points of AP",
                "95 % interval, paired",
                "on other images too",
                "pixel difference (of 255)",
            ],
            "rows": rows,
            "notes": [
                f"not measured: {change['step']}, {change['value']}: {change['reason']}"
                for change in content["left_out"]
            ],
        }
    )


def _of_runs(content: dict) -> dict:
    a, b = content["runs"]
    split = content["split"]
    rows = []
    if content["gap"] is not None:
        rows.append(("the gap", content["gap"], content["interval"]))
    if split:
        rows += [(f"of {name}", split[name], None) for name in ("evaluation", "training")]
    sentences = [f"{b['path']} against {a['path']}."]
    sentences += [_sentence(line) for line in content["note"].splitlines()]
    return _scaled(
        {
            "title": "Why do the two runs differ?",
            "heading": "The gap, and what made it",
            "sentences": sentences,
            "remarks": [],
            "figures": [
                (
                    f"AP of {run['path']} (%)",
                    "undefined" if run["AP"] is None else f"{run['AP']:.2f}",
                )
                for run in (a, b)
            ],
            "dots": (),
            "in_points": True,
            "zero": ("no difference", 0.0),
            "zero_shown": "0 points",
            "told": None,
            "heads": ["points of AP", "95 % interval"],
            "rows": [
                {
                    "name": name,
                    "says": "",
                    "who": [],
                    "value": value,
                    "low": interval and interval[0],
                    "high": interval and interval[1],
                    "cells": [_signed(value), _interval(interval)],
                    "hit": False,
                }
                for name, value, interval in rows
            ],
            "differences": content["differences"],
            "notes": [],
        }
    )


def _scaled(page: dict) -> dict:
    """The page with every value as a place from 0 to 100 on its track."""
    values = [page["zero"][1], page["told"][1] if page["told"] else None]
    for row in page["rows"]:
        values += [row["value"], row["low"], row["high"]]
    values = [value for value in values if value is not None]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    digits, unit = (2, "points") if page["in_points"] else (4, "AP")
    shown = (f"{value:.{digits}f}".replace("-", "−") for value in (low, high))
    page["range"] = f"{' to '.join(shown)} {unit}" if high > low else ""

    def at(value: float | None) -> float | None:
        return None if value is None else round(3 + 94 * (value - low) / span, 2)

    page["said"] = any(row["says"] for row in page["rows"])
    page["zero_at"] = at(page["zero"][1])
    page["told_at"] = at(page["told"][1]) if page["told"] else None
    for row in page["rows"]:
        row |= {f"{key}_at": at(row[key]) for key in ("value", "low", "high")}
    return page
