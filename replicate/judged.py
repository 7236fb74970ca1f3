"""Is a kept verdict of the evaluation that lies beside it?"""

import math

#: Kind of evaluation -> the name of its figure.
FIGURES = {"bbox": "box AP", "segm": "mask AP", "keypoints": "keypoint AP"}


def of_another(verdict: dict, scores: list[dict]) -> str | None:
    """Of which evaluation a verdict was decided, where that is not the given one.

    Told by the checkpoint's hash where both have it, and by the figures.

    Args:
      verdict: the dict of verdict.json.
      scores: of one evaluation, a metrics.json's dict a kind ("others" among them).

    Returns:
      such as "decided of step 600 (box AP 52.34), not of step 300 (box AP 49.47)", or None.
    """
    mine = (scores[0].get("checkpoint") or {}).get("sha256")
    facts = verdict.get("facts") or []
    known = [fact["checkpoint_sha256"] for fact in facts if fact.get("checkpoint_sha256")]
    same = mine is None or not known or mine in known
    figures = [
        (FIGURES[score["iou_type"]], score["metrics"].get("AP"))
        for score in scores
        if "iou_type" in score  # an earlier kit did not write it
    ]
    if same and all(_among(ap, _decided(verdict, name)) for name, ap in figures):
        return None
    steps = sorted({fact["step"] for fact in facts if fact.get("step") is not None})
    of_steps = f"step {', '.join(map(str, steps))}" if steps else "another evaluation"
    then = [(name, points) for name, _ in figures for points in _decided(verdict, name)]
    now = [(name, None if ap is None else 100 * ap) for name, ap in figures]
    return f"decided of {of_steps}{_shown(then)}, not of step {scores[0]['step']}{_shown(now)}"


def _decided(verdict: dict, name: str) -> list[float | None]:
    """The figures of that name, in points, that a verdict was decided of; [] where it had none."""
    seeds = (verdict.get("seeds") or {}).get(name)
    if seeds is not None:
        return list(seeds)
    achieved = verdict.get("achieved") or {}
    return [achieved[name]] if name in achieved else []


def _among(ap: float | None, decided: list[float | None]) -> bool:
    if not decided:
        return True
    if ap is None:
        return None in decided
    return any(
        points is not None and math.isclose(points, 100 * ap, abs_tol=1e-6) for points in decided
    )


def _shown(figures: list[tuple[str, float | None]]) -> str:
    said = [
        f"{name} {'undefined' if points is None else f'{points:.2f}'}" for name, points in figures
    ]
    return f" ({', '.join(said)})" if said else ""
