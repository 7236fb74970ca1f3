"""Parity's three tables: augmentation steps, the input pipeline, and models.

Each function gives (the table's lines in Markdown, what is neither within the tolerance nor
explained, a line each).
"""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf import text_format
from tqdm import tqdm

from replicate import config
from replicate.errors import UserError
from replicate.parity import compare, kept_results, models

if TYPE_CHECKING:
    from google.protobuf.message import Message

Table = tuple[list[str], list[str]]  # its lines, what is unexplained

AUGMENTATION_SEEDS = 3
IMAGES = 3

_COLUMNS = {
    "preprocessing": "preprocessing",
    "predictions": "predictions",
    "detections": "detections",
    "losses_inference": "losses",
    "gradients_inference": "gradients",
    "losses_training": "losses, training",
    "gradients_training": "gradients, training",
    "optimizer": "optimizer",
}


@dataclasses.dataclass(frozen=True)
class ParityPlace:
    """Where parity runs.

    Attributes:
      native_python: the native environment's interpreter (`native.python`).
      work: folder for configs, checkpoints and arrays, absolute.
      keep_arrays: leave each run's arrays and checkpoints there.
    """

    native_python: pathlib.Path
    work: pathlib.Path
    keep_arrays: bool = False


def of_augmentation(place: ParityPlace) -> Table:
    """Each of the zoo's augmentation steps, with all settings that its configs use."""
    message = config.template("ssd_mobilenet_v2_320x320_coco17_tpu-8")
    steps = {
        step.SerializeToString(deterministic=True): step
        for name in config.template_names()
        for step in config.template(name).train_config.data_augmentation_options
    }
    del message.train_config.data_augmentation_options[:]
    message.train_config.data_augmentation_options.extend(steps.values())
    job = {"run": "run_augmentation", "seeds": AUGMENTATION_SEEDS}
    rows = _both(message, job, place)
    lines = [
        f"| augmentation step, {AUGMENTATION_SEEDS} seeds | arrays | difference |",
        "|---" * 3 + "|",
    ]
    return _rows(lines, rows)


def of_input(place: ParityPlace) -> Table:
    """Records read, decoded, resized and padded by the API's evaluation input."""
    message = config.template(models.INCEPTION)
    resizer = message.model.faster_rcnn.image_resizer
    resizer.fixed_shape_resizer.height = resizer.fixed_shape_resizer.width = 512
    (place.work / "label_map.pbtxt").write_text(
        "".join(f'item {{ id: {i} name: "class{i}" }}\n' for i in range(1, 91)), encoding="utf-8"
    )
    reader = message.eval_input_reader[0]
    reader.label_map_path = str(place.work / "label_map.pbtxt")
    reader.tf_record_input_reader.input_path[:] = [str(place.work / "examples.tfrecord")]
    job = {"run": "run_write_examples", "layer": True, "images": IMAGES}
    kept_results.run(place.work / "examples.tfrecord", job, sys.executable)
    rows = _both(message, {"run": "run_input", "images": IMAGES}, place)
    lines = [f"| input pipeline, {IMAGES} images | arrays | difference |", "|---" * 3 + "|"]
    return _rows(lines, rows)


