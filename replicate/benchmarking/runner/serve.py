"""Runs a detector in this process for the kit in another one. Needs NumPy alone.

    python serve.py FILE.py:NAME [OPTIONS as JSON]

NAME is a function of the options (a dict) that gives the detector: a callable on an image, uint8
RGB [height, width, 3]. A detector gives a dict or an object with

    boxes_xyxy_px or boxes_xywh_px   (N, 4), or xyxy (sv.Detections)
    scores                           (N,), or confidence
    class_names or category_ids      (N,), or class_ids (with the caller's --numbering)

Line by line: standard input has the path of an image (.npy), standard output, once the detections
lie in a file (.npz), its path and the seconds that the detector took, as JSON. Where the user's
code fails the answer has "error" (in a line, with its place) and "traceback", and the process ends.
What the detector prints goes to standard error.
"""

import json
import os
import runpy
import sys
import time
import traceback
from typing import Any

import numpy as np

FIELDS = ("boxes_xyxy_px", "boxes_xywh_px", "scores", "class_names", "category_ids", "class_ids")


def main(spec: str, options: dict) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    path, _, name = spec.rpartition(":")
    path = os.path.abspath(path)

    def answer(said: dict) -> None:
        print(json.dumps(said), file=answers, flush=True)

    try:
        detector = _made(path, name, options)
    except Exception as error:
        answer(_failure(error, path))
        sys.exit(1)
    answer(
        {
            "ready": True,
            "python": sys.version.split()[0],
            "about": getattr(detector, "about", ""),
        }
    )
    for line in sys.stdin:
        place = line.rstrip("\n")
        image = np.load(place)
        try:
            before = time.perf_counter()
            detections = detector(image)
            seconds = time.perf_counter() - before
            np.savez(place + ".npz", **fields_of(detections))
        except Exception as error:
            answer(_failure(error, path))
            sys.exit(1)
        answer({"path": place + ".npz", "seconds": seconds})


def _made(path: str, name: str, options: dict) -> Any:
    """The detector that the function `name` of a file gives."""
    sys.path.insert(0, os.path.dirname(path))
    names = runpy.run_path(path)
    if not callable(names.get(name)):
        there = sorted(n for n, value in names.items() if callable(value) and n[0] != "_")
        raise TypeError(f"no function {name!r} in it; there are: {', '.join(there) or 'none'}")
    detector = names[name](options)
    if not callable(detector):
        raise TypeError(
            f"{name} gives {type(detector).__name__}; a callable on an image is expected"
        )
    return detector


def _failure(error: Exception, path: str) -> dict:
    """An error in a line, with the last place in the user's own file."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    where = f" ({path}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    first = (str(error).strip().splitlines() or [""])[0]
    return {
        "error": f"{type(error).__name__}: {first}{where}",
        "traceback": "".join(traceback.format_exception(error)),
    }


def fields_of(detections: Any) -> dict:
    """A detector's answer as a dict of arrays, FIELDS alone."""
    if not isinstance(detections, dict):
        if not hasattr(detections, "xyxy"):
            raise TypeError(
                f"the detector gave {type(detections).__name__}; "
                "a dict or sv.Detections is expected"
            )
        names = (getattr(detections, "data", None) or {}).get("class_name")
        detections = {
            "boxes_xyxy_px": detections.xyxy,
            "scores": detections.confidence,
            "class_ids": detections.class_id,
            "class_names": names,
        }
    unknown = set(detections) - set(FIELDS)
    if unknown:
        raise ValueError(f"the detector gave {sorted(unknown)}; there are {list(FIELDS)}")
    arrays = {name: np.asarray(value) for name, value in detections.items() if value is not None}
    # Names as fixed-width text: no pickle is read on the other side.
    if "class_names" in arrays:
        arrays["class_names"] = arrays["class_names"].astype(str)
    return arrays


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
