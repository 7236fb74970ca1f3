"""What each exported form keeps: AP against the checkpoint, latency of the same file, size."""

import dataclasses
import os
import pathlib
from typing import Any

from replicate import score as scoring
from replicate.benchmarking.benchmark import BenchmarkRecord, benchmark
from replicate.benchmarking.dataset import Dataset
from replicate.errors import UserError
from replicate.export import forms, labels, reading
from replicate.export.ladder import files_of
from replicate.run import write_json

FORMAT = 1
FILE = "ladder.json"
CHECKPOINT = "checkpoint"
# Forms of the checkpoint's own float32 weights; how far from its AP they may lie, in points.
EXACT = ("saved_model", "tflite", "onnx")
TOLERANCE = 0.1
# What a program on a device does with an image before a TFLite form.
_ON_DEVICE = {"decoder": "pillow", "resizer": "opencv"}


@dataclasses.dataclass(frozen=True)
class Ladder:
    """A checkpoint and its exported forms over the same images.

    Attributes:
      folder: of the export.
      dataset: dict of hashes and the number of images.
      rungs: list of dicts, the checkpoint first: form (of forms.FORMS, or CHECKPOINT), path, says,
        preprocessing ("the checkpoint's" or "a device's"), AP, AP50, difference (AP less the
        checkpoint's, None of itself), low, high (its 95 % interval, paired over the images; None of
        fewer than 20), of (what the interval is of), kept (EXACT forms: whether within TOLERANCE;
        else None), latency_ms (median, p90, p95), warmup_batches, device, bytes.
        AP and differences are in 0..1.
    """

    folder: str
    dataset: dict[str, Any]
    rungs: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """What ladder.json holds."""
        return {
            "format": FORMAT,
            "export": self.folder,
            "dataset": self.dataset,
            "tolerance_points": TOLERANCE,
            "rungs": self.rungs,
        }

    def write(self, path: str | os.PathLike) -> None:
        """Writes it as JSON."""
        write_json(path, self.to_json(), kind="ladder")

    @property
    def lost(self) -> list[str]:
        """The forms of the checkpoint's own weights that are farther from its AP than TOLERANCE."""
        return [rung["form"] for rung in self.rungs if rung["kept"] is False]

    def text(self) -> str:
        """One table for a terminal."""
        return text_of(self.to_json())


