"""Full-size evaluations with known truth: 5,000 images, 36,781 annotations, scored by the kit.

Ids, counts and crowds are val2017's as far as they are publicly known; where the objects lie is
drawn. Everything but AP is what the production functions write; AP is the truth of a case.
"""

import copy
import functools
import itertools
import json
import pathlib
import tempfile

import numpy as np

from replicate import score
from replicate.verdict import official

# The 128 lowest image ids of COCO val2017.
FIRST_IDS = tuple(
    map(
        int,
        ["139", "285", "632", "724", "776", "785", "802", "872", "885", "1000", "1268", "1296", "1353", "1425", "1490", "1503", "1532", "1584", "1675", "1761", "1818", "1993", "2006", "2149", "2153", "2157", "2261", "2299", "2431", "2473", "2532", "2587", "2592", "2685", "2923", "3156", "3255", "3501", "3553", "3661", "3845", "3934", "4134", "4395", "4495", "4765", "4795", "5001", "5037", "5060", "5193", "5477", "5503", "5529", "5586", "5600", "5992", "6012", "6040", "6213", "6460", "6471", "6614", "6723", "6763", "6771", "6818", "6894", "6954", "7088", "7108", "7278", "7281", "7386", "7511", "7574", "7784", "7795", "7816", "7818", "7888", "7977", "7991", "8021", "8211", "8277", "8532", "8629", "8690", "8762", "8844", "8899", "9378", "9400", "9448", "9483", "9590", "9769", "9772", "9891", "9914", "10092", "10363", "10583", "10707", "10764", "10977", "10995", "11051", "11122", "11149", "11197", "11511", "11615", "11699", "11760", "11813", "12062", "12120", "12280", "12576", "12639", "12667", "12670", "12748", "13004", "13177", "13201"],
    )
)

_COUNT = itertools.count(1)


def annotations(persons=False):
    """COCO JSON (a dict) with what is publicly known of val2017."""
    rng = np.random.default_rng(17)
    ids = [*FIRST_IDS, *range(FIRST_IDS[-1] + 1, FIRST_IDS[-1] + 1 + 5000 - len(FIRST_IDS))]
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
