"""The report as data: everything that the page says, as report.json holds it."""

from collections.abc import Iterator

from replicate import best, config, verdict, zoo
from replicate.report import (
    answers,
    choices,
    data_section,
    findings,
    gallery,
    run_files,
    score_section,
    sources,
    training_section,
)
from replicate.report.findings import Scored
from replicate.report.run_files import RunFiles
from replicate.run import RunDir
from replicate.verdict import FIGURES, measured
from tfrecords import redaction

FORMAT = 1

# Classes of config differences that can move AP, and those that cannot.
AFFECTING = ("architecture", "training", "evaluation")


def of_run(run: RunDir) -> dict:
    """The report of one run directory as a dict of plain values.

    Args:
      run: RunDir; whatever is missing in it is named under "not_checked".

    Returns:
      dict: see docs/report.md.
    """
    files = run_files.read(run)
    last = files.evaluations[-1] if files.evaluations else None
    scored = findings.scored(files) if last else []
    model = files.request.get("model") or ""
    row = verdict.published_row(model)
    content: dict = {
        "format": FORMAT,
        "run": run.root.resolve().name,
        "model": _model(files, row),
        "of_zoo": files.of_zoo,
        "command": (files.spec or {}).get("command"),
        "request": files.request,
        "verdict": _verdict(files, last),
        "metrics": score_section.metrics_of(
            last, row if files.of_zoo else None, files.references, verdict.published_cut(model)
        ),
        "deviations": _deviations(files),
        "execution": training_section.execution(files),
        "data": data_section.of_run(files, scored),
        "schedule": training_section.schedule_of(files),
        "training": training_section.training(files),
        "checkpoints": _checkpoints(files, scored),
        "best": best.best_kept(run),
        "per_category": last["per_category"] if last else None,
        "analysis": None,
        "category_curves": None,
        "gallery": None,
        "environment": files.environment,
        "forced": files.forced,
        "preflight": _preflight(files),
        "sources": sources.fingerprint(run),
    }
    if scored:
        content["analysis"] = findings.with_intervals(scored[-1])
        content["category_curves"] = findings.category_curves(scored[-1])
        content["gallery"] = gallery.gallery(
            scored, best_threshold=content["analysis"].get("f1", {}).get("best_threshold")
        )
    if content["deviations"] is not None:
        conditions = (content["verdict"] or {}).get("conditions") or {}
        content["deviations"]["choices"] = choices.grouped(
            content["deviations"]["classes"], conditions.get("scaling")
        )
    content["damaged"] = files.damaged
    content["facts"] = _facts(content, files.of_zoo)
    content["answers"] = answers.of_run(content, files)
    content["not_checked"] = files.not_checked + _never_checked(content)
    return redaction.everywhere(content)


def _model(files: RunFiles, row: zoo.Row | None) -> dict:
    if row is None:
        return {"name": files.request.get("model")}
    model = {
        "name": row.archive,
        "display_name": row.display_name,
        "family": row.family,
        "input_size": row.input_size,
    }
    if not files.of_zoo:
        return model
    return model | {
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


def _verdict(files: RunFiles, last: dict | None) -> dict | None:
    decided = files.verdict
    if decided is None:
        return None
    if "conditions" not in decided:
        files.cannot_say(run_files.VERDICT, "verdict.json is of an earlier kit")
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
                measured.sentence(change)
                for change in files.measured
                if change["reason"] == cause["number"]
            ]
        }
        for cause in decided["likely_causes"]
    ]
    said = {"figures": figures, "likely_causes": causes, "sentence": _sentence(decided, figures)}
    another = last and verdict.of_another(decided, [last, *last.get("others", [])])
    if another:
        said["of_another"] = another
        said["sentence"] = (
            f"This verdict was {another}, which the metrics, curves and images below are of. "
            f"{said['sentence']}"
        )
    return decided | said


def _gap(achieved: float | None, published: float | None) -> float | None:
    return None if achieved is None or published is None else achieved - published


