"""The linter's contradictions: fields that are each right and do not go together."""

import re

import pytest

from replicate import config
from replicate.config import lint, lint_rules, textproto
from replicate.errors import UserError
from tests.config.conftest import FPNLITE

COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
MULTISCALE = "model.ssd.anchor_generator.multiscale_anchor_generator"
FOCAL = "model.ssd.loss.classification_loss.weighted_sigmoid_focal"
CROP = "train_config.data_augmentation_options[1].random_crop_image"
CONTRADICTIONS = [
    # set, path of the finding, level, told
    ({"model.ssd.num_classes": "80"}, "model.ssd.num_classes", "error",
     "num_classes is 80, but the highest id"),
    ({"eval_config.use_moving_averages": "true"}, "eval_config.use_moving_averages", "warning",
     "there are no averaged weights to evaluate"),
    ({"train_config.optimizer.use_moving_average": "true"}, "eval_config.use_moving_averages",
     "warning", "averaged weights are kept and never evaluated"),
    ({"train_config.fine_tune_checkpoint_version": "V1"},
     "train_config.fine_tune_checkpoint_version", "error", "V1: TensorFlow 2 reads V2"),
    ({"train_config.fine_tune_checkpoint_type": "fine_tune"},
     "train_config.fine_tune_checkpoint_type", "error", "'fine_tune' is no type of V2"),
    ({"train_config.fine_tune_checkpoint_type": ""},
     "train_config.fine_tune_checkpoint_type", "error", "'' is no type of V2"),
    ({"train_config.from_detection_checkpoint": "true"}, "train_config.from_detection_checkpoint",
     "warning", "TensorFlow 1's field"),
    ({"train_config.fine_tune_checkpoint": ""}, "train_config.fine_tune_checkpoint", "warning",
     "random weights"),
    ({"train_config.fine_tune_checkpoint": "/nowhere/ckpt-1"}, "train_config.fine_tune_checkpoint",
     "warning", "no file matches '/nowhere/ckpt-1'"),
    ({"train_config.num_steps": "1000"}, f"{COSINE}.total_steps", "warning",
     "total_steps is 50000, num_steps 1000: training ends at a rate of 0.08, before"),
    ({"train_config.num_steps": "60000"}, f"{COSINE}.total_steps", "warning",
     "the last 10000 steps train at a rate of 0"),
    ({f"{COSINE}.warmup_steps": "60000"}, "train_config.optimizer.momentum_optimizer.learning_rate",
     "error", "must not be below warmup_steps"),
    ({"eval_config.metrics_set": "[]"}, "eval_config.metrics_set", "warning",
     "missing: the published figures are coco_detection_metrics"),
    ({"eval_config.metrics_set": "pascal_voc_detection_metrics"}, "eval_config.metrics_set",
     "warning", "pascal_voc_detection_metrics: the published figures are coco"),
    ({"train_input_reader.label_map_path": ""}, "train_input_reader.label_map_path", "error",
     "missing: a path is required here"),
    ({"eval_input_reader[0].tf_record_input_reader.input_path": "[]"},
     "eval_input_reader[0].tf_record_input_reader.input_path", "error", "missing: a path"),
    ({"train_input_reader.tf_record_input_reader.input_path": "PATH_TO_BE_CONFIGURED/a"},
     "train_input_reader.tf_record_input_reader.input_path", "error", "still to be configured"),
    ({"train_input_reader.tf_record_input_reader.input_path": "/nowhere/a-?"},
     "train_input_reader.tf_record_input_reader.input_path", "warning", "no file matches"),
    ({"model.ssd.feature_extractor.type": "ssd_mobilenet_v2"}, "model.ssd.feature_extractor.type",
     "error", "(TensorFlow 1's) is no feature extractor of TensorFlow 2; did you mean"),
    ({"model.ssd.feature_extractor.type": "ssd_mobilenet_v2_fpnlite_keras"},
     "model.ssd.feature_extractor.type", "error", "did you mean ssd_mobilenet_v2_fpn_keras"),
    ({"eval_config.metrics_set": "coco_detection_metric"}, "eval_config.metrics_set", "error",
     "no metric 'coco_detection_metric'; did you mean coco_detection_metrics"),
    ({f"{COSINE}.learning_rate_base": "100"}, f"{COSINE}.learning_rate_base", "warning",
     "100: weights diverge"),
    ({f"{MULTISCALE}.min_level": "4"}, f"{MULTISCALE}.min_level", "error",
     "anchors of levels 4 to 7, but fpn gives feature maps of levels 3 to 7"),
    ({f"{MULTISCALE}.min_level": "4", f"{MULTISCALE}.max_level": "8"}, f"{MULTISCALE}.min_level",
     "warning", "anchors lie beside the cells"),
    ({f"{MULTISCALE}.anchor_scale": "-4"}, f"{MULTISCALE}.anchor_scale", "warning",
     "are no boxes"),
    ({"model.ssd.post_processing.score_converter": "SOFTMAX"},
     "model.ssd.post_processing.score_converter", "warning",
     "SOFTMAX, but weighted_sigmoid_focal trains logits of which SIGMOID makes scores"),
    ({f"{FOCAL}.alpha": "1.25"}, f"{FOCAL}.alpha", "warning", "between 0 and 1"),
    ({f"{FOCAL}.gamma": "-2"}, f"{FOCAL}.gamma", "warning", "0 or above"),
    ({"model.ssd.loss.classification_weight": "0"}, "model.ssd.loss.classification_weight",
     "warning", "classes are not learned"),
    ({f"{CROP}.max_area": "1.75"}, f"{CROP}.max_area", "error", "TensorFlow refuses it"),
    ({f"{CROP}.min_aspect_ratio": "4"}, f"{CROP}.min_aspect_ratio", "warning",
     "min_aspect_ratio 4 is above max_aspect_ratio 3"),
    ({"model.ssd.matcher.argmax_matcher.matched_threshold": "1.5"},
     "model.ssd.matcher.argmax_matcher.matched_threshold", "warning", "no anchor overlaps"),
    ({"model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay": "1.997"},
     "model.ssd.feature_extractor.conv_hyperparams.batch_norm.decay", "warning", "diverge"),
    ({"model.ssd.feature_extractor.depth_multiplier": "0"},
     "model.ssd.feature_extractor.depth_multiplier", "warning", "without width"),
    ({"train_input_reader.max_number_of_boxes": "0"}, "train_input_reader.max_number_of_boxes",
     "warning", "given no object"),
]  # fmt: skip


