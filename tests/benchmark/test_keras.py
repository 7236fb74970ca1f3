"""A detector on KerasHub's ResNet with random weights (Keras 3, JAX), in another Python's process.

Run by the Python of the environment that has the library: build/keras, which `make test-all`
builds, or the one that REPLICATE_KERAS_PYTHON names (requirements-keras.txt is all it needs).
"""

import json
import pathlib
import subprocess

import numpy as np
import pytest
from PIL import Image

from replicate import benchmark
from replicate.benchmarking import Dataset
from tests.benchmark.conftest import NAMES
from tests.other_pythons import python_with

PROJECT = pathlib.Path(__file__).resolve().parents[2]

# Weights are drawn, so that nothing is downloaded.
DETECTOR = """
import os
os.environ["KERAS_BACKEND"] = "jax"
import keras, keras_hub
import numpy as np

SIDE = 128
NAMES = ["red", "green", "blue"]

def make(options):
    keras.utils.set_random_seed(3)
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 8, 16, 16], stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2], block_type="basic_block",
        image_shape=(SIDE, SIDE, 3))
    features = keras.layers.Flatten()(backbone.output)
    wide = keras.initializers.RandomNormal(stddev=0.05, seed=1)
    boxes = keras.layers.Dense(40 * 4, "sigmoid", kernel_initializer=wide)(features)
    scores = keras.layers.Dense(40 * len(NAMES), "sigmoid", kernel_initializer=wide)(features)
    model = keras.Model(backbone.input, [boxes, scores])

    def detect(image):  # uint8 RGB [height, width, 3]
        height, width = image.shape[:2]
        resized = keras.ops.image.resize(image.astype("float32"), (SIDE, SIDE))
        boxes, scores = model.predict(np.asarray(resized)[None] / 255, verbose=0)
        centre, size = np.split(boxes.reshape(40, 4), 2, axis=1)
        corners = np.concatenate([centre * (1 - size), centre + (1 - centre) * size], axis=1)
        best = np.argsort(-scores.ravel(), kind="stable")[:100]
        return {
            "boxes_xyxy_px": corners[best // len(NAMES)] * np.array([width, height] * 2),
            "scores": scores.ravel()[best],
            "class_names": [NAMES[index] for index in best % len(NAMES)],
        }
    detect.about = f"keras {keras.__version__}, keras_hub {keras_hub.__version__}"
    return detect
"""
# Records its detections in a process of its own, without the kit.
RECORDING = """
import json, sys
import numpy as np
import detector
detect = detector.make({})
found = []
for path in sys.argv[2:]:
    one = detect(np.load(path))
    found.append({name: np.asarray(value).tolist() for name, value in one.items()})
json.dump(found, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def python():
    return python_with("KerasHub", "keras")


@pytest.mark.timeout(900)
def test_a_detector_of_keras_hub(python, drawn, tmp_path):
    (tmp_path / "detector.py").write_text(DETECTOR)
    (tmp_path / "recording.py").write_text(RECORDING)
    paths = []
    for image_id, path in drawn.images:
        paths.append(str(tmp_path / f"{image_id}.npy"))
        np.save(paths[-1], np.asarray(Image.open(path).convert("RGB")))
    done = subprocess.run(
        [python, "recording.py", "found.json", *paths], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    id_of = {name: id for id, name in NAMES.items()}
    rng = np.random.default_rng(3)
    results, objects = [], []
    for (image_id, _), one in zip(drawn.images, found, strict=True):
        assert len(one["scores"]) > 20
        for box, score, name in zip(
            one["boxes_xyxy_px"], one["scores"], one["class_names"], strict=True
        ):
            x1, y1, x2, y2 = box
            results.append(
                {
                    "image_id": image_id,
                    "category_id": id_of[name],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                }
            )
        # Some of them, moved a little, are the objects: an AP that is neither 0 nor 1.
        for result in results[-len(one["scores"]) :][:60:9]:
            box = (np.array(result["bbox"]) * rng.normal(1, 0.05, 4)).tolist()
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image_id,
                    "category_id": result["category_id"],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    document = json.loads(pathlib.Path(drawn.annotations_file).read_text())
    document["annotations"] = objects
    (tmp_path / "instances.json").write_text(json.dumps(document))
    (tmp_path / "recorded.json").write_text(json.dumps(results))
    dataset = Dataset(str(tmp_path / "instances.json"), drawn.image_dir)
    assert {object["category_id"] for object in objects} == set(NAMES)
    expected = benchmark(str(tmp_path / "recorded.json"), dataset, cache_dir=None)
    assert 0 < expected.metrics["bbox"]["AP"] < 0.98
    record = benchmark(
        f"{tmp_path / 'detector.py'}:make", dataset, python=python, cache_dir=None, progress=False
    )
    assert record.metrics["bbox"] == expected.metrics["bbox"]
    assert "keras_hub 0.32" in record.speed["device"]