def of_models(place: ParityPlace, labels: Sequence[str] = ()) -> Table:
    """One model of each family and backbone: from preprocessing to restored checkpoints.

    Args:
      place: where it runs.
      labels: of `models.MODELS`; () takes all.
    """
    heads = [*_COLUMNS.values(), "native checkpoint here", "our checkpoint there"]
    lines = ["| model | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    notes: list[str] = []
    unexplained: list[str] = []
    for label in tqdm(labels or list(models.MODELS), desc="models", unit="model"):
        name = label.lower().replace(" ", "_")
        config_path = place.work / f"{name}.config"
        models.write_config(label, place.work, config_path)
        *rows, here, there = _model(label, config_path, place)
        # Restored weights must be the same; detections made with them may differ by rounding.
        detected = next(row for row in rows if row.group == "detections")
        own, float64 = detected.own, detected.float64
        rows += [
            dataclasses.replace(row, own=own, float64=float64)
            if "/detections/" in row.array
            else row
            for row in (here, there)
        ]
        cells = [_cell(row) for row in rows]
        in_float64 = [_figure(row.float64) for row in rows[:-2]] + ["", ""]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
        lines.append("| in float64 | " + " | ".join(in_float64) + " |")
        for row in rows:
            if not row.within:
                note = (
                    f"{label}, {row.group}: {row.relative:.1e} in `{row.array}`; native own "
                    f"{_figure(row.own)}; in float64 {_figure(row.float64)}"
                )
                notes.append("- " + note)
                if not row.explained:
                    unexplained.append(note)
    return lines + ([""] + notes if notes else []), unexplained


def _cell(row: compare.Difference) -> str:
    mark = "" if row.within else f" ({_figure(row.own)})" if row.explained else " **!**"
    ties = f", {row.ties} tied" if row.ties else ""
    return _figure(row.relative) + mark + ties


def _figure(relative: float | None) -> str:
    return "–" if relative is None else f"{relative:.0e}" if relative else "0"


def _model(label: str, config_path: pathlib.Path, place: ParityPlace) -> list[compare.Difference]:
    """The `Difference`s of one model in the order of the table's columns."""
    # The third run is the control; it also reads the checkpoint that the kit's run has written.
    prefixes = {
        "native": kept_results.prefix(config_path, "native"),
        "kit": kept_results.prefix(config_path, "kit", *kept_results.LAYER, *kept_results.LOADER),
        "control": kept_results.prefix(config_path, "control", *kept_results.LAYER),
        "native-float64": kept_results.prefix(config_path, "native-float64"),
        "kit-float64": kept_results.prefix(config_path, "kit-float64", *kept_results.LAYER),
    }
    environments = (
        ("native", place.native_python, True, None),
        ("kit", sys.executable, True, "native"),
        ("control", place.native_python, False, "kit"),
    )

    def measure() -> list[compare.Difference]:
        for run, interpreter, onednn, other in environments:
            job = {
                "run": "run_model",
                "layer": run == "kit",
                "config_path": str(config_path),
                "checkpoint": str(prefixes[run]),
                "other_checkpoint": other and str(prefixes[other]),
                "loader": "kit" if run == "kit" else "api",
            }
            kept_results.run(f"{prefixes[run]}.npz", job, interpreter, onednn)
        # On one thread: on several, TensorFlow's gradient of crop_and_resize loses additions.
        job = {"run": "run_model_in_float64", "config_path": str(config_path)}
        for run, interpreter in (
            ("native-float64", place.native_python),
            ("kit-float64", sys.executable),
        ):
            job["layer"] = run == "kit-float64"
            kept_results.run(f"{prefixes[run]}.npz", job, interpreter, threads=1)
        with contextlib.ExitStack() as files:
            arrays = {
                run: files.enter_context(np.load(f"{prefix}.npz"))
                for run, prefix in prefixes.items()
            }
            in_float64 = arrays["kit-float64"], arrays["native-float64"]
            compared = compare.differences(
                arrays["kit"], arrays["native"], arrays["control"], in_float64
            )
            rows = {row.group: row for row in compared}
            if rows["config"].relative:
                raise UserError(f"{label}: the two environments read different configs")
            restored = [compare.restored(arrays["kit"]), compare.restored(arrays["control"])]
        return [rows[group] for group in _COLUMNS] + restored

    return kept_results.measured(config_path, prefixes.values(), measure, place.keep_arrays)


def _both(message: "Message", job: dict, place: ParityPlace) -> list[compare.Difference]:
    """The `Difference`s of one job run in both environments."""
    config_path = place.work / f"{job['run']}.config"
    config_path.write_text(text_format.MessageToString(message), encoding="utf-8")
    job = {**job, "config_path": str(config_path)}
    native_prefix = kept_results.prefix(config_path, "native", "odapi/shims.py")
    kit_prefix = kept_results.prefix(config_path, "kit", *kept_results.LAYER)

    def measure() -> list[compare.Difference]:
        kept_results.run(f"{native_prefix}.npz", {**job, "layer": False}, place.native_python)
        kept_results.run(f"{kit_prefix}.npz", {**job, "layer": True}, sys.executable)
        with np.load(f"{native_prefix}.npz") as native_run, np.load(f"{kit_prefix}.npz") as kit:
            return compare.differences(kit, native_run)

    return kept_results.measured(
        config_path, (native_prefix, kit_prefix), measure, place.keep_arrays
    )


def _rows(lines: list[str], rows: Sequence[compare.Difference]) -> Table:
    lines += [f"| {row.group} | {row.arrays} | {_cell(row)} |" for row in rows]
    return lines, [
        f"{row.group}: {row.relative:.1e} in {row.array}" for row in rows if not row.within
    ]
