"""Draws a COCO-format detection set: shapes on textured backgrounds, polygons, crowds.

The same seed gives the same bytes. Three classes, objects of all three COCO sizes, occlusion,
and crowd regions (many small shapes of one class, one RLE mask) as COCO annotates them.
"""

import io
import json
import os
import pathlib

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from tqdm import tqdm

from replicate.run import write_json
from tfrecords.whole_files import written_whole

CATEGORIES = ("disc", "square", "triangle")
#: Every shape that can be drawn: its corners, and how far the inner ones of a star lie out.
SHAPES = {
    "disc": (28, 1.0),
    "square": (4, 1.0),
    "triangle": (3, 1.0),
    "hexagon": (6, 1.0),
    "star": (10, 0.45),
    "spark": (8, 0.35),
}
IMAGE_HW = (256, 256)
_OVERSAMPLING = 2
# Diameter in pixels: COCO's small is an area below 32^2, its large one above 96^2.
_DIAMETERS = ((22, 35), (44, 90), (104, 170))
_CROWD_EVERY = 24


def draw(
    folder: str | os.PathLike[str],
    *,
    train_images: int = 1200,
    val_images: int = 120,
    seed: int = 17,
    categories: tuple[str, ...] = CATEGORIES,
) -> dict[str, tuple[str, str]]:
    """Draws the set into `folder`, unless it is there already.

    Args:
      folder: gets train/, val/ (JPEG) and annotations/instances_{train,val}.json.
      train_images, val_images: how many images.
      seed: int.
      categories: names of SHAPES, ids 1, 2, … in their order.

    Returns:
      {"train" or "val": (annotation file, image folder)}.
    """
    folder = pathlib.Path(folder)
    splits = {}
    for number, (split, count) in enumerate((("train", train_images), ("val", val_images))):
        annotations_file = folder / "annotations" / f"instances_{split}.json"
        if not _is_drawn(annotations_file, count):
            write_json(
                annotations_file, _draw_split(folder / split, count, seed + number, categories)
            )
        splits[split] = str(annotations_file), str(folder / split)
    return splits


def _is_drawn(annotations_file: pathlib.Path, count: int) -> bool:
    # The annotation file is written last, so where it is, the images are.
    if not annotations_file.is_file():
        return False
    return len(json.loads(annotations_file.read_text(encoding="utf-8"))["images"]) == count


def _draw_split(
    folder: pathlib.Path, count: int, seed: int, categories: tuple[str, ...] = CATEGORIES
) -> dict:
    images: list[dict] = []
    annotations: list[dict] = []
    height, width = IMAGE_HW
    for image_id in tqdm(range(1, count + 1), desc=f"draw {folder.name}", unit="image"):
        rng = np.random.default_rng((seed, image_id))
        canvas = _background(rng)
        objects = _objects(rng, categories)
        if image_id % _CROWD_EVERY == 0:
            objects.insert(0, _crowd(rng, categories))
        for shapes in objects:
            for _, polygon in shapes:
                _paint(canvas, polygon, rng)
        name = f"{image_id:06d}.jpg"
        _save(canvas, folder / name, rng)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for shapes in objects:
            annotation = _crowd_annotation(shapes) if len(shapes) > 1 else _annotation(shapes[0])
            annotations.append({"id": len(annotations) + 1, "image_id": image_id} | annotation)
    return {
        "info": {"description": "shapes drawn by the kit's demo"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number + 1, "name": name, "supercategory": "shape"}
            for number, name in enumerate(categories)
        ],
    }


