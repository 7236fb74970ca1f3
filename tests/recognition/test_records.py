"""Records as recognition sees them: labels against the COCO JSON, crowds, foreign records."""

import io

import numpy as np
import pytest
from PIL import Image

from replicate.errors import UserError
from replicate.recognition import records
from replicate.recognition.classes import Class, of_label_map
from replicate.recognition.engine import tf
from tests.recognition.conftest import BATCH, SIZE, present
from tfrecords import example, framing

CLASSES = (Class(1, "cat"), Class(3, "dog"), Class(4, "cow"))


def _record(text=(), label=(), crowd=(), encoded=None):
    """One record; empty lists are left out, as records of other makers leave them out."""
    if encoded is None:
        stream = io.BytesIO()
        Image.new("RGB", (8, 6), (200, 100, 50)).save(stream, "PNG")
        encoded = stream.getvalue()
    features = {
        "image/encoded": ("bytes_list", [encoded]),
        "image/source_id": ("bytes_list", [b"17"]),
        "image/object/class/text": ("bytes_list", [each.encode() for each in text]),
        "image/object/class/label": ("int64_list", list(label)),
        "image/object/is_crowd": ("int64_list", list(crowd)),
    }
    return example.encode({name: value for name, value in features.items() if value[1]})


@pytest.fixture
def written(tmp_path):
    """Function of serialized records to the pattern of a file that holds them."""

    def write(*serialized):
        with open(tmp_path / "made-00000-of-00001.tfrecord", "wb") as file:
            writer = framing.Writer(file)
            for each in serialized:
                writer.write(each)
        return str(tmp_path / "made-*.tfrecord")

    return write


@pytest.mark.parametrize(
    ("objects", "with_crowd", "without_crowd"),
    [
        ({"text": ["cow", "cat", "cow"], "crowd": [0, 0, 0]}, [1, 0, 1], [1, 0, 1]),
        # dog by a crowd alone; cow by a crowd and an object
        ({"text": ["dog", "cow", "cow"], "crowd": [1, 1, 0]}, [0, 1, 1], [0, 0, 1]),
        # no is_crowd at all: nothing is a crowd
        ({"text": ["dog"]}, [0, 1, 0], [0, 1, 0]),
        # records that name ids instead
        ({"label": [3, 4], "crowd": [0, 1]}, [0, 1, 1], [0, 1, 0]),
        ({}, [0, 0, 0], [0, 0, 0]),
    ],
)
def test_labels_of_a_record(written, request_of, objects, with_crowd, without_crowd):
    pattern = written(_record(**objects))
    for include_crowd, expected in ((True, with_crowd), (False, without_crowd)):
        request = request_of(include_crowd=include_crowd)
        ((images, labels, ids),) = records.evaluation_batches(pattern, request, CLASSES, 4)
        assert labels.numpy().tolist() == [expected]
        assert ids.numpy().tolist() == [b"17"]
        assert images.shape == (1, SIZE, SIZE, 3)
        np.testing.assert_allclose(images[0, 3, 3], [200, 100, 50], atol=0.01)
    survey = records.survey(pattern, CLASSES)
    assert survey["positives"] == with_crowd
    assert survey["positives_without_crowd"] == without_crowd
    assert survey["images_without_categories"] == (sum(with_crowd) == 0)


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ({"text": ["cat", "unicorn", "unicorn"]}, ["'unicorn' (2)", "label map"]),
        ({"label": [3, 88]}, ["'88' (1)", "label map"]),
    ],
)
def test_a_category_that_the_label_map_lacks_is_refused(written, objects, words):
    with pytest.raises(UserError) as error:
        records.survey(written(_record(text=["cat"]), _record(**objects)), CLASSES)
    assert all(word in str(error.value) for word in words)


def test_an_image_that_does_not_decode_is_told(written, request_of):
    pattern = written(_record(text=["cat"], encoded=b"no image"))
    with pytest.raises(UserError, match="verify_tf_record"):
        list(records.evaluation_batches(pattern, request_of(), CLASSES, 4))


def test_no_records_are_told(request_of):
    with pytest.raises(UserError, match="no such records"):
        records.survey("/nowhere/*.tfrecord", CLASSES)


def test_a_pattern_that_takes_in_the_manifest_is_told(drawn):
    with pytest.raises(UserError, match=r"dropped-train\.jsonl as well, .* narrower"):
        records.survey(f"{drawn['folder']}/*train*", CLASSES)


def _by_id(batches, classes):
    """dict image id -> set of names, over batches."""
    found = {}
    for _, labels, ids in batches:
        for row, image_id in zip(labels.numpy(), ids.numpy(), strict=True):
            found[image_id.decode()] = {classes[i].name for i in np.flatnonzero(row)}
    return found


@pytest.mark.parametrize("include_crowd", [True, False])
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_are_those_of_the_coco_json(drawn, request_of, split, include_crowd):
    classes = of_label_map(drawn["label_map"])
    request = request_of(include_crowd=include_crowd)
    batches = records.evaluation_batches(drawn[split], request, classes, 5)
    expected = present(drawn["annotations"][split], include_crowd)
    assert _by_id(batches, classes) == expected
    counts = records.survey(drawn[split], classes)
    counts = counts["positives" if include_crowd else "positives_without_crowd"]
    assert counts == [sum(each.name in names for names in expected.values()) for each in classes]


def test_a_training_epoch_holds_every_image_once_and_is_entered_anywhere(drawn, request_of):
    classes = of_label_map(drawn["label_map"])
    batches = 24 // BATCH

    def stream(first_example, count):
        taken = records.training_batches(request_of(), classes, first_example).take(count)
        return [(images.numpy(), ids.numpy().tolist()) for images, _, ids in taken]

    whole = stream(0, 2 * batches)
    for epoch in (whole[:batches], whole[batches:]):
        ids = sorted(int(each) for _, batch in epoch for each in batch)
        assert ids == list(range(1, 25))
    assert [ids for _, ids in whole[:batches]] != [ids for _, ids in whole[batches:]]
    # From the third batch on, pixels (and so flips) included.
    for (images, ids), (again, ids_again) in zip(whole[2:], stream(2 * BATCH, 4), strict=False):
        assert ids == ids_again
        np.testing.assert_array_equal(images, again)


def test_flips_mirror_some_images_and_none_where_not_asked(drawn, request_of):
    classes = of_label_map(drawn["label_map"])

    def by_id(flip):
        taken = records.training_batches(request_of(flip=flip), classes, 0).take(24 // BATCH)
        return {
            image_id: image.numpy()
            for images, _, ids in taken
            for image, image_id in zip(images, ids.numpy(), strict=True)
        }

    straight, flipped = by_id(False), by_id(True)
    mirrored = [
        image_id
        for image_id, image in flipped.items()
        if not np.array_equal(image, straight[image_id])
    ]
    assert 4 <= len(mirrored) <= 20
    for image_id in mirrored:
        np.testing.assert_array_equal(flipped[image_id], straight[image_id][:, ::-1])


def test_resizing_is_tensorflows_antialiased_bilinear():
    pixels = np.random.default_rng(3).integers(0, 256, (40, 90, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    ours = records.image_of(stream.getvalue(), SIZE).numpy()
    pillow = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    # Pillow rounds to whole numbers after each of its two passes.
    np.testing.assert_allclose(ours, np.asarray(pillow, np.float32), atol=1.6)
    assert ours.dtype == np.float32


def test_tensorflow_here_is_keras_2():
    assert tf.keras.Model.__module__.startswith("tf_keras")