def test_an_aspect_ratio_of_nothing(complete):
    config.set_field(complete, f"{MULTISCALE}.aspect_ratios", "[1.0, 0.0]")
    (found,) = lint_rules.check(complete)
    assert found.level == "warning" and found.path == f"{MULTISCALE}.aspect_ratios[1]"


def test_a_file_of_a_checkpoint_is_none(complete, tmp_path):
    for name in ("ckpt-6.index", "ckpt-6.data-00000-of-00001"):
        (tmp_path / name).touch()
        complete.train_config.fine_tune_checkpoint = str(tmp_path / name)
        (found,) = lint_rules.check(complete)
        assert found.level == "error" and f"write '{tmp_path / 'ckpt-6'}'" in found.message


def test_trained_on_what_is_evaluated(complete):
    trained = complete.train_input_reader.tf_record_input_reader.input_path
    complete.eval_input_reader[0].tf_record_input_reader.input_path[:] = trained
    (found,) = lint_rules.check(complete)
    assert found.level == "warning" and found.path.startswith("eval_input_reader[0]")
    assert f"{trained[0]} is read for training too" in found.message


def test_the_same_augmentation_twice(complete):
    options = complete.train_config.data_augmentation_options
    options.append(options[0])
    (found,) = lint_rules.check(complete)
    assert found.level == "warning" and "the same as" in found.message


