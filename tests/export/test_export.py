"""The exported model, loaded as anyone would, detects what the checkpoint detects."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from replicate import odapi
from replicate.errors import UserError
from replicate.run import read_json

odapi.load()


from replicate import config as configs
from replicate import export
from replicate.evaluate import detections
from tests.evaluate.conftest import Case
from tests.evaluate.test_equal_to_api import same_detections

PROJECT = pathlib.Path(__file__).resolve().parents[2]
OUTPUTS = {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
# A user's program: TensorFlow with its own Keras, nothing of the API.
USING = """
import sys, numpy as np, tensorflow as tf
saved_model, out, kind, *images = sys.argv[1:]
loaded = tf.saved_model.load(saved_model)
detect = loaded.signatures["serving_default"]
(name, spec), = detect.structured_input_signature[1].items()
found = {"signature": np.array([name, spec.dtype.name, str(spec.shape.as_list())])}
for number, path in enumerate(images):
    encoded = tf.io.read_file(path)
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)[tf.newaxis]
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded.numpy()]))
    example = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature}))
    given = {
        "image_tensor": image,
        "float_image_tensor": tf.cast(image, tf.float32),
        "encoded_image_string_tensor": encoded[tf.newaxis],
        "tf_example": tf.constant([example.SerializeToString()]),
    }[kind]
    for key, value in detect(**{name: given}).items():
        found[f"{number}/{key}"] = value.numpy()[0]
    found[f"{number}/image_hw"] = np.array(image.shape[1:3])
assert "object_detection" not in sys.modules
np.savez(out, **found)
"""


def _used(folder, kind, images, tmp_path):
    """Signature and, of each image, what the SavedModel gives: {output: value}, image_hw."""
    out = tmp_path / f"{kind}.npz"
    done = subprocess.run(
        [sys.executable, "-c", USING, str(folder / "saved_model"), str(out), kind, *images],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = dict(np.load(out))
    signature = found.pop("signature").tolist()
    of_image = [{} for _ in images]
    for key, value in found.items():
        number, name = key.split("/")
        of_image[int(number)][name] = value
    return signature, of_image


def _as_results(of_image, ids):
    results = []
    for image_id, output in zip(ids, of_image, strict=True):
        output = output | {"detection_classes": output["detection_classes"] - 1}
        results += detections.of_image(image_id, output["image_hw"], output, [1, 2, 3])
    return results


def _images(case, count=3):
    images = read_json(case.annotations_file)["images"][:count]
    return [each["id"] for each in images], [
        str(pathlib.Path(case.image_dir, each["file_name"])) for each in images
    ]


def _of_the_checkpoint(case, ids):
    found, _ = case.evaluation().detect(str(case.checkpoint_dir), progress=False)
    return [each for each in found if each["image_id"] in ids]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Of the SSD: the Case and its export."""
    case = Case(tmp_path_factory.mktemp("ssd"), "ssd")
    export.export(case.config, str(case.checkpoint_dir), case.folder / "exported")
    return case, case.folder / "exported"


@pytest.mark.timeout(900)
def test_the_zoos_layout_and_signature(exported, tmp_path):
    case, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint",
        "export.json",
        "label_map.csv",
        "label_map.pbtxt",
        "labels.txt",
        "pipeline.config",
        "saved_model",
    ]
    assert {path.name for path in (folder / "checkpoint").iterdir()} == {
        "checkpoint",
        "ckpt-0.index",
        "ckpt-0.data-00000-of-00001",
    }
    assert (folder / "saved_model" / "saved_model.pb").is_file()
    ids, images = _images(case)
    signature, of_image = _used(folder, "image_tensor", images, tmp_path)
    assert signature == ["input_tensor", "uint8", "[1, None, None, 3]"]
    assert of_image[0].keys() >= OUTPUTS
    assert {value.dtype for value in of_image[0].values()} - {np.dtype("int64")} == {
        np.dtype("float32")
    }
    same_detections(_as_results(of_image, ids), _of_the_checkpoint(case, ids))
    assert not [path for path in case.folder.iterdir() if path.name.startswith(".exported")]


