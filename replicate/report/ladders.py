"""What exported forms keep, on the comparison's page: ladders of tools/benchmark.py --all_forms."""

import os
import pathlib
from collections.abc import Iterable
from typing import Any

from replicate.errors import UserError
from replicate.report import plots
from replicate.report.plots import Plot
from replicate.run import read_json

FILE = "ladder.json"


def split(
    paths: Iterable[str | os.PathLike[str]],
) -> tuple[list[str], list[dict[str, Any]]]:
    """(the paths that are no ladders, the ladders as dicts), each in the order given.

    A ladder is its JSON, or an export's folder with one in it (tools/export.py --evaluate).

    Raises:
      UserError: a ladder that is none.
    """
    others, ladders = [], []
    for path in map(str, paths):
        place = pathlib.Path(path)
        inside = place / FILE if (place / "export.json").is_file() else place
        if inside.suffix != ".json" or not inside.is_file():
            if inside.name == FILE:
                raise UserError(
                    f"{path}: an export without {FILE}; make it: tools/benchmark.py "
                    f"--model={path} --all_forms --output={inside}"
                )
            others.append(path)
            continue
        content = read_json(inside)
        if isinstance(content, dict) and "rungs" in content:
            ladders.append(_of(content, inside))
        else:
            others.append(path)
    return others, ladders


def _of(content: dict[str, Any], path: pathlib.Path) -> dict[str, Any]:
    needed = ("form", "AP", "difference", "low", "high", "latency_ms", "bytes", "preprocessing")
    rungs = content["rungs"]
    if not isinstance(rungs, list) or not all(
        isinstance(rung, dict) and set(needed) <= set(rung) for rung in rungs
    ):
        raise UserError(f"{path}: not a ladder of tools/benchmark.py --all_forms")
    return content | {"rungs": [rung | {"name": name_of(rung)} for rung in rungs]}


def name_of(rung: dict[str, Any]) -> str:
    """A rung's name: its form, and whose pixels it was given where not the checkpoint's."""
    own = rung["preprocessing"] == "the checkpoint's"
    return rung["form"] if own else f"{rung['form']}, a device's pixels"


def drawn(ladders: list[dict[str, Any]]) -> dict[str, Plot]:
    """dict "ladder-0" … -> Plot: the AP of each form with the interval of its difference."""
    made = {}
    for number, ladder in enumerate(ladders):
        rungs = ladder["rungs"][::-1]
        whole = ladder["rungs"][0]["AP"]
        title = f"AP of {ladder['export']} in each form"
        size = (6.2, 0.9 + 0.3 * len(rungs))
        with plots.axes("box AP (points)", "", size=size) as holder:
            if whole is not None:
                holder.axvline(100 * whole, color=plots.colour("muted"), linestyle=":", linewidth=1)
            for at, rung in enumerate(rungs):
                if rung["AP"] is None:
                    continue
                colour = plots.colour("s1" if rung["preprocessing"] == "the checkpoint's" else "s2")
                if rung["low"] is not None and whole is not None:
                    ends = [100 * (whole + rung[side]) for side in ("low", "high")]
                    holder.plot(ends, [at, at], color=colour, linewidth=1.6)
                holder.plot([100 * rung["AP"]], [at], "o", color=colour, markersize=5)
            holder.set_yticks(range(len(rungs)), [rung["name"] for rung in rungs])
            holder.set_ylim(-0.6, len(rungs) - 0.4)
            made[f"ladder-{number}"] = plots.finished(holder, f"ladder-{number}", title)
    return made
