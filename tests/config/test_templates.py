"""The composed templates against the training configs as published."""

import json
import re

import pytest
from google.protobuf import text_format
from pycocotools import cocoeval

from replicate import config, zoo
from replicate.config import templates, textproto
from replicate.errors import UserError
from replicate.odapi import protos
from tests.odapi import recording

# Of each published config the SHA-256 of its message, see tests/odapi/recording.py.
PUBLISHED_SHA256 = json.loads(recording.CONFIGS.read_text())


def test_every_published_config_has_a_template():
    assert len(PUBLISHED_SHA256) == 36
    assert config.template_names() == sorted(PUBLISHED_SHA256)


@pytest.mark.parametrize("name", config.template_names())
def test_template_is_the_published_config_by_its_hash(name):
    assert recording.message_sha256(config.template(name)) == PUBLISHED_SHA256[name]


def test_the_hash_is_of_the_whole_message():
    message = config.template(config.template_names()[0])
    message.train_config.num_steps += 1
    assert recording.message_sha256(message) not in PUBLISHED_SHA256.values()


def test_the_hashes_are_those_of_the_published_files(shared):
    pipeline = textproto.pipeline_class()
    assert {
        name: recording.message_sha256(recording.published_config(path, pipeline))
        for name, path in recording.published_configs(shared).items()
    } == PUBLISHED_SHA256


@pytest.mark.parametrize("name", config.template_names())
def test_template_equals_the_published_config(shared, name):
    path = recording.published_configs(shared)[name]
    published = recording.published_config(path, textproto.pipeline_class())
    composed = config.template(name)
    assert config.diff(published, composed) == []
    assert published == composed
    assert text_format.Parse(config.to_text(composed), textproto.pipeline_class()()) == published


@pytest.mark.parametrize(
    "row", [row for row in zoo.rows() if row.template], ids=lambda r: r.archive
)
def test_header_names_the_published_figures_and_the_command(row):
    header = (templates.CONFIGS / f"{row.template}.config").read_text()
    figures = re.search(r"^# Published: (.*) mAP on COCO val2017$", header, re.MULTILINE).group(1)
    assert [float(figure) for figure in re.findall(r"\d+\.\d", figures)] == [
        figure for figure in (row.box_map, row.mask_map, row.keypoint_map) if figure is not None
    ]
    assert f"--model={row.archive} " in header
    batch, steps = re.search(r"batch (\d+), ([\d,]+) steps", header).groups()
    facts = config.facts(config.template(row.template))
    assert (facts.batch_size, facts.num_steps) == (int(batch), int(steps.replace(",", "")))
    assert "Paper:" in header and "https://arxiv.org/abs/" in header


@pytest.mark.parametrize(
    "row", [row for row in zoo.rows() if row.template], ids=lambda r: r.archive
)
def test_registry_agrees_with_the_template(row):
    facts = config.facts(config.template(row.archive))
    assert (row.input_height, row.input_width) == (facts.input_height, facts.input_width)
    assert row.resizer == facts.resizer
    assert ("Masks" in row.outputs) == facts.predicts_masks
    assert ("Keypoints" in row.outputs) == facts.predicts_keypoints
    architecture = {"centernet": "center_net", "faster_rcnn": "faster_rcnn"}
    architecture |= {"mask_rcnn": "faster_rcnn", "ssd": "ssd", "efficientdet": "ssd"}
    assert facts.architecture == architecture[row.family]


def test_a_template_may_be_named_by_archive_config_or_display_name():
    by_archive = config.template("efficientdet_d0_coco17_tpu-32")
    assert by_archive == config.template("ssd_efficientdet_d0_512x512_coco17_tpu-8")
    assert by_archive == config.template("EfficientDet D0 512x512")


def test_every_fragment_is_used():
    used = set()
    for path in templates.CONFIGS.glob("*.config"):
        used |= set(templates.fragments(path.read_text()))
    fragments = {path.stem for path in (templates.CONFIGS / "fragments").glob("*.config")}
    assert used == fragments


