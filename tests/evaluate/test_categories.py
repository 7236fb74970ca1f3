"""The model's classes against the label map and the annotation file."""

import pytest

from replicate.benchmarking.adapters import checkpoint
from replicate.errors import UserError
from replicate.evaluate.categories import category_ids, kept_with
from replicate.tfvision import render
from tfrecords import label_map

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


def test_classes_that_a_config_does_not_name_are_named_by_the_run_s_records(tmp_path):
    """TF-Vision's config has a number of classes: another data set of as many is not taken."""
    config = render.render("retinanet_mobilenetv2_256", render.RenderRequest())
    render.set_config_field(config, "task.model.num_classes", "4")
    (tmp_path / "params.yaml").write_text(render.text_of(config, "retinanet_mobilenetv2_256"))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-7.index").touch()
    assert kept_with(tmp_path) is None and kept_with(None) is None
    names = {1: "disc", 2: "square", 3: "triangle"}
    assert checkpoint.read(tmp_path, {1: "person"})[2] == [1, None, None]
    (tmp_path / "data").mkdir()
    label_map.write(names, tmp_path / "data" / "label_map.pbtxt")
    with pytest.raises(UserError, match="no entry for 1 of the annotation file's 1 categories"):
        checkpoint.read(tmp_path, {1: "person"})
    assert checkpoint.read(tmp_path, names)[2] == [1, 2, 3]
