"""A run as TensorBoard events: scalars, hyperparameters, texts, images with boxes."""

import pathlib
import shutil

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from replicate.report.trackers.record import TrackedRun


def write(record: TrackedRun, folder: pathlib.Path) -> str:
    """Writes events into `folder`/<run's name>, in the place of an earlier export.

    Returns:
      how to open it, one line.
    """
    target = folder / record.name
    shutil.rmtree(target, ignore_errors=True)
    writer = tf.summary.create_file_writer(str(target))
    with writer.as_default():
        hparams.hparams(record.parameters, trial_id=record.name)
        for name, pairs in record.series.items():
            for step, value in pairs:
                tf.summary.scalar(name, value, step=step)
        for step in sorted({step for pairs in record.series.values() for step, _ in pairs}):
            if record.epoch(step) is not None:
                tf.summary.scalar("epoch", record.epoch(step), step=step)
        texts = record.texts | {path.name: path.read_text() for path in record.files}
        if record.git:
            texts["code"] = f"{record.git['revision']}\n\n{record.git['diff']}"
        for name, text in texts.items():
            # Indented, Markdown shows it as it is.
            tf.summary.text(name, "\n".join(f"    {line}" for line in text.splitlines()), step=0)
        for image in record.images:
            tf.summary.image(image.name, image.pixels()[None], step=image.step)
    writer.close()
    return f"tensorboard --logdir={folder}"
