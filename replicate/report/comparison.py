"""Several runs side by side, as data: what the comparison's page says."""

from collections.abc import Iterable

from tqdm import tqdm

from replicate import config, engine, zoo
from replicate.config import rules
from replicate.errors import UserError
from replicate.report import compared_images, standing
from replicate.report.compared_images import ByKey
from replicate.report.participants import Participant
from replicate.report.score_section import MEANINGS
from replicate.report.training_section import measurement
from replicate.score import over_images
from replicate.verdict import FIGURES

FORMAT = 1
IMAGES = 24
METRICS = tuple(MEANINGS)


def of(
    participants: list[Participant],
    *,
    with_zoo: bool = False,
    baseline: str | None = None,
    samples: int = 200,
    images: int = IMAGES,
) -> dict:
    """The comparison as a dict of plain values.

    Args:
      participants: list of participants.Participant.
      with_zoo: whether the published rows stand in the table as well.
      baseline: name of the participant that the others are held against; default the first whose
        detections are at hand.
      samples: halves of the images for the intervals of the categories; 0 leaves them out.
      images: how many images the gallery has.

    Raises:
      UserError: `baseline` is not among them.
    """
    not_checked: list[dict] = []
    scored = _scored(participants, not_checked)
    base = _baseline(participants, scored, baseline, not_checked)
    together = _on_the_same_images(scored, base, not_checked)
    for participant in participants:
        not_checked += _lost(participant)
    of_groups = standing.groups(participants, base.key if base else None)
    names = {participant.key: participant.name for participant in participants}
    aps = {participant.key: participant.facts["metrics"].get("AP") for participant in participants}
    return {
        "format": FORMAT,
        "groups": of_groups,
        "headline": standing.headline(of_groups, names, together, samples, aps),
        "overall": standing.overall(together, base, samples) if base else {},
        "baseline": base.key if base else None,
        "metrics": list(METRICS),
        "runs": [
            {
                "key": participant.key,
                "name": participant.name,
                "path": participant.path,
                "kind": participant.kind,
                "config": participant.message is not None,
            }
            | participant.facts
            for participant in participants
        ],
        "zoo": [_zoo_row(row) for row in zoo.rows()] if with_zoo else [],
        "hyperparameters": hyperparameters(participants),
        "curves": _curves(participants),
        "per_category": _per_category(together, base, samples) if base else None,
        "samples": samples,
        "intervals_method": over_images.METHOD,
        "fewest_images": over_images.FEWEST_IMAGES,
        "speed": _speed(participants),
        "gallery": compared_images.gallery_of(together, base, images) if base else None,
        "not_checked": not_checked,
    }


def hyperparameters(participants: Iterable[Participant]) -> list[dict]:
    """The config fields in which runs differ, paths and cosmetic ones left out.

    Returns:
      list of dicts: path, class, values (key of the run -> value, None where not set).
    """
    runs = [participant for participant in participants if participant.message is not None]
    if len(runs) < 2:
        return []
    rows, by_engine = [], {run.key: engine.NAMES[engine.of(run.message)] for run in runs}
    of_engine: dict[str, list[Participant]] = {}
    for run in runs:
        of_engine.setdefault(by_engine[run.key], []).append(run)
    if len(of_engine) > 1:  # their configs have no field in common
        rows.append({"path": "engine", "class": "architecture", "values": by_engine})
    for alike in of_engine.values():
        rows += _differing(alike, [run.key for run in runs])
    seeds = {run.key: run.facts["seed"] for run in runs}
    if len(set(seeds.values())) > 1:
        rows.append({"path": "seed", "class": "randomness", "values": seeds})
    return sorted(rows, key=lambda row: (row["class"], row["path"]))


