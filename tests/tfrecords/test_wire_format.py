"""Examples, framing and label maps, held against TensorFlow and the API."""

import subprocess
import sys

import numpy as np
import pytest

import tfrecords
from tfrecords import example, framing, label_map
from tfrecords.errors import InputError

FEATURES = {
    "a/bytes": ("bytes_list", [b"", b"\0\xff", "é".encode()]),
    "a/floats": ("float_list", [0.1, -0.0, 1e-45, 3.4e38, 1 / 3]),
    "b/ints": ("int64_list", [0, -1, 2**63 - 1, -(2**63)]),
    "empty": ("float_list", []),
    "é": ("int64_list", [7]),
}


def test_examples_are_tensorflow_s():
    tf = pytest.importorskip("tensorflow")
    message = tf.train.Example()
    for name, (kind, values) in FEATURES.items():
        getattr(message.features.feature[name], kind).value.extend(values)
        getattr(message.features.feature[name], kind).SetInParent()
    ours = example.encode(FEATURES)
    assert tf.train.Example.FromString(ours) == message
    assert ours == message.SerializeToString(deterministic=True)
    assert example.decode(message.SerializeToString()) == {
        name: (kind, np.float32(values).tolist() if kind == "float_list" else values)
        for name, (kind, values) in FEATURES.items()
    }


def test_bytes_do_not_depend_on_the_order():
    backwards = dict(reversed(FEATURES.items()))
    assert list(backwards) != list(FEATURES)
    assert example.encode(backwards) == example.encode(FEATURES)


def test_no_example():
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        example.decode(b"\xff\xff\xff")


@pytest.mark.parametrize("sizes", [[], [0], [1, 0, 5], [100_000, 3]])
def test_files_are_tensorflow_s(tmp_path, sizes):
    tf = pytest.importorskip("tensorflow")
    records = [np.random.default_rng(size).bytes(size) for size in sizes]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as theirs:
        for record in records:
            theirs.write(record)
    with open(tmp_path / "ours", "wb") as file:
        writer = framing.Writer(file)
        for record in records:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert (writer.records, writer.bytes) == (len(sizes), (tmp_path / "ours").stat().st_size)
    assert list(framing.read(tmp_path / "theirs")) == records


def test_label_map_is_the_zoo_s(shared, tmp_path):
    path = tmp_path / "map.pbtxt"
    annotations = shared / "coco" / "tiny" / "annotations" / "instances_train2017.json"
    tfrecords.write_label_map(annotations, path)
    assert label_map.read(path) == label_map.read(shared / "zoo" / "mscoco_label_map.pbtxt")


def test_another_label_map_is_not_replaced(tmp_path):
    """One of the same ids and names stays, with its comments; of others the difference is told."""
    path, names = tmp_path / "map.pbtxt", {1: "cat", 2: "dog"}
    by_hand = "# by hand\nitem { name: 'dog' id: 2 } item { name: 'cat' id: 1 }\n"
    path.write_text(by_hand)
    label_map.write(names, path, replace=False)
    assert path.read_text() == by_hand
    assert label_map.read(tmp_path / "map.csv") == names
    for there, found in ((path, "1 'cat'"), (tmp_path / "map.csv", "1 'cat'")):
        with pytest.raises(InputError, match=f"{there.name}: a label map of 2 .*{found}.* stays"):
            label_map.write({2: "dog"}, path, replace=False)
        assert label_map.read(there) == names
        there.unlink()
    path.write_text('{"images": []}')
    with pytest.raises(InputError, match="cannot be read as a label map.* stays as it is"):
        label_map.write(names, path, replace=False)
    label_map.write(names, path)
    assert label_map.read(path) == names


def test_label_map_is_read_by_the_api(tmp_path):
    names = {3: 'a "quoted" \\ name', 1: "Straßenbahn", 90: "line\nbreak"}
    tfrecords.write_label_map(names, tmp_path / "map.pbtxt")
    assert label_map.read(tmp_path / "map.pbtxt") == names
    protos = pytest.importorskip("replicate.odapi.protos")
    from google.protobuf import text_format

    message = protos.load("string_int_label_map").StringIntLabelMap()
    text_format.Parse((tmp_path / "map.pbtxt").read_text(encoding="utf-8"), message)
    assert [(item.id, item.name, item.display_name) for item in message.item] == [
        (key, name, name) for key, name in sorted(names.items())
    ]


@pytest.mark.parametrize(
    "categories, message",
    [({0: "a"}, "label maps start at 1"), ({1: "a", 2: "a"}, "are both named 'a'")],
)
def test_categories_that_no_label_map_holds(tmp_path, categories, message):
    with pytest.raises(InputError, match=message):
        tfrecords.write_label_map(categories, tmp_path / "map.pbtxt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no item"),
        ("item { name: 'a' }", r"item 1 \('a'\) has no id"),
        ("item { id: ", "cannot be read as a label map"),
    ],
)
def test_no_label_map(tmp_path, text, message):
    (tmp_path / "map.pbtxt").write_text(text)
    with pytest.raises(InputError, match=message):
        label_map.read(tmp_path / "map.pbtxt")


def test_importing_does_not_import_tensorflow():
    code = "import sys, tfrecords; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
