"""Whether the API builds what a config asks for."""

from typing import TYPE_CHECKING

from replicate import odapi

if TYPE_CHECKING:
    from google.protobuf.message import Message


def refusal(message: "Message") -> str | None:
    """What the API says where it does not build model, optimizer or augmentation of a config.

    Args:
      message: a TrainEvalPipelineConfig.

    Returns:
      the error in the API's words, or None.
    """
    odapi.load()
    import tensorflow as tf
    from object_detection.builders import model_builder, optimizer_builder, preprocessor_builder

    try:
        for is_training in (True, False):
            model_builder.build(message.model, is_training=is_training)
        step = tf.Variable(0, dtype=tf.int64)
        _, rates = optimizer_builder.build(message.train_config.optimizer, global_step=step)
        for rate in rates:
            if callable(rate):
                rate()  # a schedule is made when it is asked
        for option in message.train_config.data_augmentation_options:
            preprocessor_builder.build(option)
    except Exception as error:  # the API raises whatever it meets
        return f"{type(error).__name__}: {error}"
    return None
