"""Detections by a process of its own: `python -m replicate.explain.apart REQUEST OUTPUT`."""

import json
import pathlib
import sys

from replicate.explain.changes import baseline_detections

if __name__ == "__main__":
    model, annotations_file, image_dir, num_images, given = json.loads(sys.argv[1])
    model, annotations_file, image_dir = (
        str(pathlib.Path(path)) for path in (model, annotations_file, image_dir)
    )
    detections = baseline_detections(model, annotations_file, image_dir, num_images, given)
    pathlib.Path(sys.argv[2]).write_text(json.dumps(detections), encoding="utf-8")
