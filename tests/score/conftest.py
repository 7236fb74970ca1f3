"""A small groundtruth that the tests make, and detections of it."""

import json

import numpy as np
import pytest

# COCO's numbering in small: ids with gaps.
CATEGORIES = {1: "person", 2: "bicycle", 4: "motorcycle", 7: "train", 11: "hydrant"}


def make_groundtruth(images=20, objects=4, seed=0):
    """A COCO dict: `images` images of 200 × 300 px (height × width), `objects` in each."""
    rng = np.random.default_rng(seed)
    ids = list(CATEGORIES)
    annotations = []
    for image in range(images):
        for number in range(objects):
            x, y = rng.uniform(60, 180), rng.uniform(40, 110)
            width, height = rng.uniform(20, 110), rng.uniform(20, 80)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 + image,
                    "category_id": ids[(image + number) % len(ids)],
                    "bbox": [round(v, 1) for v in (x, y, width, height)],
                    "area": round(width * height, 1),
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": 100 + i, "height": 200, "width": 300, "file_name": f"{100 + i}.png"}
            for i in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": id, "name": name} for id, name in CATEGORIES.items()],
    }


def make_detections(groundtruth, seed=1, jitter=0.05):
    """One detection near each annotation, and as many boxes at random."""
    rng = np.random.default_rng(seed)
    detections = []
    for annotation in groundtruth["annotations"]:
        x, y, width, height = annotation["bbox"]
        dx, dy, dw, dh = rng.normal(0, jitter, 4)
        detections.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "bbox": [x + dx * width, y + dy * height, width * (1 + dw), height * (1 + dh)],
                "score": float(rng.uniform(0.3, 1)),
            }
        )
        detections.append(
            {
                "image_id": annotation["image_id"],
                "category_id": int(rng.choice(list(CATEGORIES))),
                "bbox": [float(v) for v in rng.uniform(10, 100, 4)],
                "score": float(rng.uniform(0, 0.3)),
            }
        )
    return detections


@pytest.fixture
def groundtruth():
    return make_groundtruth()


@pytest.fixture
def annotations_file(groundtruth, tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(groundtruth))
    return path


@pytest.fixture
def detections(groundtruth):
    return make_detections(groundtruth)
