"""Drawn images whose objects a few lines of code find: rectangles in their class's colour."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from replicate.benchmarking import Dataset, ModelDetections

# COCO's ids have gaps, so these have.
COLOURS = {1: (250, 20, 20), 3: (20, 250, 20), 7: (20, 20, 250)}
NAMES = {1: "red", 3: "green", 7: "blue"}
SIZES_HW = [(120, 160), (160, 120), (100, 100), (120, 160), (140, 150), (120, 160)]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A Dataset of six images with a rectangle of each class, textured behind."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "images").mkdir()
    rng = np.random.default_rng(5)
    images, annotations = [], []
    for number, (height, width) in enumerate(SIZES_HW, 1):
        pixels = rng.integers(60, 160, (height, width, 3), dtype=np.uint8)
        for slot, (category, colour) in enumerate(COLOURS.items()):
            w, h = rng.integers(12, width // 3 - 4), rng.integers(12, height - 10)
            x = slot * width // 3 + int(rng.integers(0, width // 3 - w))
            y = int(rng.integers(0, height - h))
            pixels[y : y + h, x : x + w] = colour
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    # A pixel off, as annotators are.
                    "bbox": [x + 1, y, int(w), int(h)],
                    "area": int(w * h),
                    "iscrowd": 0,
                }
            )
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append(
            {"id": number, "height": height, "width": width, "file_name": f"{number}.png"}
        )
    (folder / "instances.json").write_text(
        json.dumps(
            {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": id, "name": name} for id, name in NAMES.items()],
            }
        )
    )
    return Dataset(str(folder / "instances.json"), str(folder / "images"))


def find_colours(image):
    """The ModelDetections of an image: the bounding box of each class's colour."""
    boxes, scores, ids = [], [], []
    for category, colour in COLOURS.items():
        labelled, _ = ndimage.label((image == colour).all(axis=2))
        for rows, columns in ndimage.find_objects(labelled):
            width, height = columns.stop - columns.start, rows.stop - rows.start
            boxes.append([columns.start, rows.start, width, height])
            scores.append(1 - 1 / (width * height))
            ids.append(category)
    return ModelDetections(np.array(boxes, float), np.array(scores), np.array(ids))


@pytest.fixture
def colour_detector():
    """A callable on a batch: list of uint8 [height, width, 3] -> list of ModelDetections."""

    def detect(batch):
        detect.calls += 1
        return [find_colours(image) for image in batch]

    detect.calls = 0
    return detect


@pytest.fixture(scope="module")
def recorded(drawn, tmp_path_factory):
    """Detections of each image, recorded once, and their metrics."""
    from tests.benchmark.replaying import images_of, metrics_of, spoilt

    rng = np.random.default_rng(2)
    found = [spoilt(find_colours(image), rng) for image in images_of(drawn)]
    return found, metrics_of(drawn, found, tmp_path_factory.mktemp("recorded") / "detections.json")
