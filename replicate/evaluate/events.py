"""TensorBoard events of evaluations, under the tags and in the folder of the API's own."""

import contextlib

import tensorflow as tf

_SIZES = {"s": "small", "m": "medium", "l": "large"}


def _tags():
    """{the kit's name of a metric: the API's tag}, as `CocoDetectionEvaluator` names them."""
    precision, recall = "DetectionBoxes_Precision/mAP", "DetectionBoxes_Recall/AR@"
    return {
        "AP": precision,
        "AP50": f"{precision}@.50IOU",
        "AP75": f"{precision}@.75IOU",
        **{f"AP{size}": f"{precision} ({name})" for size, name in _SIZES.items()},
        **{f"AR@{count}": f"{recall}{count}" for count in (1, 10, 100)},
        **{f"AR{size}": f"{recall}100 ({name})" for size, name in _SIZES.items()},
    }


TAGS = _tags()


def write(folder, eval_config, step, result):
    """Writes the twelve metrics, and those of each category where the config asks for them.

    Args:
      folder: of the event files; the API's is MODEL_DIR/eval/NAME.
      eval_config: EvalConfig.
      step: int.
      result: `score.Result` of boxes.
    """
    values = {TAGS[name]: value for name, value in result.metrics.items()}
    if eval_config.include_metrics_per_category:
        values |= {
            f"DetectionBoxes_PerformanceByCategory/mAP/{each['name']}": each["AP"]
            for each in result.per_category
        }
    writer = tf.summary.create_file_writer(str(folder))
    with contextlib.closing(writer), writer.as_default():
        for tag, value in values.items():
            # Where a metric is undefined, pycocotools and the API say -1.
            tf.summary.scalar(tag, -1.0 if value is None else value, step=step)
