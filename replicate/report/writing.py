"""`write`: the report of a run into its directory; `write_comparison`: several on one page."""

import json
import os
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

from replicate import contracts
from replicate.contracts.kinds import KINDS
from replicate.errors import UserError
from replicate.report import (
    charts,
    compare_charts,
    comparison,
    content,
    gallery,
    ladders,
    pages,
    participants,
)
from replicate.report.participants import Participant
from replicate.report.plots import SERIES, Plot
from replicate.run import RunDir, write_text
from replicate.score.text import OF


def write(run: RunDir, images: str = "embedded") -> pathlib.Path:
    """Writes report/index.html, report.md, report.json and plots/ of a run directory.

    What the directory does not hold is named in the report as not checked; files that are there
    and damaged, and a verdict of another evaluation than the last one, at its top and on stderr.

    Args:
      run: RunDir.
      images: "embedded" (thumbnails in the page) or "folder": the originals beside it as well.

    Returns:
      path of index.html.
    """
    report = content.of_run(run)
    plots = charts.of_run(report)
    pictures: dict[str, str] = {}
    originals: dict[str, str] = {}
    if report["gallery"]:
        image_dir = report["request"].get("val_images")
        pictures = gallery.pictures(report["gallery"]["images"], image_dir)
        if images == "folder":
            originals = gallery.copied(
                report["gallery"]["images"], image_dir, run.report / "images"
            )
        absent = len(report["gallery"]["images"]) - len(pictures)
        if absent:
            report["not_checked"].append(
                {"what": f"{absent} pictures of the gallery", "why": f"not readable in {image_dir}"}
            )
    json_text = pages.json_text(contracts.sealed("report", report))
    if wrong := contracts.fault("report", json.loads(json_text), version=KINDS["report"].version):
        raise UserError(f"{run.report}: not written, as report.json could not be read: {wrong}")
    common = {"content": report, "plots": plots, "tide_names": charts.TIDE, "interval_of": OF}
    for plot in plots.values():
        write_text(run.report / "plots" / f"{plot.name}.svg", plot.standalone())
    write_text(run.report / "report.json", json_text)
    write_text(run.report / "report.md", markdown_of(report, plots))
    write_text(
        run.report / "index.html", page_of_run(pictures=pictures, originals=originals, **common)
    )
    for line in not_whole(report):
        print(f"{run.root}: {line}", file=sys.stderr)
    return run.report / "index.html"


def not_whole(report: dict) -> list[str]:
    """In what a report (report.json's content) is not of the whole run: sentences, [] for nothing.

    That is a damaged file, or a verdict of another evaluation than the one shown; what is not there
    is no fault of a report.
    """
    sentences = [
        f"{entry['file']} is damaged: {entry['why']}" for entry in report.get("damaged", [])
    ]
    another = (report["verdict"] or {}).get("of_another")
    return (
        [*sentences, f"its verdict was {another}, which the report shows"] if another else sentences
    )


def markdown_of(report: dict, plots: dict[str, Plot] | None = None) -> str:
    """The text of report.md, which follows from report.json alone.

    Args:
      report: report.json's content.
      plots: `charts.of_run`'s, where they are at hand.
    """
    plots = charts.of_run(report) if plots is None else plots
    return pages.markdown(
        "run.md.j2", content=report, plots=plots, tide_names=charts.TIDE, interval_of=OF
    )


def page_of_run(
    content: dict,
    plots: dict[str, Plot],
    pictures: dict[str, str],
    originals: dict[str, str] | None = None,
    **more: Any,
) -> str:
    """The HTML of a run's report.

    Args:
      content: `content.of_run`'s dict.
      plots: `charts.of_run`'s.
      pictures: `gallery.pictures`'s.
      originals: `gallery.copied`'s, where the originals lie beside the page.
      **more: what else the template says.
    """
    return pages.html(
        "run.html.j2",
        charts.SCRIPTS,
        content=content,
        plots=plots,
        pictures=pictures,
        originals=originals or {},
        # From a file or a server, the folder beside the page.
        image_source="'self' file:" if originals else "",
        multiples=charts.small_multiples(content["category_curves"]),
        largest_share=max(
            (
                category[share] or 0
                for category in content["data"]["class_balance"] or []
                for share in ("train_share", "val_share")
            ),
            default=0,
        ),
        **more,
    )


def write_comparison(
    paths: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str], **options: Any
) -> pathlib.Path:
    """Writes index.html and comparison.json: several runs on one page.

    Args:
      paths: as `participants.read` takes them; beside them ladders, as `ladders.split` does.
      output: folder.
      **options: with_zoo, baseline, samples, images of `comparison.of`.

    Returns:
      path of index.html.

    Raises:
      UserError: a path that is no run, the same run twice, an unknown baseline.
    """
    output = pathlib.Path(output)
    paths, drawn = ladders.split(paths)
    taking_part = participants.read(paths)
    compared = comparison.of(taking_part, **options) | {"ladders": drawn}
    images = compared["gallery"]["images"] if compared["gallery"] else []
    image_dir = _image_dir(taking_part, compared)
    pictures = gallery.pictures(images, image_dir)
    if len(pictures) < len(images):
        why = f"not readable in {image_dir}" if image_dir else "no run tells where its images lie"
        compared["not_checked"].append(
            {"what": f"{len(images) - len(pictures)} pictures of the images", "why": why}
        )
    sealed = contracts.sealed("comparison", compared)
    write_text(output / "comparison.json", pages.json_text(sealed))
    write_text(output / "index.html", page_of_comparison(compared, pictures))
    return output / "index.html"


def page_of_comparison(compared: dict, pictures: dict[str, str]) -> str:
    """The HTML of a comparison.

    Args:
      compared: `comparison.of`'s dict.
      pictures: `gallery.pictures`'s.
    """
    by_key = {run["key"]: run for run in compared["runs"]}
    others = compared["per_category"][0]["others"] if compared["per_category"] else {}
    plots = compare_charts.of(compared)
    system = [compare_charts.name_of(curve) for curve in compared["curves"] if curve["of_machine"]]
    of_images = compared["gallery"]["images"] if compared["gallery"] else []
    return pages.html(
        "compare.html.j2",
        [
            *("page.js", "values.js", "gallery.js", "gallery_filters.js", "enlarged.js"),
            *("category.js", "curves.js", "compare.js"),
        ],
        extra_style=compare_charts.css(compared),
        comparison=compared,
        base=by_key.get(compared["baseline"]),
        others=[by_key[key] for key in others],
        names={key: run["name"] for key, run in by_key.items()},
        plots=plots,
        system_plots=system,
        plain_plots=[name for name in plots if name.startswith("curve-") and name not in system],
        styles=compare_charts.styles(compared),
        same_everywhere=all(len(set(image["ap50"].values())) < 2 for image in of_images),
        pictures=pictures,
        with_curves={line["run"] for curve in compared["curves"] for line in curve["lines"]},
        # What a step is of each run: images, and epochs of its training set.
        units={
            run["key"]: {
                "images": run["batch_size"],
                "epochs": run["batch_size"] / run["train_images"]
                if run["batch_size"] and run["train_images"]
                else None,
            }
            for run in compared["runs"]
        },
        colours=len(SERIES),
    )


def _image_dir(taking_part: Iterable[Participant], compared: dict) -> str | None:
    """The image folder of the first that knows one, of those evaluated on the gallery's images."""
    same = compared["gallery"]["runs"] if compared["gallery"] else []
    folders = (participant.image_dir for participant in taking_part if participant.key in same)
    return next((folder for folder in folders if folder), None)
