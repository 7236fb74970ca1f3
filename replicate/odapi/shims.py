"""What stands between the unmodified Object Detection API and today's libraries.

Each function is one shim: its docstring names what broke and since which version. All of
them change the running process only, never a file, and none is applied before
`replicate.odapi.load()` is called.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any


def numpy_aliases() -> None:
    """numpy 1.24 removed `np.float`, `np.int`, `np.bool` (back since 2.0) and `np.object`;
    2.0 removed `np.NAN`, which the API's average precision without groundtruth is."""
    import numpy as np

    removed = {"float": float, "int": int, "bool": bool, "object": object, "NAN": float("nan")}
    for name, value in removed.items():
        if name not in np.__dict__:
            setattr(np, name, value)


def plots_as_arrays() -> None:
    """The API's plots for TensorBoard go through `FigureCanvasAgg.tostring_rgb`, which matplotlib
    3.10 removed, and binary `np.fromstring`, which numpy 2.3 removed."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not hasattr(FigureCanvasAgg, "tostring_rgb"):
        FigureCanvasAgg.tostring_rgb = lambda canvas: np.asarray(canvas.buffer_rgba())[
            ..., :3
        ].tobytes()
    parse_text = np.fromstring

    def fromstring(
        string: Any, dtype: Any = float, count: int = -1, *, sep: str = "", like: Any = None
    ) -> Any:
        if sep == "":
            return np.frombuffer(string, dtype, count).copy()
        return parse_text(string, dtype, count, sep=sep, like=like)

    np.fromstring = fromstring


def pillow_getsize() -> None:
    """Pillow 10 removed `ImageFont.getsize`, which the API's drawing code calls."""
    from PIL import ImageFont

    def getsize(font: Any, text: str, *args: Any, **kwargs: Any) -> tuple[float, float]:
        """(width, height) in pixels of `text`, as Pillow < 10 gave it."""
        _, _, right, bottom = font.getbbox(text, *args, **kwargs)
        return right, bottom

    for font_class in (ImageFont.FreeTypeFont, ImageFont.ImageFont):
        if not hasattr(font_class, "getsize"):
            font_class.getsize = getsize


def control_flow_names() -> None:
    """TensorFlow 2.14 moved `case`, `cond` and `while_loop` out of `control_flow_ops`, where
    tf_slim 1.1.0 still looks for them."""
    from tensorflow.python.ops import cond, control_flow_case, control_flow_ops, while_loop

    for name, function in {
        "case": control_flow_case.case,
        "cond": cond.cond,
        "while_loop": while_loop.while_loop,
    }.items():
        if not hasattr(control_flow_ops, name):
            setattr(control_flow_ops, name, function)


def estimator_stand_in() -> None:
    """TensorFlow 2.16 removed `tf.compat.v1.estimator`. The API's TF2 path imports it for
    `ModeKeys` alone; `tpu` and `export` only appear in annotations and TF1 functions."""
    import tensorflow.compat.v1 as tf1

    if hasattr(tf1, "estimator"):
        return
    estimator = types.ModuleType("tensorflow.compat.v1.estimator", estimator_stand_in.__doc__)
    estimator.ModeKeys = types.SimpleNamespace(TRAIN="train", EVAL="eval", PREDICT="infer")
    estimator.tpu = types.ModuleType("tensorflow.compat.v1.estimator.tpu")
    estimator.export = types.ModuleType("tensorflow.compat.v1.estimator.export")
    tf1.estimator = estimator
    sys.modules["tensorflow.compat.v1.estimator"] = estimator


def tensorflow_io_stand_in() -> None:
    """tensorflow_io 0.37's binary does not load on TensorFlow 2.20 (undefined symbol). Only
    DeepMAC, which the kit does not train, reaches for it."""
    sys.modules.setdefault("tensorflow_io", types.ModuleType("tensorflow_io"))


def lvis_without_opencv() -> None:
    """`lvis` imports OpenCV for drawing; its wheel needs libGL, libxcb and libglib, which bare
    machines lack. Where `cv2` cannot be imported, `lvis.vis` becomes a stand-in."""
    try:
        import cv2  # noqa: F401  (imported for the question whether it can be)
    except ImportError:
        vis = types.ModuleType("lvis.vis", lvis_without_opencv.__doc__)
        vis.LVISVis = None
        sys.modules.setdefault("lvis.vis", vis)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls a function on a module right after its own import."""

    def __init__(self, fullname: str, function: Callable[[types.ModuleType], None]) -> None:
        self._fullname, self._function = fullname, function

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._fullname:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            self._function(module)

        spec.loader.exec_module = exec_module
        return spec


def keras2_resnet() -> None:
    """`object_detection.models.keras_models.resnet_v1` does `from keras.applications import
    resnet`, which is Keras 3 since TensorFlow 2.16; its ResNet-18 and -34 mix that with
    tf_keras layers. After its import the name points at tf_keras's module, as it did."""

    def rebind(module: types.ModuleType) -> None:
        from tf_keras.src.applications import resnet

        module.resnet = resnet

    sys.meta_path.insert(0, _AfterImport("object_detection.models.keras_models.resnet_v1", rebind))


def crops_of_bfloat16() -> None:
    """`crop_and_resize`, whose result is float32 always, takes no bfloat16, in any TensorFlow;
    the API computes in bfloat16 on TPUs alone, where it crops by matmul. Such images are widened,
    which changes no value."""
    import tensorflow as tf

    def of_any_float(original: Callable) -> Callable:
        def crop_and_resize(image: Any, *args: Any, **kwargs: Any) -> Any:
            if tf.convert_to_tensor(image).dtype == tf.bfloat16:
                image = tf.cast(image, tf.float32)
            return original(image, *args, **kwargs)

        return crop_and_resize

    for images in (tf.image, tf.compat.v1.image):
        images.crop_and_resize = of_any_float(images.crop_and_resize)


BEFORE_TENSORFLOW = (numpy_aliases, plots_as_arrays, pillow_getsize, lvis_without_opencv)
AFTER_TENSORFLOW = (
    control_flow_names,
    estimator_stand_in,
    tensorflow_io_stand_in,
    keras2_resnet,
    crops_of_bfloat16,
)
