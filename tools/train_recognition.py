"""Trains a network that says which categories appear in an image, on the detectors' TFRecords.

    python tools/train_recognition.py --model_dir=runs/rec --label_map=data/label_map.pbtxt \\
        --records='data/train-?????-of-?????.tfrecord' \\
        --val_records='data/val-?????-of-?????.tfrecord' --weights=resnet50_notop.h5

The label of an image is the set of categories of its objects; the loss is sigmoid cross-entropy.
tools/create_coco_tf_record.py makes the records and, with --label_map, the label map.

Writes MODEL_DIR/checkpoints/ckpt-STEP, classes.json (which output is which category),
metrics.jsonl, TensorBoard events under train/, evals/STEP/ (scores and metrics) and
report/index.html. The same command continues after a stop or a kill; finished, it evaluates what
is not evaluated yet (other --val_records, say). Ctrl-C, SIGTERM and SIGUSR1 save a checkpoint
first. tools/recognize.py predicts with the result.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import shlex

from absl import flags

from replicate.execution import MOST_SEED, MOST_STEPS
from replicate.recognition import request as requests
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("records", None, "training TFRecords, a pattern (or several, with commas).")
flags.DEFINE_string("val_records", None, "TFRecords to evaluate on, likewise.")
flags.DEFINE_string("label_map", None, "label map of the records; its items are the classes.")
flags.DEFINE_string("model_dir", None, "the run directory.")
flags.DEFINE_string(
    "backbone",
    "ResNet50",
    "a name of tf.keras.applications (ResNet50, MobileNetV2, EfficientNetB0, …), or "
    "official/resnet-50: the ResNet of tf-models-official (18, 34, 50, 101, 152).",
)
flags.DEFINE_integer(
    "image_size", 224, "images are resized to a square of so many pixels.", lower_bound=32
)
flags.DEFINE_string(
    "weights",
    None,
    "pretrained weights of the backbone: the .h5 file that Keras publishes, the prefix of a TF2 "
    "checkpoint (tf-models-official's, or another run's), or 'imagenet', which Keras downloads; "
    "random where empty.",
)
flags.DEFINE_bool("include_crowd", True, "whether a crowd region puts its category into the image.")
flags.DEFINE_integer("batch_size", 32, "images a step.", lower_bound=1)
flags.DEFINE_float(
    "num_epochs", requests.DEFAULT_EPOCHS, "passes over the training records.", lower_bound=0
)
flags.DEFINE_integer(
    "num_train_steps",
    None,
    "steps, instead of --num_epochs.",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
flags.DEFINE_enum("optimizer", "adam", requests.OPTIMIZERS, "sgd has a momentum of 0.9.")
flags.DEFINE_float("learning_rate", 1e-3, "its peak; it falls to 0 along a cosine.", lower_bound=0)
flags.DEFINE_integer("warmup_steps", 0, "steps in which it rises from 0.", lower_bound=0)
flags.DEFINE_float("weight_decay", 0.0, "decoupled, on kernels alone.", lower_bound=0)
flags.DEFINE_float(
    "batch_norm_momentum",
    None,
    "momentum of batch norm's moving statistics, the backbone's own where empty; for a few hundred "
    "steps, 0.9 is about right (MobileNetV2's own 0.999 forgets its start in thousands).",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_bool("flip", True, "mirror images left to right, half of the times.")
flags.DEFINE_integer(
    "seed",
    0,
    "initial weights, order, flips and dropout follow from it.",
    lower_bound=0,
    upper_bound=MOST_SEED,
)
flags.DEFINE_float(
    "threshold", 0.5, "scores from here on say 'in the image', for F1.", lower_bound=0
)
flags.DEFINE_bool(
    "evaluate_train",
    None,
    "also evaluate the training images; by default only where there are no --val_records.",
)
flags.DEFINE_integer(
    "checkpoint_every_n",
    1000,
    "steps between checkpoints; each is evaluated.",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
flags.DEFINE_integer(
    "checkpoint_max_to_keep", 7, "how many of the last ones are kept.", lower_bound=1
)
flags.DEFINE_integer("log_every_n", 10, "steps between two lines of metrics.jsonl.", lower_bound=1)

_OF_THE_RUN = (
    *("backbone", "image_size", "include_crowd", "batch_size", "optimizer", "learning_rate"),
    *("warmup_steps", "weight_decay", "batch_norm_momentum", "flip", "seed"),
)
_OF_THIS_START = (
    *("evaluate_train", "threshold"),
    *("checkpoint_every_n", "checkpoint_max_to_keep", "log_every_n"),
)


def main(_: list[str]) -> None:
    weights = FLAGS.weights
    request = requests.RecognitionRequest(
        records=requests.absolute(FLAGS.records),
        label_map=requests.absolute(FLAGS.label_map),
        weights=requests.absolute(weights)
        if weights not in (None, requests.DOWNLOADED)
        else weights,
        num_steps=FLAGS.num_train_steps,
        num_epochs=None if FLAGS.num_train_steps else FLAGS.num_epochs,
        **{name: getattr(FLAGS, name) for name in _OF_THE_RUN},
    )
    requests.check(request)
    val_records = requests.absolute(FLAGS.val_records) if FLAGS.val_records else None
    if val_records:
        requests.files(val_records)
    from replicate.recognition import report, training
    from replicate.run import RunDir

    settings = training.RecognitionSettings(
        val_records=val_records, **{name: getattr(FLAGS, name) for name in _OF_THIS_START}
    )
    command = shlex.join(["python", "tools/train_recognition.py", *sys.argv[1:]])
    training.train(request, FLAGS.model_dir, settings, command)
    run = RunDir.at(FLAGS.model_dir)
    page = report.write(run)
    print(report.summary(run))
    print(f"report: {page}")


if __name__ == "__main__":
    cli.run(main, required=["records", "label_map", "model_dir"])
