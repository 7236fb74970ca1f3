"""Detections by a process of its own: `python -m replicate.explain.apart REQUEST OUTPUT`."""

import json
import pathlib
import sys

from replicate.explain.changes import baseline_detections

if __name__ == "__main__":
    model, annotations_file, image_dir, num_images, given = json.loads(sys.argv[1])
    model, annotations_file, image_dir = (
        str(pathlib.Path(each)) for each in (model, annotations_file, image_dir)
    )
    found = baseline_detections(model, annotations_file, image_dir, num_images, given)
    pathlib.Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
