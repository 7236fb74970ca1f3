"""Which published recipe a config is of."""

import tarfile

import pytest

from replicate import config
from replicate.errors import UserError
from replicate.run import RunDir, write_json

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
ARCHIVE = "efficientdet_d0_coco17_tpu-32"


def _write(path, message, recipe=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config.text_of(message, recipe))
    return path


def _other_architecture():
    return config.render(FPNLITE, overrides=[("model.ssd.feature_extractor.depth_multiplier", "2")])


@pytest.mark.parametrize("name", config.template_names())
def test_every_architecture_tells_its_recipe(name, tmp_path):
    """Whatever the classes, the length, the batch and the starting point are."""
    message = config.render(
        name,
        num_classes=3,
        fine_tune_checkpoint="",
        overrides=[("train_config.num_steps", "7"), ("train_config.batch_size", "4")],
    )
    recipe = config.recipe_of(_write(tmp_path / "pipeline.config", message))
    assert recipe.model == name and "architecture" in recipe.how


def test_a_name_is_its_own_recipe():
    assert config.recipe_of(FPNLITE).model == FPNLITE
    assert config.recipe_of(FPNLITE).row.box_map == 22.2
    with pytest.raises(UserError, match="did you mean"):
        config.recipe_of("ssd_mobilnet_v2_fpnlite_320x320")
    with pytest.raises(UserError, match="no such file"):
        config.recipe_of("nowhere/pipeline.config")


def test_the_line_of_a_rendered_config(tmp_path):
    path = _write(tmp_path / "a.config", _other_architecture(), FPNLITE)
    assert path.read_text().startswith(f"# recipe: {FPNLITE}\n")
    assert config.recipe_of(path).model == FPNLITE
    assert config.read(path) == _other_architecture()  # the line is a comment


def test_what_cannot_be_told_is_not_known(tmp_path):
    recipe = config.recipe_of(_write(tmp_path / "a.config", _other_architecture()))
    assert recipe.model is None and recipe.row is None
    assert "--model" in recipe.how
    # A line that names what is not there tells nothing.
    path = _write(tmp_path / "b.config", _other_architecture(), "gone/efficientdet_d0.tar.gz")
    assert config.recipe_of(path).model is None


def test_a_file_with_the_published_name(tmp_path):
    path = _write(tmp_path / f"{FPNLITE}.config", _other_architecture())
    assert config.recipe_of(path).model == FPNLITE


def test_a_run_says_what_it_replicates(tmp_path):
    run = RunDir.at(tmp_path / "run")
    write_json(run.spec, {"format": 1, "request": {"model": FPNLITE}})
    _write(run.pipeline_config, _other_architecture())
    for source in (run.root, run.pipeline_config):
        assert config.recipe_of(source).model == FPNLITE
    # One that knows none is told by its config, or not at all.
    write_json(run.spec, {"format": 1, "request": {"model": ""}})
    assert config.recipe_of(run.root).model is None
    run.pipeline_config.write_text(config.to_text(config.template(FPNLITE)))
    assert config.recipe_of(run.root).model == FPNLITE


def test_a_released_archive_stands_for_itself(tmp_path):
    """Its config may differ from the public one of the same row (EfficientDet D0's does)."""
    path = _write(tmp_path / ARCHIVE / "pipeline.config", _other_architecture())
    archive = tmp_path / f"{ARCHIVE}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(path, arcname=f"{ARCHIVE}/pipeline.config")
    assert config.recipe_of(archive).model == str(archive)
    assert config.recipe_of(archive).row.archive == ARCHIVE
    # A folder of that name is the archive's where it holds what no training writes.
    for source in (path, path.parent):
        assert config.recipe_of(source).model == config.template_name(ARCHIVE)
    (path.parent / "saved_model").mkdir()
    for source in (path, path.parent):
        assert config.recipe_of(source).model == str(path.parent)
    text = config.text_of(_other_architecture(), str(archive))
    assert text.startswith(f"# recipe: {archive.absolute()}\n")
