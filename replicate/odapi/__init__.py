"""The one room that knows how to import the unmodified Object Detection API on today's libraries.

    from replicate import odapi
    odapi.load()
    from object_detection.builders import model_builder

`load()` sets Keras 2 (tf_keras) as `tf.keras`, installs the protobuf import hook
(`protos.py`) and the shims (`shims.py`). Importing this package alone changes nothing and
imports no TensorFlow; `odapi.protos.load("pipeline")` gives the config messages without it.
"""

import importlib
import os
import sys
import urllib.error
from typing import Any

from replicate.errors import UserError
from replicate.odapi import notices, protos, shims

__all__ = ["LoadError", "build_model", "load", "protos"]

_loaded = False


class LoadError(UserError):
    """The Object Detection API cannot be loaded in this process; the message says what to do."""


def load() -> None:
    """Makes `import object_detection...` work in this process. Calling it again does nothing.

    Raises:
      LoadError: TensorFlow was imported earlier with Keras 3, or a package is missing.
    """
    global _loaded
    if _loaded:
        return
    require_keras_2()
    protos.install()
    try:
        for shim in shims.BEFORE_TENSORFLOW:
            shim()
        import tensorflow  # noqa: F401  (the shims below change its modules)

        notices.quiet()
        for shim in shims.AFTER_TENSORFLOW:
            shim()
        for package in ("tf_keras", "tf_slim", "official", "object_detection"):
            importlib.import_module(package)
    except ImportError as error:
        raise LoadError(
            f"cannot import {error.name or 'a package'} ({error}); "
            "run `make venv`, or `pip install -r requirements.txt` in your environment"
        ) from error
    _loaded = True


def build_model(model_config: Any, is_training: bool) -> Any:
    """The API's DetectionModel of a config's `model`.

    Raises:
      UserError: the API refuses the config, or its feature extractor begins with ImageNet
        weights that Keras cannot fetch; its own words are in the message.
    """
    load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    try:
        return model_builder.build(model_config, is_training=is_training)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UserError(
            f"the Object Detection API cannot build this config's model: {error}; "
            "compare it with the recipe: python tools/diff_config.py MODEL pipeline.config"
        ) from None
    except Exception as error:  # what Keras raises where it cannot fetch a file has no other type
        if not isinstance(error.__context__, urllib.error.URLError):
            raise
        raise UserError(
            "this config's feature extractor is built with ImageNet weights, which Keras cannot "
            f"fetch: {error}. Where there is no network, put that file into ~/.keras/models first"
        ) from None


def require_keras_2() -> None:
    """Sets TF_USE_LEGACY_KERAS before TensorFlow reads it.

    Raises:
      LoadError: it is too late, TensorFlow is there with Keras 3.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and not tensorflow.__dict__.get("_tf_uses_legacy_keras", False):
        raise LoadError(
            "TensorFlow was imported before replicate.odapi.load(), with Keras 3 as tf.keras; the "
            "Object Detection API needs Keras 2. Call odapi.load() before `import tensorflow`, "
            "or set TF_USE_LEGACY_KERAS=1 in the environment."
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
