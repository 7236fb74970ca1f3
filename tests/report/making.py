"""A complete run directory in seconds: drawn images, detections that a poor detector would give.

Everything but the detections and the log of the training is made by the kit's own rooms: the
config is rendered, the detections are scored, the verdict is decided.
"""

import math
import pathlib

import numpy as np

from replicate import config, opening, score, verdict
from replicate.demo import drawing
from replicate.run import RunDir, metrics_line, read_json, write_json, write_text
from tfrecords import coco, conversion, manifest, shards

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


def groundtruth(folder, images=16, names=None):
    """Draws validation images; `names` renames the categories. Returns (JSON file, folder)."""
    splits = drawing.draw(folder, train_images=4, val_images=images)
    annotations_file, image_dir = splits["val"]
    if names:
        content = read_json(annotations_file)
        for category, name in zip(content["categories"], names, strict=True):
            category["name"] = name
        write_json(annotations_file, content)
    return annotations_file, image_dir


def detections(annotations_file, skill, seed=0):
    """Jittered, renamed, missed and invented boxes; `skill` in 0..1.

    Returns:
      list of COCO results.
    """
    rng = np.random.default_rng(seed)
    content = read_json(annotations_file)
    ids = [category["id"] for category in content["categories"]]
    results = []

    def add(image_id, category_id, box_xywh_px, detected):
        results.append(
            {
                "image_id": image_id,
                "category_id": int(category_id),
                "bbox": [round(float(value), 2) for value in box_xywh_px],
                "score": round(float(detected), 5),
            }
        )

    for annotation in content["annotations"]:
        if rng.random() > 0.4 + 0.6 * skill:
            continue
        x, y, width, height = annotation["bbox"]
        dx, dy, dw, dh = rng.normal(0, 0.22 * (1.1 - skill), 4)
        box = (x + dx * width, y + dy * height, width * math.exp(dw), height * math.exp(dh))
        named = annotation["category_id"] if rng.random() < 0.5 + 0.5 * skill else rng.choice(ids)
        add(annotation["image_id"], named, box, rng.beta(2 + 5 * skill, 2))
        if rng.random() < 0.2:
            add(annotation["image_id"], named, np.add(box, rng.normal(0, 4, 4)), rng.beta(2, 4))
    for image in content["images"]:
        for _ in range(4):
            size = rng.uniform(12, 90, 2)
            corner = rng.uniform(0, 150, 2)
            add(image["id"], rng.choice(ids), (*corner, *size), rng.beta(1, 6))
    return results


def run_directory(
    root,
    annotations_file,
    image_dir,
    *,
    steps=(100, 200, 300),
    seed=0,
    learning_rate=0.08,
    skill=0.8,
    model=MODEL,
    extra_overrides=(),
):
    """Writes a whole run directory and returns its RunDir."""
    run = RunDir.at(root)
    num_steps = steps[-1]
    overrides = [
        ("train_config.num_steps", str(num_steps)),
        ("train_config.batch_size", "16"),
        (f"{COSINE}.learning_rate_base", str(learning_rate)),
        (f"{COSINE}.total_steps", str(num_steps)),
        (f"{COSINE}.warmup_steps", "30"),
        *extra_overrides,
    ]
    request = {
        "model": model,
        "train_annotations": str(annotations_file),
        "train_images": str(image_dir),
        "val_annotations": str(annotations_file),
        "val_images": str(image_dir),
        "num_steps": num_steps,
        "overrides": [list(pair) for pair in overrides],
        "seed": seed,
    }
    command = f"python tools/replicate.py --model={model} --run_dir={root} --seed={seed}"
    write_json(run.spec, {"format": 1, "request": request, "command": command})
    message = config.render(
        model,
        overrides=overrides,
        train_records="data/train-?????-of-?????.tfrecord",
        val_records="data/val-?????-of-?????.tfrecord",
        label_map="data/label_map.pbtxt",
        num_classes=3,
    )
    opening.write_config(run, message, model)
    environment = {
        "python": "3.11.7",
        "system": "Linux x86_64",
        "packages": {"tensorflow": "2.20.0", "hotcoco": "1.3.0"},
        "cpu": {"cores": 2, "memory_bytes": 8 * 2**30},
        "gpus": [],
        "precision": "float32",
        "variables": {},
        "git": {"revision": "0" * 40, "diff": ""},
    }
    write_json(run.environment, environment)
    for split in ("train", "val"):
        path = run.data / f"manifest-{split}.json"
        write_json(path, _manifest(annotations_file), checksum=True)
    write_text(run.metrics, _log(num_steps, learning_rate, seed))
    for number, step in enumerate(steps, 1):
        found = detections(annotations_file, skill * number / len(steps), 100 * seed + number)
        write_evaluation(run, step, annotations_file, found)
    write_json(run.verdict, verdict.of_runs([run]).to_json())
    return run


def write_evaluation(run, step, annotations_file, found):
    """Writes evals/<step>/ with the detections `found` and their real metrics."""
    folder = run.eval_at(step)
    write_json(folder / "detections.json.gz", found)
    result = score.score(str(annotations_file), str(folder / "detections.json.gz"))
    checkpoint = {"path": f"checkpoints/ckpt-{step}", "sha256": f"{step:064x}"}
    write_json(folder / "metrics.json", {"step": step, "checkpoint": checkpoint} | result.to_json())


def _manifest(annotations_file):
    """A manifest of tfrecords/ in which one box was dropped, as a conversion puts it together."""
    source = coco.load(annotations_file)
    images, annotations = len(source.images), source.num_annotations
    counts = {"images": images, "annotations_written": annotations - 1, "dropped/box_empty": 1}
    shard = shards.WrittenShard(
        "x-00000-of-00001.tfrecord",
        "0" * 64,
        images,
        54321,
        counts | {"crowd": source.num_crowd},
        [],
    )
    header = {"sha256": source.sha256, "keypoints_sha256": None}
    settings = {
        "num_shards": 1,
        "include_masks": False,
        "include_keypoints": False,
        "include_class_labels": False,
        "invalid_boxes": "clip",
        "keep_images_without_annotations": True,
        "on_error": "stop",
    }
    entry = conversion.source_entry(source, header, pathlib.Path(annotations_file).parent, None)
    return manifest.assemble(entry, settings, [shard])


def _log(num_steps, learning_rate, seed):
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(10, num_steps + 1, 10):
        decay = math.exp(-3 * step / num_steps) + 0.05 * rng.random()
        warm = min(1.0, step / 30)
        losses = {
            "Loss/localization_loss": 0.7 * decay,
            "Loss/classification_loss": 1.1 * decay,
            "Loss/regularization_loss": 0.004,
        }
        losses["Loss/total_loss"] = sum(losses.values())
        line = {
            "step": step,
            "losses": losses,
            "learning_rate": learning_rate
            * warm
            * 0.5
            * (1 + math.cos(math.pi * max(0, step - 30) / (num_steps - 30))),
            "steps_per_second": 2.4 + 0.1 * rng.random(),
            "images_per_second": 38 + rng.random(),
            "input_wait": 0.01 + 0.01 * rng.random(),
        }
        lines.append(metrics_line(line))
    return "".join(lines)
