"""Batches of a recipe over a few drawn images: what tests hold bit against bit."""

import tensorflow as tf

import tfrecords
from replicate import config as configs
from replicate.demo import drawing
from replicate.train import input_stream


def records(folder, shards):
    """(pattern of records with masks, their label map) of eight drawn JPEG images."""
    drawn = drawing.draw(folder / "drawn", train_images=8, val_images=1)["train"]
    tfrecords.convert(
        *map(str, drawn), str(folder / "train"), shards, include_masks=True, progress=False
    )
    tfrecords.write_label_map(str(drawn[0]), str(folder / "label_map.pbtxt"))
    return f"{folder}/train-*.tfrecord", str(folder / "label_map.pbtxt")


def config(recipe, given, batch_size):
    """The recipe's config over what `records` gives."""
    pattern, label_map = given
    message = configs.render(
        recipe,
        overrides=[("train_config.batch_size", str(batch_size))],
        train_records=pattern,
        label_map=label_map,
        fine_tune_checkpoint="",
    )
    message.train_input_reader.max_number_of_boxes = 10
    return message


def batches(message, model, count, first_example=0, images=""):
    """The arrays of so many batches."""
    dataset = input_stream.train_dataset(
        message, model, seed=5, first_example=first_example, images=images
    )
    return [array.numpy() for batch in dataset.take(count) for array in tf.nest.flatten(batch)]
