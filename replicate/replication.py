"""A replication from annotation files to a report, in one run directory, one stage after another.

Every stage leaves a file and is passed over when its file is there and belongs to what was
asked, so a run that was killed anywhere is continued by asking for it again.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from replicate import annotations, best, engine, identity, opening
from replicate.config import view
from replicate.errors import UserError
from replicate.execution import Execution
from replicate.run import RunDir, read_json, write_json
from tfrecords import annotation_file

if TYPE_CHECKING:
    from replicate import preflight
    from replicate.cluster import Cluster
    from replicate.verdict import Asked


_SPLITS = ("train", "val")
_SHARD_BYTES = 160_000_000  # about the size of a shard of train2017 in 128


@dataclasses.dataclass(frozen=True)
class ReplicationRequest(Execution):
    """What to replicate, with what, and how it is executed.

    Attributes:
      model: what is to be replicated: a zoo model's name or a released archive. A pipeline.config
        or a run directory does as well: its recipe becomes `model` where it can be told, and it
        becomes `config`.
      train_annotations, train_images, val_annotations, val_images: COCO JSON and image folders.
      num_steps: training steps; None takes the recipe's.
      overrides: (field path, value) pairs over the recipe; they are set last.
      fine_tune_checkpoint: the recipe's starting point on this machine; "" trains from random
        weights (and from what `config` names, where there is one).
      include_masks: whether the records hold instance masks.
      shorten_schedule: the learning-rate schedule becomes as much shorter as the training.
      config: a pipeline.config or run directory that is trained instead of the recipe's own.
      fix: what is mended in the annotation files first (`tfrecords.mending.FIXES`); the mended
        ones lie in the run's data folder.
      purpose: "replicate", or "finetune": of the starting checkpoint the feature extractor is
        loaded (fine_tune_checkpoint_type "detection") unless `overrides` say otherwise, and the
        figure is not judged by the zoo's.
      keep_best: the metric ("AP", "segm/AP") by which the best checkpoint is kept beside the last
        ones (`replicate.best`); each is then evaluated as soon as it is saved. "" keeps none.
      patience: evaluations in a row without gain in it, after which training ends; None trains to
        the last step.
    """

    model: str
    train_annotations: str
    train_images: str
    val_annotations: str
    val_images: str
    num_steps: int | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    fine_tune_checkpoint: str = ""
    include_masks: bool = False
    shorten_schedule: bool = False
    config: str = ""
    fix: tuple[str, ...] = ()
    purpose: str = "replicate"
    keep_best: str = ""
    patience: int | None = None


def replicate(
    request: ReplicationRequest,
    run_dir: str | os.PathLike,
    command: str,
    terms: "preflight.Terms | None" = None,
    reference: "Asked | None" = None,
) -> dict | None:
    """Checks (preflight), converts, renders, trains, evaluates, scores, judges and reports.

    Args:
      run_dir: the run directory; may hold the same run, begun earlier.
      command: the command line, for the report.
      terms: preflight.Terms; None takes the strict ones.
      reference: what the figure is held against, kept in spec.json; None takes what is kept there,
        else the zoo's figure, of a fine-tuning nothing.

    Of several workers (see `replicate.cluster`), which all see `run_dir`, the first does
    everything; the others wait for its records and config and take part in the training alone.

    Returns:
      the verdict as verdict.json holds it; None on a worker that only took part in the training.

    Raises:
      UserError: bad input, a reason that preflight finds, or the directory holds a run of
        something else; a worker is missing.
    """

    run = RunDir.at(run_dir)
    request = resolved(request)
    check_inputs(request)
    check_reference(reference, run)
    workers = _workers()
    _check_keeping(request, workers)
    helps = workers is not None and not workers.is_chief
    with contextlib.nullcontext() if helps else run.writing():
        request = _mended(run, request, write=not helps)
        return _replicate(run, request, command, terms, workers, reference)


def _replicate(
    run: RunDir,
    request: ReplicationRequest,
    command: str,
    terms: "preflight.Terms | None",
    workers: "Cluster | None",
    reference: "Asked | None",
) -> dict | None:
    """`replicate` under the run's lock, which who only helps to train leaves to the first."""
    from replicate import preflight

    helps = workers is not None and not workers.is_chief
    with preflight.Standby() as waiting:
        with workers.chief_first() if workers else contextlib.nullcontext():
            if helps:
                message = engine.of_run(run.config)
            else:
                num_workers = len(workers.workers) if workers else 1
                message = _prepare(run, request, command, num_workers, terms, waiting, reference)
        _stage("training")
        if not helps:
            best.reconsider(run, request.patience or 0)
        evaluation = _during(request) if workers is None else None
        waiting.train(message, run.root, evaluation, **request.execution())
    if helps:
        return None
    _evaluate(run, request, message)
    opening.write_config(run, message, request.model)  # training may end early
    verdict = _judge(run)
    _report(run)
    return verdict


def _during(request: ReplicationRequest) -> dict[str, Any] | None:
    """How checkpoints are evaluated while it trains, None where that is left to the end."""
    if not request.keep_best:
        return None
    return {
        "annotations_file": request.val_annotations,
        "image_dir": request.val_images,
        "keep_best": request.keep_best,
        "patience": request.patience,
    }


