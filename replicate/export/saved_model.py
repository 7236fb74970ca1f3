"""The form in which the zoo publishes its models, written by the API's own exporter."""

import pathlib
import shutil
from typing import TYPE_CHECKING, Any

from replicate.run import write_text

if TYPE_CHECKING:
    from google.protobuf.message import Message

INPUT_TYPES = (
    "image_tensor",
    "float_image_tensor",
    "encoded_image_string_tensor",
    "tf_example",
)


def write_weights(model: Any, folder: pathlib.Path) -> pathlib.Path:
    """A checkpoint of a model's weights as they are evaluated (moving averages where they are).

    Returns:
      the folder with `ckpt-0`, which the API's exporters read.
    """
    import tensorflow as tf

    weights = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model), str(folder), 1, checkpoint_name="ckpt"
    )
    weights.save(checkpoint_number=0)
    return folder


def write(config: "Message", weights: pathlib.Path, folder: pathlib.Path, input_type: str) -> None:
    """Writes saved_model/, checkpoint/ and pipeline.config.

    Args:
      config: TrainEvalPipelineConfig.
      weights: a folder of `write_weights`.
      folder: where they go.
      input_type: one of INPUT_TYPES.
    """
    from object_detection import exporter_lib_v2

    exporter_lib_v2.export_inference_graph(input_type, _exported(config), str(weights), str(folder))


def write_checkpoint(config: "Message", weights: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes checkpoint/ and pipeline.config alone, where there is no SavedModel.

    Args:
      config, weights, folder: as of `write`.
    """
    from replicate import config as configs

    (folder / "checkpoint").mkdir()
    for part in weights.glob("ckpt-0.*"):
        shutil.copyfile(part, folder / "checkpoint" / part.name)
    write_text(folder / "pipeline.config", configs.to_text(_exported(config)))


def _exported(config: "Message") -> "Message":
    """The config of the exported weights: they are the averages now, and hold no others."""
    exported = type(config)()
    exported.CopyFrom(config)
    exported.eval_config.use_moving_averages = False
    return exported
