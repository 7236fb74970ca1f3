"""Adapters: a TFLite detector, the zoo's SavedModel signature, an archive of it."""

import json
import pathlib
import tarfile

import numpy as np
import pytest

from replicate import benchmark
from replicate.benchmarking import Dataset, ModelDetections
from replicate.benchmarking.adapters.frameworks import tensorflow
from replicate.benchmarking.adapters.tflite import roles
from replicate.errors import UserError
from tests.benchmark.conftest import COLOURS, NAMES, find_colours
from tfrecords.errors import InputError


@pytest.fixture(scope="module")
def val128(shared):
    folder = shared / "coco/val128"
    return Dataset(str(folder / "instances_val128.json"), str(folder / "val2017"), num_images=24)


def test_tflite_callable_and_file_give_one_number(shared, val128, tmp_path):
    """LiteRT called by hand in a plain callable, the adapter, and a file of the detections."""
    import cv2
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(shared / "models/detect.tflite"))
    interpreter.allocate_tensors()
    entry, outputs = interpreter.get_input_details()[0], interpreter.get_output_details()

    def detect(batch):
        (image,) = batch
        height, width = image.shape[:2]
        resized = cv2.resize(image, (300, 300), interpolation=cv2.INTER_LINEAR)
        interpreter.set_tensor(entry["index"], resized[None])
        interpreter.invoke()
        boxes, classes, scores, _ = (interpreter.get_tensor(each["index"]) for each in outputs)
        boxes = boxes[0].astype(float)
        return [
            ModelDetections(
                [
                    [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
                    for y1, x1, y2, x2 in boxes
                ],
                scores[0],
                classes[0].astype(int) + 1,
            )
        ]

    by_hand = benchmark(detect, val128, decoder="tensorflow", cache_dir=None, progress=False)
    for options in ({}, {"labels": shared / "models/labelmap.txt"}, {"num_threads": 1}):
        adapted = benchmark(
            shared / "models/detect.tflite", val128, cache_dir=None, progress=False, **options
        )
        assert adapted.metrics["bbox"] == pytest.approx(by_hand.metrics["bbox"], abs=1e-9)
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(adapted.detected.results))
    from_file = benchmark(path, val128, cache_dir=None)
    assert from_file.metrics == adapted.metrics
    # A real detector on real images: far from nothing, and capped at its ten.
    assert 0.15 < adapted.metrics["bbox"]["AP"] < 0.45
    assert adapted.scores["bbox"]["detections"]["cap_per_image"] == 10
    assert "LiteRT" in adapted.speed["device"]


def test_labels_decide_the_categories(shared, val128, tmp_path):
    """Names in another order give other categories; unknown names give none."""
    names = (shared / "models/labelmap.txt").read_text().splitlines()
    shifted = tmp_path / "shifted.txt"
    shifted.write_text("\n".join(names[1:]))
    right = benchmark(
        shared / "models/detect.tflite",
        val128,
        labels=shared / "models/labelmap.txt",
        cache_dir=None,
        progress=False,
    )
    # Without "???" the first line is class 0: the same detector, the same categories.
    same = benchmark(
        shared / "models/detect.tflite", val128, labels=shifted, cache_dir=None, progress=False
    )
    assert same.metrics == right.metrics
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("widget\ngadget\n")
    with pytest.raises(UserError, match="none of its 2 names is a category"):
        benchmark(shared / "models/detect.tflite", val128, labels=unknown, cache_dir=None)


BOXES, CLASSES = np.zeros((1, 4, 4)), np.array([[0.0, 2.0, 0.0, 1.0]])
SCORES, COUNT = np.array([[0.9, 0.5, 0.4, 0.1]]), np.array([4.0])


