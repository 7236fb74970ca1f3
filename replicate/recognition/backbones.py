"""Backbones: any of Keras's applications, or a ResNet of tf-models-official.

A name such as `ResNet50` is a constructor of `tf.keras.applications`; `official/resnet-50` is
the ResNet of tf-models-official, of that depth.
"""

import dataclasses
import difflib
import sys
from collections.abc import Callable
from typing import Any

from replicate.errors import UserError
from replicate.recognition.engine import tf
from replicate.recognition.request import DOWNLOADED

_OFFICIAL = "official/resnet-"
_OFFICIAL_DEPTHS = (18, 34, 50, 101, 152)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network from images to features.

    Attributes:
      network: Keras model, images [n, size, size, 3] to features [n, channels].
      preprocess: function of images in 0..255 to what the network was made for.
      body: the part that pretrained weights are of.
    """

    network: Any
    preprocess: Callable[[Any], Any]
    body: Any


def names() -> list[str]:
    """Names of all backbones."""
    applications = sorted(
        name
        for name in dir(tf.keras.applications)
        if name[0].isupper() and callable(getattr(tf.keras.applications, name))
    )
    return [*applications, *(f"{_OFFICIAL}{depth}" for depth in _OFFICIAL_DEPTHS)]


def build(
    name: str,
    image_size: int,
    weights: str | None = None,
    batch_norm_momentum: float | None = None,
) -> Backbone:
    """A backbone, with random weights or given ones.

    Args:
      name: one of `names`.
      image_size: height and width of the images, in pixels.
      weights: None, "imagenet" (Keras downloads them), or as `load_weights` takes them.
      batch_norm_momentum: of the moving statistics; None leaves the network's own.

    Raises:
      UserError: no such backbone, images too small for it, or weights that do not fit.
    """
    if name not in names():
        near = " or ".join(difflib.get_close_matches(name, names(), 3, 0.4))
        raise UserError(
            f"--backbone={name}: no such backbone{'; did you mean ' + near if near else ''} "
            f"(a name of tf.keras.applications, or {_OFFICIAL}50)"
        )
    make = _official if name.startswith(_OFFICIAL) else _application
    backbone = make(name, image_size, DOWNLOADED if weights == DOWNLOADED else None)
    if weights is not None and weights != DOWNLOADED:
        load_weights(backbone, weights)
    if batch_norm_momentum is not None:
        _set_momentum(backbone.network, batch_norm_momentum)
    return backbone


def load_weights(backbone: Backbone, path: str) -> None:
    """Gives a backbone pretrained weights: all of its variables, or it is an error.

    Args:
      backbone: whose variables they become.
      path: an .h5 file as Keras publishes for its applications (with or without the top), or the
        prefix of a TF2 checkpoint: tf-models-official's (`backbone`), or one of this tool's.

    Raises:
      UserError: the file is of another kind or another network; what is missing is named.
    """
    if path.endswith((".h5", ".hdf5")):
        _load_h5(backbone.body, path)
    else:
        _load_checkpoint(backbone, path)


def _application(name: str, image_size: int, weights: str | None) -> Backbone:
    constructor = getattr(tf.keras.applications, name)
    try:
        network = constructor(
            include_top=False,
            weights=weights,
            input_shape=(image_size, image_size, 3),
            pooling="avg",
        )
    except ValueError as error:
        raise UserError(f"--backbone={name} at {image_size} px: {_first_line(error)}") from None
    except Exception as error:  # Keras's download raises a bare Exception
        if weights is None or type(error) is not Exception:
            raise
        raise UserError(
            f"--weights=imagenet: {_first_line(error)}; download the file where there is a network "
            "and give it with --weights=FILE"
        ) from None
    module = sys.modules[constructor.__module__]
    return Backbone(network, module.preprocess_input, network)


def _official(name: str, image_size: int, weights: str | None) -> Backbone:
    from official.vision.modeling.backbones import resnet
    from official.vision.ops import preprocess_ops

    if weights is not None:
        raise UserError(
            f"--weights=imagenet: Keras has none for {name}; give the prefix of a checkpoint of "
            "tf-models-official"
        )
    body = resnet.ResNet(
        model_id=int(name.removeprefix(_OFFICIAL)),
        input_specs=tf.keras.layers.InputSpec(shape=[None, image_size, image_size, 3]),
    )
    inputs = tf.keras.Input([image_size, image_size, 3])
    endpoints = body(inputs)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(endpoints[max(endpoints)])

    def preprocess(images: tf.Tensor) -> tf.Tensor:
        return preprocess_ops.normalize_image(
            images, preprocess_ops.MEAN_RGB, preprocess_ops.STDDEV_RGB
        )

    return Backbone(tf.keras.Model(inputs, pooled), preprocess, body)


def _load_h5(body: Any, path: str) -> None:
    import h5py

    try:
        with h5py.File(path) as file:
            root = file.get("model_weights", file)
            stored = {
                name.decode() if isinstance(name, bytes) else name
                for name in root.attrs.get("layer_names", ())
            }
    except OSError as error:
        raise UserError(f"{path}: cannot be read as HDF5 ({_first_line(error)})") from None
    wanted = [layer.name for layer in body.layers if layer.weights]
    missing = [name for name in wanted if name not in stored]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of the backbone's {len(wanted)} layers are not in it, first "
            f"{missing[0]!r}; it is of another network, or not in the format of Keras 2"
        )
    try:
        body.load_weights(path, by_name=True)
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: does not fit the backbone: {_first_line(error)}") from None


def _load_checkpoint(backbone: Backbone, path: str) -> None:
    layouts = (
        {"backbone": backbone.body},
        {"model": tf.train.Checkpoint(backbone=backbone.network)},
    )
    for layout in layouts:
        try:
            status = tf.train.Checkpoint(**layout).read(path).expect_partial()
            status.assert_existing_objects_matched()
            return
        except AssertionError as error:
            problem = _first_line(error)
        except (ValueError, tf.errors.OpError) as error:
            raise UserError(f"{path}: does not fit the backbone: {_first_line(error)}") from None
    raise UserError(
        f"{path}: does not hold the backbone's variables ({problem}); is it of another network?"
    )


def _set_momentum(network: Any, momentum: float) -> None:
    for layer in network._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = momentum


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
