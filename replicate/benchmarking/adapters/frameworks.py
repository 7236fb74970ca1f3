"""TensorFlow as the kit uses it, and the name of the device it computes on."""

import importlib.metadata
from types import ModuleType

from replicate import odapi
from replicate.benchmarking.model import cpu_name


def tensorflow() -> ModuleType:
    """The module `tensorflow` as the Object Detection API needs it (with Keras 2)."""
    odapi.load()
    import tensorflow

    return tensorflow


def tensorflow_version() -> str:
    """Its version, told without importing it."""
    return importlib.metadata.version("tensorflow")


def tensorflow_tf32(allowed: bool) -> bool:
    """Whether its float32 is TensorFloat-32 here, after this process was told whether it may be."""
    tensorflow().config.experimental.enable_tensor_float_32_execution(allowed)
    from replicate.train import precision

    return precision.computes_in_tf32()


def tensorflow_device() -> str:
    """The first GPU's name, or the CPU's."""
    tf = tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{cpu_name()}, TensorFlow {tf.__version__}"
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", gpus[0].name)
