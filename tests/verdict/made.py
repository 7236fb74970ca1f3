"""Full-size evaluations with known truth: 5,000 images, 36,781 annotations, scored by the kit.

Ids, counts and crowds are val2017's as far as they are publicly known; where the objects lie is
drawn. Everything but AP is what the production functions write; AP is the truth of a case.
"""

import copy
import functools
import itertools
import json
import os
import pathlib
import tempfile

import numpy as np

from replicate import config, opening, replication, score
from replicate.run import RunDir, write_json, write_text
from replicate.verdict import official
from tfrecords import manifest, shards

# The 128 lowest image ids of COCO val2017.
_LOWEST = pathlib.Path(__file__).resolve().parent / "val2017_lowest_ids.txt"
LOWEST_IDS = tuple(map(int, _LOWEST.read_text(encoding="ascii").split()))

_COUNT = itertools.count(1)


def annotations(persons=False):
    """COCO JSON (a dict) with what is publicly known of val2017."""
    rng = np.random.default_rng(17)
    ids = [*LOWEST_IDS, *range(LOWEST_IDS[-1] + 1, LOWEST_IDS[-1] + 1 + 5000 - len(LOWEST_IDS))]
    names = {1: "person"} if persons else official.categories()
    category_ids = [id for id in names for _ in range(official.objects()[id])]
    crowds = [0] * len(category_ids) + [1] * official.VAL2017.crowds
    category_ids += [1] * official.VAL2017.crowds
    sizes = np.exp(rng.normal(4, 0.9, (len(crowds), 2))).clip(4, 300)
    corners = rng.uniform(0, 300, (len(crowds), 2))
    image_ids = rng.permutation(np.resize(ids, len(crowds)))
    objects = []
    for k, (category_id, crowd) in enumerate(zip(category_ids, crowds, strict=True)):
        box = [round(float(value), 2) for value in (*corners[k], *sizes[k])]
        each = {
            "id": k + 1,
            "image_id": int(image_ids[k]),
            "category_id": category_id,
            "bbox": box,
            "area": round(0.6 * box[2] * box[3], 3),
            "iscrowd": crowd,
        }
        if persons:
            each |= {"keypoints": [10, 10, 2] * 17, "num_keypoints": 0 if crowd else 17}
        objects.append(each)
    return {
        "images": [
            {"id": id, "width": 640, "height": 640, "file_name": f"{id:012}.jpg"} for id in ids
        ],
        "annotations": objects,
        "categories": [{"id": id, "name": name} for id, name in names.items()],
    }


