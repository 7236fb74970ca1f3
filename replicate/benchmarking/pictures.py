"""Detections drawn onto their images, beside the groundtruth, for a human to look at."""

import colorsys
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from replicate.decoders import by_pillow

if TYPE_CHECKING:
    from PIL import Image

    from replicate.benchmarking.dataset import Dataset
    from replicate.score.groundtruth import Groundtruth


def draw(
    dataset: "Dataset",
    results: Iterable[dict],
    folder: str | os.PathLike,
    *,
    count: int = 16,
    min_score: float = 0.3,
) -> str:
    """Draws the detections of the first images, groundtruth thin and white beneath.

    Args:
      results: COCO results, list of dicts.
      folder: where `<image id>.jpg` and `sheet.jpg`, all of them on one page, go.
      count: images to draw.
      min_score: detections below are not drawn.

    Returns:
      path of the sheet.
    """
    from PIL import Image

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = dataset.images[:count]
    by_image: dict[int, list[dict]] = {image_id: [] for image_id, _ in chosen}
    for detection in results:
        if detection["image_id"] in by_image and detection["score"] >= min_score:
            by_image[detection["image_id"]].append(detection)
    pictures = []
    for image_id, path in chosen:
        picture = Image.fromarray(by_pillow(path))
        _draw_groundtruth(picture, dataset.groundtruth, image_id)
        for detection in sorted(by_image[image_id], key=lambda detection: detection["score"]):
            _draw_one(picture, detection, dataset.groundtruth.categories)
        picture.save(folder / f"{image_id}.jpg", quality=90)
        pictures.append(picture)
    sheet = folder / "sheet.jpg"
    _sheet(pictures).save(sheet, quality=85)
    return str(sheet)


def _draw_groundtruth(picture: "Image.Image", groundtruth: "Groundtruth", image_id: int) -> None:
    from PIL import ImageDraw

    drawing = ImageDraw.Draw(picture)
    for index in np.flatnonzero(groundtruth.annotation_image_ids == image_id):
        x, y, width, height = groundtruth.annotation_boxes_xywh_px[index]
        if np.isfinite(x):
            drawing.rectangle([x, y, x + width, y + height], outline="white")


def _draw_one(picture: "Image.Image", detection: dict, names: dict[int, str]) -> None:
    from PIL import ImageDraw, ImageFont

    drawing = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    category = detection["category_id"]
    # Neighbouring ids get colours far apart.
    hue = category * 0.618034 % 1
    colour = tuple(int(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.9, 0.85))
    x, y, width, height = detection["bbox"]
    drawing.rectangle([x, y, x + max(width, 0), y + max(height, 0)], outline=colour, width=3)
    label = f"{names.get(category, category)} {detection['score']:.2f}"
    at = (max(x, 0), max(y - 16, 0))
    drawing.rectangle(drawing.textbbox(at, label, font=font), fill=colour)
    drawing.text(at, label, fill="white", font=font)


def _sheet(pictures: "list[Image.Image]", columns: int = 4, side_px: int = 360) -> "Image.Image":
    from PIL import Image, ImageOps

    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * side_px, rows * side_px), "black")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet.paste(ImageOps.pad(picture, (side_px, side_px)), (column * side_px, row * side_px))
    return sheet