def test_the_exported_checkpoint_is_one(exported, tmp_path):
    """The folder is what the kit takes a released archive's folder for."""
    case, folder = exported
    message = configs.read(folder / "pipeline.config")
    message.eval_input_reader[0].CopyFrom(case.config.eval_input_reader[0])
    again = detections.Evaluation(message, case.annotations_file, case.image_dir)
    found, _ = again.detect(str(folder / "checkpoint"), progress=False)
    assert found == case.evaluation().detect(str(case.checkpoint_dir), progress=False)[0]


def test_real_images(exported, shared, tmp_path):
    case, folder = exported
    names = sorted((shared / "coco/val128/val2017").iterdir())[:3]
    _, of_image = _used(folder, "image_tensor", [str(name) for name in names], tmp_path)
    document = read_json(case.annotations_file)
    document["images"] = [
        {"id": number, "file_name": name.name, "height": 1, "width": 1}
        for number, name in enumerate(names)
    ]
    (tmp_path / "instances.json").write_text(json.dumps(document))
    evaluation = detections.Evaluation(
        case.config, str(tmp_path / "instances.json"), str(names[0].parent)
    )
    expected, _ = evaluation.detect(str(case.checkpoint_dir), progress=False)
    same_detections(_as_results(of_image, range(3)), expected)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *(("ssd", kind) for kind in export.INPUT_TYPES[1:]),
        ("faster_rcnn", "image_tensor"),
        ("centernet", "image_tensor"),
        ("mask_rcnn", "image_tensor"),
    ],
)
def test_every_input_and_every_family(kind, family, tmp_path):
    case = Case(tmp_path / "case", family)
    export.export(case.config, str(case.checkpoint_dir), tmp_path / "exported", kind)
    ids, images = _images(case)
    _, of_image = _used(tmp_path / "exported", kind, images, tmp_path)
    found, expected = _as_results(of_image, ids), _of_the_checkpoint(case, ids)
    same_detections(found, expected)
    if family == "mask_rcnn":
        same_masks(found, expected)


def same_masks(ours, theirs):
    """Asserts that each mask of one has its like among the other's of that image."""
    for image_id in {each["image_id"] for each in ours}:
        masks = [
            [each["segmentation"] for each in side if each["image_id"] == image_id]
            for side in (ours, theirs)
        ]
        filled = [index for index, area in enumerate(coco_mask.area(masks[0])) if area > 20]
        assert filled
        overlaps = coco_mask.iou(masks[0], masks[1], [0] * len(masks[1]))
        assert overlaps[filled].max(axis=1).min() > 0.98


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_moving_averages_are_what_is_exported(tmp_path):
    case = Case(
        tmp_path / "case",
        "ssd",
        [
            ("train_config.optimizer.use_moving_average", "true"),
            ("eval_config.use_moving_averages", "true"),
        ],
        checkpoint=False,
    )
    case.save_averages(3)
    export.export(case.config, str(case.checkpoint_dir), tmp_path / "exported")
    assert not configs.read(tmp_path / "exported/pipeline.config").eval_config.use_moving_averages
    ids, images = _images(case)
    _, of_image = _used(tmp_path / "exported", "image_tensor", images, tmp_path)
    expected = _of_the_checkpoint(case, ids)
    assert len({each["score"] for each in expected}) > 20, "zeros would all score alike"
    same_detections(_as_results(of_image, ids), expected)


def test_the_tool(tmp_path):
    command = [sys.executable, str(PROJECT / "tools/export.py")]

    def said(*more):
        done = subprocess.run([*command, *map(str, more)], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert said("--help")[0] == 0
    status, message = said(
        f"--trained_checkpoint_dir={tmp_path}", f"--output_directory={tmp_path}/out"
    )
    assert status == 2 and "name its config" in message


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        export.export(None, "ckpt-1", tmp_path)
    with pytest.raises(UserError, match="there are: image_tensor"):
        export.export(None, "ckpt-1", tmp_path / "new", "image")
