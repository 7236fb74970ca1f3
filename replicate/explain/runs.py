"""Two runs: every difference between them, and how much of the gap evaluation made."""

import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from replicate import config as configs
from replicate import engine, score
from replicate.errors import UserError
from replicate.run import RunDir, read_json
from tfrecords import manifest as manifest_files

#: Where differences are looked for, in the order in which they could matter.
ORDER = ("training data", "starting weights", "config", "evaluation", "environment")
# Parts of a config that evaluation reads; the rest is training's.
_OF_EVALUATION = (
    *("post_processing", "eval_config", "eval_input_reader"),
    *("detection_generator", "validation_data"),
)
_COUNTED = ("images", "annotations", "image_ids_sha256", "sha256")


class _Absent:
    """A field that a run's files do not have: not recorded, which is no difference."""


_ABSENT = _Absent()
# There a name that is absent is a package that is not installed, a variable that is not set.
_SETS = ("packages", "variables")


@dataclasses.dataclass(frozen=True)
class RunDifference:
    """One difference between two runs.

    Attributes:
      part: of ORDER.
      what: the field, a config path for one.
      a, b: its values.
      why: what is known of it, or "".
    """

    part: str
    what: str
    a: object
    b: object
    why: str = ""


def from_runs(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    evaluate: bool = True,
    samples: int = 200,
) -> dict:
    """Names the differences of two runs and splits the gap between their figures.

    What one of them has not recorded (it is of an older kit) is no difference; `note` names it.

    Args:
      a, b: run directories with an evaluation each; the last one is compared.
      evaluate: evaluate each one's checkpoint as the other was, where that differs.
      samples: of the images, for the interval of the gap, where both have the same images.

    Returns:
      `explain/runs.json`; docs/explain.md describes it. AP in points.

    Raises:
      UserError: not a run directory, or no evaluation in it; one run twice.
    """
    first, second = (_Run.of(path) for path in (a, b))
    if first.root.resolve() == second.root.resolve():
        raise UserError(f"{b} is {a}: one run, which differs from itself in nothing; name two")
    compared = sorted(
        [
            *_of_data(first, second),
            *_of_weights(first, second),
            *_of_config(first, second),
            *_of_evaluation(first, second),
            *_of_environment(first, second),
        ],
        key=lambda difference: ORDER.index(difference.part),
    )
    unrecorded = [difference for difference in compared if _ABSENT in (difference.a, difference.b)]
    differences = [
        difference for difference in compared if _ABSENT not in (difference.a, difference.b)
    ]
    differing = [difference for difference in differences if difference.part == "evaluation"]
    unknown = [difference for difference in unrecorded if difference.part == "evaluation"]
    crossed: dict[str, float | None] = {}
    note = ""
    crosses = engine.detecting_as(first.config, second.config) is not None
    if not crosses and _gap(first, second) is not None:
        of = "engines" if engine.of(first.config) != engine.of(second.config) else "kinds"
        note = (
            f"not split: their models are of two {of}, and each keeps and suppresses detections by "
            "settings that the other does not have"
        )
    elif not differing:
        note = _evaluated_alike(first, second, differences, bool(unknown))
    elif _gap(first, second) is None:
        note = "AP is undefined, so there is no gap"
    elif not evaluate:
        note = "evaluations differ; the gap is not split, as --noevaluate asks"
    else:
        missing = [str(run.root) for run in (first, second) if not run.can_be_evaluated]
        if missing:
            note = f"not split: the validation images of {' and '.join(missing)} are not there"
        else:
            crossed = {"a_as_b": _points_as(first, second), "b_as_a": _points_as(second, first)}
    return {
        "format": 1,
        "form": "runs",
        "runs": [
            {"path": str(run.root), "step": run.step, "AP": run.points} for run in (first, second)
        ],
        "gap": _gap(first, second),
        "interval": _interval(first, second, samples),
        "crossed": crossed,
        "split": _split(first, second, crossed, not crosses or bool(differing or unknown)),
        "note": "\n".join(filter(None, [note, *_not_recorded(unrecorded, first, second)])),
        "differences": [dataclasses.asdict(difference) for difference in differences],
    }


