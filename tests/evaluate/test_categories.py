"""The model's classes against the label map and the annotation file."""

import pytest

from replicate.evaluate.categories import category_ids

TWO = "item { id: 1 name: 'cat' }\nitem { id: 2 name: 'dog' }\n"


@pytest.mark.parametrize(("num_classes", "told"), ((80, True), (2, False)))
def test_labels_that_are_fewer_than_the_models_classes_are_told(
    tmp_path, capsys, num_classes, told
):
    path = tmp_path / "label_map.pbtxt"
    path.write_text(TWO)
    found = category_ids(path, {1: "cat", 2: "dog"}, num_classes)
    assert found == [1, 2] + [None] * (num_classes - 2)
    said = capsys.readouterr().err
    assert (f"{path}: the highest of its 2 labels is 2, but the model has 80" in said) == told
    assert bool(said) == told
