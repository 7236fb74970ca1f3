"""A checkpoint in the form in which the zoo publishes its models.

    OUTPUT/saved_model/      SavedModel, signature serving_default
    OUTPUT/checkpoint/       ckpt-0, the weights alone
    OUTPUT/pipeline.config

Written by the Object Detection API's own exporter.
"""

import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

from replicate.errors import UserError
from tfrecords.whole_files import temporary_folder

if TYPE_CHECKING:
    from google.protobuf.message import Message


INPUT_TYPES = (
    "image_tensor",
    "float_image_tensor",
    "encoded_image_string_tensor",
    "tf_example",
)


def export(
    config: "Message",
    checkpoint: str | os.PathLike,
    output_directory: str | os.PathLike,
    input_type: str = "image_tensor",
) -> str:
    """Exports a checkpoint; where the config evaluates moving averages, those are the weights.

    Args:
      config: TrainEvalPipelineConfig.
      checkpoint: prefix of a TF2 checkpoint (`…/ckpt-400`), or a folder with one.
      output_directory: a folder that is not there yet, or is empty; it appears complete.
      input_type: one of INPUT_TYPES; what the SavedModel takes: uint8 images [1, height, width,
        3], float32 images [n, height, width, 3], encoded images [n], serialized tf.Examples [n].

    Returns:
      prefix of the checkpoint that was exported.

    Raises:
      UserError: no such checkpoint, not this model's, or the folder holds something.
    """
    if input_type not in INPUT_TYPES:
        raise UserError(f"input type '{input_type}'; there are: {', '.join(INPUT_TYPES)}")
    output = pathlib.Path(output_directory)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: is there already; name a folder that is not")
    from replicate.evaluate.detector import Detector, find_checkpoint

    prefix = find_checkpoint(checkpoint)
    detector = Detector(config)
    detector.restore(prefix)
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = temporary_folder(f"{output.name}.", output.parent)
    try:
        _export(config, detector.model, beside, input_type)
        if output.exists():
            output.rmdir()
        (beside / "export").rename(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return prefix


def _export(config: "Message", model: Any, folder: pathlib.Path, input_type: str) -> None:
    """The API's exporter, on a checkpoint of the model's weights as they are evaluated."""
    import tensorflow as tf
    from object_detection import exporter_lib_v2

    weights = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model), str(folder / "weights"), 1, checkpoint_name="ckpt"
    )
    weights.save(checkpoint_number=0)
    exported = type(config)()
    exported.CopyFrom(config)
    # The weights are the averages now, and the checkpoint holds no others.
    exported.eval_config.use_moving_averages = False
    exporter_lib_v2.export_inference_graph(
        input_type, exported, str(folder / "weights"), str(folder / "export")
    )