@dataclasses.dataclass(frozen=True)
class _Run:
    root: pathlib.Path
    step: int
    metrics: dict
    config: Any
    request: dict
    environment: dict
    manifests: dict

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "_Run":
        run = RunDir.existing(path)
        request = read_json(run.spec).get("request", {})
        steps = run.evaluated_steps()
        if not steps:
            unfinished = ", ".join(map(str, run.unfinished_steps()))
            state = f"no whole one (evals/{unfinished} is incomplete)" if unfinished else "none"
            raise UserError(
                f"{path}: an evaluation is wanted, there is {state}; "
                f"tools/evaluate.py --model_dir={path} makes one"
            )
        metrics = run.scores_at(steps[-1])[0]
        manifests = {
            split: read_json(path) for split, path in manifest_files.in_folder(run.data).items()
        }
        return cls(
            root=run.root,
            step=steps[-1],
            metrics=metrics,
            config=engine.of_run(run.config),
            request=request,
            environment=read_json(run.environment) if run.environment.is_file() else {},
            manifests=manifests,
        )

    @property
    def points(self) -> float | None:
        """AP, in points."""
        value = self.metrics["metrics"]["AP"]
        return None if value is None else 100 * value

    @property
    def checkpoint(self) -> str:
        return str(RunDir.at(self.root).checkpoints / f"ckpt-{self.step}")

    @property
    def places(self) -> tuple[str | None, str | None]:
        """Annotations and images of its evaluation, as it was asked for."""
        return self.request.get("val_annotations"), self.request.get("val_images")

    @property
    def can_be_evaluated(self) -> bool:
        return all(place and pathlib.Path(place).exists() for place in self.places)


def _of_data(a: _Run, b: _Run) -> Iterator[RunDifference]:
    for name in sorted({"train", *a.manifests, *b.manifests} - {"val"}):
        ours, theirs = (run.manifests.get(name, _ABSENT) for run in (a, b))
        yield from _fields("training data", name, ours, theirs)


def _of_weights(a: _Run, b: _Run) -> Iterator[RunDifference]:
    for field in ("fine_tune_checkpoint", "seed"):
        ours, theirs = (run.request.get(field, _ABSENT) for run in (a, b))
        yield from _fields("starting weights", field, ours, theirs)


def _of_config(a: _Run, b: _Run) -> Iterator[RunDifference]:
    engines = [engine.NAMES[engine.of(run.config)] for run in (a, b)]
    if engines[0] != engines[1]:
        why = "their configs have no field in common, and are not compared"
        yield RunDifference("config", "engine", engines[0], engines[1], why)
    for operation in _operations(a, b):
        if operation.cls not in configs.rules.SAME and not _evaluates(operation.path):
            yield RunDifference("config", operation.path, operation.a, operation.b, operation.why)


def _operations(a: _Run, b: _Run) -> list[configs.Operation]:
    """The differences of two configs of one engine; none of two."""
    same_engine = engine.of(a.config) == engine.of(b.config)
    return engine.diff(a.config, b.config) if same_engine else []


def _of_evaluation(a: _Run, b: _Run) -> Iterator[RunDifference]:
    for field in _COUNTED:
        ours, theirs = (run.metrics["annotations"].get(field, _ABSENT) for run in (a, b))
        if ours != theirs:
            yield RunDifference("evaluation", f"annotations.{field}", ours, theirs)
    ours, theirs = (run.metrics.get("inference") or _ABSENT for run in (a, b))
    yield from _fields("evaluation", "inference", ours, theirs)
    for operation in _operations(a, b):
        if operation.cls not in configs.rules.SAME and _evaluates(operation.path):
            yield RunDifference(
                "evaluation", operation.path, operation.a, operation.b, operation.why
            )


def _of_environment(a: _Run, b: _Run) -> Iterator[RunDifference]:
    yield from _fields("environment", "", a.environment, b.environment)


def _evaluates(path: str) -> bool:
    return any(name in path for name in _OF_EVALUATION)


def _fields(part: str, name: str, a: Any, b: Any) -> Iterator[RunDifference]:
    """Differences of two values, down into dicts; of places and times none are told."""
    if name not in _SETS:  # a record that one lacks as a whole lacks its fields
        a, b = (
            {} if mine is _ABSENT and isinstance(other, dict) else mine
            for mine, other in ((a, b), (b, a))
        )
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            if key not in ("diff", "file", "created", "path", "files", "shards", "source"):
                path = f"{name}.{key}" if name else key
                absent = None if name in _SETS else _ABSENT
                yield from _fields(part, path, a.get(key, absent), b.get(key, absent))
    elif a != b:
        yield RunDifference(part, name, a, b)


