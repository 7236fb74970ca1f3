"""Which output is which category: made from a label map, kept, and checked."""

import pytest

import tfrecords
from replicate.errors import UserError
from replicate.recognition import classes
from replicate.recognition.classes import Class

PAIR = (Class(1, "cat"), Class(3, "dog"))


@pytest.fixture
def label_map(tmp_path):
    """Function of {id: name} to the path of a label map."""

    def write(names):
        path = tmp_path / "label_map.pbtxt"
        items = (f"item {{ id: {number} name: '{name}' }}\n" for number, name in names.items())
        path.write_text("".join(items))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({1: "cat", 3: "dog"}, PAIR),  # a gap in the ids leaves none in the outputs
        ({3: "dog", 1: "cat"}, PAIR),  # the order of the file does not matter
        ({90: "toothbrush"}, (Class(90, "toothbrush"),)),
    ],
)
def test_outputs_follow_the_ids(label_map, names, expected):
    assert classes.of_label_map(label_map(names)) == expected


def test_one_name_under_two_ids_is_refused(label_map):
    with pytest.raises(UserError, match=r"ids 1 and 2 .*'cat'"):
        classes.of_label_map(label_map({1: "cat", 2: "cat"}))


def test_a_file_that_is_no_label_map_is_refused(tmp_path):
    with pytest.raises(tfrecords.InputError, match="none"):
        classes.of_label_map(str(tmp_path / "none"))


def test_json_keeps_the_order():
    listed = classes.to_json(PAIR)
    assert [each["index"] for each in listed] == [0, 1]
    assert classes.from_json(listed, "x") == PAIR


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([{"index": 1, "id": 1, "name": "cat"}], "indices"),
        ([{"index": 0, "name": "cat"}], "'id'"),
        ({"cat": 0}, "not a list"),
        (3, "not a list"),
    ],
)
def test_a_damaged_mapping_is_refused(value, words):
    with pytest.raises(UserError, match=words) as error:
        classes.from_json(value, "runs/a/classes.json")
    assert "runs/a/classes.json" in str(error.value)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        # two categories changed places: both outputs differ
        (
            (Class(1, "dog"), Class(3, "cat")),
            ["2 of 2", "output 0", "'cat' (id 1)", "'dog' (id 1)"],
        ),
        # the same names under other ids
        ((Class(1, "cat"), Class(2, "dog")), ["1 of 2", "output 1", "(id 3)", "(id 2)"]),
        # one more
        ((*PAIR, Class(5, "cow")), ["1 of 3", "output 2", "nothing", "'cow' (id 5)"]),
        # one less
        (PAIR[:1], ["1 of 2", "output 1", "'dog' (id 3)", "nothing"]),
    ],
)
def test_another_label_map_is_refused(other, words):
    with pytest.raises(UserError) as error:
        classes.require_same(PAIR, other, "ckpt-4", "other.pbtxt")
    assert all(word in str(error.value) for word in [*words, "ckpt-4", "other.pbtxt"])


def test_the_same_label_map_is_accepted():
    classes.require_same(PAIR, tuple(PAIR), "ckpt-4", "same.pbtxt")