def _check_keeping(request: ReplicationRequest, workers: "Cluster | None") -> None:
    if request.keep_best:
        best.Metric.parse(request.keep_best)
    if request.patience and workers is not None:
        raise UserError(
            "--patience: a training of several workers is not evaluated between its steps; start "
            "python tools/evaluate.py --model_dir=RUN --watch --patience=N beside it, which ends it"
        )


def _mended(run: RunDir, request: ReplicationRequest, write: bool = True) -> ReplicationRequest:
    """The request with mended annotation files, where mending is asked for and not done."""
    paths = {
        f"{split}_annotations": str(run.data / f"annotations-{split}.json") for split in _SPLITS
    }
    if not request.fix or request.train_annotations == paths["train_annotations"]:
        return request
    from tfrecords import mending

    for split in _SPLITS if write else ():
        given, images = (
            getattr(request, f"{split}_annotations"),
            getattr(request, f"{split}_images"),
        )
        account = mending.write(given, paths[f"{split}_annotations"], request.fix, images)
        print("\n".join(f"{given}: {sentence}" for sentence in account), file=sys.stderr)
    return dataclasses.replace(
        request,
        train_annotations=paths["train_annotations"],
        val_annotations=paths["val_annotations"],
    )


def _workers() -> "Cluster | None":
    """The workers that train together, or None; importing the trainer takes seconds."""
    from replicate import cluster

    return cluster.from_environment()


def _prepare(
    run: RunDir,
    request: ReplicationRequest,
    command: str,
    num_workers: int,
    terms: "preflight.Terms | None",
    waiting: "preflight.Standby",
    reference: "Asked | None",
) -> Any:
    """Everything before the first step; the config that is trained."""
    from replicate import preflight

    terms = terms or preflight.Terms()
    refuse_another(run, request)
    _stage("preflight")
    meant = intent(request, run.root, num_workers=num_workers)
    message = meant.message
    if "config" not in request.accept:
        opening.refuse_another_config(run, message)
    identity.refuse_at_its_end(run, message, request.seed, request.accept)
    forced = preflight.gate(meant, terms, waiting=waiting)
    named = {"reference": reference.to_json()} if reference else {}
    opening.write_spec(run, request, command, forced, **named)
    annotations.keep(run, (request.train_annotations, request.val_annotations))
    _convert(run, request, num_workers)
    forced = preflight.gate(meant, terms, preflight.OF_RECORDS)
    opening.write_spec(run, request, command, forced, **named)
    of_recipe = "recipe it starts from" if request.purpose == "finetune" else "published config"
    _stage(f"differences from the {of_recipe}")
    deviations = opening.write_config(run, message, request.model)
    assert deviations is not None  # `model` is a recipe
    print(view.text(deviations, colour=view.colour_wanted(sys.stderr)), file=sys.stderr)
    annotation_file.forget(request.train_annotations)  # its arrays are not for the training to hold
    return message


def intent(
    request: ReplicationRequest, run_dir: str | os.PathLike, **more: Any
) -> "preflight.Intent":
    """What `request` would launch, for preflight.

    Args:
      run_dir: the run directory.
      more: other fields of preflight.Intent.

    Raises:
      UserError: no such config, or `keep_best` is nothing that the model is evaluated by.
    """
    from replicate import preflight

    run = RunDir.at(run_dir)
    request = _mended(run, resolved(request))
    steps = ["train_config.num_steps", "trainer.train_steps"]
    steps = steps if request.num_steps is not None else []
    message = compose(request, run)
    if request.keep_best:
        model = engine.describe(message)
        best.Metric.parse(request.keep_best).refuse_unpredicted(
            masks=model.predicts_masks, keypoints=model.predicts_keypoints
        )
    return preflight.Intent(
        message=message,
        run_dir=str(run_dir),
        model=request.model,
        train_annotations=request.train_annotations,
        train_images=request.train_images,
        val_annotations=request.val_annotations,
        val_images=request.val_images,
        asked_for=tuple([path for path, _ in request.overrides] + steps),
        include_masks=request.include_masks,
        convert=True,
        **(request.execution() | more),
    )


def _stage(text: str) -> None:
    print(f"\n── {text}", file=sys.stderr, flush=True)


def check_inputs(request: ReplicationRequest) -> None:
    """Raises UserError where an annotation file or an image folder is not there."""
    for field in ("train_annotations", "val_annotations"):
        if not pathlib.Path(getattr(request, field)).is_file():
            raise UserError(f"--{field}: no such file: {getattr(request, field)}")
    for field in ("train_images", "val_images"):
        if not pathlib.Path(getattr(request, field)).is_dir():
            raise UserError(f"--{field}: no such image folder: {getattr(request, field)}")


def check_reference(reference: "Asked | None", run: RunDir) -> None:
    """Raises UserError where what the figure is to be held against cannot be read: that is told
    before the training, not after it."""
    if reference is None:
        return
    from replicate import verdict

    for other in verdict.read_reference(reference).runs:
        if other.root.resolve() == run.root.resolve():
            raise UserError(f"--reference={run.root}: the run itself; name another run")


