"""Drawn records with four categories, one of them in no image, and a small finished run."""

import pathlib

import pytest

import tfrecords
from replicate.demo import drawing
from replicate.recognition import request as requests
from replicate.run import RunDir, read_json, write_json

STEPS, BATCH, SIZE = 6, 4, 32


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """dict of patterns (train, val), annotation files and image folders by split, label_map."""
    folder = tmp_path_factory.mktemp("drawn")
    found = {"folder": folder, "annotations": {}, "images": {}}
    splits = drawing.draw(folder, train_images=24, val_images=9)
    for split, (annotations_file, image_dir) in splits.items():
        content = read_json(annotations_file)
        # An id after a gap, as COCO's have them; nothing of it is drawn.
        content["categories"].append({"id": 7, "name": "hexagon"})
        write_json(annotations_file, content)
        tfrecords.convert(annotations_file, image_dir, f"{folder}/{split}", 2, num_workers=1)
        found[split] = f"{folder}/{split}-?????-of-00002.tfrecord"
        found["annotations"][split], found["images"][split] = annotations_file, image_dir
    found["label_map"] = str(folder / "label_map.pbtxt")
    tfrecords.write_label_map(found["annotations"]["train"], found["label_map"])
    return found


@pytest.fixture(scope="session")
def request_of(drawn):
    """Function of fields to a RecognitionRequest for a training of seconds."""

    def make(**fields):
        usual = {
            "records": drawn["train"],
            "label_map": drawn["label_map"],
            "backbone": "MobileNet",
            "image_size": SIZE,
            "batch_size": BATCH,
            "num_steps": STEPS,
            "num_epochs": None,
            # So low that images score differently after a handful of steps.
            "batch_norm_momentum": 0.2,
        }
        return requests.RecognitionRequest(**(usual | fields))

    return make


@pytest.fixture(scope="session")
def settings(drawn):
    from replicate.recognition import training

    return training.RecognitionSettings(
        val_records=drawn["val"], evaluate_train=True, checkpoint_every_n=3, log_every_n=1
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory, request_of, settings):
    """RunDir of a run that ended, with its report; not to be changed."""
    from replicate.recognition import report, training

    root = tmp_path_factory.mktemp("runs") / "finished"
    training.train(request_of(), root, settings, "python tools/train_recognition.py …")
    report.write(RunDir.at(root))
    return RunDir.at(root)


def present(annotations_file, include_crowd=True):
    """dict image id (str) -> set of category names in the image, read from the COCO JSON."""
    content = read_json(annotations_file)
    names = {each["id"]: each["name"] for each in content["categories"]}
    found = {str(image["id"]): set() for image in content["images"]}
    for each in content["annotations"]:
        if include_crowd or not each["iscrowd"]:
            found[str(each["image_id"])].add(names[each["category_id"]])
    return found


def image_path(drawn, split, image_id):
    """Path of an image of the drawn set."""
    content = read_json(drawn["annotations"][split])
    name = next(each["file_name"] for each in content["images"] if str(each["id"]) == image_id)
    return pathlib.Path(drawn["images"][split]) / name