@pytest.mark.parametrize(
    "first_name, values",
    [
        ("TFLite_Detection_PostProcess", [BOXES, CLASSES, SCORES, COUNT]),
        ("StatefulPartitionedCall:1", [SCORES, BOXES, COUNT, CLASSES]),
        ("StatefulPartitionedCall:3", [BOXES, CLASSES, SCORES, COUNT]),
    ],
)
def test_output_order_of_exporters(first_name, values):
    boxes, classes, scores, count = roles(values, [{"name": first_name}])
    assert (boxes is BOXES, classes is CLASSES, scores is SCORES, count is COUNT) == (True,) * 4


def test_files_that_are_no_models(tmp_path, drawn):
    (tmp_path / "broken.tflite").write_bytes(b"TFL3 but not really")
    with pytest.raises(UserError, match="broken.tflite: LiteRT cannot load it"):
        benchmark(tmp_path / "broken.tflite", drawn, cache_dir=None)
    (tmp_path / "broken.tar.gz").write_bytes(b"nothing")
    with pytest.raises((UserError, InputError), match="broken.tar.gz"):
        benchmark(tmp_path / "broken.tar.gz", drawn, cache_dir=None)
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(UserError, match="weights.pth: not a model .* zoo archive"):
        benchmark(tmp_path / "weights.pth", drawn, cache_dir=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: a checkpoint needs its config"):
        benchmark(tmp_path / "empty", drawn, cache_dir=None)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """The colour detector in TensorFlow, saved with the zoo's signature and folders."""
    tf = tensorflow()
    colours = tf.constant(list(COLOURS.values()), tf.uint8)

    class Colours(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")]
        )
        def detect(self, input_tensor):
            image = input_tensor[0]
            hw = tf.cast(tf.shape(image)[:2], tf.float32)
            boxes, scores, masks = [], [], []
            for index in range(len(COLOURS)):
                mask = tf.reduce_all(image == colours[index], axis=2)
                at = tf.cast(tf.where(mask), tf.float32)
                low, high = tf.reduce_min(at, 0), tf.reduce_max(at, 0) + 1
                boxes.append(tf.concat([low / hw, high / hw], 0))
                scores.append(1 - 1 / tf.reduce_prod(high - low))
                masks.append(tf.ones([33, 33]))
            # As the zoo's models: filled up with nothing beyond num_detections.
            return {
                "detection_boxes": tf.stack([*boxes, tf.zeros(4)])[None],
                "detection_classes": tf.constant([[1.0, 2.0, 3.0, 1.0]]),
                "detection_scores": tf.stack([*scores, 0.0])[None],
                "num_detections": tf.constant([3.0]),
                "detection_masks": tf.stack([*masks, tf.zeros([33, 33])])[None],
            }

    folder = tmp_path_factory.mktemp("zoo") / "colours_coco17_tpu-8"
    folder.mkdir()
    (folder / "pipeline.config").write_text("# as every archive of the zoo has one\n")
    module = Colours()
    tf.saved_model.save(
        module, str(folder / "saved_model"), signatures={"serving_default": module.detect}
    )
    return folder


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("\n".join(["???", *NAMES.values()]))
    return path


def test_saved_model_folder_and_archive(drawn, saved_model, labels, tmp_path):
    expected = benchmark(
        lambda batch: [find_colours(image) for image in batch],
        drawn,
        cache_dir=None,
        progress=False,
    )
    archive = tmp_path / "colours_coco17_tpu-8.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(saved_model, arcname=saved_model.name)
    for path in (saved_model, saved_model / "saved_model", archive):
        record = benchmark(path, drawn, labels=labels, cache_dir=None, progress=False)
        # Boxes are float32 fractions in between.
        assert record.metrics["bbox"] == pytest.approx(expected.metrics["bbox"], abs=1e-6)
        assert record.model["name"] == "colours_coco17_tpu-8"
        assert len(record.detected.results) == 18


def test_saved_model_masks_come_to_the_images_size(drawn, saved_model, labels):
    from pycocotools import mask

    record = benchmark(saved_model, drawn, labels=labels, cache_dir=None, progress=False)
    for each in record.detected.results:
        x, y, width, height = mask.toBbox(each["segmentation"]).tolist()
        # A mask of ones over its box is the box, within a pixel at its edges.
        assert [x, y, x + width, y + height] == pytest.approx(
            [
                each["bbox"][0],
                each["bbox"][1],
                each["bbox"][0] + each["bbox"][2],
                each["bbox"][1] + each["bbox"][3],
            ],
            abs=1.01,
        )


def test_saved_model_is_kept_by_content(drawn, saved_model, labels, tmp_path):
    kept = {"labels": labels, "cache_dir": tmp_path / "cache", "progress": False}
    assert not benchmark(saved_model, drawn, **kept).cached
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (saved_model / "saved_model").rglob("*"):
        target = moved / path.relative_to(saved_model / "saved_model")
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
    assert benchmark(moved, drawn, **kept).cached
    other = pathlib.Path(tmp_path / "other.txt")
    other.write_text("\n".join(["???", "green", "red", "blue"]))
    assert not benchmark(saved_model, drawn, **(kept | {"labels": other, "fix": ()})).cached


def test_tensorfloat_32_is_switched_off_recorded_and_a_result_of_its_own(
    drawn, saved_model, labels, tmp_path, monkeypatch
):
    import tensorflow as tf

    from replicate.train import precision

    monkeypatch.setattr(precision, "has_tf32", lambda: True)  # as on a GPU
    kept = {"labels": labels, "cache_dir": tmp_path / "cache", "progress": False}
    full = benchmark(saved_model, drawn, tf32=False, **kept)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert "tf32" not in full.inference
    reduced = benchmark(saved_model, drawn, **kept)
    assert not reduced.cached and reduced.inference["tf32"] is True
    assert reduced.model["identity"] != full.model["identity"]
    again = benchmark(saved_model, drawn, tf32=False, **kept)
    assert again.cached and again.inference == full.inference


def test_saved_model_of_another_signature(drawn, tmp_path):
    tf = tensorflow()

    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1], tf.float32)])
        def double(self, x):
            return {"doubled": 2 * x}

    module = Other()
    tf.saved_model.save(
        module, str(tmp_path / "saved_model"), signatures={"serving_default": module.double}
    )
    with pytest.raises(UserError, match="no output 'detection_boxes'; the zoo's has"):
        benchmark(tmp_path, drawn, cache_dir=None)


