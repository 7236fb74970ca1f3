"""The page of one benchmarked model: its metrics, curves, errors and images, without a run."""

import os
import pathlib
import tempfile
from typing import Any

from replicate import contracts, score, verdict
from replicate.report import charts, content, findings, gallery, pages, participants, score_section
from replicate.report.findings import Scored
from replicate.run import write_json, write_text
from replicate.score.text import OF
from tfrecords import redaction


def write(
    record: dict, detections: list[dict], output: str | os.PathLike[str], command: str = ""
) -> pathlib.Path:
    """Writes OUTPUT/index.html and OUTPUT/report.json of a record of `replicate.benchmark`.

    Args:
      record: the record as a dict, as tools/benchmark.py --output writes it.
      detections: the COCO results that it scored.
      output: folder.
      command: what made it.

    Returns:
      path of index.html.

    Raises:
      UserError: the annotation file is gone, or the AP comes out other than the record's.
    """
    output = pathlib.Path(output)
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("record.json", "detections.json.gz")]
        write_json(paths[0], record)
        write_json(paths[1], detections)
        (participant,) = participants.read([":".join(map(str, paths))])
        report = _content(record, participant, command)
        image_dir = participant.image_dir
    pictures = gallery.pictures(report["gallery"]["images"], image_dir)
    absent = len(report["gallery"]["images"]) - len(pictures)
    if absent:
        report["not_checked"].append(
            {"what": f"{absent} pictures of the gallery", "why": f"not readable in {image_dir}"}
        )
    sealed = contracts.sealed("benchmark_report", report)
    write_text(output / "report.json", pages.json_text(sealed))
    page = pages.html(
        "run.html.j2",
        charts.SCRIPTS,
        content=report,
        plots=charts.of_run(report),
        pictures=pictures,
        originals={},
        multiples=charts.small_multiples(report["category_curves"]),
        largest_share=0,
        tide_names=charts.TIDE,
        interval_of=OF,
    )
    write_text(output / "index.html", page)
    return output / "index.html"


def _content(record: dict, participant: participants.Participant, command: str) -> dict[str, Any]:
    """The report of the record as a dict; what only a run has is None."""
    result: score.Result = participant.scored()
    handle = result.evaluations["hotcoco"].handle
    scored = Scored(0, {"metrics": result.metrics}, result, handle.image_diagnostics())
    row = verdict.published_row(record["model"]["name"])
    metrics = score_section.metrics_of(
        result.to_json() | {"step": 0, "inference": record.get("inference")}, row
    )
    metrics["agree"] = record.get("evaluators", {}).get("agree")
    metrics["remarks"] = record.get("remarks", {}).get(result.iou_type, [])
    speed = record.get("speed") or {}
    analysis = findings.with_intervals(scored)
    said: list[dict] = [
        {
            "label": "Evaluated on",
            "text": f"{len(result.image_ids):,} images of {result.groundtruth.path}",
            "ok": len(result.image_ids) == 5000,
        }
    ]
    if speed:
        said.append(
            {
                "label": "Speed",
                "text": f"{speed['latency_ms']['median']:.1f} ms an image (median), "
                f"{speed['images_per_second']:.1f} images/s with reading, on {speed['device']}",
                "ok": None,
            }
        )
    said += [{"label": "Detections", "text": line, "ok": False} for line in metrics["remarks"]]
    for figure in record.get("published", []):
        text = ", ".join(f"{key} {value}" for key, value in figure.items() if value is not None)
        said.append({"label": "Published", "text": text, "ok": None})
    report = {
        "format": content.FORMAT,
        "benchmark": True,
        "run": record["model"]["name"],
        "model": {"name": record["model"]["name"]},
        "command": command or None,
        "request": {},
        "verdict": None,
        "metrics": metrics,
        "deviations": None,
        "execution": [],
        "data": {"records": [], "class_balance": None},
        "schedule": None,
        "training": None,
        "checkpoints": [],
        "per_category": result.per_category,
        "analysis": analysis,
        "category_curves": findings.category_curves(scored),
        "gallery": gallery.gallery(
            [scored], best_threshold=analysis.get("f1", {}).get("best_threshold")
        ),
        "environment": None,
        "forced": [],
        "preflight": None,
        "answers": {"reached": "", "runs": "", "interval": None, "rehearsal": False, "next": []},
        "facts": said,
        "not_checked": [],
    }
    return redaction.everywhere(report)
