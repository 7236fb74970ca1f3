"""Detections that were recorded once, and detectors that give them in a convention of their own."""

import dataclasses
import json

import numpy as np
from PIL import Image

from replicate import benchmark
from tests.benchmark.conftest import NAMES

IDS = sorted(NAMES)


def images_of(dataset):
    return [np.asarray(Image.open(path).convert("RGB")) for _, path in dataset.images]


def spoilt(found, rng):
    """Detections that are not all right: moved a little, and wrong ones among them."""
    boxes = found.boxes_xywh_px + rng.normal(0, 1.5, found.boxes_xywh_px.shape)
    boxes = np.concatenate([boxes, rng.uniform(1, 60, (5, 4))]).clip(1)
    ids = np.concatenate([found.category_ids, rng.choice(IDS, 5)])
    scores = rng.permutation(np.linspace(0.15, 0.95, len(ids)))
    return dataclasses.replace(found, boxes_xywh_px=boxes, scores=scores, category_ids=ids)


def metrics_of(dataset, found, path):
    results = [
        result
        for (image_id, _), one in zip(dataset.images, found, strict=True)
        for result in one.as_results(image_id)
    ]
    path.write_text(json.dumps(results))
    metrics = benchmark(str(path), dataset, cache_dir=None).metrics["bbox"]
    assert 0.2 < metrics["AP"] < 0.9
    return metrics


def corners_of(found):
    x, y, w, h = found.boxes_xywh_px.T
    return np.stack([x, y, x + w, y + h], axis=1)


def replay(dataset, found, convert):
    """A detector that knows its images by their pixels."""
    known = {
        image.tobytes(): convert(one) for image, one in zip(images_of(dataset), found, strict=True)
    }
    return lambda batch: [known[image.tobytes()] for image in batch]


def run(model, dataset, **options):
    return benchmark(model, dataset, cache_dir=None, progress=False, **options)
