"""TensorFlow with Keras 2 as `tf.keras`: what the modules of this room import as `tf`."""

from replicate import odapi

odapi.load()

import tensorflow as tf

__all__ = ["tf"]
