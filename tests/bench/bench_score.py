"""How much faster the kit scores than pycocotools, on detections of val2017's size.

    python tests/bench/bench_score.py                    # 5,000 images × 100 detections
    python tests/bench/bench_score.py --images=500       # a quick look

Both read the same two files from disk and end with the twelve figures, which must be equal to
1e-12. Ours checks the detections as well (ids, layout, numbering). The two run in turns; the ratio
is what to compare, with its 95 % interval over pairs of turns. Exit status 1 where the figures
differ, or ours is the slower beyond that interval.
"""

import argparse
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.bench import arguments, paired

_OBJECTS = 7.4  # objects an image: val2017 has 36,781 on 5,000
_CATEGORIES = 80


def make(folder, images, per_image, seed=0):
    """Writes instances.json and detections.json: some detections near objects, the rest at random.

    Sizes, scores and categories are spread as COCO's: many small boxes, most scores low.
    """
    rng = np.random.default_rng(seed)

    def boxes(count):
        wh = np.minimum(np.exp(rng.normal(4, 1, (count, 2))), [600, 440]) + 2
        xy = rng.uniform(0, 1, (count, 2)) * ([640, 480] - np.minimum(wh, [639, 479]))
        return np.concatenate([xy, wh], axis=1)

    # COCO's categories are as uneven as this.
    weights = 1 / np.arange(1, _CATEGORIES + 1)
    weights /= weights.sum()
    annotations, detections = [], []
    for image in range(1, images + 1):
        count = rng.poisson(_OBJECTS)
        truth, categories = boxes(count), rng.choice(_CATEGORIES, count, p=weights) + 1
        for box, category in zip(truth, categories, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(category),
                    "bbox": box.round(2).tolist(),
                    "area": float((box[2] * box[3] * 0.6).round(2)),
                    "iscrowd": int(rng.random() < 0.012),
                }
            )
        kept = rng.random(count) < 0.7
        near = truth[kept] * rng.normal(1, 0.06, (kept.sum(), 4))
        rest = boxes(max(per_image - len(near), 0))
        called = np.concatenate(
            [
                categories[kept],
                rng.choice(_CATEGORIES, len(rest), p=weights) + 1,
            ]
        )
        scores = np.concatenate([rng.beta(4, 2, len(near)), rng.beta(0.5, 8, len(rest))])
        for box, category, score in zip(
            np.concatenate([near, rest])[:per_image], called, scores, strict=False
        ):
            detections.append(
                {
                    "image_id": image,
                    "category_id": int(category),
                    "bbox": box.tolist(),
                    "score": float(score),
                }
            )
    (folder / "instances.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": i, "width": 640, "height": 480, "file_name": f"{i}.jpg"}
                    for i in range(1, images + 1)
                ],
                "annotations": annotations,
                "categories": [
                    {"id": i, "name": f"category {i}"} for i in range(1, _CATEGORIES + 1)
                ],
            }
        )
    )
    (folder / "detections.json").write_text(json.dumps(detections))
    return len(annotations), len(detections)


def ours(folder):
    from replicate.score import score

    result = score(folder / "instances.json", folder / "detections.json", evaluator="hotcoco")
    return [-1.0 if value is None else value for value in result.metrics.values()]


def pycocotools(folder):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "instances.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "detections.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def timed(function, folder):
    """(seconds of one run, the figures)."""
    start = time.perf_counter()
    figures = function(folder)
    return time.perf_counter() - start, figures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=arguments.at_least(1), default=5000)
    parser.add_argument("--per_image", type=arguments.at_least(1), default=100)
    parser.add_argument("--times", type=arguments.at_least(1), default=3, help="turns of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        objects, detections = make(folder, options.images, options.per_image)
        print(f"{options.images:,} images, {objects:,} objects, {detections:,} detections")
        ratios, difference = [], 0.0
        for _ in range(options.times):
            seconds, figures = timed(ours, folder)
            official_s, official = timed(pycocotools, folder)
            ratios.append(official_s / seconds)
            apart = (abs(a - b) for a, b in zip(figures, official, strict=True))
            difference = max(difference, *apart)
            print(f"replicate.score, hotcoco   {seconds:8.2f} s   AP {figures[0]:.4f}")
            print(
                f"pycocotools                {official_s:8.2f} s   AP {official[0]:.4f}", flush=True
            )
    print(f"times as fast as pycocotools: {paired.text(ratios, 1.0)}")
    print(f"largest difference of the twelve figures {difference:.1e}")
    return 1 if difference > 1e-12 or paired.answer(ratios, 1.0) == paired.MISSED else 0


if __name__ == "__main__":
    arguments.run(main)
