"""`decide`: was the figure reached, under which conditions, and what may explain a gap."""

import dataclasses
import itertools
import statistics
from collections.abc import Iterable, Iterator

from replicate import engine, python_api, zoo
from replicate.config import Scaling
from replicate.errors import UserError
from replicate.judged import FIGURES as FIGURE_NAMES
from replicate.score import text
from replicate.verdict import causes, comparable, conditions, official, spread, telling, tolerance
from replicate.verdict.run_facts import RunFacts
from replicate.zoo import vision

NOT_COMPARABLE = "NOT COMPARABLE"
# From best to worst; a model with several figures has the worst of theirs.
VERDICTS = (
    *(tolerance.REPLICATED, tolerance.NEAR, tolerance.INCONCLUSIVE, tolerance.NOT_REPLICATED),
    NOT_COMPARABLE,
)
REACHED = (tolerance.REPLICATED, tolerance.NEAR)

# What the zoo publishes of a model, by the kind of evaluation that measures it.
_COLUMNS = {"bbox": "box_map", "segm": "mask_map", "keypoints": "keypoint_map"}
FIGURES = {kind: (name, _COLUMNS[kind]) for kind, name in FIGURE_NAMES.items()}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The two answers, as verdict.json holds them.

    Attributes:
      verdict: was the figure reached? One of VERDICTS.
      reached: the same as True (REPLICATED, NEAR), False (NOT REPLICATED), or None.
      headline: both answers in a sentence.
      conditions: conditions.Conditions: under which conditions?
      reasons: list of sentences: why this verdict.
      achieved: dict figure's name ("box AP") -> points; over several seeds their mean.
      published: dict alike, of the zoo's table (of the config's header where the table has none).
      figures: dict alike -> dict: published, header (where it differs, else None), against
        ("table" or "header"), val2017 ("stated" or "inferred"), rounding, runs, spread, and the
        fields of tolerance.Judged where it could be judged.
      seeds: dict figure's name -> list of points, one a run.
      tolerance: dict: kind, replicated, near (points), unit, why, sigma {low, high, pooled}.
      sources: list of str: what the tolerance rests on.
      likely_causes: list of dicts, by what the run shows; empty when REPLICATED.
      facts: list of dicts of RunFacts, one a run.
      notes: list of sentences that do not bear on the verdict.
      reference: dict: kind ("zoo", "runs", "metrics", "figures", "none"), name in words, and of one
        that the user named given, on, margin (`references.Asked`).
    """

    verdict: str
    reached: bool | None
    headline: str
    conditions: conditions.Conditions
    reasons: list[str]
    achieved: dict[str, float | None]
    published: dict[str, float]
    figures: dict[str, dict]
    seeds: dict[str, list[float | None]]
    tolerance: dict
    sources: list[str]
    likely_causes: list[dict]
    facts: list[dict]
    notes: list[str]
    reference: dict

    def __repr__(self) -> str:
        return f"<verdict: {self.headline}>"

    def _repr_html_(self) -> str:
        rows = [
            (name, self.published.get(name), "–" if points is None else f"{points:.2f}")
            for name, points in self.achieved.items()
        ]
        return python_api.table(
            self.headline,
            ["figure", "published" if self.reference["kind"] == "zoo" else "reference", "achieved"],
            rows,
            [*self.reasons, f"Conditions: {self.conditions.answer}.", *self.notes],
        )

    def to_json(self) -> dict:
        """The fields as plain data."""
        return dataclasses.asdict(self)

    def text(self) -> str:
        """The verdict as lines for a terminal."""
        return telling.text(self.to_json())


def decide(
    row: zoo.Row | None,
    evaluations: dict | Iterable[dict],
    deviations: list[dict] | None = None,
    *,
    kind: str = "training",
    environment: dict | None = None,
    val2017: dict | None = None,
    facts: Iterable[RunFacts] = (),
    scaling: Scaling | None = None,
    explained: Iterable[dict] = (),
    cut: float = 0.0,
) -> Verdict:
    """Decides whether a published figure was reached, and under which conditions.

    Args:
      row: the zoo's row (`zoo.find`), or None where no figure was ever published.
      evaluations: the dict of a metrics.json, or a list of them: of different kinds (boxes and
        masks), and of the same kind one a run.
      deviations: config differences from the zoo's, dicts as in deviations.json; None where the
        config is not known.
      kind: "checkpoint", a published checkpoint evaluated again, or "training".
      environment: the dict of environment.json, or None where it is not known.
      val2017: identity of the user's own official file, see `comparable.obstacles`.
      facts: list of RunFacts, one a run.
      scaling: `config.linear_scaling` of recipe and config, or None.
      explained: as of `measured.of_run`: what changes were measured to cost.
      cut: score threshold of the published evaluation; the zoo's has none.

    Raises:
      UserError: an unknown kind, or the same detections twice: that is one run.
    """
    if kind not in tolerance.KINDS:
        raise UserError(f"kind '{kind}'; there are: {', '.join(tolerance.KINDS)}")
    evaluations = [evaluations] if isinstance(evaluations, dict) else list(evaluations)
    check_distinct(evaluations)
    facts, margins = list(facts), tolerance.of_kind(kind)
    seeds = _seeds(evaluations)
    figures = _figures(row)
    conditioned = conditions.of(kind, deviations, scaling, facts)
    reasons = _obstacles(row, evaluations, deviations or (), val2017, seeds, figures, cut)
    judged = {} if reasons else _judged(seeds, figures, kind)
    if reasons:
        verdict = NOT_COMPARABLE
    else:
        verdict = max(
            (judged_figure.verdict for judged_figure, _ in judged.values()), key=VERDICTS.index
        )
        reasons = [
            f"{name}: {_reason(judged_figure, figures[name], against)}"
            for name, (judged_figure, against) in judged.items()
        ]
    reached = {NOT_COMPARABLE: None, tolerance.INCONCLUSIVE: None}.get(verdict, verdict in REACHED)
    situation = causes.Situation(
        evaluations=evaluations,
        conditions=conditioned,
        kind=kind,
        environment=environment or {},
        facts=facts,
        judged=[judged_figure for judged_figure, _ in judged.values()],
        two_figures=[difference for name in seeds for difference in _differing(name, figures)],
        explained=list(explained),
        engine=_engine(row),
        cut=cut,
        cap=_own_cap(row),
    )
    by_header = [name for name, (_, against) in judged.items() if against == "header"]
    return Verdict(
        verdict=verdict,
        reached=reached,
        headline=telling.headline(verdict, kind, max(map(len, seeds.values())), conditioned),
        conditions=conditioned,
        reasons=reasons,
        achieved={
            name: None if (held := known(values)) is None else statistics.fmean(held)
            for name, values in seeds.items()
        },
        published={name: figure["published"].points for name, figure in figures.items()},
        figures={
            name: _figure_json(figures.get(name), *judged.get(name, (None, None)))
            for name in dict.fromkeys([*seeds, *figures])
        },
        seeds=seeds,
        tolerance=tolerance_json(kind),
        sources=list(margins.sources),
        likely_causes=[] if verdict == tolerance.REPLICATED else causes.likely(situation),
        facts=[run_facts.to_json() for run_facts in facts],
        notes=[
            *_notes(evaluations, seeds, figures, facts, val2017, by_header),
            *_uncut(evaluations, cut),
            *_others(row, kind, seeds),
        ],
        reference={"kind": "zoo", "name": row.archive if row else ""},
    )


def tolerance_json(kind: str) -> dict:
    """The margins of a published figure, as verdict.json has them."""
    margins, evidence = tolerance.of_kind(kind), spread.evidence()
    return {
        "kind": kind,
        "replicated": margins.replicated,
        "near": margins.near,
        "unit": "points of AP",
        "why": margins.why,
        "sigma": {"low": evidence.low, "high": evidence.high, "pooled": evidence.pooled},
    }


def _engine(row: zoo.Row | None) -> str:
    """Whose figure it is."""
    of_vision = row is not None and vision.get(row.archive) is not None
    return engine.TFVISION if of_vision else engine.ODAPI


def _uncut(evaluations: Iterable[dict], cut: float) -> list[str]:
    """That the published evaluation threw detections away which are among these."""
    lowest = [evaluation["detections"].get("min_score") for evaluation in evaluations]
    if not any(score is not None and score < cut for score in lowest):
        return []
    return [
        f"the published evaluation cut detections at a score of {cut:g}, these are not cut: what "
        "lies below can only add to AP"
    ]


def check_distinct(evaluations: Iterable[dict], sources: Iterable[str] = ()) -> None:
    """The same detections are one run, however often they are named.

    Args:
      evaluations: dicts of metrics.json.
      sources: what each was read from, as it was named; without it the detections' own file is.

    Raises:
      UserError: two of them have the same detections.
    """
    seen: dict[tuple[str, str | None], str] = {}
    for evaluation, source in itertools.zip_longest(evaluations, sources):
        digest = evaluation["detections"].get("sha256")
        key = (evaluation["iou_type"], digest)
        name = source or evaluation["detections"].get("file") or "one of the evaluations"
        if digest and key in seen:
            first = seen[key]
            again = "named twice" if name == first else f"the same, byte for byte, as {first}'s"
            raise UserError(
                f"{name}: its detections are {again}: one run and its copy are no two seeds. "
                "Name each run once; a second seed is trained with --seed=1"
            )
        seen[key] = name


def known(values: list[float | None]) -> list[float] | None:
    """The values, None where one of them is undefined."""
    defined = [value for value in values if value is not None]
    return defined if len(defined) == len(values) else None


def _seeds(evaluations: Iterable[dict]) -> dict[str, list[float | None]]:
    seeds: dict[str, list[float | None]] = {}
    for evaluation in evaluations:
        name, _ = FIGURES[evaluation["iou_type"]]
        ap = evaluation["metrics"]["AP"]
        seeds.setdefault(name, []).append(None if ap is None else 100 * ap)
    return seeds


def _figures(row: zoo.Row | None) -> dict[str, dict]:
    """Figure's name -> {published, header (where it differs), val2017}."""
    if row is None:
        return {}
    figures = {}
    for name, attribute in FIGURES.values():
        kind = attribute.removesuffix("_map")
        table, header = row.table_figure(kind), row.header_figure(kind)
        first = table or header
        if first is None:
            continue
        other = None
        if table and header and abs(table.points - header.points) > table.rounding + 1e-9:
            other = header
        said = header if header and not other else first
        figures[name] = {
            "published": tolerance.PublishedFigure(
                first.points, first.rounding, said.runs or 1, said.spread
            ),
            "header": tolerance.PublishedFigure(
                other.points, other.rounding, other.runs or 1, other.spread
            )
            if other
            else None,
            "val2017": said.val2017,
        }
    return figures


