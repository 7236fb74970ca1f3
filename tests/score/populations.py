"""Images, objects and two detectors whose AP on all such images is known.

Images are of 10 by 10 cells with at most one object or false positive in each, so what matches what
is beyond doubt. An image has a difficulty of its own and up to three categories, so its objects and
detections depend on each other as a photograph's do; categories are unequally frequent, and some
are harder than others. The second detector sees the same images, with partly the same luck.
"""

import numpy as np

CELL_PX = 100.0
_SIDES_PX = (20.0, 50.0, 99.0)  # small, medium, large


def draw(images, categories, rng, unequal=1.0):
    """A sample of images.

    Args:
      images, categories: how many.
      rng: numpy Generator.
      unequal: a category is as frequent as 1 / rank ** unequal.

    Returns:
      COCO dict, and the detections of the two detectors as lists of COCO results.
    """
    frequencies = 1 / np.arange(1, categories + 1) ** unequal
    themes = rng.choice(categories, (images, 3), p=frequencies / frequencies.sum())
    # Which category is hard is the population's, not the sample's.
    ease = np.linspace(1, -1, categories)[np.random.default_rng(5).permutation(categories)]
    difficulty = rng.normal(0, 0.7, images)

    objects = np.minimum(1 + rng.poisson(rng.gamma(1, 3, images)), 60)
    image = np.repeat(np.arange(images), objects)
    cell = _counted(objects)
    category = themes[image, rng.integers(0, 3, len(image))]
    side = rng.choice(_SIDES_PX, len(image))
    luck = rng.normal(0, 0.7, len(image))
    truth = {
        "images": [{"id": i + 1, "height": 1000, "width": 1000} for i in range(images)],
        "categories": [{"id": k + 1, "name": f"category {k + 1}"} for k in range(categories)],
        "annotations": [
            {
                "id": number,
                "image_id": of_image + 1,
                "category_id": of_category + 1,
                "bbox": [*_corner(at), length, length],
                "area": length**2,
                "iscrowd": 0,
            }
            for number, (of_image, of_category, at, length) in enumerate(
                zip(image.tolist(), category.tolist(), cell.tolist(), side.tolist(), strict=True), 1
            )
        ],
    }
    detectors = []
    for skill in (0.0, 0.4):
        clarity = skill - 0.3 + ease[category] - difficulty[image]
        clarity = clarity + luck + rng.normal(0, 0.7, len(image))
        # A box of the object's corner and a part of its side has an IoU of that part.
        part = 0.98 - abs(rng.normal(0, 0.22, len(image))) * np.exp(-0.3 * clarity)
        found = rng.random(len(image)) < _logistic(clarity + 1.2)
        score = _logistic(0.9 * clarity + rng.normal(-0.2, 1, len(image)))
        hits = (image, category, cell, side * np.clip(part, 0.2, 0.98), score, side)
        hits = [each[found] for each in hits]

        false = np.minimum(rng.poisson(3 * np.exp(0.4 * difficulty)), 40)
        where = np.repeat(np.arange(images), false)
        themed = rng.random(len(where)) < 0.6
        called = np.where(
            themed,
            themes[where, rng.integers(0, 3, len(where))],
            rng.integers(0, categories, len(where)),
        )
        size = rng.choice(_SIDES_PX, len(where))
        confidence = _logistic(rng.normal(-1.6, 1.2, len(where)) + 0.3 * difficulty[where])
        misses = (where, called, 60 + _counted(false), size, confidence, size)
        columns = [np.concatenate(pair).tolist() for pair in zip(hits, misses, strict=True)]
        detectors.append(
            [
                {
                    "image_id": of_image + 1,
                    "category_id": of_category + 1,
                    "bbox": [*_corner(at), width, height],
                    "score": value,
                }
                for of_image, of_category, at, width, value, height in zip(*columns, strict=True)
            ]
        )
    return truth, *detectors


def _counted(counts):
    """0, 1, … within each group: (2, 3) -> 0 1 0 1 2."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) - np.repeat(ends - counts, counts)


def _corner(cell):
    return CELL_PX * (cell % 10), CELL_PX * (cell // 10)


def _logistic(value):
    return 1 / (1 + np.exp(-value))
