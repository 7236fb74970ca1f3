"""Holds the Object Detection API on the kit's TensorFlow against the same API on its native one.

Makes a virtual environment with TensorFlow 2.15 (Python 3.11, outside the checkout, about 2 GB),
gives both the same weights and inputs, one model of each family and backbone of the zoo, and
prints the largest relative differences: in preprocessing, predictions, decoded detections,
losses, gradients, the optimizer's updates, checkpoints restored across, and each augmentation
step of the zoo; predictions to gradients once more from layers that compute in float64, where
rounding decides nothing. Takes about an hour on 2 cores, and 20 GB of memory for Mask R-CNN.

    python tools/parity.py
    python tools/parity.py --models="SSD MobileNet v2,EfficientDet-D0" --output=parity.md

A difference over 1e-4 counts as explained when there is none in float64 and the native TensorFlow
differs from itself by as much when its kernels are exchanged (oneDNN's for its own), that is, by
rounding alone.
Interrupted, it goes on where it was when it is called again.
Exit status: 0 all within 1e-4 or explained, 1 something is not.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags
from google.protobuf import text_format
from tqdm import tqdm

from replicate import config
from replicate.errors import UserError
from replicate.parity import compare, native
from replicate.run import write_json, write_text
from tools import cli

_MODELS = flags.DEFINE_list("models", [], "labels of models (default: all; see docs/engine.md)")
_DIRECTORY = flags.DEFINE_string(
    "native_dir", str(native.DIRECTORY), "where the native environment is kept"
)
_WORK = flags.DEFINE_string(
    "work_dir", str(native.DIRECTORY.parent / "parity"), "for configs, checkpoints and arrays"
)
_KEEP = flags.DEFINE_bool(
    "keep_arrays", False, "leave each run's arrays and checkpoints there (up to 10 GB a model)"
)
_OUTPUT = flags.DEFINE_string("output", "", "also write the tables to this Markdown file")

_INCEPTION = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"
_SMALL = (
    "image_resizer { fixed_shape_resizer { height: 320 width: 320 } } "
    "first_stage_max_proposals: 32 second_stage_batch_size: 32"
)
_CENTERNET = "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8"
#: label: (template, what is changed in it). Some are made smaller, as the labels say, to spare time
#: and memory; the other changes make the zoo models whose training configs were not published.
MODELS = {
    "SSD MobileNet v1 FPN": ("ssd_mobilenet_v1_fpn_640x640_coco17_tpu-8", ""),
    "SSD MobileNet v2": ("ssd_mobilenet_v2_320x320_coco17_tpu-8", ""),
    "SSD MobileNet v2 FPNLite": ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", ""),
    "SSD ResNet-50 v1 FPN": ("ssd_resnet50_v1_fpn_640x640_coco17_tpu-8", ""),
    "EfficientDet-D0": ("ssd_efficientdet_d0_512x512_coco17_tpu-8", ""),
    "Faster R-CNN ResNet-50 v1": ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", ""),
    "Faster R-CNN ResNet-50 v1 FPN": ("faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8", ""),
    "Faster R-CNN Inception ResNet v2 (320 px; 32 proposals)": (
        _INCEPTION,
        f"faster_rcnn {{ {_SMALL} number_of_stages: 2 second_stage_box_predictor {{ "
        "mask_rcnn_box_predictor { predict_instance_masks: false } } }",
    ),
    "Mask R-CNN Inception ResNet v2 (320 px; 32 proposals)": (
        _INCEPTION,
        f"faster_rcnn {{ {_SMALL} }}",
    ),
    "CenterNet Hourglass-104 (256 px)": (
        "centernet_hourglass104_512x512_coco17_tpu-8",
        "center_net { image_resizer { keep_aspect_ratio_resizer { min_dimension: 256 "
        "max_dimension: 256 } } }",
    ),
    "CenterNet ResNet-50 v2 keypoints": ("centernet_resnet50_v2_512x512_kpts_coco17_tpu-8", ""),
    "CenterNet ResNet-50 v1 FPN keypoints": (
        "centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8",
        "",
    ),
    "CenterNet ResNet-101 v1 FPN": (_CENTERNET, ""),
    "CenterNet MobileNet v2 FPN": (
        _CENTERNET,
        'center_net { feature_extractor { type: "mobilenet_v2_fpn_sep_conv" } }',
    ),
}
#: What a kept result depends on: the code of every run, that of the layer, with the versions it is
#: for, and that of the kit's loader.
RUNS = ("parity/fixed.py", "parity/runs.py", "parity/requirements-native.txt")
LAYER = ("odapi/__init__.py", "odapi/protos.py", "odapi/shims.py")
ENGINE = ("tensorflow", "tf-keras", "numpy", "tf-models-official")
LOADER = ("evaluate/detector.py", "evaluate/suppression.py")
COMPARISON = ("parity/compare.py",)
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


def main(_):
    unknown = [label for label in _MODELS.value if label not in MODELS]
    if unknown:
        raise UserError(f"--models: no {unknown[0]!r}; choose from {', '.join(MODELS)}")
    work = pathlib.Path(_WORK.value).expanduser().absolute()
    work.mkdir(parents=True, exist_ok=True)
    try:
        native_python = native.python(pathlib.Path(_DIRECTORY.value).expanduser())
        unexplained, tables = [], []
        for table in (_augmentation_table, _input_table, _models_table):
            lines, not_explained = table(native_python, work)
            tables.append("\n".join(lines))
            print(tables[-1], end="\n\n", flush=True)
            unexplained += not_explained
    except native.NativeError as error:
        raise UserError(str(error)) from error
    if _OUTPUT.value:
        write_text(_OUTPUT.value, "\n\n".join(tables) + "\n")
    for line in unexplained:
        print(f"not explained: {line}", file=sys.stderr)
    return cli.NEGATIVE if unexplained else cli.DONE


def _models_table(native_python, work):
    """(the table's lines, what is neither within the tolerance nor explained)"""
    heads = [*_COLUMNS.values(), "native checkpoint here", "our checkpoint there"]
    lines = ["| model | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    notes, unexplained = [], []
    labels = _MODELS.value or list(MODELS)
    for label in tqdm(labels, desc="models", unit="model"):
        name = label.lower().replace(" ", "_")
        config_path = work / f"{name}.config"
        _write_config(label, work, config_path)
        *rows, here, there = _model(label, config_path, native_python)
        # Restored weights must be the same; detections made with them may differ by rounding.
        detected = next(row for row in rows if row.group == "detections")
        known = {"own": detected.own, "float64": detected.float64}
        rows += [
            dataclasses.replace(row, **known) if "/detections/" in row.array else row
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


def _cell(row):
    mark = "" if row.within else f" ({_figure(row.own)})" if row.explained else " **!**"
    ties = f", {row.ties} tied" if row.ties else ""
    return _figure(row.relative) + mark + ties


def _figure(relative):
    return "–" if relative is None else f"{relative:.0e}" if relative else "0"


def _measured(config_path, prefixes, measure):
    """The `Difference`s that `measure()` gives, kept in a file beside the config; those of an
    earlier call where nothing that they depend on has changed since.

    Args:
      config_path: what is measured.
      prefixes: of the files that its runs leave.
      measure: makes the runs that are missing and compares them.
    """
    digest = hashlib.sha256("".join(map(str, prefixes)).encode() + _bytes(COMPARISON)).hexdigest()
    kept = config_path.with_suffix(".measured.json")
    if kept.exists():
        measured = json.loads(kept.read_text(encoding="utf-8"))
        if measured["digest"] == digest:
            return [compare.Difference(**row) for row in measured["rows"]]
    _remove_others(config_path, prefixes)
    rows = measure()
    write_json(kept, {"digest": digest, "rows": [dataclasses.asdict(row) for row in rows]})
    if not _KEEP.value:
        _remove_others(config_path, ())
    return rows


def _remove_others(config_path, prefixes):
    """Removes what runs have left, but for files with these prefixes."""
    for path in config_path.parent.glob(f"{config_path.stem}.*.????????*"):
        if not any(str(path).startswith(str(prefix)) for prefix in prefixes):
            path.unlink()


def _prefix(config_path, run, *sources):
    """What the names of a run's files begin with; it tells what the run depends on."""
    versions = [importlib.metadata.version(package) for package in ENGINE] if sources else []
    digest = hashlib.sha256(config_path.read_bytes() + _bytes((*RUNS, *sources)))
    digest.update(repr(versions).encode())
    return config_path.with_suffix(f".{run}.{digest.hexdigest()[:8]}")


def _bytes(sources):
    return b"".join((native.PACKAGES / "replicate" / source).read_bytes() for source in sources)


def _model(label, config_path, native_python):
    """The `Difference`s of one model in the order of the table's columns."""
    # The third run is the control; it also reads the checkpoint that the kit's run has written.
    prefixes = {
        "native": _prefix(config_path, "native"),
        "kit": _prefix(config_path, "kit", *LAYER, *LOADER),
        "control": _prefix(config_path, "control", *LAYER),
        "native-float64": _prefix(config_path, "native-float64"),
        "kit-float64": _prefix(config_path, "kit-float64", *LAYER),
    }
    environments = (
        ("native", native_python, True, None),
        ("kit", sys.executable, True, "native"),
        ("control", native_python, False, "kit"),
    )

    def measure():
        for run, interpreter, onednn, other in environments:
            job = {
                "run": "run_model",
                "layer": run == "kit",
                "config_path": str(config_path),
                "checkpoint": str(prefixes[run]),
                "other_checkpoint": other and str(prefixes[other]),
                "loader": "kit" if run == "kit" else "api",
            }
            _run(f"{prefixes[run]}.npz", job, interpreter, onednn)
        # On one thread: on several, TensorFlow's gradient of crop_and_resize loses additions.
        job = {"run": "run_model_in_float64", "config_path": str(config_path)}
        for run, interpreter in (
            ("native-float64", native_python),
            ("kit-float64", sys.executable),
        ):
            job["layer"] = run == "kit-float64"
            _run(f"{prefixes[run]}.npz", job, interpreter, threads=1)
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

    return _measured(config_path, prefixes.values(), measure)


def _run(output, job, interpreter, onednn=True, threads=None):
    """Runs a job that writes the file `output`, unless an interrupted call has it already."""
    output = pathlib.Path(output)
    if output.exists():
        return
    partial = output.with_name(f"partial-{output.name}")
    job_path = output.with_suffix(".json")
    write_json(job_path, {**job, "output": str(partial)})
    native.run(interpreter, job_path, onednn, threads)
    partial.replace(output)


def _write_config(label, work, path):
    template, changes = MODELS[label]
    message = config.template(template)
    text_format.Merge(changes, message.model)
    if message.model.center_net.keypoint_label_map_path:
        label_map = work / "keypoints_label_map.pbtxt"
        label_map.write_text(_keypoint_label_map(message.model.center_net), encoding="utf-8")
        message.model.center_net.keypoint_label_map_path = str(label_map)
    path.write_text(text_format.MessageToString(message), encoding="utf-8")


def _keypoint_label_map(center_net):
    """A label map with the classes and keypoints that the keypoint tasks ask for."""
    lines = []
    for task in center_net.keypoint_estimation_task:
        lines.append(f'item {{ id: 1 name: "{task.keypoint_class_name}" display_name: "person"')
        for index, keypoint in enumerate(sorted(task.keypoint_label_to_std)):
            lines.append(f'  keypoints {{ id: {index} label: "{keypoint}" }}')
        lines.append("}")
    return "\n".join(lines)


def _augmentation_table(native_python, work):
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
    rows = _both(message, job, native_python, work)
    lines = [
        f"| augmentation step, {AUGMENTATION_SEEDS} seeds | arrays | difference |",
        "|---" * 3 + "|",
    ]
    return _rows(lines, rows)


def _input_table(native_python, work):
    """Records read, decoded, resized and padded by the API's evaluation input."""
    message = config.template(_INCEPTION)
    resizer = message.model.faster_rcnn.image_resizer
    resizer.fixed_shape_resizer.height = resizer.fixed_shape_resizer.width = 512
    (work / "label_map.pbtxt").write_text(
        "".join(f'item {{ id: {i} name: "class{i}" }}\n' for i in range(1, 91)), encoding="utf-8"
    )
    reader = message.eval_input_reader[0]
    reader.label_map_path = str(work / "label_map.pbtxt")
    reader.tf_record_input_reader.input_path[:] = [str(work / "examples.tfrecord")]
    job = {"run": "run_write_examples", "layer": True, "images": IMAGES}
    _run(work / "examples.tfrecord", job, sys.executable)
    rows = _both(message, {"run": "run_input", "images": IMAGES}, native_python, work)
    lines = [f"| input pipeline, {IMAGES} images | arrays | difference |", "|---" * 3 + "|"]
    return _rows(lines, rows)


def _both(message, job, native_python, work):
    """The `Difference`s of one job run in both environments."""
    config_path = work / f"{job['run']}.config"
    config_path.write_text(text_format.MessageToString(message), encoding="utf-8")
    job = {**job, "config_path": str(config_path)}
    native_prefix = _prefix(config_path, "native", "odapi/shims.py")
    kit_prefix = _prefix(config_path, "kit", *LAYER)

    def measure():
        _run(f"{native_prefix}.npz", {**job, "layer": False}, native_python)
        _run(f"{kit_prefix}.npz", {**job, "layer": True}, sys.executable)
        with np.load(f"{native_prefix}.npz") as native_run, np.load(f"{kit_prefix}.npz") as kit:
            return compare.differences(kit, native_run)

    return _measured(config_path, (native_prefix, kit_prefix), measure)


def _rows(lines, rows):
    lines += [f"| {row.group} | {row.arrays} | {_cell(row)} |" for row in rows]
    return lines, [
        f"{row.group}: {row.relative:.1e} in {row.array}" for row in rows if not row.within
    ]


if __name__ == "__main__":
    cli.run(main)