def _differing(runs: list[Participant], keys: list[str]) -> list[dict]:
    """The rows of runs of one engine; those of another have none of their fields."""
    first = runs[0]
    paths: dict[str, dict[str, config.Operation]] = {}
    for run in runs[1:]:
        for operation in engine.diff(first.message, run.message):
            paths.setdefault(operation.path, {})[run.key] = operation
    rows = []
    for path, operations in paths.items():
        some = next(iter(operations.values()))
        cls = some.cls or rules.rule_for(path, some.a, some.b).cls
        if cls in rules.SAME:
            continue
        values = dict.fromkeys(keys)
        values |= {
            run.key: operations[run.key].b if run.key in operations else some.a for run in runs
        }
        rows.append({"path": path, "class": cls, "values": values})
    return rows


def _lost(participant: Participant) -> list[dict]:
    """Evaluations of a run that are not whole, so that an earlier one stands in their place; a
    verdict that is of another one."""
    another = (participant.report.get("verdict") or {}).get("of_another")
    lost = [{"what": f"the verdict of {participant.name}", "why": another}] if another else []
    return lost + [
        {"what": f"{entry['what']} of {participant.name}", "why": entry["why"]}
        for entry in participant.report.get("not_checked", [])
        if entry["what"].startswith(("the evaluation of step", "the metrics of step"))
    ]


def _scored(participants: list[Participant], not_checked: list[dict]) -> ByKey:
    """dict key -> (participant, score.Result) of those whose detections are at hand."""
    scored = {}
    for participant in tqdm(participants, desc="score", unit="run", disable=len(participants) < 5):
        try:
            if not participant.evaluations:
                raise UserError(participant.no_detections)
            scored[participant.key] = participant, participant.scored()
            if participant.facts["F1_50"] is None:
                handle = participant.scored().evaluations["hotcoco"].handle
                participant.facts["F1_50"] = handle.f_scores().get("F1_50")
        except UserError as error:
            not_checked.append(
                {"what": f"categories and images of {participant.name}", "why": str(error)}
            )
    return scored


def _baseline(
    participants: list[Participant], scored: ByKey, name: str | None, not_checked: list[dict]
) -> Participant | None:
    if name is None:
        return next((participant for participant, _ in scored.values()), None)
    for participant in participants:
        if participant.name == name or participant.path == name:
            if participant.key not in scored:
                not_checked.append(
                    {"what": "differences from the baseline", "why": f"{name} has no detections"}
                )
                return None
            return participant
    raise UserError(
        f"--baseline={name}: not among the runs; there are: "
        + ", ".join(participant.name for participant in participants)
    )


def _on_the_same_images(scored: ByKey, base: Participant | None, not_checked: list[dict]) -> ByKey:
    """Those scored on the baseline's groundtruth: dict key -> (participant, score.Result)."""
    if base is None:
        return {}
    of_base = scored[base.key][1]
    together = {}
    for key, (participant, result) in scored.items():
        if (
            result.groundtruth.sha256 == of_base.groundtruth.sha256
            and result.image_ids == of_base.image_ids
            and result.iou_type == of_base.iou_type
        ):
            together[key] = participant, result
        else:
            not_checked.append(
                {
                    "what": f"categories and images of {participant.name} against {base.name}",
                    "why": "scored on other images, another annotation file or kind of score",
                }
            )
    return together


