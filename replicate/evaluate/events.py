"""TensorBoard events of evaluations, under the tags and in the folder of the API's own."""

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.score import Result


_SIZES = {"s": "small", "m": "medium", "l": "large"}
#: What the API's tags begin with; those of keypoints are of one category each, and not written.
_KINDS = {"bbox": "DetectionBoxes", "segm": "DetectionMasks"}


def _tags(kind: str) -> dict[str, str]:
    """{the kit's name of a metric: the API's tag}, as its evaluators name them."""
    precision, recall = f"{kind}_Precision/mAP", f"{kind}_Recall/AR@"
    return {
        "AP": precision,
        "AP50": f"{precision}@.50IOU",
        "AP75": f"{precision}@.75IOU",
        **{f"AP{size}": f"{precision} ({name})" for size, name in _SIZES.items()},
        **{f"AR@{count}": f"{recall}{count}" for count in (1, 10, 100)},
        **{f"AR{size}": f"{recall}100 ({name})" for size, name in _SIZES.items()},
    }


TAGS = {iou_type: _tags(kind) for iou_type, kind in _KINDS.items()}


def write(
    folder: str | os.PathLike, eval_config: "Message | None", step: int, results: "Iterable[Result]"
) -> None:
    """Writes the twelve metrics, and those of each category where the config asks for them.

    Args:
      folder: of the event files; the API's is MODEL_DIR/eval/NAME.
      eval_config: EvalConfig; None for a config that has none.
    """
    values: dict[str, float | None] = {}
    for result in results:
        tags = TAGS.get(result.iou_type, {})
        values |= {tag: result.metrics[name] for name, tag in tags.items()}
        if tags and eval_config and eval_config.include_metrics_per_category:
            of_category = f"{_KINDS[result.iou_type]}_PerformanceByCategory/mAP"
            values |= {
                f"{of_category}/{category['name']}": category["AP"]
                for category in result.per_category
            }
    writer = tf.summary.create_file_writer(str(folder))
    with contextlib.closing(writer), writer.as_default():
        for tag, value in values.items():
            # Where a metric is undefined, pycocotools and the API say -1.
            tf.summary.scalar(tag, -1.0 if value is None else value, step=step)