def of(
    folder: str | os.PathLike,
    dataset: Dataset,
    *,
    on_device: bool = False,
    samples: int = 200,
    num_threads: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Ladder:
    """Runs every form of an export over the same images, one image at a time.

    All are given the same pixels: TensorFlow's decoder, and the API's own resizing, which is inside
    a SavedModel and an ONNX model and which export.json describes for TFLite.

    Args:
      folder: of tools/export.py.
      dataset: Dataset.
      on_device: whether the TFLite forms are run a second time on the pixels that a program on a
        device makes: Pillow's decoder, OpenCV's resizing.
      samples: halves of the images for the intervals; 0 leaves them out.
      num_threads: of LiteRT and ONNX Runtime; None as the adapters choose.
      cache_dir: folder of kept results; None keeps none.
      progress: whether to draw progress bars.

    Raises:
      UserError: no export there, or a checkpoint that is neither where it was nor in the export.
    """
    folder = pathlib.Path(folder)
    paths = reading.forms_in(folder)
    checkpoint, options = _checkpoint(folder)

    def run(path: str | os.PathLike, **options: Any) -> BenchmarkRecord:
        return benchmark(
            str(path),
            dataset,
            evaluator="hotcoco",
            cache_dir=cache_dir,
            progress=progress,
            **options,
        )

    whole = run(checkpoint, **options)
    of_whole = _scored(whole, dataset)
    rungs = [_rung(CHECKPOINT, checkpoint, whole, "the checkpoint's")]
    for name, path in paths.items():
        runs = name in forms.TFLITE or name == "onnx"
        threads = {"num_threads": num_threads} if num_threads and runs else {}
        ways: list[tuple[str, dict[str, Any]]] = [("the checkpoint's", {})]
        if on_device and name in forms.TFLITE:
            ways.append(("a device's", _ON_DEVICE))
        for preprocessing, of_way in ways:
            record = run(path, **threads, **of_way)
            rung = _rung(name, path, record, preprocessing)
            compared = scoring.compare(_scored(record, dataset), of_whole, samples=samples)
            interval = compared["intervals"].get("AP") or {}
            difference = compared["differences"].get("AP")
            exact = name in EXACT and preprocessing == "the checkpoint's"
            rungs.append(
                rung
                | {
                    "difference": difference,
                    "low": interval.get("low"),
                    "high": interval.get("high"),
                    "of": interval.get("of"),
                    "kept": abs(100 * difference) <= TOLERANCE
                    if exact and difference is not None
                    else None,
                }
            )
    return Ladder(str(folder), whole.dataset, rungs)


def _checkpoint(folder: pathlib.Path) -> tuple[str, dict[str, Any]]:
    """(prefix of the exported checkpoint, the adapter's options for it)."""
    prefix, config = folder / "checkpoint" / "ckpt-0", folder / "pipeline.config"
    if not config.is_file() or not pathlib.Path(f"{prefix}.index").is_file():
        raise UserError(
            f"{folder}: no checkpoint/ckpt-0 or pipeline.config in it, which the forms are held "
            "against; export it again with tools/export.py"
        )
    options = {"pipeline_config": str(config)}
    if (folder / labels.LABEL_MAP).is_file():
        options["label_map"] = str(folder / labels.LABEL_MAP)
    return str(prefix), options


def _scored(record: BenchmarkRecord, dataset: Dataset) -> scoring.Result:
    return scoring.score(
        dataset.annotations_file,
        record.detected.results,
        evaluator="hotcoco",
        num_images=dataset.num_images,
    )


def _rung(
    name: str, path: str | os.PathLike, record: BenchmarkRecord, preprocessing: str
) -> dict[str, Any]:
    """What a rung holds but for its difference."""
    speed, metrics = record.speed or {}, record.metrics["bbox"]
    place = pathlib.Path(path)
    files = sorted(place.parent.glob(f"{place.name}.*")) if name == CHECKPOINT else files_of(place)
    return {
        "form": name,
        "path": str(path),
        "says": "checkpoint" if name == CHECKPOINT else forms.FORMS[name].says,
        "preprocessing": preprocessing,
        "AP": metrics["AP"],
        "AP50": metrics["AP50"],
        "difference": None,
        "low": None,
        "high": None,
        "of": None,
        "kept": None,
        "latency_ms": speed.get("latency_ms"),
        "warmup_batches": speed.get("warmup_batches"),
        "device": speed.get("device"),
        "bytes": sum(file.stat().st_size for file in files),
    }


def text_of(ladder: dict[str, Any]) -> str:
    """A ladder's JSON as one table for a terminal."""
    rungs = ladder["rungs"]
    lines = [
        f"{ladder['export']} on {ladder['dataset']['images']:,} images, batch 1",
        "",
        f"{'form':26} {'AP':>6} {'to the checkpoint':>24} {'median':>9} {'p95':>9} {'size':>9}",
    ]
    for rung in rungs:
        name = rung["form"] + ("" if rung["preprocessing"] == "the checkpoint's" else ", device's")
        latency = rung["latency_ms"] or {}
        lines.append(
            f"{name:26} {_points(rung['AP']):>6} {_difference(rung):>24} "
            f"{_ms(latency.get('median')):>9} {_ms(latency.get('p95')):>9} "
            f"{rung['bytes'] / 1e6:>6.2f} MB"
        )
    warm = next((rung["warmup_batches"] for rung in rungs if rung["warmup_batches"]), None)
    devices: dict[str, list[str]] = {}
    for rung in rungs:
        names = devices.setdefault(rung["device"] or "not known", [])
        names += [rung["form"]] if rung["form"] not in names else []
    lines += [
        "",
        "AP and differences in points; in brackets the 95 % interval of the difference, paired "
        "over the images.",
        f"Latency from the prepared pixels to the detections, after {warm} calls:",
        *(f"  {', '.join(names)}: {device}" for device, names in devices.items()),
    ]
    if any(rung["preprocessing"] != "the checkpoint's" for rung in rungs):
        lines.append(
            "device's: the same file on the pixels that a program on a device makes (Pillow's "
            "decoder, OpenCV's resizing)."
        )
    forms = [rung["form"] for rung in rungs if rung["kept"]]
    lost = [rung["form"] for rung in rungs if rung["kept"] is False]
    if forms:
        lines.append(
            f"Within {ladder['tolerance_points']:g} of the checkpoint: {', '.join(forms)}."
        )
    if lost:
        lines.append(
            f"NOT within {ladder['tolerance_points']:g} of the checkpoint, whose float32 weights "
            f"they hold: {', '.join(lost)}. Something was lost on the way."
        )
    return "\n".join(lines)


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _difference(rung: dict[str, Any]) -> str:
    if rung["difference"] is None:
        return ""
    points = f"{100 * rung['difference']:+.2f}"
    if rung["low"] is None:
        return points
    return f"{points} [{100 * rung['low']:+.2f}, {100 * rung['high']:+.2f}]"
