"""The name of the device that a framework computes on."""

from replicate.benchmarking.model import cpu_name


def tensorflow_device():
    """The first GPU's name, or the CPU's."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{cpu_name()}, TensorFlow {tf.__version__}"
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", gpus[0].name)
