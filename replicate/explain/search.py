"""Detections scored again under named protocols, alone and in pairs: which give a told figure?"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm

from replicate.explain import protocols
from replicate.explain.figures import METRICS, SHOWN, Figures
from replicate.explain.scene import Scene
from replicate.explain.setting import MATCHING, OFFICIAL, Setting
from replicate.explain.told_figures import ToldFigure, given
from replicate.score.detections import Detections
from replicate.score.groundtruth import Groundtruth

# metric -> value in 0..1, None where undefined
_Figures = dict[str, float | None]
# metric -> lowest and highest
_Ranges = dict[str, list[float]]
_Libraries = list[tuple[protocols.Library, _Figures]]
# A protocol alone, or a pair.
_Members = tuple[protocols.Variant, ...]
_Pair = tuple[protocols.Variant, protocols.Variant]
# Chance is counted on figures up to so many half units from what was told.
_AROUND = 20
# Where a protocol alone leaves less, nothing is left for another to change.
_NOTHING = 0.005


@dataclasses.dataclass(frozen=True)
class Answer:
    """What re-scoring found.

    Attributes:
      official: metric -> value by COCO's protocol.
      alone: protocol, value, what, who, figures, effects of each; largest effect first.
      ties: metric -> [lowest, highest] over orders of equal scores.
      libraries: name, what, who, metrics, figures of each.
      pairs: how many pairs were tried.
      subsumed: how many pairs give it that hold a protocol which gives it alone.
      told: metric, written, value, half of each.
      explanations: kind ("official", "alone", "library", "ties", "pair"), protocols,
        figures: what gives every told figure, simplest first.
      chance: how many of the tried would be expected to give it by chance; None without `told`.
      tried: how many distinct figures that is out of.
      notes: hotcoco's word on what it scored.
      annotations, detections: what was scored, as metrics.json has it (docs/scoring.md).
      remarks: what is to be known of the detections beside their figures: sentences.
    """

    official: _Figures
    alone: list[dict]
    ties: _Ranges
    libraries: list[dict]
    pairs: int
    subsumed: int
    told: list[dict]
    explanations: list[dict]
    chance: float | None
    tried: int
    notes: list[str]
    annotations: dict | None = None
    detections: dict | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict:
        """As `explain/detections.json`; docs/explain.md describes it."""
        return {"format": 1, "form": "detections"} | dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class TriedFigures:
    """Figures of everything that was tried on one scene; any told figures are held against them.

    Attributes:
      official: by COCO's protocol.
      alone, pairs: of protocols, by what they hold.
      libraries: as libraries combine protocols.
      ties: the range over orders of equal scores.
    """

    official: _Figures
    alone: dict[protocols.Variant, _Figures]
    pairs: dict[_Pair, _Figures]
    libraries: _Libraries
    ties: _Ranges

    def answer(self, told: Iterable[ToldFigure] = (), notes: Iterable[str] = ()) -> Answer:
        """The Answer to told figures, of metrics that were asked for in `search`.

        Args:
          told: the figures.
          notes: lines to hand on.
        """
        tried: dict[_Members, _Figures] = {
            **{(variant,): values for variant, values in self.alone.items()},
            **{(first, second): values for (first, second), values in self.pairs.items()},
        }
        told = list(told)
        names = tuple(figure.metric for figure in told) or SHOWN
        explanations, subsumed = _explanations(
            told, self.official, tried, self.libraries, self.ties
        )
        return Answer(
            official=self.official,
            alone=_rows(self.alone, self.official),
            ties=self.ties,
            libraries=[
                {
                    "name": library.name,
                    "what": library.what,
                    "who": library.who,
                    "metrics": list(library.metrics),
                    "figures": values,
                }
                for library, values in self.libraries
            ],
            pairs=len(self.pairs),
            subsumed=subsumed,
            told=[dataclasses.asdict(figure) for figure in told],
            explanations=explanations,
            chance=_chance(told, self.official, tried) if told else None,
            tried=len(_distinct(tried, self.official, names)),
            notes=list(notes),
        )


def search(
    groundtruth: Groundtruth,
    detections: Detections,
    metrics: Iterable[str] = (),
    *,
    image_ids: Iterable[int] | None = None,
    pairs: bool = True,
) -> TriedFigures:
    """Scores under every protocol and library, and under pairs of protocols.

    Args:
      groundtruth: what is scored against.
      detections: checked.
      metrics: names of metrics that are asked for besides SHOWN.
      image_ids: ids of the images; default all of the groundtruth.
      pairs: try pairs of protocols too.
    """
    scene = Scene(groundtruth, detections, image_ids)
    figures = Figures(scene)
    asked = tuple(dict.fromkeys((*SHOWN, *metrics)))
    official = figures.of(OFFICIAL, METRICS)
    alone: dict[protocols.Variant, _Figures] = {}
    for variant in tqdm(
        protocols.variants(scene.masks), desc="protocols", unit="protocol", leave=False
    ):
        # Sizes are matched anew where a protocol changes matching: where they were asked for.
        alone[variant] = figures.of(variant.over(), asked if _matches(variant) else METRICS)
        if _matches(variant):
            figures.forget(variant.over())
    libraries = [
        (library, figures.of(library.setting, library.metrics))
        for library in protocols.LIBRARIES
        if not (scene.masks and library.fields.get("inclusive"))
    ]
    return TriedFigures(
        official=official,
        alone=alone,
        pairs=_paired(figures, alone, official, asked) if pairs else {},
        libraries=libraries,
        ties=_ties(figures, official, asked),
    )


def _paired(
    figures: Figures,
    alone: dict[protocols.Variant, _Figures],
    official: _Figures,
    asked: Sequence[str],
) -> dict[_Pair, _Figures]:
    """Figures of pairs of protocols of which each changes something and leaves something."""
    active = [
        variant
        for variant, values in alone.items()
        if (values["AP"] or 0) >= _NOTHING
        and any(not _same(value, official[name]) for name, value in values.items())
    ]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(active, 2)
        if a.name != b.name
        and a.compatible(b)
        # Boxes left in another image are matched anew; with one other change at a time.
        and not ("scale_not_undone" in (a.name, b.name) and _matches(a) and _matches(b))
    ]
    # Those that match alike follow each other, so that what they share can be let go of.
    pairs.sort(key=lambda pair: repr(_setting(pair).of_matching))
    figures_of: dict[_Pair, _Figures] = {}
    last = OFFICIAL
    for pair in tqdm(pairs, desc="pairs of protocols", unit="pair", leave=False):
        setting = _setting(pair)
        if setting.of_matching != last and last != OFFICIAL:
            figures.forget(last)
        figures_of[pair] = figures.of(setting, asked)
        last = setting.of_matching
    return figures_of


def _setting(pair: _Pair) -> Setting:
    first, second = pair
    return second.over(first.over())


def _matches(variant: protocols.Variant) -> bool:
    return any(name in MATCHING for name, _ in variant.fields)


def _same(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else abs(a - b) <= 1e-12


def _ties(figures: Figures, official: _Figures, asked: Sequence[str]) -> _Ranges:
    """The range of each metric over orders of equal scores: true detections last, and first."""
    ends = [
        figures.of(dataclasses.replace(OFFICIAL, ties=order), asked) for order in ("worst", "best")
    ]
    ranges = {}
    for name in asked:
        values = [value for end in (*ends, official) if (value := end[name]) is not None]
        if official[name] is not None:
            ranges[name] = [min(values), max(values)]
    return ranges


def _rows(alone: dict[protocols.Variant, _Figures], official: _Figures) -> list[dict]:
    """Protocols by their effect on AP; of equals, on AR@100 and on the rest."""
    rows = []
    for variant, values in alone.items():
        protocol = protocols.protocol_of(variant.name)
        effects = {name: _difference(values[name], official[name]) for name in values}
        rows.append(
            {
                "protocol": variant.name,
                "value": variant.value,
                "what": protocol.what,
                "who": list(protocol.who),
                "figures": values,
                "effects": effects,
            }
        )
    return sorted(
        rows,
        key=lambda row: [-abs(row["effects"].get(name) or 0) for name in (*SHOWN, *METRICS)],
    )


def _difference(value: float | None, official: float | None) -> float | None:
    """None where undefined; 0 where only the order of additions differs."""
    if value is None or official is None:
        return None
    return 0.0 if _same(value, official) else value - official


def _distinct(
    tried: dict[_Members, _Figures], official: _Figures, asked: Sequence[str]
) -> dict[_Members, _Figures]:
    """The tried without those whose figures another, simpler one has already."""
    known = {_key(official, asked)}
    distinct: dict[_Members, _Figures] = {}
    for key, values in tried.items():
        figure = _key(values, asked)
        if figure not in known:
            known.add(figure)
            distinct[key] = values
    return distinct


def _key(values: _Figures, asked: Iterable[str]) -> tuple[float | None, ...]:
    figures = (values[name] for name in asked)
    return tuple(None if figure is None else round(figure, 12) for figure in figures)


def _explanations(
    told: Sequence[ToldFigure],
    official: _Figures,
    tried: dict[_Members, _Figures],
    libraries: _Libraries,
    ties: _Ranges,
) -> tuple[list[dict], int]:
    """What gives every told figure, simplest first, and how many pairs only add to one of them."""
    if not told:
        return [], 0
    names = tuple(figure.metric for figure in told)

    def row(kind: str, members: list[str], values: _Figures) -> dict[str, Any]:
        return {
            "kind": kind,
            "protocols": members,
            "figures": {
                name: values[name] for name in dict.fromkeys((*names, *SHOWN)) if name in values
            },
        }

    rows = []
    if given(told, official):
        rows.append(row("official", [], official))
    # Alone and in pairs, a protocol is named where it changes what was told.
    shown = {_key(official, names)}
    enough: set[protocols.Variant] = set()
    for key, values in tried.items():
        if len(key) == 1:
            if given(told, values) and _key(values, names) != _key(official, names):
                rows.append(row("alone", [str(key[0])], values))
                enough.add(key[0])
            shown.add(_key(values, names))
    for library, values in libraries:
        if set(names) <= set(library.metrics) and given(told, values):
            rows.append(row("library", [library.name], values))
    if not given(told, official) and _within(told, ties):
        rows.append(row("ties", ["unstable_ties"], official))
    subsumed = 0
    for key, values in tried.items():
        if len(key) == 2 and given(told, values) and _key(values, names) not in shown:
            if enough & set(key) or given(told, official):
                subsumed += 1
            else:
                rows.append(row("pair", [str(variant) for variant in key], values))
    return rows, subsumed


def _within(told: Iterable[ToldFigure], ties: _Ranges) -> bool:
    """Whether another order of equal scores could give every told figure."""
    return all(
        figure.metric in ties
        and ties[figure.metric][0] < ties[figure.metric][1]
        and ties[figure.metric][0] - figure.half
        <= figure.value
        <= ties[figure.metric][1] + figure.half
        for figure in told
    )


def _chance(
    told: Sequence[ToldFigure], official: _Figures, tried: dict[_Members, _Figures]
) -> float:
    """How many of the tried are expected to give the told figures by chance.

    As dense as the tried figures lie around the told ones, without the told place itself: of those
    within 20 half units on every told metric but not within one, the share of the place's size.
    """
    names = tuple(figure.metric for figure in told)
    distinct = _distinct(tried, official, names).values()
    around = sum(given(told, values, _AROUND) and not given(told, values) for values in distinct)
    return around / (_AROUND ** len(told) - 1)
