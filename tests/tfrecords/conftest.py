"""A small COCO dataset, drawn by the tests: polygons, a crowd region, an image with nothing."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

WIDTH, HEIGHT = 40, 30


class Dataset:
    """`annotations` (path), `images` (folder), `document` (the JSON's content)."""

    def __init__(self, folder, num_images=7):
        self.images, self.annotations = folder / "images", folder / "instances.json"
        self.images.mkdir(parents=True)
        rng = np.random.default_rng(0)
        self.document = {
            "info": {"description": "drawn"},
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "tooth brush"}],
        }
        for number in range(num_images):
            image = {"id": 100 + 7 * number, "file_name": f"{number:03d}.jpg"}
            self.document["images"].append(image | {"width": WIDTH, "height": HEIGHT})
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(pixels).save(self.path(number))
            for _ in range(number % 4):
                self._annotate(image["id"], rng)
        self.write()

    def _annotate(self, image_id, rng):
        x, y = rng.integers(0, 2000, 2) / 100
        width, height = rng.integers(300, 900, 2) / 100
        number = len(self.document["annotations"])
        polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
        crowd = {"size": [HEIGHT, WIDTH], "counts": [100, 20, 11, 19, HEIGHT * WIDTH - 150]}
        self.document["annotations"].append(
            {
                "id": 1000 + number,
                "image_id": image_id,
                "category_id": (1, 90)[number % 3 == 2],
                "bbox": [x, y, width, height],
                "area": round(width * height, 4),
                "iscrowd": int(number == 4),
                "segmentation": crowd if number == 4 else [polygon],
            }
        )

    def path(self, number):
        return self.images / self.document["images"][number]["file_name"]

    def write(self):
        self.annotations.write_text(json.dumps(self.document), encoding="utf-8")

    def change(self, edit):
        """Applies `edit` to the document and writes it."""
        edit(self.document)
        self.write()

    def copy_document(self):
        return copy.deepcopy(self.document)


@pytest.fixture
def dataset(tmp_path):
    return Dataset(tmp_path / "dataset")


@pytest.fixture
def cases(shared):
    """The folder of annotation files as other tools write them."""
    return shared / "cases" / "01-json-dirt"
