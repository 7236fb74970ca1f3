"""The verification finds every kind of damage, and names where."""

import json
import pathlib
import subprocess
import sys

import pytest

import tfrecords
from tfrecords import example, framing, manifest, verification
from tfrecords.errors import InputError

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "verify_tf_record.py"
BOX = "image/object/bbox/xmin"


@pytest.fixture
def converted(dataset, tmp_path):
    """A conversion with masks and one dropped box; image 107 is in shard 1, 114 and 128 in 0."""
    dataset.change(lambda d: d["annotations"][3].update(bbox=[1, 1, 0, 5]))
    output = tmp_path / "out" / "set"
    tfrecords.convert(
        dataset.annotations, dataset.images, output, 2, include_masks=True, progress=False
    )
    return output


def shard(output, index=0):
    return pathlib.Path(f"{output}-{index:05d}-of-00002.tfrecord")


def check(output, **options):
    return verification.verify(output, progress=False, **options)


def rewrite(output, edit, index=0):
    """Edits the features of a shard's records, and makes the manifest agree with the new file."""
    records = [example.decode(record) for record in framing.read(shard(output, index))]
    edit(records)
    with open(shard(output, index), "wb") as file:
        writer = framing.Writer(file)
        for features in records:
            writer.write(example.encode(features))
    held = manifest.read(output)
    held["shards"][index] |= {
        "sha256": writer.sha256, "bytes": writer.bytes, "records": writer.records
    }  # fmt: skip
    manifest.write(output, held)


def test_all_is_well(converted):
    assert check(converted) == [] and check(converted, full=True) == []
    assert check(converted, full=True, num_workers=2) == []


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def edit_manifest(output, edit):
    held = manifest.read(output)
    edit(held)
    manifest.write(output, held)


QUICK = {
    "missing": (lambda o: shard(o).unlink(), "set-00000-of-00002.tfrecord: is missing"),
    "cut": (lambda o: shard(o).write_bytes(shard(o).read_bytes()[:-5]), "bytes, the manifest has"),
    "data": (lambda o: flip(shard(o), 500), "record 0 is damaged: its checksum differs"),
    "length": (lambda o: flip(shard(o), 1), "record 0 has no valid length"),
    "crc": (lambda o: flip(shard(o), -1), "record 3 is damaged"),
    "sha256": (
        lambda o: edit_manifest(o, lambda m: m["shards"][0].update(sha256="0" * 64)),
        "set-00000-of-00002.tfrecord: its SHA-256 is not the manifest's",
    ),
    "records": (
        lambda o: edit_manifest(o, lambda m: m["shards"][0].update(records=5)),
        "4 records, the manifest has 5",
    ),
    "another shard": (
        lambda o: pathlib.Path(f"{o}-00000-of-00009.tfrecord").write_bytes(b""),
        "set-00000-of-00009.tfrecord: is not in the manifest",
    ),
}


@pytest.mark.parametrize("case", QUICK)
def test_quick(converted, case):
    damage, message = QUICK[case]
    damage(converted)
    problems = check(converted)
    assert any(message in problem for problem in problems), problems


def shift_box(records):
    records[1][BOX][1][0] += 1e-6


def damage_image(records):
    records[1]["image/encoded"][1][0] = records[1]["image/encoded"][1][0][:-300]


def drop_object(records):
    for name, (_, values) in records[1].items():
        if name.startswith("image/object/"):
            values.pop()


def swap_masks(records):
    records[1]["image/object/mask"][1].reverse()


def feature(name, edit):
    return lambda records: edit(records[1]["image/" + name][1])


FULL = {  # record 1 of shard 0 is image 114, with annotations 1001 and 1002
    "box": (shift_box, "image 114: annotation 1001: bbox differs from the JSON's"),
    "area": (feature("object/area", lambda v: v.reverse()), "annotation 1001: area differs"),
    "crowd": (
        feature("object/is_crowd", lambda v: v.__setitem__(1, 1)),
        "annotation 1002: iscrowd differs",
    ),
    "category": (
        feature("object/class/text", lambda v: v.reverse()),
        "annotation 1002: category differs",
    ),
    "mask": (swap_masks, "annotation 1001: mask differs"),
    "image": (damage_image, "image 114: 002.jpg does not decode"),
    "image's hash": (damage_image, "its bytes are not those of image/key/sha256"),
    "object": (drop_object, "1 objects, the JSON has annotations [1001, 1002]"),
    "file name": (
        feature("filename", lambda v: v.__setitem__(0, b"x.jpg")),
        "record 1, image 114: it is of {'id': 114, 'file_name': 'x.jpg'",
    ),
    "record": (lambda records: records.pop(), "images [142] are in neither the records nor the"),
    "feature": (lambda r: r[1].pop("image/object/area"), "there is no feature image/object/area"),
}


@pytest.mark.parametrize("case", FULL)
def test_full(converted, case):
    edit, message = FULL[case]
    rewrite(converted, edit)
    assert check(converted) == []
    problems = check(converted, full=True)
    assert any(message in problem for problem in problems), problems


def test_ledger_that_lacks_an_annotation(converted):
    manifest.write_ledger(converted, [])
    problems = check(converted, full=True)
    assert any("the JSON has 9" in problem for problem in problems)
    assert any("2 objects, the JSON has annotations [1003, 1004, 1005]" in p for p in problems)


def test_another_annotation_file(converted, dataset):
    dataset.change(lambda d: d["annotations"].pop())
    with pytest.raises(InputError, match="not the file that was converted"):
        check(converted, full=True)


def test_tool(converted):
    def run(*arguments):
        command = [sys.executable, str(TOOL), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    good = run(f"--output_path={converted}", "--full")
    assert good.returncode == 0 and "as the manifest and the JSON say" in good.stdout
    flip(shard(converted), 500)
    bad = run(f"--output_path={converted}")
    assert bad.returncode == 1 and "record 0 is damaged" in bad.stdout
    none = run("--output_path=/nowhere/x")
    assert none.returncode == 2 and "no such manifest" in none.stderr
    assert json.loads(pathlib.Path(manifest.path_of(str(converted))).read_text())["format"] == 1
