"""The report as data: everything that the page says, as report.json holds it."""

import statistics
from collections.abc import Iterator
from typing import Any

from replicate import config, zoo
from replicate.config import schedule
from replicate.errors import UserError
from replicate.evenly import evenly
from replicate.report import (
    answers,
    choices,
    data_section,
    findings,
    gallery,
    run_files,
    sources,
)
from replicate.report.findings import Scored
from replicate.report.run_files import RunFiles
from replicate.run import RunDir, read_json
from replicate.score import METRICS, text
from replicate.score.text import KINDS
from replicate.verdict import FIGURES, measured
from tfrecords import redaction

FORMAT = 1
# Points of a plotted line; a longer log is thinned out evenly, its last step kept.
MAX_POINTS = 600
# Operations of a profile that are named.
_LONGEST = 5

MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small objects, below 32² px",
    "APm": "medium objects, 32² to 96² px",
    "APl": "large objects, above 96² px",
    "AR@1": "recall with 1 detection an image",
    "AR@10": "recall with 10 detections an image",
    "AR@100": "recall with 100 detections an image",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}
_KEYPOINT_MEANINGS = {
    "AP": "mean over object keypoint similarity (OKS) 0.50 to 0.95",
    "AP50": "at OKS 0.50",
    "AP75": "at OKS 0.75",
    "APm": "medium persons, 32² to 96² px",
    "APl": "large persons, above 96² px",
    "AR": "recall with 20 detections an image",
    "AR50": "recall at OKS 0.50",
    "AR75": "recall at OKS 0.75",
    "ARm": "recall of medium persons",
    "ARl": "recall of large persons",
}
# Classes of config differences that can move AP, and those that cannot.
AFFECTING = ("architecture", "training", "evaluation")
# Measurements of the machine in metrics.jsonl: title, label of the axis.
_MEASUREMENTS = {
    "host.cpu_percent": ("Processor use of the machine", "processor use (%)"),
    "host.memory_gib": ("Memory of the training process", "memory (GiB)"),
    "device.memory_gib": ("GPU memory in use", "memory, all GPUs (GiB)"),
    "device.utilization_percent": ("GPU use", "mean GPU use (%)"),
    "device.power_watts": ("GPU power", "power, all GPUs (W)"),
    "device.temperature_celsius": ("GPU temperature", "hottest GPU (°C)"),
}


def of_run(run: RunDir) -> dict:
    """The report of one run directory as a dict of plain values.

    Args:
      run: RunDir; whatever is missing in it is named under "not_checked".

    Returns:
      dict: see docs/report.md.
    """
    material = run_files.read(run)
    last = material.evaluations[-1] if material.evaluations else None
    scored = findings.scored(material) if last else []
    row = zoo.get(material.request.get("model", ""))
    content: dict = {
        "format": FORMAT,
        "run": run.root.resolve().name,
        "model": _model(material, row),
        "command": (material.spec or {}).get("command"),
        "request": material.request,
        "verdict": _verdict(material),
        "metrics": metrics_of(last, row),
        "deviations": _deviations(material),
        "execution": _execution(material),
        "data": data_section.of_run(material, scored),
        "schedule": _schedule(material),
        "training": training(material),
        "checkpoints": _checkpoints(material, scored),
        "per_category": last["per_category"] if last else None,
        "analysis": None,
        "category_curves": None,
        "gallery": None,
        "environment": material.environment,
        "forced": material.forced,
        "preflight": _preflight(material),
        "sources": sources.fingerprint(run),
    }
    if scored:
        content["analysis"] = findings.with_intervals(scored[-1])
        content["category_curves"] = findings.category_curves(scored[-1])
        content["gallery"] = gallery.gallery(
            scored, best_threshold=content["analysis"]["f1"]["best_threshold"]
        )
    if content["deviations"] is not None:
        conditions = (content["verdict"] or {}).get("conditions") or {}
        content["deviations"]["choices"] = choices.grouped(
            content["deviations"]["classes"], conditions.get("scaling")
        )
    content["facts"] = _facts(content)
    content["answers"] = answers.of_run(content, material)
    content["not_checked"] = material.not_checked + _never_checked(content)
    return redaction.everywhere(content)


def _model(material: RunFiles, row: zoo.Row | None) -> dict:
    if row is None:
        return {"name": material.request.get("model")}
    model = {
        "name": row.archive,
        "display_name": row.display_name,
        "family": row.family,
        "input_size": row.input_size,
        "published": {
            name: published.points
            for name, attribute in FIGURES.values()
            if (published := row.figure(attribute.removesuffix("_map"))) is not None
        },
        "speed_ms": row.speed_ms,
        "note": row.note,
        # As sentences: figure, images, runs, document and commit.
        "sources": [str(figure) for figure in row.figures],
        "reruns": [str(ap) for ap in zoo.reruns(row.archive)],
    }
    return model