def _obstacles(
    row: zoo.Row | None,
    evaluations: list[dict],
    deviations: Iterable[dict],
    val2017: dict | None,
    seeds: dict[str, list[float | None]],
    figures: dict[str, dict],
    cut: float,
) -> list[str]:
    cap = _own_cap(row)
    obstacles = dict.fromkeys(
        sentence
        for evaluation in evaluations
        for sentence in comparable.obstacles(evaluation, deviations, val2017, cut, cap)
    )
    if not set(seeds) & set(figures):
        which = " and ".join(seeds) or "anything"
        obstacles[
            "no figure was published to compare with"
            if row is None or not figures
            else f"{row.archive} was published with {', '.join(figures)}, not {which}"
        ] = None
    return list(obstacles)


def _own_cap(row: zoo.Row | None) -> int | None:
    """Detections an image that the recipe itself keeps, None where it does not say."""
    if row is None or not row.template:
        return None
    from replicate import config

    detector = config.architecture_message(config.read(row.template))
    for name in ("post_processing", "second_stage_post_processing"):
        if hasattr(detector, name):
            return getattr(detector, name).batch_non_max_suppression.max_total_detections or None
    return None


def _judged(
    seeds: dict[str, list[float | None]], figures: dict[str, dict], kind: str
) -> dict[str, tuple[tolerance.Judged, str]]:
    """Figure's name -> (Judged, "table" or "header"): by the nearer of two published figures."""
    closest = {}
    for name, values in seeds.items():
        if name not in figures:
            continue
        candidates = [(figures[name]["published"], "table"), (figures[name]["header"], "header")]
        judged = [
            (tolerance.judge(values, published, kind), against)
            for published, against in candidates
            if published is not None
        ]
        closest[name] = min(
            judged, key=lambda pair: (VERDICTS.index(pair[0].verdict), abs(pair[0].gap))
        )
    return closest


