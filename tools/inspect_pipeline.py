"""Shows what the model sees: a config's training input, drawn and counted, before training.

    python tools/inspect_pipeline.py --pipeline_config_path=runs/a/pipeline.config
    python tools/inspect_pipeline.py --coco=coco/tiny --output=inspection \\
        --pipeline_config_path=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8

Writes OUTPUT/index.html (one page, no network) and OUTPUT/inspection.json: the batches as training
gets them, after the Object Detection API's own augmentation and resizing, with boxes, masks and
crowd; the tensors' names, shapes and ranges; what each augmentation step does, one picture a step;
categories, box sizes, aspect ratios, objects an image; and the targets of the loss: anchors that
are positive, negative and ignored, by level, before and after sampling, the objects that no anchor
matches, the best possible recall by size; for CenterNet its heat maps. Boxes that conversion
dropped are drawn; --val_images=FOLDER shows images that are nearly in training and validation both.

The data are the config's own records, or --records (shards, by pattern, folder or common prefix),
--coco (an annotation file, or a folder with annotations/), or --parquet (as the hub stores COCO).
COCO and Parquet are read as far as --max_images asks and not converted. With the records of a run
and its seed, the page shows what step --step of that run is fed, to the last bit.

Exit status: 0 done; 1 the input is not that of --recipe; 2 a usage or input error.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from replicate.execution import MOST_SEED
from tools import cli

if TYPE_CHECKING:
    from google.protobuf.message import Message

_CONFIG = flags.DEFINE_string(
    "pipeline_config_path",
    None,
    "a pipeline.config, a run directory, a released archive, or a zoo model's name.",
)
_RECORDS = flags.DEFINE_string(
    "records", "", "shards: pattern, folder, or their common prefix; the config's own otherwise."
)
_COCO = flags.DEFINE_string("coco", "", "a COCO annotation file, or a folder that has one.")
_IMAGE_DIR = flags.DEFINE_string(
    "image_dir", "", "the images of --coco; looked for beside the annotations otherwise."
)
_PARQUET = flags.DEFINE_string("parquet", "", "a folder, file or pattern of Parquet.")
_DETECTIONS = flags.DEFINE_string(
    "detections",
    "",
    "COCO results on the annotation file --coco: what they contradict is shown as candidates "
    "of label errors.",
)
_VAL_IMAGES = flags.DEFINE_string(
    "val_images",
    "",
    "folder of validation images: those that are nearly the same as a training image are shown.",
)
_TRAIN_IMAGES = flags.DEFINE_string(
    "train_images",
    "",
    "--val_images: folder of the training images; that of --coco, or of the records' conversion, "
    "otherwise.",
)
_LABEL_MAP = flags.DEFINE_string(
    "label_map", "", "the config's otherwise, or the categories of --coco or --parquet."
)
_SET = flags.DEFINE_multi_string(
    "set", [], "PATH=VALUE, sets a field of the config; may be given several times."
)
_OUTPUT = flags.DEFINE_string("output", "inspection", "folder for the page and the JSON.")
_MAX_IMAGES = flags.DEFINE_integer("max_images", 100, "look at no more images.", lower_bound=1)
_DRAW = flags.DEFINE_integer("draw", 6, "of these, draw so many.", lower_bound=1, upper_bound=50)
_STEP = flags.DEFINE_integer(
    "step", 0, "start with the batch that this step is fed; 0 is a run's first.", lower_bound=0
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "the run's seed: order and augmentation follow from it.",
    lower_bound=0,
    upper_bound=MOST_SEED,
)
_RECIPE = flags.DEFINE_string(
    "recipe",
    "",
    "compare with this zoo model (or config); what the config says of itself otherwise.",
)


def main(_: list[str]) -> int:
    from replicate import config, engine
    from replicate.errors import UserError

    if _DETECTIONS.value and not pathlib.Path(_COCO.value).is_file():
        raise UserError("--detections belongs to --coco=FILE, the annotations they are held to")

    if engine.of_source(_CONFIG.value) == engine.TFVISION:
        raise UserError(
            f"{_CONFIG.value}: a TF-Vision config; only the Object Detection API's input and "
            "targets are inspected (docs/inspection.md)"
        )
    message = config.render(
        _CONFIG.value, overrides=[config.parse_override(text) for text in _SET.value]
    )
    if _RECIPE.value:
        config.read(_RECIPE.value)  # a misspelt name is told before the work
    from replicate import odapi

    odapi.load()
    from replicate.inspection import content, page, sources
    from replicate.inspection.answer import DIFFERS

    page.prepare(_OUTPUT.value)
    twins, of_twins = _duplicates(message)
    request = sources.InspectionRequest(
        records=_RECORDS.value,
        coco=_COCO.value,
        image_dir=_IMAGE_DIR.value,
        parquet=_PARQUET.value,
        label_map=_LABEL_MAP.value,
        max_images=_MAX_IMAGES.value,
        seed=_SEED.value,
    )
    settings = content.InspectionSettings(
        config_path=_CONFIG.value,
        step=_STEP.value,
        seed=_SEED.value,
        draw=_DRAW.value,
        recipe=_RECIPE.value,
    )
    inspected, images = content.inspect(message, request, settings)
    if _DETECTIONS.value:
        from replicate.inspection import suspects

        inspected["suspects"], pictures = suspects.of(
            _COCO.value, _DETECTIONS.value, _IMAGE_DIR.value
        )
        images = dict(images) | {f"suspect-{key}": picture for key, picture in pictures.items()}
    inspected["duplicates"], images = twins, dict(images) | of_twins
    command = ["python", "tools/inspect_pipeline.py", *sys.argv[1:]]
    path, answer = page.write(inspected, images, _OUTPUT.value, command)
    print(f"{answer['verdict']}: {answer['sentence']}")
    for fact in answer["facts"]:
        print(f"  {fact['label']}: {fact['text']}")
    print(path)
    return cli.NEGATIVE if _RECIPE.value and answer["verdict"] == DIFFERS else cli.DONE


def _duplicates(message: "Message") -> tuple[dict | None, dict[str, str]]:
    """Near-duplicates of --val_images among the training images; None where not asked for."""
    from replicate.errors import UserError
    from replicate.inspection import duplicates, sources

    if not _VAL_IMAGES.value:
        if _TRAIN_IMAGES.value:
            raise UserError("--train_images belongs to --val_images, with which it is compared")
        return None, {}
    train = _TRAIN_IMAGES.value or _IMAGE_DIR.value
    train = train or sources.image_dir_of(message, _COCO.value, _RECORDS.value)
    if not train:
        raise UserError("--val_images: say where the training images are: --train_images=FOLDER")
    return duplicates.of(train, _VAL_IMAGES.value)


if __name__ == "__main__":
    cli.run(main, required=["pipeline_config_path"], always_folders=["output"])