def _verdict(material: RunFiles) -> dict | None:
    decided = material.verdict
    if decided is None:
        return None
    if "conditions" not in decided:
        material.cannot_say("the verdict", "verdict.json is of an earlier kit; judge the run again")
        return None
    figures = [
        {
            "name": name,
            "achieved": decided["achieved"].get(name),
            "published": decided["published"].get(name),
            "gap": _gap(decided["achieved"].get(name), decided["published"].get(name)),
            "seeds": decided.get("seeds", {}).get(name, []),
            "header": figure.get("header"),
            "interval90": figure.get("interval90"),
            "bands": figure.get("bands"),
        }
        for name, figure in decided["figures"].items()
    ]
    causes = [
        cause
        | {
            "measured_here": [
                measured.told(change)
                for change in material.measured
                if change["reason"] == cause["number"]
            ]
        }
        for cause in decided["likely_causes"]
    ]
    said = {"figures": figures, "likely_causes": causes, "sentence": _sentence(decided, figures)}
    return decided | said


def _gap(achieved: float | None, published: float | None) -> float | None:
    return None if achieved is None or published is None else achieved - published


def _sentence(decided: dict, figures: list[dict]) -> str:
    """Both answers in a sentence: how far from the published figure, under which conditions."""
    comparable = decided["verdict"] != "NOT COMPARABLE"
    said = [
        _figure_said(figure, comparable) for figure in figures if figure["achieved"] is not None
    ]
    what = "; ".join(said) or "no figure was achieved"
    what = what[0].upper() + what[1:]
    if not comparable and not any(figure["gap"] is not None for figure in figures):
        what += ". There is nothing to hold it against"
    elif not comparable:
        what += ". The two cannot be held against each other"
    return f"{what}. Conditions: {decided['conditions']['sentence']}."


def _figure_said(figure: dict, comparable: bool) -> str:
    said = f"{figure['name']} {figure['achieved']:.2f}"
    if figure["published"] is None:
        return f"{said}, for which nothing was published"
    said += f", published {figure['published']:.1f}"
    if figure["header"] is not None:
        said += f" (by the config's header {figure['header']:g})"
    if not comparable:
        return said
    said += f": {figure['gap']:+.2f} points"
    if figure["interval90"]:
        low, high = figure["interval90"]
        said += f" (90 % interval {low:+.2f} to {high:+.2f})"
    return said.replace("-", "−")


def metrics_of(last: dict | None, row: zoo.Row | None) -> Any:
    """ "metrics" of the report: `last` is a metrics.json's dict with its step, or None."""
    if last is None:
        return None
    return {
        "step": last["step"],
        "checkpoint": last.get("checkpoint"),
        "iou_type": last["iou_type"],
        "agree": last["agree"],
        "versions": last.get("versions", {}),
        "annotations": last["annotations"],
        "detections": last["detections"],
        "remarks": text.remarks(last),
        "inference": last.get("inference"),
        "made_by": text.of_inference(last.get("inference")),
        "rows": _rows(last, row),
        # Beside boxes: masks or keypoints.
        "others": [
            {
                "iou_type": other["iou_type"],
                "name": KINDS[other["iou_type"]].capitalize(),
                "agree": other["agree"],
                "versions": other.get("versions", {}),
                "remarks": text.remarks(other),
                "rows": _rows(other, row),
            }
            for other in last.get("others", [])
        ],
    }


def _rows(score: dict, row: zoo.Row | None) -> list[dict]:
    """Each metric of one kind of evaluation: what it is, its value, the published figure."""
    _, attribute = FIGURES[score["iou_type"]]
    figure = row.figure(attribute.removesuffix("_map")) if row is not None else None
    published = figure.points if figure is not None else None
    meanings = _KEYPOINT_MEANINGS if score["iou_type"] == "keypoints" else MEANINGS
    return [
        {
            "name": name,
            "meaning": meanings[name],
            "value": score["metrics"][name],
            "published": published if name == "AP" else None,
            "evaluators": {
                evaluator: figures[name] for evaluator, figures in score["evaluators"].items()
            },
        }
        for name in METRICS[score["iou_type"]]
    ]