def _reason(judged: tolerance.Judged, figure: dict, against: str) -> str:
    if against == "table":
        return judged.reason
    table = figure["published"].points
    away = judged.gap + figure["header"].points - table
    return (
        f"{judged.reason}. That is the figure of the config's header; the zoo's table says "
        f"{table:.1f}, {abs(away):.2f} {'lower' if away > 0 else 'higher'}"
    )


def _differing(name: str, figures: dict[str, dict]) -> Iterator[str]:
    header = figures[name]["header"] if name in figures else None
    if header is not None:
        yield (
            f"{name}: the zoo's table says {figures[name]['published'].points:.1f}, the config's "
            f"header {header.points:g}"
        )


def _figure_json(figure: dict | None, judged: tolerance.Judged | None, against: str | None) -> dict:
    if figure is None:
        return {"published": None, "header": None}
    published = figure["published"]
    value = {
        "published": published.points,
        "rounding": published.rounding,
        "runs": published.runs,
        "spread": published.spread,
        "header": figure["header"].points if figure["header"] else None,
        "val2017": figure["val2017"],
        "against": against,
    }
    return value | (judged.to_json() if judged else {})


def _others(row: zoo.Row | None, kind: str, seeds: dict[str, list[float | None]]) -> list[str]:
    """What others measured of the same weights: evidence beside the figure, no tolerance."""
    if row is None or kind != "checkpoint" or "box AP" not in seeds:
        return []
    return [f"re-evaluated by others: box AP {ap}" for ap in zoo.reruns(row.archive)]