def _sentence(decided: dict, figures: list[dict]) -> str:
    """Both answers in a sentence: how far from the published figure, under which conditions."""
    comparable = decided["verdict"] != "NOT COMPARABLE"
    of_zoo = verdict.reference_kind(decided) == "zoo"
    said = [
        _figure_said(figure, comparable, of_zoo)
        for figure in figures
        if figure["achieved"] is not None
    ]
    what = "; ".join(said) or "no figure was achieved"
    what = what[0].upper() + what[1:]
    if decided["verdict"] == verdict.NO_REFERENCE:
        return f"{what}. No reference was named to hold it against."
    if not comparable and not any(figure["gap"] is not None for figure in figures):
        what += ". There is nothing to hold it against"
    elif not comparable:
        what += ". The two cannot be held against each other"
    return f"{what}. Conditions: {decided['conditions']['sentence']}."


def _figure_said(figure: dict, comparable: bool, of_zoo: bool) -> str:
    said = f"{figure['name']} {figure['achieved']:.2f}"
    if figure["published"] is None:
        return f"{said}, for which nothing was published" if of_zoo else said
    reference = figure["published"]
    said += f", published {reference:.1f}" if of_zoo else f", reference {reference:.2f}"
    if figure["header"] is not None:
        said += f" (by the config's header {figure['header']:g})"
    if not comparable:
        return said
    said += f": {figure['gap']:+.2f} points"
    if figure["interval90"]:
        low, high = figure["interval90"]
        said += f" (90 % interval {low:+.2f} to {high:+.2f})"
    return said.replace("-", "−")


def _deviations(files: RunFiles) -> dict | None:
    """Deviations by class, those that affect AP first."""
    if files.deviations is None:
        return None
    groups: dict[str, list[dict]] = {name: [] for name in config.CLASSES}
    for deviation in files.deviations:
        groups.setdefault(deviation["class"], []).append(deviation)
    return {
        "affecting": sum(len(groups[name]) for name in AFFECTING),
        "classes": [
            {"class": name, "affects_ap": name in AFFECTING, "operations": operations}
            for name, operations in groups.items()
            if operations
        ],
    }


def _checkpoints(files: RunFiles, scored: list[Scored]) -> list[dict]:
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
        for evaluation in files.evaluations
    ]


def _facts(content: dict, of_zoo: bool) -> list[dict]:
    """The facts that decide how to read the verdict: damaged files, what was evaluated, what was
    trained on, the setup, and what --force overrode. Each: label, text, ok (True, False, or None
    where unknown)."""
    return [
        *_damaged(content),
        *(_evaluated(content, of_zoo), answers.trained_on(content, of_zoo)),
        answers.setup(content),
        *_best_kept(content),
        *_remarked(content),
        *_forced(content),
    ]


def _damaged(content: dict) -> Iterator[dict]:
    for entry in content["damaged"]:
        yield {"label": "Damaged file", "text": f"{entry['file']}: {entry['why']}", "ok": False}


def _best_kept(content: dict) -> Iterator[dict]:
    """The best checkpoint, which is not the one that is judged."""
    if content["best"] is not None:
        text = f"{best.sentence(content['best'])}; in {content['best']['checkpoint']['path']}"
        yield {"label": "Best kept", "text": text, "ok": None}


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


def _preflight(files: RunFiles) -> dict | None:
    """What was checked before the first step, and what was forced."""
    said = files.preflight
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


def _evaluated(content: dict, of_zoo: bool) -> dict:
    metrics = content["metrics"]
    if metrics is None:
        return {"label": "Evaluated on", "text": "nothing: no evaluation in the run", "ok": None}
    annotations = metrics["annotations"]
    text = (
        f"{annotations['images']:,} images with {annotations['annotations']:,} annotations in "
        f"{annotations['categories']} categories"
    )
    whole = annotations["images"] == 5000 if of_zoo else None
    if of_zoo:
        text += ", as many as val2017" if whole else "; val2017 has 5,000"
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
    decided = content["verdict"]
    seeds = [len(figure["seeds"]) for figure in (decided or {}).get("figures", [])]
    if decided and verdict.reference_kind(decided) != "zoo":
        if max(seeds, default=0) < 2:
            unchecked.append(
                {
                    "what": "the spread over seeds",
                    "why": "one run; with several, of this and of the reference, the verdict is "
                    "Welch's test (tools/verdict.py RUN RUN --reference=OTHER,OTHER)",
                }
            )
    elif decided and max(seeds, default=0) < 3:
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
