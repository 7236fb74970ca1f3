"""Takes the published overrides' values out of TF-Vision's experiment YAMLs.

    python -m replicate.tfvision.published FOLDER

writes replicate/tfvision/published.json: of each YAML of FOLDER (named as in
official/vision/configs/experiments and its projects) the factory and what it changes of it. Fields
that the installed package does not have go to "left_out"; what `lint --fix` mends is mended.
"""

import json
import pathlib
import sys
from typing import Any

from replicate.tfvision import configs, experiments, lint
from replicate.tfvision.experiments import Params
from replicate.zoo import vision
from tfrecords.whole_files import written_whole

# Published YAMLs without a row of their own: the same model on other machines or other data.
_OTHERS = {
    "coco_spinenet190_tpu.yaml": "retinanet_spinenet_coco",
    "coco_spinenet49xs_mobile_tpu.yaml": "retinanet_mobile_coco",
    "resnet50fpn_coco_tpu4x4_benchmark.yaml": "retinanet_resnetfpn_coco",
    "resnet50fpn_coco_tfds_tpu.yaml": "retinanet_resnetfpn_coco",
    "coco_spinenet96_casrcnn_tpu.yaml": "cascadercnn_spinenet_coco",
    "coco_spinenet49_mobile_qat_gpu.yaml": "retinanet_mobile_coco_qat",
}
_PATHS = ("annotation_file", "input_path")  # where Google's files lie


def taken(folder: pathlib.Path) -> dict[str, dict]:
    """The content of published.json."""
    of_rows = {row.yaml: row.experiment for row in vision.rows() if row.yaml}
    by_file = {}
    for path in sorted(folder.glob("*.yaml")):
        experiment = (of_rows | _OTHERS)[path.name]
        if experiment in experiments.missing():
            continue
        text = configs.text_of(path)
        findings = lint.lint(text, str(path), experiment)
        mended = lint.fixed(text, findings)
        config = configs.of_text(mended, str(path), experiment)
        unknown = {problem.path for problem in config.problems}
        assert config.document is not None
        by_file[path.name] = {
            "experiment": experiment,
            "params": _changes(experiments.factory(experiment), config.params),
            "left_out": sorted(unknown),
            "mended": sorted(finding.path for finding in findings if finding.fix),
        }
    return by_file


def _changes(before: Params, after: Params) -> dict[str, Any]:
    """What differs, as overrides."""
    changes: dict[str, Any] = {}
    for key, value in after.values.items():
        here = before.values.get(key)
        if isinstance(value, Params) and isinstance(here, Params):
            if inner := _changes(here, value):
                changes[key] = inner
        elif key not in _PATHS and _plain(value) != _plain(here):
            changes[key] = _plain(value)
    return changes


def _plain(value: Any) -> Any:
    if isinstance(value, Params):
        return value.as_dict()
    return [_plain(element) for element in value] if isinstance(value, list) else value


if __name__ == "__main__":
    with written_whole(configs.PUBLISHED) as file:
        json.dump(taken(pathlib.Path(sys.argv[1])), file, indent=1)
        file.write("\n")
