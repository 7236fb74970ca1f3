"""`benchmark`: detections (or those kept from before), score, comparison, record."""

import dataclasses
import importlib.metadata
import os
from collections.abc import Collection, Iterable
from typing import Any

from replicate import decoders, environment, python_api
from replicate import score as scoring
from replicate.benchmarking import adapters, cache, findings, published
from replicate.benchmarking.dataset import Dataset
from replicate.benchmarking.model import Detected, sha256_of
from replicate.run import write_json
from replicate.score import text

_DEFAULT = object()


@dataclasses.dataclass(frozen=True)
class BenchmarkRecord:
    """What a benchmark found; `to_json` is what a leaderboard could take.

    Attributes:
      model: dict name, identity (a hash, or None).
      paper: dict arxiv, name; what it was compared with.
      dataset: dict of hashes and the number of images.
      scores: dict kind of score -> metrics.json dict.
      speed: dict images_per_second, latency_ms, batch_size, device …, or None where the
        detections came from a file.
      inference: dict decoder, decoder_version, suppression, see `Detected`.
      published: see `published.compare`.
      detected: Detected; `detected.as_list()` are the COCO results as they were detected.
      fix: problems of them that were mended, see `score.mended`.
      cached: whether the detections were kept from before.
      findings: what they give away of the conventions they were made with, see `findings.of`.
    """

    model: dict
    paper: dict
    dataset: dict
    scores: dict[str, dict]
    speed: dict | None
    inference: dict
    published: list[dict]
    detected: Detected = dataclasses.field(repr=False)
    cached: bool
    fix: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        figures = ", ".join(
            f"{iou_type} AP {text.shown(metrics['AP'])}"
            for iou_type, metrics in self.metrics.items()
        )
        images = f"{self.dataset['images']:,} images"
        return f"<benchmark of {self.model['name']} on {images}: {figures}>"

    def _repr_html_(self) -> str:
        return python_api.table(
            f"{self.model['name']} on {self.dataset['images']:,} images",
            ["metric", "achieved", "published", "in", "verdict"],
            [
                (
                    row["metric"],
                    f"{row['achieved']:.2f}",
                    row["published"],
                    f"{row['model']} ({row['paper']}, {row['dataset']})",
                    row["verdict"],
                )
                for row in self.published
            ]
            or [
                (f"{iou_type} {name}", text.shown(value), None, None, None)
                for iou_type, metrics in self.metrics.items()
                for name, value in metrics.items()
            ],
        )

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """dict kind of score -> dict metric name -> value in 0..1 or None."""
        return {iou_type: score["metrics"] for iou_type, score in self.scores.items()}

    def results(self) -> list[dict]:
        """The COCO results that were scored, a list of dicts: after repairs, where there were."""
        results = self.detected.as_list()
        if not any(score["repairs"] for score in self.scores.values()):
            return results
        return scoring.mended(
            results, self.dataset["annotations_file"], list(self.scores), self.fix
        )

    def to_json(self) -> dict:
        """The small record: metrics, model, paper, hashes, speed."""
        first = next(iter(self.scores.values()))
        return {
            "model": self.model,
            "paper": self.paper,
            "dataset": self.dataset,
            "metrics": self.metrics,
            "evaluators": {
                "versions": first["versions"],
                "agree": all(score["agree"] for score in self.scores.values())
                if first["agree"] is not None
                else None,
            },
            "detections_sha256": first["detections"]["sha256"],
            "remarks": {iou_type: text.remarks(score) for iou_type, score in self.scores.items()},
            "findings": list(self.findings),
            "inference": self.inference,
            "protocol": {iou_type: score["protocol"] for iou_type, score in self.scores.items()},
            "speed": self.speed,
            "published": self.published,
        }

    def write(self, path: str | os.PathLike) -> None:
        """Writes the record as JSON."""
        write_json(path, self.to_json(), kind="record")

    def text(self) -> str:
        """The record as lines for a terminal."""
        lines = [f"{self.model['name']} on {self.dataset['images']:,} images"]
        inference = text.of_inference(self.inference)
        lines += [inference, ""] if inference else [""]
        lines.append(text.of_scores(list(self.scores.values())))
        if self.speed:
            latency = self.speed["latency_ms"]
            lines.append(
                f"\n{self.speed['images_per_second']:.1f} images/s, reading included; latency an "
                f"image {latency['median']:.1f} ms (90 % within {latency['p90']:.1f}) in batches "
                f"of {self.speed['batch_size']} on {self.speed['device']}"
                + (", as measured when it ran" if self.cached else "")
            )
        lines += [f"\nfound: {sentence}" for sentence in self.findings]
        before = None
        for row in self.published:
            table = f"{row['model']} ({row['paper']}, {row['dataset']})"
            if table != before:
                lines.append(f"\npublished: {table}, {row['source']}")
            comparable = row["verdict"] != "NOT COMPARABLE"
            lines.append(
                f"  {row['metric']:12} {row['achieved']:6.2f} against {row['published']:5.1f}"
                f"   {row['verdict']}" + (f": {row['reasons'][0]}" if comparable else "")
            )
            if not comparable and table != before:
                lines += [f"    {reason}" for reason in row["reasons"]]
            before = table
        return "\n".join(lines)


