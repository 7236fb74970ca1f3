"""Detections of a process of its own, without oneDNN, which TensorFlow chooses as it loads.

python -m replicate.explain.apart REQUEST OUTPUT
"""

import json
import os
import pathlib
import subprocess
import sys

from replicate.errors import UserError
from replicate.explain.asked_model import AskedModel
from replicate.explain.rigs import Running
from tfrecords.whole_files import in_temporary_folder


def detections(asked: AskedModel) -> list[dict]:
    """COCO results of a model without oneDNN, all else as it is by default.

    Raises:
      UserError: the process failed.
    """
    with in_temporary_folder("explain-") as folder:
        output = folder / "detections.json"
        request = json.dumps(asked.to_json())
        done = subprocess.run(
            [sys.executable, "-m", "replicate.explain.apart", request, str(output)],
            env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"},
            cwd=pathlib.Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise UserError(f"evaluation without oneDNN failed: {done.stderr.strip()[-500:]}")
        return json.loads(output.read_text(encoding="utf-8"))


def _main(request: str, output: str) -> None:
    asked = AskedModel.from_json(json.loads(request))
    dataset = asked.dataset()
    rig = asked.rig(dataset)
    detections = rig.detect(dataset.images, rig.steps, Running())
    pathlib.Path(output).write_text(json.dumps(detections), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
