"""What a training is asked for, and what can be said of it before TensorFlow is loaded."""

import dataclasses
import glob
import math
import os
import pathlib

from replicate import environment
from replicate.errors import UserError
from replicate.recognition import classes
from replicate.recognition.classes import Class
from replicate.run import RunDir, read_json, write_json

OPTIMIZERS = ("adam", "sgd")
DEFAULT_EPOCHS = 30.0
# As weights: Keras downloads those that it publishes for an application.
DOWNLOADED = "imagenet"
_PATTERN = "'data/train-?????-of-?????.tfrecord'"


@dataclasses.dataclass(frozen=True)
class RecognitionRequest:
    """Everything that decides what is trained; a run keeps it in spec.json.

    Attributes:
      records: pattern of the training TFRecords.
      label_map: StringIntLabelMap that names the categories.
      backbone: see `backbones.names`.
      image_size: images are resized to image_size x image_size pixels, their shape not kept.
      weights: where the backbone's weights come from, see `backbones.load_weights`; None is random.
      include_crowd: whether a crowd region puts its category into the image.
      batch_size: images a step.
      num_epochs: passes over the records; None where num_steps is given.
      num_steps: steps, instead of num_epochs.
      optimizer: one of OPTIMIZERS; sgd has a momentum of 0.9.
      learning_rate: its peak, after the warm-up; then it falls to 0 along a cosine.
      warmup_steps: steps in which it rises from 0.
      weight_decay: decoupled, on kernels alone.
      batch_norm_momentum: of the moving statistics; None leaves the backbone's own.
      flip: whether images are mirrored left to right, half of the times.
      seed: initial weights, order, flips and dropout follow from it.
    """

    records: str
    label_map: str
    backbone: str = "ResNet50"
    image_size: int = 224
    weights: str | None = None
    include_crowd: bool = True
    batch_size: int = 32
    num_epochs: float | None = DEFAULT_EPOCHS
    num_steps: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    weight_decay: float = 0.0
    batch_norm_momentum: float | None = None
    flip: bool = True
    seed: int = 0

    def steps(self, images: int) -> int:
        """The step at which training ends, for so many images an epoch."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.num_epochs is not None  # one of the two is given
        return math.ceil(self.num_epochs * images / self.batch_size)

    def classes(self) -> tuple[Class, ...]:
        """The classes of its label map; raises as `classes.of_label_map`."""
        return classes.of_label_map(self.label_map)


def files(pattern: str) -> list[str]:
    """The record files that a pattern (or several, with commas between) matches, sorted.

    Raises:
      UserError: none does, or a manifest or ledger does too.
    """
    paths = sorted(path for part in pattern.split(",") for path in glob.glob(part))
    if not paths:
        raise UserError(
            f"{pattern}: no such records; make them with tools/create_coco_tf_record.py, and give "
            f"the pattern of the shards, such as {_PATTERN}"
        )
    foreign = [path for path in paths if path.endswith((".json", ".jsonl"))]
    if foreign:
        raise UserError(
            f"{pattern}: matches {foreign[0]} as well, which is no TFRecord; give a narrower "
            f"pattern, such as {_PATTERN}"
        )
    return paths


def absolute(paths: str) -> str:
    """Paths (or patterns, with commas between) that hold from any directory."""
    return ",".join(os.path.abspath(path) for path in paths.split(","))


def check(request: RecognitionRequest) -> None:
    """What is wrong with a request, before anything heavy is loaded.

    Raises:
      UserError, tfrecords.errors.InputError: no records, no label map, no weights file.
    """
    files(request.records)
    request.classes()
    if request.num_steps is None and not (request.num_epochs or 0) > 0:
        raise UserError("--num_epochs=0 trains nothing; give more, or --num_train_steps")
    weights = request.weights
    if weights and weights != DOWNLOADED and not _exists(weights):
        raise UserError(
            f"{weights}: no such weights; give the .h5 file of a Keras application, the prefix of "
            "a TF2 checkpoint (without .index), or 'imagenet', which Keras downloads"
        )


def keep(run: RunDir, request: RecognitionRequest, command: str, begun: bool) -> None:
    """Writes spec.json; of a run that has a checkpoint, checks that it asks for the same.

    Args:
      run: of the training.
      request: what is asked for now.
      command: the command line.
      begun: whether there is a checkpoint.

    Raises:
      UserError: the directory holds a run that was asked for differently, or of another kind.
    """
    asked = dataclasses.asdict(request)
    before = of_run(run) if run.spec.is_file() else None
    if before is None or not begun:
        command = environment.without_secrets(command)
        spec = {"format": 1, "kind": "recognition", "request": asked, "command": command}
        write_json(run.spec, spec)
        return
    changed = [
        f"{name} was {getattr(before, name)!r}, now {value!r}"
        for name, value in asked.items()
        if getattr(before, name) != value
    ]
    if changed:
        raise UserError(
            f"{run.root} holds a training that was asked for differently: {'; '.join(changed)}. "
            "Continue it with its own settings, or name another --model_dir"
        )


def of_run(run: RunDir) -> RecognitionRequest:
    """The RecognitionRequest in a run's spec.json.

    Raises:
      UserError: there is none, or it is another kind of run.
    """
    spec = read_json(run.spec)
    if not isinstance(spec, dict) or spec.get("kind") != "recognition":
        raise UserError(
            f"{run.root}: not a recognition run (spec.json is of another kind); "
            "tools/train_recognition.py makes one"
        )
    return RecognitionRequest(**spec["request"])


def _exists(weights: str) -> bool:
    return pathlib.Path(weights).is_file() or pathlib.Path(f"{weights}.index").is_file()