@pytest.mark.parametrize(
    "base, later, merged",
    [
        # a scalar replaces
        ("train_config { num_steps: 5 }", "train_config { num_steps: 6 }",
         "train_config { num_steps: 6 }"),
        # messages merge field by field
        ("train_config { num_steps: 5 }", "train_config { batch_size: 6 }",
         "train_config { num_steps: 5 batch_size: 6 }"),
        # a list replaces the whole list
        ("eval_config { metrics_set: ['a', 'b'] }", "eval_config { metrics_set: 'c' }",
         "eval_config { metrics_set: 'c' }"),
        # another member of a oneof takes over
        ("train_config { optimizer { momentum_optimizer { momentum_optimizer_value: 0.5 } } }",
         "train_config { optimizer { adam_optimizer {} } }",
         "train_config { optimizer { adam_optimizer {} } }"),
    ],
)  # fmt: skip
def test_merge(tmp_path, base, later, merged):
    (tmp_path / "fragments").mkdir()
    (tmp_path / "fragments/base.config").write_text(base)
    template = tmp_path / "model.config"
    template.write_text(f"# A model\n# merge: base\n\n{later}\n")
    assert templates.compose(template) == config.parse(merged)


@pytest.mark.parametrize(
    "text, told",
    [
        ("# merge: nowhere\n", "nowhere.config: no such file"),
        ("# merge: nested\n", "a fragment merges no other fragments"),
    ],
)
def test_merge_mistakes(tmp_path, text, told):
    (tmp_path / "fragments").mkdir()
    (tmp_path / "fragments/nested.config").write_text("# merge: other\n")
    template = tmp_path / "model.config"
    template.write_text(text)
    with pytest.raises(UserError, match=re.escape(told)):
        templates.compose(template)


@pytest.mark.parametrize(
    "row", [row for row in zoo.rows() if not row.template], ids=lambda r: r.url
)
def test_rows_without_a_public_config_say_where_one_is(row):
    with pytest.raises(UserError, match="only the released archive") as raised:
        config.template(row.display_name)
    assert f"tools/download.py zoo {row.archive}" in str(raised.value)


def test_templates_are_short():
    lengths = sorted(
        len(path.read_text().splitlines()) for path in templates.CONFIGS.glob("*.config")
    )
    # The published files have 129 to 395 lines.
    assert lengths[-1] <= 120 and lengths[len(lengths) // 2] <= 45


@pytest.mark.parametrize("name", [name for name in config.template_names() if "kpts" in name])
def test_keypoint_label_map_fits_the_keypoint_models(name):
    path = templates.CONFIGS / "coco_person_keypoints.pbtxt"
    label_map = protos.load("string_int_label_map").StringIntLabelMap()
    (person,) = textproto.parse(path.read_text(), str(path), label_map).item
    message = config.template(name)
    (task,) = message.model.center_net.keypoint_estimation_task
    labels = [keypoint.label for keypoint in person.keypoints]
    assert [keypoint.id for keypoint in person.keypoints] == list(range(17))
    assert person.name == task.keypoint_class_name and person.id == 1
    assert set(labels) == set(task.keypoint_label_to_std)
    # the flip of the recipe exchanges left and right
    flip = message.train_config.data_augmentation_options[0].random_horizontal_flip
    for label, mirrored in zip(labels, flip.keypoint_flip_permutation, strict=True):
        swapped = {"left": "right", "right": "left"}.get(label.split("_")[0])
        assert labels[mirrored] == (f"{swapped}_{label.split('_')[1]}" if swapped else label)


def test_keypoint_label_map_is_in_cocos_order():
    path = templates.CONFIGS / "coco_person_keypoints.pbtxt"
    label_map = protos.load("string_int_label_map").StringIntLabelMap()
    (person,) = textproto.parse(path.read_text(), str(path), label_map).item
    (metric,) = config.template(
        "centernet_resnet50_v2_512x512_kpts_coco17_tpu-8"
    ).eval_config.parameterized_metric
    sigmas = metric.coco_keypoint_metrics.keypoint_label_to_sigmas
    assert [sigmas[keypoint.label] for keypoint in person.keypoints] == pytest.approx(
        cocoeval.Params("keypoints").kpt_oks_sigmas
    )