def _deviations(material: RunFiles) -> dict | None:
    """Deviations by class, those that affect AP first."""
    if material.deviations is None:
        return None
    groups: dict[str, list[dict]] = {name: [] for name in config.CLASSES}
    for deviation in material.deviations:
        groups.setdefault(deviation["class"], []).append(deviation)
    return {
        "affecting": sum(len(groups[name]) for name in AFFECTING),
        "classes": [
            {"class": name, "affects_ap": name in AFFECTING, "operations": operations}
            for name, operations in groups.items()
            if operations
        ],
    }


def _execution(material: RunFiles) -> list[str]:
    """How steps were executed, where that is not one whole batch in float32: sentences."""
    executed = (material.environment or {}).get("execution")
    if not executed or material.message is None:
        return []
    batch = config.facts(material.message).batch_size
    micro, replicas = executed["gradient_accumulation_steps"], executed["replicas"]
    said = []
    if micro * replicas > 1:
        said.append(
            f"Each batch of {batch} was computed in {micro * replicas} parts ({replicas} replicas, "
            f"{micro} micro-batches each): batch-norm statistics and loss normalizers are those of "
            f"{batch // (micro * replicas)} images, a deviation from one whole batch"
        )
    if executed["precision"] != "float32":
        said.append(f"Computed in {executed['precision']} with float32 weights")
    if executed["precision"] == "float32" and executed.get("tf32"):
        said.append(
            "Convolutions and products of float32 were computed in TensorFloat-32, with 10 bits of "
            "mantissa, as TensorFlow does by default on such a GPU (--notf32 keeps all)"
        )
    if executed["jit_compile"]:
        said.append("Steps were compiled by XLA, which rounds in another order")
    return said + _profiled(material.run)


def _profiled(run: RunDir) -> list[str]:
    """Where the time of the profiled steps went, as a sentence."""
    if not run.profile.is_file():
        return []
    profile = read_json(run.profile)
    longest = ", ".join(
        f"{each['operation']} {each['share']:.0%} of {each['device']}"
        for each in profile["operations"][:_LONGEST]
    )
    first, last = profile["first_step"], profile["first_step"] + profile["steps"] - 1
    return [
        f"Steps {first} to {last} were profiled, "
        f"{profile['seconds'] / profile['steps']:.3g} s each; "
        f"most of what devices and threads executed: {longest or 'not traced'}"
    ]


def _schedule(material: RunFiles) -> dict | None:
    if material.message is None:
        return None
    message = material.message
    facts = config.facts(message)
    steps = evenly(range(facts.num_steps + 1), MAX_POINTS) if facts.num_steps else []
    try:
        planned = schedule.learning_rates(message, steps).tolist()
        marks = [list(mark) for mark in schedule.boundaries(message)]
        kind = schedule.kind_of(message)
    except UserError as error:
        material.cannot_say("the planned learning rate", str(error))
        planned, marks, kind, steps = [], [], None, []
    actual = evenly(material.log, MAX_POINTS)
    return {
        "kind": kind,
        "batch_size": facts.batch_size,
        "num_steps": facts.num_steps,
        "steps_run": material.log[-1]["step"] if material.log else None,
        "images_planned": facts.images_seen,
        "images_seen": material.log[-1]["step"] * facts.batch_size if material.log else None,
        "marks": marks,
        "planned": {"step": steps, "learning_rate": planned},
        "actual": {
            "step": [logged["step"] for logged in actual],
            "learning_rate": [logged.get("learning_rate") for logged in actual],
        },
    }


def training(material: RunFiles) -> dict | None:
    """Losses and speed by step, and the speed's middle.

    Args:
      material: run_files.RunFiles with its log.

    Returns:
      dict, or None without a log.
    """
    log = material.log
    if not log:
        return None
    shown = evenly(log, MAX_POINTS)
    names = list(dict.fromkeys(name for logged in log for name in logged.get("losses", {})))
    speeds = [logged["images_per_second"] for logged in log[1:] if logged.get("images_per_second")]
    waits = [logged["input_wait"] for logged in log if logged.get("input_wait") is not None]
    measured = _measured(log)
    for what in ("images_per_second", "input_wait"):
        if not any(what in logged for logged in log):
            material.cannot_say(what.replace("_", " "), "not in metrics.jsonl")
    if not measured:
        material.cannot_say("device use", "metrics.jsonl does not record it")
    return {
        "logged_steps": len(log),
        "step": [logged["step"] for logged in shown],
        "losses": {
            name: [logged.get("losses", {}).get(name) for logged in shown] for name in names
        },
        "final_losses": {name: log[-1].get("losses", {}).get(name) for name in names},
        "images_per_second": [logged.get("images_per_second") for logged in shown],
        "input_wait": [logged.get("input_wait") for logged in shown],
        "system": {name: [_at(logged, name) for logged in shown] for name in measured},
        # The first logged steps hold the tracing of the graph.
        "median_images_per_second": statistics.median(speeds) if speeds else None,
        "median_input_wait": statistics.median(waits) if waits else None,
    }


