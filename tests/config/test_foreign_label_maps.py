"""Label maps as tools and hands write them: lint and render find what the API would refuse."""

import pathlib

import pytest

import tfrecords.label_map
from replicate import config
from replicate.config import lint_rules
from replicate.errors import UserError
from tests.config.conftest import FPNLITE

TAKEN = ["base", "commas", "comments", "crlf", "oneline", "display_only", "gap", "extra_class"]
REFUSED = {
    "id0": "item 1 ('red') has id 0",
    "id0_background": "item 1 ('background') has id 0",
    "no_id": "item 1 ('red') has no id",
    "dup_ids": "item 2 ('green'): id 1 is also that of 'red'",
    "dup_names": "item 2 ('red'): there are two items of that name",
    "empty": "no item {…} found",
    "utf16": "encoded in UTF-16",
    "curly_quotes": "typographic",
    "json": "It is JSON",
    "txt": "a list of names",
    "wrapped": "stands in quotes",
}
AGAINST_RECORDS = {
    "other_names": ("error", "no label names 'red', 'green', 'blue'"),
    "missing_class": ("error", "no label names 'blue'"),
    "swapped": ("warning", "2 of 3 categories have another id"),
    "bom": ("warning", "byte-order mark"),
}
SIBLINGS = {
    "negative id": ("item { id: -1 name: 'a' }", "has id -1"),
    "no name": ("item { id: 1 }", "has no name"),
    "display names twice": (
        "item { id: 1 name: '/m/1' display_name: 'a' } item { id: 2 display_name: 'a' }",
        "two items of that name",
    ),
    "latin-1": ("item { id: 1 name: 'gr\xfcn' }", "it is not UTF-8"),
}


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "cases" / "07-labelmap"


@pytest.fixture(scope="module")
def records(shared, tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    cases = shared / "cases" / "01-json-dirt"
    tfrecords.convert(cases / "base.json", cases / "images", root / "train", 1, progress=False)
    return str(root / "train-?????-of-?????.tfrecord")


def found(path, records):
    message = config.template(FPNLITE)
    for reader in (message.train_input_reader, message.eval_input_reader[0]):
        reader.label_map_path = str(path)
        del reader.tf_record_input_reader.input_path[:]
        reader.tf_record_input_reader.input_path.append(records)
    return [(problem.level, problem.message) for problem in lint_rules.label_maps(message)]


def test_every_case_has_its_answer(folder):
    assert {path.stem for path in folder.iterdir()} == {*TAKEN, *REFUSED, *AGAINST_RECORDS}


@pytest.mark.parametrize("case", TAKEN)
def test_taken(folder, records, case):
    path = folder / f"{case}.pbtxt"
    levels = [level for level, _ in found(path, records)]
    assert levels == (["warning"] if case == "gap" else [])  # blue is 5 there, 3 in the file
    rendered = config.render(FPNLITE, label_map=str(path))
    assert rendered.model.ssd.num_classes == {"gap": 5, "extra_class": 4}.get(case, 3)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(folder, records, case):
    path = folder / f"{case}.pbtxt"
    ((level, message),) = found(path, records)
    assert level == "error" and REFUSED[case] in message and path.name in message
    with pytest.raises(UserError) as caught:
        config.render(FPNLITE, label_map=str(path))
    assert REFUSED[case] in str(caught.value)


@pytest.mark.parametrize("case", AGAINST_RECORDS)
def test_against_the_records(folder, records, case):
    level, message = AGAINST_RECORDS[case]
    ((told, said),) = found(folder / f"{case}.pbtxt", records)
    assert told == level and message in said
    if case == "other_names":
        assert "It has 'RED'" in said


MORE_SIBLINGS = {  # text: what is told, or the names by id
    "item: { id: 1 name: 'a' }": {1: "a"},
    "item < id: 1 name: 'a' >": {1: "a"},
    "item { id: 1; name: 'a'; }": {1: "a"},
    "item { id: 0x2 name: 'a' }": {2: "a"},
    "item { id: 1 name: 'it\\'s' }": {1: "it's"},
    "item { id: 1 name: 'зубная щётка' }": {1: "зубная щётка"},
    "item { id: 1 name: '\\320\\267' }": {1: "з"},
    "item { id: 1 name: 'a' keypoints { id: 0 label: 'nose' } }": {1: "a"},
    "item { id: 1 name: 'a' frequency: FREQUENT }": {1: "a"},
    "item { id: 1.5 name: 'a' }": "1:12",
    "item { id: '1' name: 'a' }": "1:12",
    "item { id: 99999999999 name: 'a' }": "out of range",
    "item { id: 1 id: 2 name: 'a' }": 'multiple "id" fields',
    "item { id: 1 name: 'a'": 'Expected "}"',
    "item { id: 1 name: 'a }": "missing ending quote",
    "item { id: 1 name: a }": "Expected string",
    "item { id: 1 name: '' }": "has no name",
    "item { id: 1 nmae: 'a' }": "has no name",
    "item { id: 1 name: 'a' colour: 'x' }": "no field 'colour' in StringIntLabelMapItem",
    "item { item { id: 1 name: 'a' } }": "has no id",
    "items { id: 1 name: 'a' }": "no item {…} found",
    "# nothing yet": "no item {…} found",
    "names:\n  0: red\n": "a list of names",
    "id,name\nx,red\n": "a list of names",
    "{1: 'red'}": "It is JSON",
    "<item><id>1</id></item>": "cannot be read as a label map",
}


@pytest.mark.parametrize("text", MORE_SIBLINGS)
def test_more_siblings(tmp_path, text):
    told = MORE_SIBLINGS[text]
    path = tmp_path / "map.pbtxt"
    path.write_text(text, encoding="utf-8")
    problems = found(path, str(tmp_path / "no-records"))
    if isinstance(told, dict):
        assert problems == [] and tfrecords.label_map.read(path) == told
        return
    ((level, message),) = problems
    assert level == "error" and told in message and "map.pbtxt" in message


def test_there_are_as_many_siblings():
    cases = len(TAKEN) + len(REFUSED) + len(AGAINST_RECORDS)
    assert len(SIBLINGS) + len(MORE_SIBLINGS) >= cases


@pytest.mark.parametrize("case", SIBLINGS)
def test_siblings(tmp_path, case):
    text, message = SIBLINGS[case]
    path = pathlib.Path(tmp_path / "map.pbtxt")
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError) as caught:
        tfrecords.label_map.read(path)
    assert message in str(caught.value)