def _records(run: RunDir, split: str) -> str:
    return str(run.data / split)


def _convert(run: RunDir, request: ReplicationRequest, num_workers: int) -> None:
    """Converts both splits; each worker reads shards of its own."""
    import tfrecords

    _stage("records")
    for split, annotations_file, images in (
        ("train", request.train_annotations, request.train_images),
        ("val", request.val_annotations, request.val_images),
    ):
        tfrecords.convert(
            annotations_file,
            images,
            _records(run, split),
            max(_num_shards(images), num_workers),
            include_masks=request.include_masks,
            include_class_labels=engine.of_source(request.config or request.model)
            == engine.TFVISION,
        )
    categories = _train_facts(request, run).categories
    tfrecords.write_label_map(categories, str(run.data / "label_map.pbtxt"))


def _train_facts(request: ReplicationRequest, run: RunDir) -> annotations.AnnotationFacts:
    """Where the file has to be read, it is read as the conversion will need it."""
    return annotations.facts(run, request.train_annotations, segmentations=request.include_masks)


def _num_shards(image_dir: str) -> int:
    size = sum(entry.stat().st_size for entry in os.scandir(image_dir) if entry.is_file())
    return max(1, -(-size // _SHARD_BYTES))


def refuse_another(run: RunDir, request: ReplicationRequest) -> None:
    """Raises UserError where the run directory holds a run that was asked for differently.

    Args:
      request: `resolved`.
    """
    request = _mended(run, request, write=False)
    opening.refuse_another(run, request, ("keep_best", "patience", "cache", "cache_dir"))


def resolved(request: ReplicationRequest) -> ReplicationRequest:
    """The request with its recipe apart from the config that is trained.

    Raises:
      UserError: `model` is neither a zoo model's name nor a config.
    """
    if request.config:
        return request
    recipe = engine.recipe_of(request.model)
    if recipe.model in (None, request.model):
        return request
    print(f"{request.model}: a config of {recipe.model} ({recipe.how})", file=sys.stderr)
    return dataclasses.replace(request, model=recipe.model, config=request.model)


def compose(request: ReplicationRequest, run: RunDir) -> Any:
    """The config that `request` trains in a run directory; nothing is written."""
    categories = _train_facts(request, run).categories
    overrides = list(request.overrides)
    of = engine.of_source(request.config or request.model)
    if request.purpose == "finetune" and request.fine_tune_checkpoint:
        overrides.insert(0, (engine.START_KIND[of], engine.FOR_OTHER_CLASSES[of]))
    return engine.compose(
        engine.Composition(
            source=request.config or request.model,
            overrides=tuple(overrides),
            train_records=f"{_records(run, 'train')}-?????-of-?????.tfrecord",
            val_records=f"{_records(run, 'val')}-?????-of-?????.tfrecord",
            label_map=str(run.data / "label_map"),
            categories=categories,
            val_annotations=os.path.abspath(request.val_annotations),
            start=request.fine_tune_checkpoint or (None if request.config else ""),
            num_steps=request.num_steps,
            shorten_schedule=request.shorten_schedule,
        )
    )


def _evaluate(run: RunDir, request: ReplicationRequest, message: Any) -> None:
    """Evaluates and scores every kept checkpoint."""
    from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator

    _stage("evaluation")
    with run.evaluating(wait=True):
        # By their whole paths, as spec.json has them, whichever way a run was asked for.
        annotations, images = map(os.path.abspath, (request.val_annotations, request.val_images))
        keep = best.Metric.parse(request.keep_best) if request.keep_best else None
        evaluator = CheckpointEvaluator(run, message, annotations, images, keep_best=keep)
        evaluator.evaluate_all()


def _judge(run: RunDir) -> dict:
    """The verdict on the last checkpoint, as tools/verdict.py gives it."""
    from replicate import verdict

    _stage("verdict")
    decided = verdict.of_runs([run]).to_json()
    write_json(run.verdict, decided)
    return decided


def _report(run: RunDir) -> None:
    from replicate import report

    report.write(run)


def summary(run_dir: str | os.PathLike) -> str:
    """The end of a run in text: the metrics, the verdict with its reasons, the report."""
    from replicate import verdict
    from replicate.score import text

    run = RunDir.existing(run_dir)
    decided = read_json(run.verdict)
    step = run.evaluated_steps()[-1]
    scores = run.scores_at(step)
    lines = [f"checkpoint of step {step} on {scores[0]['annotations']['images']} images:"]
    inference = text.of_inference(scores[0].get("inference"))
    lines += [
        f"  {line}" for line in [inference] * bool(inference) + text.of_scores(scores).splitlines()
    ]
    if sentence := best.sentence_of(run):
        lines += ["", f"best: {sentence} ({run.best})"]
    lines += ["", f"verdict: {verdict.text(decided)}"]
    lines += ["", f"report: {run.report / 'index.html'}"]
    return "\n".join(lines)