def _measured(log: list[dict]) -> list[str]:
    """Names of the measurements of the machine in the log, such as "device.memory_bytes"."""
    names = dict.fromkeys(
        f"{group}.{name}"
        for logged in log
        for group in ("device", "host", "system")
        if isinstance(logged.get(group), dict)
        for name, value in logged[group].items()
        if isinstance(value, (int, float))
    )
    return list(names)


def measurement(name: str) -> tuple[str, str]:
    """What a measurement of the machine, as metrics.jsonl names it, is called: title, axis."""
    return _MEASUREMENTS.get(name, (name, name))


def _at(entry: dict, name: str) -> float | None:
    group, _, key = name.partition(".")
    return (entry.get(group) or {}).get(key)


def _checkpoints(material: RunFiles, scored: list[Scored]) -> list[dict]:
    f1 = {
        evaluation.step: evaluation.result.evaluations["hotcoco"].handle.f_scores()
        for evaluation in scored
    }
    return [
        {
            "step": evaluation["step"],
            "checkpoint": evaluation.get("checkpoint"),
            "images": evaluation["annotations"]["images"],
            "metrics": evaluation["metrics"],
            # Mean over categories, each at its own best score threshold, at IoU 0.5.
            "F1_50": f1.get(evaluation["step"], {}).get("F1_50"),
        }
        for evaluation in material.evaluations
    ]


def _facts(content: dict) -> list[dict]:
    """The facts that decide how to read the verdict: what was evaluated, what was trained on, the
    setup, and what --force overrode. Each: label, text, ok (True, False, or None where unknown)."""
    return [
        *(_evaluated(content), answers.trained_on(content), answers.setup(content)),
        *_remarked(content),
        *_forced(content),
    ]


def _remarked(content: dict) -> Iterator[dict]:
    """What stands beside the score of boxes, and of masks or keypoints."""
    metrics = content["metrics"]
    if metrics is not None:
        others = [line for other in metrics["others"] for line in other["remarks"]]
        for line in dict.fromkeys([*metrics["remarks"], *others]):
            yield {"label": "Detections", "text": line, "ok": False}


def _forced(content: dict) -> Iterator[dict]:
    if content["forced"]:
        text = f"launched with --force although it failed: {'; '.join(content['forced'])}"
        yield {"label": "Preflight", "text": text, "ok": False}


def _preflight(material: RunFiles) -> dict | None:
    """What was checked before the first step, and what was forced."""
    said = material.preflight
    if said is None:
        return None
    return {
        "rehearsal": said.get("rehearsal", False),
        "forced": said.get("forced", []),
        "results": [
            {key: result.get(key) for key in ("number", "title", "status", "seen", "fix")}
            for result in said.get("results", [])
        ],
    }


def _evaluated(content: dict) -> dict:
    metrics = content["metrics"]
    if metrics is None:
        return {"label": "Evaluated on", "text": "nothing: no evaluation in the run", "ok": None}
    annotations = metrics["annotations"]
    text = (
        f"{annotations['images']:,} images with {annotations['annotations']:,} annotations in "
        f"{annotations['categories']} categories"
    )
    whole = annotations["images"] == 5000
    text += "; val2017 has 5,000" if not whole else ", as many as val2017"
    if metrics["agree"] is False:
        return {"label": "Evaluated on", "text": f"{text}; the evaluators DISAGREE", "ok": False}
    both = "; both evaluators agree" if metrics["agree"] else "; one evaluator only"
    return {"label": "Evaluated on", "text": text + both, "ok": whole}


def _never_checked(content: dict) -> list[dict]:
    """What no report of this kit can vouch for, and what this one was not asked."""
    unchecked = []
    if content["metrics"] and content["metrics"]["agree"] is None:
        unchecked.append(
            {
                "what": "the other evaluator's word",
                "why": "scored by one alone; tools/score.py --evaluator=both",
            }
        )
    seeds = [len(figure["seeds"]) for figure in (content["verdict"] or {}).get("figures", [])]
    if content["verdict"] and max(seeds, default=0) < 3:
        unchecked.append(
            {
                "what": "the spread over seeds",
                "why": "fewer than three runs; with three or more the verdict is an equivalence "
                "test (tools/verdict.py RUN RUN RUN)",
            }
        )
    if content["analysis"] is not None and "intervals" not in content["analysis"]:
        unchecked.append(
            {
                "what": "how far AP would move on other images",
                "why": "not asked for; tools/score.py --samples=200",
            }
        )
    return unchecked