def _background(rng: np.random.Generator) -> Image.Image:
    """A smooth coloured texture, oversampled, as an RGB image."""
    coarse = rng.uniform(40, 215, (int(rng.integers(3, 9)), int(rng.integers(3, 9)), 3))
    height, width = IMAGE_HW
    size = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    return Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _objects(
    rng: np.random.Generator, categories: tuple[str, ...]
) -> list[list[tuple[int, np.ndarray]]]:
    """One to five single shapes, the large ones first so that they do not hide the others."""
    height, width = IMAGE_HW
    sizes = sorted(rng.choice(3, size=int(rng.integers(1, 6)), p=(0.25, 0.45, 0.3)), reverse=True)
    objects: list[list[tuple[int, np.ndarray]]] = []
    taken: list[tuple[float, float, float]] = []
    for size in sizes:
        for _ in range(20):
            radius = rng.uniform(*_DIAMETERS[size]) / 2
            x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
            if all(np.hypot(x - a, y - b) > 0.8 * (radius + r) for a, b, r in taken):
                taken.append((x, y, radius))
                category = int(rng.integers(len(categories)))
                polygon = _polygon(categories[category], x, y, radius, rng)
                objects.append([(category, polygon)])
                break
    return objects


def _crowd(rng: np.random.Generator, categories: tuple[str, ...]) -> list[tuple[int, np.ndarray]]:
    """A dozen small shapes of one class, close together."""
    height, width = IMAGE_HW
    category = int(rng.integers(len(categories)))
    center = rng.uniform(60, 196, 2)
    positions = np.clip(rng.normal(center, 24, (12, 2)), 12, (width - 12, height - 12))
    shape = categories[category]
    return [(category, _polygon(shape, x, y, rng.uniform(7, 11), rng)) for x, y in positions]


def _polygon(shape: str, x: float, y: float, radius: float, rng: np.random.Generator) -> np.ndarray:
    """float [n, 2] x, y in pixels; the shape turned by a random angle."""
    corners, inner = SHAPES[shape]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    stretch = rng.uniform(0.8, 1.0) if corners == 4 else 1.0
    radii = radius * np.where(np.arange(corners) % 2, inner, 1.0)
    points = np.stack([x + radii * np.cos(angles) * stretch, y + radii * np.sin(angles)], 1)
    height, width = IMAGE_HW
    return np.clip(points, 0, (width, height)).round(2)


def _paint(canvas: Image.Image, polygon: np.ndarray, rng: np.random.Generator) -> None:
    base = rng.uniform(0, 255, 3)
    outline = tuple(int(value) for value in 255 - base)
    ImageDraw.Draw(canvas).polygon(
        [tuple(point * _OVERSAMPLING) for point in polygon],
        fill=tuple(int(value) for value in base),
        outline=outline,
        width=2,
    )


def _save(canvas: Image.Image, path: pathlib.Path, rng: np.random.Generator) -> None:
    """Brings the canvas to its size, adds grain, writes a JPEG."""
    height, width = IMAGE_HW
    pixels = np.asarray(canvas.resize((width, height), Image.Resampling.LANCZOS), np.float32)
    grain = rng.normal(0, 10, (height, width, 1))
    encoded = io.BytesIO()
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(
        encoded, "JPEG", quality=92
    )
    with written_whole(path, "wb") as stream:
        stream.write(encoded.getvalue())


def _annotation(shape: tuple[int, np.ndarray]) -> dict:
    category, polygon = shape
    (x0, y0), (x1, y1) = polygon.min(0), polygon.max(0)
    after = np.roll(polygon, -1, 0)
    area = abs((polygon[:, 0] * after[:, 1] - after[:, 0] * polygon[:, 1]).sum()) / 2
    return {
        "category_id": category + 1,
        "segmentation": [[float(value) for value in polygon.ravel()]],
        "bbox": [round(float(value), 2) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": round(float(area), 2),
        "iscrowd": 0,
    }


def _crowd_annotation(shapes: list[tuple[int, np.ndarray]]) -> dict:
    """One region for all shapes: uncompressed RLE (column-major run lengths), as COCO's crowds."""
    height, width = IMAGE_HW
    polygons = [[float(value) for value in polygon.ravel()] for _, polygon in shapes]
    mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    counts = ([0] if pixels[0] else []) + runs
    ys, xs = np.nonzero(mask)
    return {
        "category_id": shapes[0][0] + 1,
        "segmentation": {"size": [height, width], "counts": counts},
        "bbox": [
            int(xs.min()),
            int(ys.min()),
            int(xs.max() - xs.min() + 1),
            int(ys.max() - ys.min() + 1),
        ],
        "area": int(mask.sum()),
        "iscrowd": 1,
    }
