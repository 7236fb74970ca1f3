"""Decoders by name: whose pixels they give, and that every benchmark says which one fed it."""

import json

import numpy as np
import pytest
from PIL import Image

from replicate import benchmark, decoders, odapi
from replicate.benchmarking import Dataset, Model
from replicate.errors import UserError
from replicate.score import text
from tests.benchmark.conftest import find_colours


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    """A JPEG with the edges and gradients on which decoders differ."""
    rows, columns = np.mgrid[:120, :160]
    noise = np.random.default_rng(3).integers(0, 90, (120, 160, 3))
    pixels = np.stack([rows, columns, rows + columns], -1) % 160 + noise
    path = tmp_path_factory.mktemp("jpeg") / "1.jpg"
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=92)
    return path


def test_tensorflows_decoder_is_the_apis_input(jpeg):
    """The pixels of the API's own decoder of records, bit for bit."""
    odapi.load()
    import tensorflow as tf
    from object_detection.data_decoders import tf_example_decoder

    feature = {
        "image/encoded": tf.train.BytesList(value=[jpeg.read_bytes()]),
        "image/format": tf.train.BytesList(value=[b"jpeg"]),
    }
    example = tf.train.Example(
        features=tf.train.Features(
            feature={name: tf.train.Feature(bytes_list=value) for name, value in feature.items()}
        )
    )
    decoded = tf_example_decoder.TfExampleDecoder().decode(tf.constant(example.SerializeToString()))
    np.testing.assert_array_equal(decoders.by_tensorflow(jpeg), decoded["image"].numpy())


def test_the_difference_is_the_cosine_transform(jpeg):
    odapi.load()
    import tensorflow as tf

    def by(method):
        return tf.io.decode_jpeg(jpeg.read_bytes(), 3, dct_method=method).numpy()

    tensorflow, pillow = decoders.by_tensorflow(jpeg), decoders.by_pillow(jpeg)
    np.testing.assert_array_equal(by("INTEGER_FAST"), tensorflow)
    np.testing.assert_array_equal(by("INTEGER_ACCURATE"), pillow)
    assert 1 < np.abs(tensorflow.astype(int) - pillow).max() < 60


@pytest.mark.parametrize("name", decoders.NAMES)
def test_damaged_files_are_named(name, tmp_path):
    (tmp_path / "4.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="4.png: cannot be decoded"):
        decoders.decoder(name)(tmp_path / "4.png")


def test_the_decoder_is_part_of_the_result(drawn, jpeg, tmp_path):
    """It reaches the model, the record, the printed result and the key of what is kept."""
    truth = {
        "images": [{"id": 1, "height": 120, "width": 160, "file_name": jpeg.name}],
        "annotations": [],
        "categories": [{"id": 1, "name": "red"}],
    }
    (tmp_path / "one.json").write_text(json.dumps(truth))
    dataset = Dataset(str(tmp_path / "one.json"), str(jpeg.parent))
    seen = []

    def detect(batch):
        seen.append(batch[0])
        return [find_colours(image) for image in batch]

    def run(**options):
        return benchmark(
            detect, dataset, identity="v1", cache_dir=tmp_path / "kept", progress=False, **options
        )

    default, chosen = run(), run(decoder="tensorflow")
    np.testing.assert_array_equal(seen[0], decoders.by_pillow(jpeg))
    np.testing.assert_array_equal(seen[-1], decoders.by_tensorflow(jpeg))
    assert not default.cached and not chosen.cached
    assert run(decoder="pillow").cached and run(decoder="tensorflow").cached
    for record, name, words in (
        (run(), "pillow", "Pillow"),
        (run(decoder="tensorflow"), "tensorflow", "TensorFlow"),
    ):
        told = record.to_json()["inference"]
        assert (told["decoder"], told["decoder_version"]) == (name, decoders.version(name))
        assert f"images decoded by {words} {decoders.version(name)}" in record.text()
    own = Model(detect, decoder="tensorflow")
    assert benchmark(own, dataset, cache_dir=None).inference["decoder"] == "tensorflow"


@pytest.mark.parametrize(
    ("decoder", "message"),
    [("opencv", "decoder 'opencv'; there are: tensorflow, pillow"), ("pillow", "nothing is decod")],
)
def test_mistakes(drawn, tmp_path, decoder, message):
    (tmp_path / "detections.json").write_text("[]")
    with pytest.raises(UserError, match=message):
        benchmark(tmp_path / "detections.json", drawn, decoder=decoder, cache_dir=None)


@pytest.mark.parametrize(
    ("inference", "line"),
    [
        (None, ""),
        ({"decoder": None}, ""),
        (
            {
                "decoder": "tensorflow",
                "decoder_version": "2",
                "suppression": "api",
                "suppression_asked": "kit",
            },
            "images decoded by TensorFlow 2; the API's own suppression, to which the kit's is not "
            "equal for this config",
        ),
    ],
)
def test_in_words(inference, line):
    assert text.of_inference(inference) == line


def test_tflite_on_real_photographs(shared):
    """Both figures as they were measured on 128 images of val2017, in issues and here."""
    folder, models = shared / "coco/val128", shared / "models"
    for decoder, ap in ((None, 0.2282), ("pillow", 0.2253)):
        record = benchmark(
            models / "detect.tflite",
            (str(folder / "instances_val128.json"), str(folder / "val2017")),
            labels=models / "labelmap.txt",
            decoder=decoder,
            cache_dir=None,
            progress=False,
        )
        assert record.metrics["bbox"]["AP"] == pytest.approx(ap, abs=5e-5)