def _curves(participants: Iterable[Participant]) -> list[dict]:
    """Losses, learning rate, speed, AP, AR and F1 by step.

    Returns:
      list of {name, y_label, share, of_machine, lines}: `share` where values are shares of one,
      shown in percent; a line is {run, step, value}, None a gap.
    """
    curves: dict[str, dict] = {}

    def add(
        name: str,
        y_label: str,
        participant: Participant,
        steps: list[int],
        values: list[float | None],
        of_machine: bool = False,
        share: bool = False,
    ) -> None:
        if any(value is not None for value in values):
            about = {"y_label": y_label, "share": share, "of_machine": of_machine}
            curve = curves.setdefault(name, {"name": name} | about | {"lines": []})
            curve["lines"].append({"run": participant.key, "step": steps, "value": values})

    for participant in participants:
        report = participant.report
        training, plan = report.get("training"), report.get("schedule")
        checkpoints = report.get("checkpoints") or []
        if training:
            for name, values in training["losses"].items():
                title = name.removeprefix("Loss/").replace("_", " ")
                add(title.capitalize(), "loss", participant, training["step"], values)
        if plan and plan["actual"]["step"]:
            rates = plan["actual"]
            add(
                "Learning rate", "learning rate", participant, rates["step"], rates["learning_rate"]
            )
        steps = [checkpoint["step"] for checkpoint in checkpoints]
        for metric in ("AP", "AP50", "AR@100"):
            values = [checkpoint["metrics"].get(metric) for checkpoint in checkpoints]
            add(metric, f"{metric} (%)", participant, steps, values, share=True)
        values = [checkpoint["F1_50"] for checkpoint in checkpoints]
        add("F1 at IoU 0.5", "F1 (%)", participant, steps, values, share=True)
        if training:
            speed = training["images_per_second"]
            add("Training speed", "images / s", participant, training["step"], speed, True)
            waits = training["input_wait"]
            add(
                "Input wait",
                "input wait (%)",
                participant,
                training["step"],
                waits,
                True,
                share=True,
            )
            # Measurements come in their own unit, uses of processor and GPU in percent.
            for name, values in training["system"].items():
                add(*measurement(name), participant, training["step"], values, True)
    # The losses first, the total before its parts.
    order = sorted(curves.values(), key=lambda curve: curve["name"] != "Total loss")
    return order


def _per_category(together: ByKey, base: Participant, samples: int) -> list[dict]:
    """AP by category of the baseline, and of each other run the difference with its interval."""
    of_base = together[base.key][1]
    rows = [
        {"id": category["id"], "name": category["name"], "baseline": category["AP"], "others": {}}
        for category in of_base.per_category
        if category["AP"] is not None
    ]
    others = {key: result for key, (_, result) in together.items() if key != base.key}
    cells = len(others) * len(rows)
    with tqdm(total=cells, desc="categories", unit="interval", disable=cells < 20) as bar:
        for key, result in others.items():
            ap = {category["id"]: category["AP"] for category in result.per_category}
            ids = [row["id"] for row in rows]
            intervals = over_images.of_categories(result, of_base, ids, samples=samples)
            for row, interval in zip(rows, intervals, strict=True):
                interval = interval or {"low": None, "high": None}
                row["others"][key] = {
                    "AP": ap[row["id"]],
                    "difference": ap[row["id"]] - row["baseline"],
                    "low": interval["low"],
                    "high": interval["high"],
                }
                bar.update()
    return rows


def _speed(participants: Iterable[Participant]) -> dict:
    """Accuracy against latency: the zoo's published points with their frontier, and ours."""
    points = sorted(
        (
            (row.archive, row.speed_ms, row.box_map)
            for row in zoo.rows()
            if row.speed_ms and row.box_map
        ),
        key=lambda point: (point[1], -point[2]),
    )
    frontier, best = [], 0.0
    for name, _, box_map in points:
        if box_map > best:
            frontier.append(name)
            best = box_map
    return {
        "zoo": [
            {"name": name, "latency_ms": speed_ms, "AP": box_map / 100}
            for name, speed_ms, box_map in points
        ],
        "frontier": frontier,
        "runs": [
            {
                "run": participant.key,
                "latency_ms": participant.facts["latency_ms"],
                "AP": participant.facts["metrics"].get("AP"),
                "device": participant.facts["device"],
            }
            for participant in participants
            if participant.facts["latency_ms"] is not None
            and participant.facts["metrics"].get("AP") is not None
        ],
    }


def _zoo_row(row: zoo.Row) -> dict:
    _, attribute = FIGURES["bbox"]
    published = getattr(row, attribute)
    return {
        "name": row.display_name,
        "model": row.archive,
        "AP": published / 100 if published is not None else None,
        "latency_ms": row.speed_ms,
    }