def test_a_frozen_graph_of_the_tf1_zoo(drawn, tmp_path):
    """Its tensors are the zoo's: image_tensor in; boxes, scores, classes from 1, number out."""
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.uint8, [1, None, None, 3], name="image_tensor")
        # One box, a quarter of the image, of class 3, scored by the image's mean.
        mean = tf.reduce_mean(tf.cast(image, tf.float32)) / 255
        tf.constant([[[0.0, 0.0, 0.5, 0.5]]], name="detection_boxes")
        tf.reshape(mean, [1, 1], name="detection_scores")
        tf.constant([[3.0]], name="detection_classes")
        tf.constant([1.0], name="num_detections")
        (tmp_path / "ssd").mkdir()
        path = tmp_path / "ssd" / "frozen_inference_graph.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
    record = benchmark(path, drawn, cache_dir=None, progress=False)
    assert record.model["name"] == "ssd" and record.inference["decoder"] == "tensorflow"
    found = record.detected.as_list()
    sizes = {image_id: hw for image_id, hw in drawn.groundtruth.image_hw.items()}
    assert len(found) == len(drawn.images) and {each["category_id"] for each in found} == {3}
    for each in found:
        height, width = sizes[each["image_id"]]
        assert each["bbox"] == pytest.approx([0, 0, width / 2, height / 2])
    (tmp_path / "other.pb").write_bytes(b"not a graph")
    with pytest.raises(UserError, match="other.pb: no frozen graph of the TF1 zoo"):
        benchmark(tmp_path / "other.pb", drawn, cache_dir=None, progress=False)