def _notes(
    evaluations: list[dict],
    seeds: dict[str, list[float | None]],
    figures: dict[str, dict],
    facts: list[RunFacts],
    val2017: dict | None,
    by_header: list[str],
) -> list[str]:
    notes = [
        f"{name} was published ({figure['published'].points:.1f}) and not evaluated"
        for name, figure in figures.items()
        if name not in seeds
    ]
    notes += [
        difference
        for name in seeds
        if name not in by_header
        for difference in _differing(name, figures)
    ]
    inferred = [n for n in seeds if n in figures and figures[n]["val2017"] == "inferred"]
    if inferred:
        notes.append(
            f"that the published {' and '.join(inferred)} {'is' if len(inferred) == 1 else 'are'} "
            "on val2017 is inferred, no document says it"
        )
    if any(evaluation["agree"] is None for evaluation in evaluations):
        notes.append("scored by one evaluator alone; --evaluator=both has the other's word")
    if any((evaluation.get("inference") or {}).get("jit_compile") for evaluation in evaluations):
        notes.append(
            "evaluated with --jit_compile: XLA compiled the forward pass, and scores differ from "
            "those without it in their last digits"
        )
    if any((evaluation.get("inference") or {}).get("tf32") for evaluation in evaluations):
        notes.append(
            "evaluated on a GPU in TensorFloat-32, as TensorFlow does by default: scores have 10 "
            "bits of mantissa in their products; --notf32 of tools/evaluate.py keeps all 23"
        )
    for evaluation in evaluations:
        # A cut or cap of the detections is among the reasons or conditions.
        notes += text.remarks(evaluation, cuts=False)
    official_known = val2017 or any(
        official.remembered(evaluation["iou_type"]) for evaluation in evaluations
    )
    if not official_known and all(
        evaluation["annotations"]["images"] == official.VAL2017.images for evaluation in evaluations
    ):
        notes.append(
            "what was evaluated fits what is publicly known of val2017; --val2017_annotations, "
            "given once, has it compared with your official file by hash"
        )
    return list(dict.fromkeys([*notes, *notes_of_runs(facts)]))


def notes_of_runs(facts: Iterable[RunFacts]) -> list[str]:
    """What is to be known of the runs themselves: sentences."""
    facts, notes = list(facts), []
    seeds_said = [run_facts.seed for run_facts in facts if run_facts.seed is not None]
    if len(set(seeds_said)) < len(seeds_said):
        notes.append("two runs have the same --seed: on a CPU they would be one run")
    for run_facts in facts:
        for sentence in (run_facts.preflight or {}).get("forced", []):
            notes.append(f"launched with --force although preflight failed: {sentence}")
        notes += run_facts.accepted
        notes += telling.of_best(run_facts.best, run_facts.checkpoint_sha256)
    return notes