@pytest.mark.parametrize(
    "area, aspect_ratio, refused",
    [
        *(((0.75, 1.0), (0.75, 3.0), False), ((1.75, 1.0), (0.75, 3.0), True)),
        *(((0.0, 1.0), (0.75, 3.0), True), ((0.75, 1.5), (0.75, 3.0), True)),
        *(((0.75, 1.0), (0.0, 3.0), True), ((0.9, 0.8), (4.0, 3.0), False)),
    ],
)
def test_an_error_of_a_crop_is_tensorflow_s_refusal(complete, area, aspect_ratio, refused):
    from replicate import odapi

    odapi.load()
    import tensorflow as tf

    ends = ("min_area", "max_area", "min_aspect_ratio", "max_aspect_ratio")
    for end, value in zip(ends, (*area, *aspect_ratio), strict=True):
        config.set_field(complete, f"{CROP}.{end}", str(value))
    assert any(found.level == "error" for found in lint_rules.check(complete)) == refused
    try:
        tf.image.sample_distorted_bounding_box(
            [100, 100, 3],
            tf.constant([[[0.1, 0.1, 0.9, 0.9]]]),
            min_object_covered=0.0,
            area_range=area,
            aspect_ratio_range=aspect_ratio,
        )
    except tf.errors.InvalidArgumentError:
        assert refused
    else:
        assert not refused


def test_a_complete_config_has_no_finding(complete):
    assert lint.lint(config.to_text(complete), "x.config") == []


@pytest.mark.parametrize("changes, path, level, told", CONTRADICTIONS)
def test_contradictions(complete, changes, path, level, told):
    for each, value in changes.items():
        config.set_field(complete, each, value)
    (found,) = lint.lint(config.to_text(complete), "x.config")
    assert (found.level, found.path) == (level, path)
    assert told in found.message
    # the place is the field's own line, or that of the message around it
    line = config.to_text(complete).splitlines()[found.line - 1]
    names = re.sub(r"\[\d+\]", "", path).split(".")
    assert line[found.column - 1 :].split()[0].rstrip(":") in names


def test_unset_averaging_and_version_mean_their_defaults(complete):
    complete.train_config.optimizer.ClearField("use_moving_average")
    complete.train_config.ClearField("fine_tune_checkpoint_version")
    told = [f.message for f in lint.lint(config.to_text(complete), "x.config")]
    assert any("use_moving_average is true (its default)" in each for each in told)
    assert any(each.startswith("unset, which means V1") for each in told)
    assert len(told) == 2


def test_a_step_that_is_never_reached():
    message = config.template("centernet_hg104_512x512_coco17_tpu-8")
    message.train_config.num_steps = 100_000
    (found,) = lint_rules.schedule_length(message)
    assert found.message == "the change at step 120000 is never reached: num_steps is 100000"


def test_masks_want_their_own_metric():
    message = config.template("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8")
    assert list(lint_rules.metrics(message)) == []
    del message.eval_config.metrics_set[1]
    (found,) = lint_rules.metrics(message)
    assert "coco_mask_metrics" in found.message


def test_no_model_and_no_evaluation_reader():
    for text in ("train_config {}", "model {}", "model { experimental_model {} }"):
        assert [f.path for f in lint.lint(text, "x")] == ["model"]
        with pytest.raises(UserError, match="names no model"):
            config.facts(textproto.parse(text))
    message = config.template(FPNLITE)
    del message.eval_input_reader[:]
    assert "eval_input_reader" in [problem.path for problem in lint_rules.required_paths(message)]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_rate_that_is_no_number_is_told(value):
    text = textproto.to_text(config.template(FPNLITE))
    text = re.sub(r"learning_rate_base: \S+", f"learning_rate_base: {value}", text)
    (found,) = [f for f in lint.lint(text, "x.config") if f.path.endswith("learning_rate_base")]
    assert found.level == lint.WARNING and value in found.message
    line = text.splitlines()[found.line - 1]
    assert "learning_rate_base" in line
