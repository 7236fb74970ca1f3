"""`decide`: the verdict, its reasons and what may explain a gap."""

import dataclasses
import statistics

from replicate.errors import UserError
from replicate.verdict import causes, comparable, tolerance

# From best to worst; a model with several figures has the worst of theirs.
VERDICTS = ("REPLICATED", "NEAR", "NOT REPLICATED", "NOT COMPARABLE")

# What the zoo publishes of a model, by the kind of evaluation that measures it.
FIGURES = {
    "bbox": ("box AP", "box_map"),
    "segm": ("mask AP", "mask_map"),
    "keypoints": ("keypoint AP", "keypoint_map"),
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer, as verdict.json holds it.

    Attributes:
      verdict: one of VERDICTS.
      reasons: list of sentences: why this verdict.
      achieved: dict figure's name ("box AP") -> points; over several seeds their mean.
      published: dict alike.
      seeds: dict figure's name -> list of points, one an evaluation.
      tolerance: dict: kind, replicated, near (points), why.
      tests: dict figure's name -> the equivalence test over seeds, where there were three.
      sources: list of str: what the tolerance rests on.
      likely_causes: list of dicts, most likely first; empty when REPLICATED.
      notes: list of sentences that do not bear on the verdict.
    """

    verdict: str
    reasons: list
    achieved: dict
    published: dict
    seeds: dict
    tolerance: dict
    tests: dict
    sources: list
    likely_causes: list
    notes: list

    def to_json(self):
        """The fields as plain data."""
        return dataclasses.asdict(self)

    def text(self):
        """The verdict as lines for a terminal: reasons, figures, likely causes and their checks."""
        lines = [self.verdict, *(f"  - {reason}" for reason in self.reasons)]
        for name, points in self.achieved.items():
            shown = "undefined" if points is None else f"{points:.2f}"
            against = f", published {self.published[name]:.1f}" if name in self.published else ""
            lines.append(f"{name} {shown}{against}")
        kind = {"training": "a training run", "checkpoint": "a checkpoint evaluated again"}
        lines.append(
            f"tolerance of {kind[self.tolerance['kind']]}: REPLICATED within "
            f"{self.tolerance['replicated']} points, NEAR within {self.tolerance['near']}"
        )
        lines += [f"note: {note}" for note in self.notes]
        if self.likely_causes:
            lines.append("what may explain it, most likely first:")
        for each in self.likely_causes:
            count = len(each["evidence"])
            signs = "not ruled out" if not count else f"{count} sign{'s' * (count > 1)} of it"
            lines += [f"  {each['cause']} ({signs})", f"    check: {each['check']}"]
        return "\n".join(lines)


def decide(row, evaluations, deviations=(), *, kind="training", environment=None, val2017=None):
    """Decides whether a published figure was replicated.

    Args:
      row: the zoo's row (an object with `archive`, `box_map`, `mask_map`, `keypoint_map` in
        points), or None where no figure was ever published.
      evaluations: the dict of a metrics.json, or a list of them: of different kinds (boxes and
        masks), and of the same kind one a seed.
      deviations: config differences from the zoo's, dicts as in deviations.json.
      kind: "checkpoint", a published checkpoint evaluated again, or "training".
      environment: the dict of environment.json, or None where it is not known.
      val2017: identity of the user's own instances_val2017.json, see `comparable.obstacles`.

    Returns:
      Verdict.
    """
    if kind not in tolerance.TOLERANCES:
        raise UserError(f"kind '{kind}'; there are: {', '.join(tolerance.TOLERANCES)}")
    evaluations = [evaluations] if isinstance(evaluations, dict) else list(evaluations)
    seeds, published = {}, {}
    for evaluation in evaluations:
        name, _ = FIGURES[evaluation["iou_type"]]
        ap = evaluation["metrics"]["AP"]
        seeds.setdefault(name, []).append(None if ap is None else 100 * ap)
    for name, attribute in FIGURES.values():
        if row is not None and getattr(row, attribute) is not None:
            published[name] = getattr(row, attribute)
    achieved = {
        name: statistics.fmean(values) if None not in values else None
        for name, values in seeds.items()
    }

    bounds = tolerance.TOLERANCES[kind]
    obstacles = list(
        dict.fromkeys(
            sentence
            for evaluation in evaluations
            for sentence in comparable.obstacles(evaluation, deviations, kind, val2017)
        )
    )
    if not set(achieved) & set(published):
        which = " and ".join(achieved) or "anything"
        obstacles.append(
            "no figure was published to compare with"
            if not published
            else f"{row.archive} was published with {', '.join(published)}, not {which}"
        )
    tests = {}
    if obstacles:
        verdict, reasons = "NOT COMPARABLE", obstacles
    else:
        judged = {
            name: tolerance.judge(seeds[name], published[name], bounds)
            for name in achieved
            if name in published
        }
        verdict = max((each[0] for each in judged.values()), key=VERDICTS.index)
        reasons = [f"{name}: {reason}" for name, (_, reason, _) in judged.items()]
        tests = {name: test for name, (_, _, test) in judged.items() if test}
    return Verdict(
        verdict=verdict,
        reasons=reasons,
        achieved=achieved,
        published=published,
        seeds=seeds,
        tolerance={
            "kind": kind,
            "replicated": bounds.replicated,
            "near": bounds.near,
            "unit": "points of AP",
            "why": bounds.why,
        },
        tests=tests,
        sources=list(bounds.sources),
        likely_causes=[]
        if verdict == "REPLICATED"
        else causes.likely_causes(evaluations, deviations, kind, environment, achieved, published),
        notes=_notes(evaluations, achieved, published),
    )


def _notes(evaluations, achieved, published):
    notes = [
        f"{name} was published ({published[name]:.1f}) and not evaluated"
        for name in published
        if name not in achieved
    ]
    if any(evaluation["agree"] is None for evaluation in evaluations):
        notes.append("scored by one evaluator alone; --evaluator=both has the other's word")
    for evaluation in evaluations:
        notes += [
            f"mended before scoring: {repair['message']} ({repair['remedy']})"
            for repair in evaluation["repairs"]
        ]
    return notes
