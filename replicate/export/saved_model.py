"""The form in which the zoo publishes its models, written by the API's own exporter."""

import pathlib
from typing import TYPE_CHECKING, Any

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

    exported = type(config)()
    exported.CopyFrom(config)
    # The weights are the averages now, and the checkpoint holds no others.
    exported.eval_config.use_moving_averages = False
    exporter_lib_v2.export_inference_graph(input_type, exported, str(weights), str(folder))
