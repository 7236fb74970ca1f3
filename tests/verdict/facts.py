"""What metrics.json and deviations.json say, made for the tests of verdicts."""

from replicate.verdict import comparable


def metrics(points, iou_type="bbox", **changes):
    """What metrics.json says of an evaluation on all of val2017, with `changes` to it."""
    categories = comparable.coco_categories() if iou_type != "keypoints" else {1: "person"}
    value = {
        "iou_type": iou_type,
        "metrics": {"AP": None if points is None else points / 100},
        "agree": True,
        "annotations": {
            "file": "instances_val2017.json",
            "images": 5000,
            "annotations": 36781,
            "image_ids_sha256": "5" * 64,
        },
        "detections": {
            "count": 500000,
            "max_per_image": 100,
            "score_threshold": None,
            "cap_per_image": None,
        },
        "repairs": [],
        "per_category": [
            {"id": id, "name": name, "AP": 0.2, "groundtruth": 100, "detections": 6000}
            for id, name in categories.items()
        ],
    }
    for path, change in changes.items():
        *parents, last = path.split("__")
        target = value
        for parent in parents:
            target = target[parent]
        target[last] = change
    return value


def deviation(path, cls, a=1, b=2, op="modify", why=""):
    return {"op": op, "path": path, "a": a, "b": b, "class": cls, "why": why, "source": ""}
