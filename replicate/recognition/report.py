"""The report of a recognition run: report/index.html to read, report.json for machines."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate import contracts
from replicate.errors import UserError
from replicate.recognition import charts, evaluation, metrics, model, records, training
from replicate.recognition import request as requests
from replicate.recognition.evaluation import Scores
from replicate.recognition.request import RecognitionRequest
from replicate.report import pages, run_files, training_section
from replicate.report.gallery import thumbnail
from replicate.run import RunDir, read_json, read_metrics, write_text

FORMAT = 1
PER_GROUP = 6
SAME_SCORES = (
    " Every image gets the same scores: so it looks where the moving averages of batch norm, which "
    "evaluation uses, have not formed yet. Train longer before reading anything into these figures."
)
# Categories of an image that a card lists beside those that are in it.
TOP = 5

_STYLE = (
    "table.scores{width:100%;font-size:.86rem}.scores td,.scores th{padding:.12rem .5rem .12rem 0}"
    ".scores .track{width:38%}.scores td:first-child{width:1.3em;color:var(--s3);font-weight:700}"
    ".scores .present .bar{background:var(--s3)}.scores .other .bar{background:var(--s8)}"
    ".scores .present th{font-weight:700}"
    ".card .canvas img{aspect-ratio:4/3;object-fit:contain}"
)

GROUPS = {
    "worst": "its categories ranked lowest among all",
    "median": "ranking nearest the median",
    "best": "its categories ranked highest",
    "missed": "lowest score of a category that is there",
    "mistakes": "highest score of a category that is not there",
}


def write(run: RunDir) -> pathlib.Path:
    """Writes the report of a run, evaluated or not; what is missing is named in it.

    Returns:
      Of index.html.

    Raises:
      UserError: not a recognition run.
    """
    content, scored = of_run(run)
    pictures = _pictures(content)
    plots = charts.of_run(content)
    html = pages.html(
        "recognition.html.j2",
        ["page.js", "values.js", "category.js", "recognition.js"],
        pathlib.Path(__file__).resolve().parent / "templates",
        extra_style=_STYLE,
        content=content,
        plots=plots,
        multiples=charts.small_multiples(scored) if scored else {},
        pictures=pictures,
        groups=GROUPS,
    )
    sealed = contracts.sealed("recognition_report", content)
    write_text(run.report / "report.json", pages.json_text(sealed))
    write_text(run.report / "index.html", html)
    return run.report / "index.html"


def summary(run: RunDir) -> str:
    """The end of a run in text."""
    content, _ = of_run(run)
    return "\n".join(
        [
            content["sentence"],
            *(
                f"  {split['split']:5}  mean AP {_shown(split['metrics']['mean_AP'])}   "
                f"F1 at {split['metrics']['threshold']:g}: "
                f"{_shown(split['metrics']['F1']['micro'])} over all decisions, "
                f"{_shown(split['metrics']['F1']['macro'])} mean of categories"
                for split in content["splits"]
            ),
        ]
    )


def of_run(run: RunDir) -> tuple[dict, Scores | None]:
    """The report as data.

    Returns:
      (what docs/recognition.md lists, scores of the last checkpoint on the headline's images).

    Raises:
      UserError: not a recognition run.
    """
    files = run_files.RunFiles(run, spec=read_json(run.spec), log=read_metrics(run.metrics))
    request = requests.of_run(run)
    evaluated = evaluation.of_run(run)
    data = _or_nothing(run.root / training.DATA_FILE)
    classes = _or_nothing(run.root / model.CLASSES_FILE) or []
    last = list(evaluated.values())[-1] if evaluated else {}
    headline = next(iter(last.values()), None)
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": "recognition",
        "run": run.root.resolve().name,
        "command": (files.spec or {}).get("command"),
        "request": files.request,
        "environment": _or_nothing(run.environment),
        "classes": classes,
        "data": [
            _records(split, data[split], request) for split in ("train", "val") if split in data
        ],
        "training": training_section.training(files),
        "progress": _progress(files.log, data, request),
        "splits": list(last.values()),
        "checkpoints": _checkpoints(evaluated, last),
        "per_category": _per_category(classes, data, last, request),
        "gallery": None,
    }
    content["sentence"] = _sentence(headline, classes)
    scored = _scored(run, headline, files)
    content["chance"] = _chance(headline["metrics"]) if headline is not None else None
    if content["chance"] is not None:
        content["sentence"] += f" Chance level: {100 * content['chance']:.1f}."
    if scored is not None and same_for_every_image(scored.scores):
        content["sentence"] += SAME_SCORES
    if scored and headline:
        content["gallery"] = _gallery(scored, headline)
    if headline is None:
        files.cannot_say("mean AP and F1", "no evaluation in the run")
    if headline is not None and "val" not in last:
        files.cannot_say(
            "how it does on images that it was not trained on",
            "no --val_records; the figures are of the training images",
        )
    content["not_checked"] = files.not_checked
    return content, scored


def _or_nothing(path: pathlib.Path) -> Any:
    return read_json(path) if path.is_file() else {}


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.1f}"


def _records(split: str, survey: dict, request: RecognitionRequest) -> dict:
    """What records hold, with the labels that crowds alone give."""
    labels = sum(survey["positives"])
    from_crowds = labels - sum(survey["positives_without_crowd"])
    return {
        **{name: survey[name] for name in ("pattern", "files", "bytes", "images")},
        "split": split,
        "images_without_categories": survey["images_without_categories"],
        "labels": labels if request.include_crowd else labels - from_crowds,
        "labels_from_crowds_alone": from_crowds,
        "crowds_count": request.include_crowd,
        "categories": sum(value > 0 for value in _positives(survey, request)),
    }


def _positives(survey: dict, request: RecognitionRequest) -> list[int]:
    return survey["positives" if request.include_crowd else "positives_without_crowd"]


def _progress(log: list[dict], data: dict, request: RecognitionRequest) -> dict | None:
    if not log or "train" not in data:
        return None
    images = data["train"]["images"]
    return {
        "step": log[-1]["step"],
        "num_steps": request.steps(images),
        "batch_size": request.batch_size,
        "images_seen": log[-1]["step"] * request.batch_size,
        "epochs": log[-1]["step"] * request.batch_size / images,
        "learning_rate": {
            "step": [line["step"] for line in log],
            "learning_rate": [line["learning_rate"] for line in log],
        },
    }


def _checkpoints(evaluated: Mapping[int, dict], last: dict) -> list[dict]:
    """The figures of each step that was evaluated on the same records as the last one."""
    rows = []
    for step, of_step in evaluated.items():
        row: dict[str, Any] = {"step": step}
        for split, evaluated_split in of_step.items():
            if split in last and _fingerprint(evaluated_split) == _fingerprint(last[split]):
                figures = evaluated_split["metrics"]
                row[split] = {"mean_AP": figures["mean_AP"], "F1": figures["F1"]}
        if len(row) > 1:
            rows.append(row)
    return rows


def _fingerprint(evaluated: dict) -> str:
    return evaluated["records"]["fingerprint"]


def _per_category(
    classes: Sequence[dict], data: dict, last: dict, request: RecognitionRequest
) -> list[dict]:
    """A row a category: images that hold it, and what the last checkpoint makes of it."""
    positives = {split: _positives(survey, request) for split, survey in data.items()}
    rows = []
    for category in classes:
        row = dict(category)
        for split in ("train", "val"):
            if split in positives:
                row[f"{split}_images"] = positives[split][category["index"]]
        for split, evaluated in last.items():
            figures = evaluated["metrics"]["per_category"][category["index"]]
            row[split] = {name: figures[name] for name in ("AP", *metrics.AT_THRESHOLD)}
        rows.append(row)
    return rows


def _sentence(headline: dict | None, classes: Sequence[dict]) -> str:
    if headline is None:
        return "Nothing was evaluated yet."
    figures = headline["metrics"]
    what = "images that it was not trained on" if headline["split"] == "val" else "training images"
    if figures["mean_AP"] is None:
        return (
            f"None of the {len(classes)} categories is in any of the {figures['images']:,} {what}."
        )
    left = len(figures["without_positives"])
    counted = f"{figures['categories_counted']} of {len(classes)} categories"
    reason = f"; {left} are in no image and do not count" if left else ""
    return (
        f"Mean AP {100 * figures['mean_AP']:.1f} on {figures['images']:,} {what}, over "
        f"{counted}{reason}."
    )


def _chance(figures: dict) -> float | None:
    """The mean AP of scores that say nothing: of a random order, AP is the share of positives."""
    shares = [
        category["positives"] / figures["images"]
        for category in figures["per_category"]
        if category["positives"]
    ]
    return sum(shares) / len(shares) if shares else None


def same_for_every_image(scores: np.ndarray) -> bool:
    """Whether scores (images, categories) tell no image from another."""
    return len(scores) > 1 and float(np.ptp(scores, axis=0).max(initial=0.0)) < 1e-4


def _scored(run: RunDir, headline: dict | None, files: run_files.RunFiles) -> Scores | None:
    if headline is None:
        return None
    try:
        return evaluation.read(evaluation.scores_file(run, headline["step"], headline["split"]))
    except UserError as error:
        files.cannot_say("images, and precision over recall", str(error))
        return None


def _gallery(scored: Scores, headline: dict) -> dict:
    """Chosen images, each with its categories and those that score highest.

    Returns:
      split, records, images_scored and images: each with position (in the records), id, groups,
      ranking (`metrics.of_images`) and categories: name, score, present of each, by score.
    """
    ranking = metrics.of_images(scored.labels, scored.scores)
    images = [
        {
            "position": position,
            "id": scored.image_ids[position],
            "groups": groups,
            "ranking": None if np.isnan(ranking[position]) else float(ranking[position]),
            "categories": _listed(scored, position),
        }
        for position, groups in _chosen(scored, ranking).items()
    ]
    return {
        "split": headline["split"],
        "records": headline["records"],
        "threshold": headline["metrics"]["threshold"],
        "images_scored": len(scored.image_ids),
        "images": images,
    }


def _chosen(scored: Scores, ranking: np.ndarray) -> dict[int, list[str]]:
    """The positions of chosen images, with the groups that each was chosen for."""
    with_objects = np.flatnonzero(~np.isnan(ranking))
    by_ranking = with_objects[np.argsort(ranking[with_objects], kind="stable")].tolist()
    middle = max(0, len(by_ranking) // 2 - PER_GROUP // 2)
    lowest_there = np.where(scored.labels, scored.scores, np.inf).min(axis=1)
    highest_not_there = np.where(scored.labels, -np.inf, scored.scores).max(axis=1)
    chosen = {
        "worst": by_ranking[:PER_GROUP],
        "median": by_ranking[middle : middle + PER_GROUP],
        "best": by_ranking[::-1][:PER_GROUP],
        "missed": _first(lowest_there),
        "mistakes": _first(-highest_not_there),
    }
    positions: dict[int, list[str]] = {}
    for group, members in chosen.items():
        for position in members:
            positions.setdefault(position, []).append(group)
    return positions


def _first(values: np.ndarray) -> list[int]:
    """Positions of the smallest finite values."""
    order = np.argsort(values, kind="stable")
    return [int(position) for position in order if np.isfinite(values[position])][:PER_GROUP]


def _listed(scored: Scores, position: int) -> list[dict]:
    order = np.argsort(-scored.scores[position], kind="stable")
    present = scored.labels[position]
    listed = [index for rank, index in enumerate(order) if rank < TOP or present[index]]
    return [
        {
            "name": scored.classes[index].name,
            "score": float(scored.scores[position, index]),
            "present": bool(present[index]),
        }
        for index in listed
    ]


def _pictures(content: dict) -> dict[int, str | None]:
    """Data URIs by position; empty, and said so, where the records are not what they were."""
    gallery = content["gallery"]
    if gallery is None:
        return {}
    pattern, why = gallery["records"]["pattern"], None
    try:
        same = records.identity(pattern)["fingerprint"] == gallery["records"]["fingerprint"]
        why = None if same else "they are not those that were evaluated"
    except UserError:
        why = "they are gone"
    if why:
        what = f"pictures from {pattern}"
        content["not_checked"].append({"what": what, "why": why})
        return {}
    encoded = records.encoded_images(pattern, [image["position"] for image in gallery["images"]])
    return {position: _thumbnail(image) for position, image in encoded.items()}


def _thumbnail(encoded: bytes) -> str | None:
    """None for what TensorFlow decodes and Pillow does not."""
    try:
        return thumbnail(io.BytesIO(encoded))
    except OSError:
        return None
