"""The facts of a run, as its files have them: what was trained on, from where, how far, by what."""

import dataclasses
import math
import os
import pathlib
import re
import statistics
from typing import Any

from replicate import best, engine, identity, records, zoo
from replicate.errors import UserError
from replicate.run import RunDir, read_json_or_none, read_metrics
from tfrecords import manifest as manifests

_DEVICES = re.compile(r"_[tg]pu-(\d+)$")


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What is known of one run; None where its files do not say.

    Attributes:
      run: the run directory, "" where there is none.
      checkpoint_sha256: of the checkpoint that was evaluated.
      seed: of the training.
      step: of that checkpoint; num_steps: of the config's end.
      ended_early: why the training ended before it, as --patience asked, in words.
      best: the best checkpoint by a metric, which is kept beside the judged one: the dict of
        `best.best_kept` with `judged`, the same metric of the checkpoint that is judged.
      global_batch, replicas, micro_batches, images_seen: how the steps were made up.
      published_batch, published_replicas, published_images_seen: the recipe's.
      precision: of the training; recipe_bfloat16: whether the recipe says use_bfloat16.
      recipe_starts: whether the recipe starts from a checkpoint.
      start: {path, type, sha256, matched, variables} of the starting checkpoint; path "" of random
        weights.
      training: {file, sha256, images, annotations, crowds, image_ids_sha256, arrived, dropped} of
        the training records' manifest.
      losses: {finite, first, last} of the logged total loss: the medians of its first and last
        tenth, None where it is not finite.
      preflight: {statuses: number -> status, seen: number -> sentence, rehearsal, forced}.
      accepted: sentences: in what --accept let the run be continued as another one.
      evaluation: {file, sha256, images, annotations, crowds, image_ids_sha256, image_bytes_sha256,
        decoder, suppression, jit_compile, tf32, official} of what was scored; `official` is None
        where no official file is remembered.
    """

    run: str = ""
    checkpoint_sha256: str | None = None
    seed: int | None = None
    step: int | None = None
    num_steps: int | None = None
    ended_early: str | None = None
    best: dict | None = None
    global_batch: int | None = None
    replicas: int | None = None
    micro_batches: int | None = None
    images_seen: int | None = None
    published_batch: int | None = None
    published_replicas: int | None = None
    published_images_seen: int | None = None
    precision: str | None = None
    recipe_bfloat16: bool | None = None
    recipe_starts: bool = True
    start: dict | None = None
    training: dict | None = None
    losses: dict | None = None
    preflight: dict | None = None
    accepted: tuple[str, ...] = ()
    evaluation: dict | None = None

    def to_json(self) -> dict:
        """The fields as plain data."""
        return dataclasses.asdict(self)


def of_run(run: RunDir, model: str | None, metrics: dict) -> RunFacts:
    """The RunFacts of a run directory.

    Args:
      run: RunDir.
      model: the zoo model it is to replicate; None where it is held against none.
      metrics: the dict of the metrics.json that is judged.
    """
    message = _config(run.config)
    held = engine.describe(message) if message is not None else None
    spec = read_json_or_none(run.spec) or {}
    execution = (read_json_or_none(run.training) or {}).get("execution") or {}
    environment = read_json_or_none(run.environment) or {}
    step = metrics.get("step")
    batch = held.batch_size if held is not None else None
    return dataclasses.replace(
        of_recipe(model) if model else RunFacts(),
        run=str(run.root),
        checkpoint_sha256=(metrics.get("checkpoint") or {}).get("sha256"),
        seed=(spec.get("request") or {}).get("seed"),
        step=step,
        num_steps=held.num_steps if held is not None else None,
        ended_early=_ended_early(run),
        best=_best(run, metrics),
        global_batch=batch,
        replicas=execution.get("replicas"),
        micro_batches=execution.get("gradient_accumulation_steps"),
        images_seen=step * batch if step is not None and batch else None,
        precision=execution.get("precision") or environment.get("precision"),
        start=read_json_or_none(run.start),
        training=_training(run, message),
        losses=_losses(run),
        preflight=_preflight(run),
        accepted=tuple(identity.accepted_notes(run)),
        evaluation=of_evaluation(metrics),
    )


def _ended_early(run: RunDir) -> str | None:
    stop = best.stopped_early(run)
    return None if stop is None else f"training ended early, {best.stop_sentence(stop)}"


def _best(run: RunDir, metrics: dict) -> dict | None:
    """The best that is kept, where it was chosen on what is judged."""
    best_kept = best.best_kept(run)
    if best_kept is None or best_kept["annotations_sha256"] != metrics["annotations"].get("sha256"):
        return None
    judged = best.Metric.parse(best_kept["metric"]).of(metrics)
    return best_kept | {"judged": judged}


def of_recipe(model: str) -> RunFacts:
    """The RunFacts that the published recipe of a model gives."""
    try:
        recipe = engine.describe(engine.read(model))
    except UserError:
        return RunFacts()
    row = zoo.get(model)
    devices = _DEVICES.search((row and row.template) or str(model))
    return RunFacts(
        published_batch=recipe.batch_size,
        published_replicas=int(devices[1]) if devices else None,
        published_images_seen=recipe.batch_size * recipe.num_steps,
        recipe_bfloat16=recipe.low_precision,
        recipe_starts=bool(recipe.start),
    )


def of_evaluation(metrics: dict) -> dict:
    """What was scored, of a metrics.json."""
    from replicate.verdict import comparable, official

    annotations = metrics["annotations"]
    return {
        "file": annotations["file"],
        "sha256": annotations.get("sha256"),
        "images": annotations["images"],
        "annotations": annotations["annotations"],
        "crowds": annotations.get("crowd_annotations"),
        "image_ids_sha256": annotations["image_ids_sha256"],
        "image_bytes_sha256": (metrics.get("images") or {}).get("sha256"),
        "decoder": (metrics.get("inference") or {}).get("decoder"),
        "suppression": (metrics.get("inference") or {}).get("suppression"),
        "jit_compile": (metrics.get("inference") or {}).get("jit_compile", False),
        "tf32": (metrics.get("inference") or {}).get("tf32", False),
        "official": comparable.is_official(annotations, official.remembered(metrics["iou_type"])),
    }


def _training(run: RunDir, message: Any) -> dict | None:
    """The manifest of the training records: in data/, or beside the config's records."""
    manifest = read_json_or_none(pathlib.Path(manifests.path_of(os.fspath(run.data / "train"))))
    if manifest is None and message is not None:
        manifest = records.of_config(message)["train"].manifest
    if not isinstance(manifest, dict) or "source" not in manifest:
        return None
    source, counts = manifest["source"], manifest.get("counts") or {}
    return {
        "file": source.get("annotations_file"),
        "sha256": source.get("sha256"),
        "images": source["images"],
        "annotations": source["annotations"],
        "crowds": source.get("crowd"),
        "image_ids_sha256": source.get("image_ids_sha256"),
        "arrived": counts.get("annotations_written"),
        "dropped": sum((counts.get("dropped") or {}).values()),
    }


def _losses(run: RunDir) -> dict | None:
    log = [
        (logged.get("losses") or {}).get("Loss/total_loss") for logged in read_metrics(run.metrics)
    ]
    log = [loss for loss in log if loss is not None]
    if not log:
        return None
    finite = all(isinstance(loss, (int, float)) and math.isfinite(loss) for loss in log)
    part = max(1, len(log) // 10)
    ends = (log[:part], log[-part:]) if finite else ([], [])
    first, last = (statistics.median(losses) if losses else None for losses in ends)
    return {"finite": finite, "first": first, "last": last}


def _preflight(run: RunDir) -> dict | None:
    preflight = read_json_or_none(run.preflight)
    if preflight is None:
        return None
    results = preflight.get("results", [])
    return {
        "statuses": {str(result["number"]): result["status"] for result in results},
        "seen": {str(result["number"]): result["seen"] for result in results},
        "rehearsal": preflight.get("rehearsal", False),
        "forced": preflight.get("forced", []),
    }


def _config(path: pathlib.Path) -> Any:
    try:
        return engine.of_run(path)
    except UserError:
        return None
