"""Is the input what the recipe had: the settings that decide it, the categories, the images."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from replicate import config as configs
from replicate.config import rules
from replicate.verdict import official

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.inspection.sources import StreamSource

# Images of COCO train2017 (cocodataset.org/#download: "2017 Train images [118K/18GB]"; its
# instances_train2017.json lists so many).
TRAIN2017_IMAGES = 118_287

# Fields of the config that decide what reaches the loss: pixels, boxes, and their targets.
_INPUT = re.compile(
    r"train_input_reader\b|train_config\.(data_augmentation_options|batch_size|use_bfloat16|"
    r"max_number_of_boxes|unpad_groundtruth_tensors|merge_multiple_label_boxes|"
    r"use_multiclass_scores)\b|model\.\w+\.(image_resizer|num_classes|anchor_generator|"
    r"first_stage_anchor_generator|matcher|similarity_calculator|box_coder|negative_class_weight|"
    r"encode_background_as_zeros|clip_anchors_to_image|first_stage_minibatch_size|"
    r"first_stage_positive_balance_fraction|use_static_balanced_label_sampler|"
    r"use_confidences_as_targets|object_center_params\.(min_box_overlap_iou|"
    r"keypoint_weights_for_center)|loss\.(hard_example_miner|random_example_sampler)|"
    r"feature_extractor\.(channel_means|channel_stds|bgr_ordering|pad_to_multiple))\b"
)


def compare(config: "Message", source: "StreamSource", recipe: str) -> dict:
    """What of the input differs from the recipe's.

    Args:
      config: TrainEvalPipelineConfig.
      source: of its examples.
      recipe: what `config.read` takes.

    Returns:
      recipe, settings (operations of `config.diff` that decide the input, as JSON), and,
      where the recipe is the zoo's, data: rows of what, ours, recipe, same.
    """
    operations = [
        operation
        for operation in configs.deviations(config, recipe)
        if operation.cls not in rules.SAME and _INPUT.match(operation.path)
    ]
    return {
        "recipe": recipe,
        "settings": configs.operations_to_json(operations),
        "data": _data(source) if configs.template_name(recipe) else [],
    }


def same(compared: dict) -> bool:
    """Whether nothing of the input differs, by what `compare` gave."""
    return not compared["settings"] and all(row["same"] for row in compared["data"])


def _data(source: "StreamSource") -> list[dict]:
    ours, theirs = source.categories, official.categories()
    return [
        {
            "what": "categories",
            "ours": _categories_beside(ours, theirs),
            "recipe": f"COCO's {len(theirs)}",
            "same": ours == theirs,
        },
        {
            "what": "images",
            "ours": f"{source.images:,}",
            "recipe": f"{TRAIN2017_IMAGES:,} (train2017)",
            "same": source.images == TRAIN2017_IMAGES,
        },
    ]


def _categories_beside(ours: Mapping[int, str], theirs: Mapping[int, str]) -> str:
    """How label maps (id -> name) differ, in words."""
    names, coco_names = set(ours.values()), set(theirs.values())
    if ours == theirs:
        return f"the same {len(ours)}"
    if names == coco_names:
        return f"the same {len(ours)} names under other ids; --label_map gives the recipe's"
    return f"{len(names)}: {len(names & coco_names)} of COCO's and {len(names - coco_names)} others"
