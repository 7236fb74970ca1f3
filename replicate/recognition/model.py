"""The recogniser: a backbone, a score for each category, and what it was trained for.

A checkpoint holds, beside the variables, `description`: the backbone's name, the image size and
the classes as JSON. So weights never stand without the mapping from outputs to categories.
"""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from replicate.errors import UserError
from replicate.recognition import backbones, classes
from replicate.recognition.backbones import Backbone
from replicate.recognition.classes import Class
from replicate.recognition.engine import tf
from replicate.recognition.request import RecognitionRequest
from replicate.run import RunDir, read_json
from replicate.train import checkpoints

CLASSES_FILE = "classes.json"
_DESCRIPTION = "description/.ATTRIBUTES/VARIABLE_VALUE"


class Recognizer(tf.keras.Model):
    """Images to a logit for each class; the sigmoid of one is its category's score.

    Args:
      backbone: with its weights.
      description: backbone (its name), image_size, classes (tuple of Class).
    """

    def __init__(self, backbone: Backbone, description: dict[str, Any]) -> None:
        super().__init__(name="recognizer")
        self.backbone = backbone.network
        self.head = tf.keras.layers.Dense(len(description["classes"]), name="head")
        self.head.build((None, backbone.network.output_shape[-1]))
        self._preprocess = backbone.preprocess
        listed = {"format": 1, "classes": classes.to_json(description["classes"])}
        self._description = json.dumps(description | listed)

    @property
    def classes(self) -> tuple[Class, ...]:
        """In the order of the outputs."""
        return classes.from_json(json.loads(self._description)["classes"], self.name)

    @property
    def image_size(self) -> int:
        """Height and width of the images, in pixels."""
        return json.loads(self._description)["image_size"]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits float32 [n, classes] of images float32 [n, image_size, image_size, 3], 0..255."""
        return self.head(self.backbone(self._preprocess(images), training=training))

    @tf.function(reduce_retracing=True)
    def scores(self, images: tf.Tensor) -> tf.Tensor:
        """Scores float32 [n, classes] in 0..1, in inference mode."""
        return tf.sigmoid(self(images, training=False))

    def description_variable(self) -> tf.Variable:
        """The description as a variable, for a checkpoint."""
        return tf.Variable(self._description, trainable=False, name="description")


def build(request: RecognitionRequest, trained_classes: Sequence[Class]) -> Recognizer:
    """The Recognizer of a request, with its first weights."""
    description = {
        "backbone": request.backbone,
        "image_size": request.image_size,
        "classes": trained_classes,
    }
    backbone = backbones.build(
        request.backbone, request.image_size, request.weights, request.batch_norm_momentum
    )
    return Recognizer(backbone, description)


def load(where: str | os.PathLike[str], label_map: str | None = None) -> tuple[Recognizer, str]:
    """A trained Recognizer from a run directory or a checkpoint.

    Args:
      where: a run directory (its last good checkpoint), or the prefix of a checkpoint.
      label_map: a label map that must give the outputs the same categories, or None.

    Returns:
      (the model, prefix of the checkpoint).

    Raises:
      UserError: no checkpoint, one that is damaged or no recogniser's, or classes (of the label
        map, or of the run's classes.json) other than those that it was trained for.
    """
    path = find(where)
    description = describe(path)
    require_classes(path, description["classes"], label_map)
    backbone = backbones.build(description["backbone"], description["image_size"])
    recognizer = Recognizer(backbone, description)
    try:
        status = tf.train.Checkpoint(model=recognizer).restore(path)
        status.expect_partial().assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: does not hold the model that it describes ({first})") from None
    return recognizer, path


def find(where: str | os.PathLike[str]) -> str:
    """The prefix of the checkpoint that `where` names.

    Raises:
      UserError: there is none, or none that reads back whole.
    """
    if pathlib.Path(f"{where}.index").is_file():
        damage = checkpoints.verify(str(where))
        if damage:
            raise UserError(f"{where} is damaged ({damage}); take another checkpoint")
        return str(where)
    folder = RunDir.at(where).checkpoints
    path = checkpoints.latest_good(folder if folder.is_dir() else where)
    if path is None:
        raise UserError(
            f"{where}: no checkpoint there; give a run of tools/train_recognition.py, or the "
            "prefix of a checkpoint (…/ckpt-400, without .index)"
        )
    return path


def describe(path: str) -> dict[str, Any]:
    """What the model of a checkpoint is: backbone (its name), image_size, classes (of Class).

    Raises:
      UserError: the checkpoint is of no recogniser.
    """
    reader = tf.train.load_checkpoint(path)
    if not reader.has_tensor(_DESCRIPTION):
        raise UserError(
            f"{path}: not a recogniser's checkpoint (it does not say which output is which "
            "category); tools/train_recognition.py makes one"
        )
    described = json.loads(reader.get_tensor(_DESCRIPTION).decode())
    return {
        "backbone": described["backbone"],
        "image_size": described["image_size"],
        "classes": classes.from_json(described["classes"], f"{path}, its description"),
    }


def require_classes(path: str, trained: Sequence[Class], label_map: str | None = None) -> None:
    """Checks a checkpoint's classes against the run's classes.json and a label map.

    Raises:
      UserError: they differ.
    """
    beside = pathlib.Path(path).parent.parent / CLASSES_FILE
    if beside.is_file():
        listed = classes.from_json(read_json(beside), beside)
        classes.require_same(trained, listed, path, beside)
    if label_map:
        classes.require_same(trained, classes.of_label_map(label_map), path, label_map)
