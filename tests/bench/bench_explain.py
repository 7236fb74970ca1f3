"""Time of `tools/explain.py` on 5,000 images × 100 detections, beside one evaluation by hotcoco.

    python tests/bench/bench_explain.py [--images=5000] [--repeats=3]

Drawn annotations of COCO's kind (7.3 objects an image, 80 categories, 1 % crowds) and 100
detections an image. The peer is what a user would do once for each protocol: load the results and
evaluate with hotcoco. Printed: seconds of both, how many protocols, pairs and libraries were scored
in them, and the ratio of seconds a figure, each repeat on its own.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from replicate.explain import from_detections
from replicate.score import score
from tests.bench import arguments


def drawn(images, seed=0):
    """(COCO annotations, results) of so many images."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, 81) ** 0.9
    frequency /= frequency.sum()
    truth = {
        "images": [],
        "annotations": [],
        "categories": [{"id": each, "name": str(each)} for each in range(1, 81)],
    }
    found = []
    for image_id in range(1, images + 1):
        width, height = ((640, 480), (480, 640), (500, 375))[rng.choice(3, p=(0.7, 0.2, 0.1))]
        truth["images"].append(
            {"id": image_id, "width": width, "height": height, "file_name": f"{image_id}.jpg"}
        )
        kinds, objects = rng.choice(80, 3, p=frequency) + 1, []
        for _ in range(rng.poisson(7.3)):
            box = _box(rng, width, height)
            category = int(rng.choice(kinds))
            objects.append((category, box))
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": box,
                    "area": 0.6 * box[2] * box[3],
                    "iscrowd": int(rng.random() < 0.012),
                }
            )
        for _ in range(100):
            if objects and rng.random() < 0.5:
                category, (x, y, w, h) = objects[rng.integers(len(objects))]
                shift = rng.normal(0, 0.12, 4)
                box = [x + shift[0] * w, y + shift[1] * h, w, h]
                box[2:] = [max(2.0, w * (1 + shift[2])), max(2.0, h * (1 + shift[3]))]
                detected = rng.beta(2, 5)
            else:
                category, box = int(rng.choice(80, p=frequency)) + 1, _box(rng, width, height)
                detected = rng.beta(1, 8)
            found.append(
                {
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [round(float(value), 3) for value in box],
                    "score": round(float(detected), 6),
                }
            )
    return truth, found


def _box(rng, width, height):
    sides = np.minimum(np.exp(rng.uniform(np.log(12), np.log(400), 2)), [width, height])
    corner = rng.random(2) * ([width, height] - sides)
    return [round(float(value), 2) for value in (*corner, *sides)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=arguments.at_least(1), default=5000)
    parser.add_argument("--repeats", type=arguments.at_least(1), default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("truth.json", "found.json")]
        for path, value in zip(paths, drawn(options.images), strict=True):
            path.write_text(json.dumps(value))
        ratios = []
        for _ in range(options.repeats):
            begun = time.perf_counter()
            score(*paths, evaluator="hotcoco")
            once = time.perf_counter() - begun
            begun = time.perf_counter()
            answer = from_detections(*paths, ["AP=0.188"])
            ours = time.perf_counter() - begun
            figures = len(answer.alone) + answer.pairs + len(answer.libraries)
            ratios.append(once / (ours / figures))
            print(
                f"hotcoco once {once:.1f} s; explain {ours:.1f} s for {figures} figures "
                f"({len(answer.alone)} protocols, {answer.pairs} pairs)",
                flush=True,
            )
    print(
        f"a figure costs 1/{np.median(ratios):.0f} of an evaluation by hotcoco "
        f"(of {options.repeats}: 1/{min(ratios):.0f} to 1/{max(ratios):.0f})"
    )


if __name__ == "__main__":
    arguments.run(main)