def _not_recorded(unrecorded: Collection[RunDifference], a: _Run, b: _Run) -> Iterator[str]:
    """A line for each run that lacks what the other has recorded."""
    for run, mine in ((a, "a"), (b, "b")):
        missing = [difference for difference in unrecorded if getattr(difference, mine) is _ABSENT]
        if missing:
            parts: dict[str, list[str]] = {}
            for difference in missing:
                parts.setdefault(difference.part, []).append(difference.what)
            names = "; ".join(f"{part}: {', '.join(of_part)}" for part, of_part in parts.items())
            again = (
                f". Evaluated again it is: move {run.root}/evals/{run.step} away, then "
                f"tools/evaluate.py --model_dir={run.root}"
            )
            yield f"not recorded in {run.root}: {names}" + (again if "evaluation" in parts else "")


def _points_as(run: _Run, other: _Run) -> float | None:
    """AP in points of `run`'s checkpoint evaluated as `other` was."""
    from replicate.evaluate.detections import Evaluation

    config = engine.detecting_as(run.config, other.config)
    annotations, images = (str(place) for place in other.places)  # `can_be_evaluated` has seen both
    inference = other.metrics.get("inference") or {}
    evaluation = Evaluation(
        config,
        annotations,
        images,
        suppressed_by=inference.get("suppression_asked", "kit"),
        jit_compile=inference.get("jit_compile", False),
        tf32=inference.get("tf32", False),
        beside=run.root,
    )
    evaluation.restore(run.checkpoint)
    results = [result for detections in evaluation.by_image() for result in detections.as_results()]
    value = score.score(annotations, results, evaluator="hotcoco").metrics["AP"]
    return None if value is None else 100 * value


def _evaluated_alike(
    a: _Run, b: _Run, differences: Collection[RunDifference], unknown: bool
) -> str:
    """What follows where no difference of evaluation was found; what does not is not said.

    Args:
      unknown: whether something of evaluation is recorded of one run alone.
    """
    alike = "both were evaluated alike"
    if unknown:
        alike += " as far as that is recorded"
    gap = _gap(a, b)
    if gap is None:
        return f"{alike}; AP is undefined, so there is no gap"
    detections = [run.metrics.get("detections", {}).get("sha256") for run in (a, b)]
    if detections[0] and detections[0] == detections[1]:
        return f"{alike}, and their detections are the same: there is no gap"
    if gap == 0:
        return f"{alike} and have the same AP: there is no gap"
    if unknown:
        return f"{alike}: how much of the gap is of training is not known"
    if differences:
        return f"{alike}: the gap is of training"
    return f"{alike}: the gap is of training, though nothing that is compared here differs"


def _gap(a: _Run, b: _Run) -> float | None:
    return None if a.points is None or b.points is None else b.points - a.points


def _split(
    a: _Run, b: _Run, crossed: dict[str, float | None], differ: bool
) -> dict[str, float] | None:
    """What evaluation and what training made of the gap, in points; None where not known.

    Each is the mean over both ways to go from one run to the other, so that they sum to the gap.
    """
    if a.points is None or b.points is None:
        return None
    gap = b.points - a.points
    if not differ:
        return {"evaluation": 0.0, "training": gap}
    a_as_b, b_as_a = crossed.get("a_as_b"), crossed.get("b_as_a")
    if a_as_b is None or b_as_a is None:
        return None
    evaluation = (a_as_b - a.points + b.points - b_as_a) / 2
    return {"evaluation": evaluation, "training": gap - evaluation}


def _interval(a: _Run, b: _Run, samples: int) -> list[float] | None:
    """[low, high] of the gap in points on other images, where both have the same ones."""
    ours, theirs = (run.metrics["annotations"] for run in (a, b))
    same = all(ours.get(field) == theirs.get(field) for field in _COUNTED)
    annotations = a.places[0]
    if not (samples and same and annotations and pathlib.Path(annotations).is_file()):
        return None
    results = [
        score.score(
            annotations,
            str(RunDir.at(run.root).eval_at(run.step) / "detections.json.gz"),
            evaluator="hotcoco",
        )
        for run in (a, b)
    ]
    interval = score.compare(results[1], results[0], samples=samples)["intervals"].get("AP")
    return interval and [100 * interval["low"], 100 * interval["high"]]