def benchmark(
    model: Any,
    dataset: Dataset | tuple[str | os.PathLike, str | os.PathLike | None],
    *,
    name: str | None = None,
    arxiv: str | None = None,
    paper_results: dict[str, float] | None = None,
    paper_results_on: str = "val2017",
    iou_types: Iterable[str] = ("bbox",),
    evaluator: str = "both",
    batch_size: int = 1,
    fix: Collection[str] = (),
    identity: str | None = None,
    decoder: str | None = None,
    cache_dir: Any = _DEFAULT,
    progress: bool = True,
    **hooks: Any,
) -> BenchmarkRecord:
    """Evaluates any detector on COCO images and compares it with what was published.

    Args:
      model: a callable on a batch of images; a `Model`; a PyTorch module of torchvision's
        convention; or the path of a run directory or checkpoint of this kit, of a zoo archive or
        SavedModel, of a .tflite or .onnx file, of detections …, see `adapters.of`.
      dataset: a `Dataset`, or (annotations_file, image_dir); image_dir is None where detections
        from a file are scored, which takes no pixels.
      name: the model's name in the published tables (a zoo model's, a torchvision builder's, a
        paper's).
      arxiv: the paper's arXiv id.
      paper_results: published figures in points, {"box AP": 22.2, "AP50": …}.
      paper_results_on: which images they are of: "val2017", or "this" for those of `dataset`.
      iou_types: kinds of score: "bbox", "segm", "keypoints".
      evaluator: "both", "hotcoco" or "pycocotools".
      batch_size: images a call.
      fix: problems of the detections to mend, as `score` takes them.
      identity: text that changes when a callable's detections would; with it, they are cached.
      decoder: what makes the pixels, "tensorflow" or "pillow"; None takes the model's own, see
        `adapters.of`. A checkpoint, run directory, archive or SavedModel has no choice.
      cache_dir: folder of kept results; None keeps none. Default: `cache.default_folder()`.
      progress: whether to draw a progress bar.
      **hooks: input_transform, collate, to_device, output_transform (see `Model`), and the
        adapter's own options (labels, pipeline_config, suppression, device, …).

    Raises:
      UserError: an input that is not what it should be, an unknown name, id or metric.
    """
    # What was published first: a wrong name should not cost an evaluation.
    known = published.find(name, arxiv)
    if paper_results:
        known.append(published.given(paper_results, name or "the model", paper_results_on))
    dataset, iou_types = Dataset.of(dataset), tuple(iou_types)
    adapted = adapters.of(model, dataset=dataset, identity=identity, decoder=decoder, **hooks)
    if adapted.decoder:
        _ = dataset.images  # a missing one is told before anything is built
    # What takes no pixels has none in what identifies its result.
    content = (dataset if adapted.decoder else dataset.without_images()).identity
    store = cache.Cache(cache.default_folder() if cache_dir is _DEFAULT else cache_dir)

    key = None
    if adapted.identity is not None:
        code = environment.code_sha256("benchmarking", "evaluate", "decoders.py")
        pixels = adapted.decoder and (adapted.decoder, decoders.version(adapted.decoder))
        key = sha256_of(code, adapted.identity, content, batch_size, pixels)
    earlier = store.detections(key)
    if earlier is not None:
        detected = earlier
    else:
        detected = adapted.detect(dataset, batch_size=batch_size, progress=progress)
        store.keep_detections(key, detected)

    if "bbox" in iou_types:
        findings.refuse_unscaled(detected.results, dataset.groundtruth, fix)
    versions = {
        evaluator_name: importlib.metadata.version(evaluator_name)
        for evaluator_name in scoring.EVALUATORS
    }
    scores: dict[str, dict] = {}
    for iou_type in iou_types:
        settings = sha256_of(
            environment.code_sha256("score"), iou_type, evaluator, sorted(fix), versions
        )
        score = store.score(key, settings)
        if score is None:
            score = scoring.score(
                dataset.annotations_file,
                detected.results,
                iou_type=iou_type,
                evaluator=evaluator,
                num_images=dataset.num_images,
                fix=fix,
            ).to_json(detected.inference)
            store.keep_score(key, settings, score)
        scores[iou_type] = score
    return BenchmarkRecord(
        model={
            "name": name or adapted.name,
            "identity": adapted.identity,
        },
        paper={"arxiv": arxiv, "results": paper_results},
        dataset=content
        | {
            "annotations_file": os.path.abspath(dataset.annotations_file),
            "image_dir": dataset.image_dir and os.path.abspath(dataset.image_dir),
        },
        scores=scores,
        speed=detected.speed,
        inference=detected.inference,
        published=published.compare(known, scores),
        detected=detected,
        cached=earlier is not None,
        fix=tuple(fix),
        findings=tuple(findings.of(detected.as_list(), scores["bbox"])) if "bbox" in scores else (),
    )