def detections(content, most=40):
    """Results that no deployment setting cut: many an image, scores down to nothing."""
    rng = np.random.default_rng(5)
    ids = [each["id"] for each in content["categories"]]
    results = []
    for image in content["images"]:
        for _ in range(int(rng.integers(most // 4, most))):
            box = [*rng.uniform(0, 300, 2), *rng.uniform(8, 250, 2)]
            result = {
                "image_id": image["id"],
                "category_id": int(rng.choice(ids)),
                "bbox": [round(float(value), 2) for value in box],
                "score": round(float(rng.beta(0.3, 4)), 6),
            }
            if "keypoints" in content["annotations"][0]:
                result["keypoints"] = [float(v) for v in rng.uniform(1, 300, 51)]
            results.append(result)
    return results


def scored(content, iou_type="bbox", most=40):
    """The metrics.json dict of drawn detections against `content`, by `replicate.score`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "instances_val2017.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        found = pathlib.Path(folder) / "detections.json"
        found.write_text(json.dumps(detections(content, most)), encoding="utf-8")
        value = score.score(str(path), str(found), iou_type=iou_type, evaluator="hotcoco").to_json()
    value["agree"] = True  # one evaluator's word was enough here
    value["annotations"]["file"] = path.name
    return value


@functools.cache
def _base(iou_type):
    if iou_type == "segm":
        return _base("bbox") | {"iou_type": "segm"}
    persons = iou_type == "keypoints"
    return scored(annotations(persons), iou_type, most=12 if persons else 40)


def metrics(points, iou_type="bbox", **changes):
    """A metrics.json on all of val2017 with an AP of `points`, and `changes` to it.

    Each call is another run: other detections, by their hash.
    """
    value = copy.deepcopy(_base(iou_type))
    value["metrics"]["AP"] = None if points is None else points / 100
    value["detections"]["sha256"] = f"{next(_COUNT):064x}"
    for path, change in changes.items():
        *parents, last = path.split("__")
        target = value
        for parent in parents:
            target = target[parent]
        target[last] = change
    return value


def deviation(path, cls, a=1, b=2, op="modify", why=""):
    return {"op": op, "path": path, "a": a, "b": b, "class": cls, "why": why, "source": ""}


def run_directory(
    root,
    model,
    points,
    *,
    overrides=(),
    batch=None,
    step=None,
    seed=0,
    train=(118_287, 860_001, 10_052),
    start=(200, 200),
    losses=(2.0, 0.4),
    execution=None,
    scores=None,
    purpose="replicate",
    found=(),
):
    """A finished run of `model` whose last evaluation has a box AP of `points`; its RunDir.

    Every file is what the kit's own functions write for such a run.

    Args:
      overrides: (path, value) over the recipe.
      batch: global batch size, scaled by the linear rule.
      step: of the evaluated checkpoint; the config's last by default.
      train: (images, annotations, crowds) of the training records.
      start: (matched, variables) of the starting checkpoint.
      scores: metrics.json dicts in the place of the box AP's.
      purpose: "replicate" or "finetune".
      found: the detections, COCO results.
    """
    run = RunDir.at(root)
    request = replication.ReplicationRequest(
        *(model, "train.json", "t", "val.json", "v"), seed=seed, purpose=purpose
    )
    opening.write_spec(run, request, f"python tools/replicate.py --model={model}", [])
    message = config.render(
        model,
        global_batch_size=batch,
        overrides=list(overrides),
        train_records="data/train-?????-of-00001.tfrecord",
        val_records="data/val-?????-of-00001.tfrecord",
        label_map="data/label_map.pbtxt",
        fine_tune_checkpoint="starting/ckpt-1",
    )
    write_text(run.pipeline_config, config.to_text(message))
    deviations = config.operations_to_json(config.deviations(message, model))
    write_json(run.deviations, deviations)
    images, annotations, crowds = train
    counts = {"images": images, "annotations_written": annotations, "crowd": crowds}
    shard = shards.WrittenShard("train-00000-of-00001.tfrecord", "0" * 64, images, 1, counts, [])
    source = {"annotations_file": "train.json", "sha256": "1" * 64, "images": images}
    source |= {"annotations": annotations, "crowd": crowds, "categories": 80}
    source |= {"keypoints_sha256": None}
    os.makedirs(run.data, exist_ok=True)
    manifest.write(str(run.data / "train"), manifest.assemble(source, {"num_shards": 1}, [shard]))
    matched, variables = start
    write_json(run.start, {"path": "starting/ckpt-1", "matched": matched, "variables": variables})
    executed = {"precision": "float32", "jit_compile": False, "replicas": 1}
    executed |= {"gradient_accumulation_steps": 1} | (execution or {})
    now = {"step": 1, "num_steps": 1, "pid": 1, "host": "a", "updated": 0.0}
    write_json(run.training, {"state": "done", "execution": executed} | now)
    described = {"python": "3.11.2", "system": "Linux", "packages": {"tensorflow": "2.20.0"}}
    described |= {"cpu": {"cores": 2, "memory_bytes": 1 << 34}, "gpus": [], "variables": {}}
    write_json(run.environment, described | {"git": None})
    lines = ({"step": k, "losses": {"Loss/total_loss": loss}} for k, loss in enumerate(losses))
    write_text(run.metrics, "".join(json.dumps(line) + "\n" for line in lines))
    step = step or message.train_config.num_steps
    scores = scores or [metrics(points)]
    held = {"step": step, "checkpoint": {"path": "x", "sha256": f"{next(_COUNT):064x}"}}
    held |= scores[0] | ({"others": scores[1:]} if scores[1:] else {})
    write_json(run.eval_at(step) / "detections.json.gz", list(found))
    write_json(run.eval_at(step) / "metrics.json", held)
    return run
