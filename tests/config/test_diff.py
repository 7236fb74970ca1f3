"""The diff: typed operations, classes, alignment, the patch, the tool."""

import json
import random

import pytest

from replicate import config
from replicate.config import rules
from tests.config.conftest import FPNLITE

KEYPOINTS = "centernet_resnet50_v2_512x512_kpts_coco17_tpu-8"
AUGMENT = "train_config.data_augmentation_options"
RATIOS = "model.ssd.anchor_generator.multiscale_anchor_generator.aspect_ratios"


def diff_after(change, model=FPNLITE):
    """The operations that `change(message)` leads to, as (op, path, a, b, class)."""
    message = config.template(model)
    change(message)
    operations = config.diff(config.template(model), message)
    assert config.apply(config.template(model), operations) == message
    return [(o.op, o.path, o.a, o.b, o.cls) for o in operations]


def after_setting(*pairs, model=FPNLITE):
    def change(message):
        for path, value in pairs:
            config.set_field(message, path, value)

    return diff_after(change, model)


MODIFIED = [
    # path, value as set, a, b, class
    ("model.ssd.num_classes", "3", 90, 3, "architecture"),
    ("model.ssd.box_coder.faster_rcnn_box_coder.y_scale", "1", 10.0, 1.0, "architecture"),
    ("model.ssd.image_resizer.fixed_shape_resizer.height", "300", 320, 300, "architecture"),
    ("model.ssd.feature_extractor.depth_multiplier", "0.5", 1.0, 0.5, "architecture"),
    ("model.ssd.loss.classification_weight", "2", 1.0, 2.0, "training"),
    ("model.ssd.matcher.argmax_matcher.matched_threshold", "0.6", 0.5, 0.6, "training"),
    ("model.ssd.matcher.argmax_matcher.use_matmul_gather", "false", True, False, "speed only"),
    ("model.ssd.feature_extractor.conv_hyperparams.regularizer.l2_regularizer.weight", "0.1",
     4e-5, 0.1, "training"),
    ("model.ssd.post_processing.score_converter", "SOFTMAX", "SIGMOID", "SOFTMAX", "evaluation"),
    ("model.ssd.post_processing.batch_non_max_suppression.score_threshold", "0.3", 1e-8, 0.3,
     "evaluation"),
    ("train_config.batch_size", "24", 128, 24, "training"),
    ("train_config.sync_replicas", "false", True, False, "speed only"),
    ("train_config.fine_tune_checkpoint", "/a/ckpt-1", "PATH_TO_BE_CONFIGURED/mobilenet_v2.ckpt-1",
     "/a/ckpt-1", "paths"),
    # a path that is emptied is no difference of paths alone
    ("train_config.fine_tune_checkpoint", "", "PATH_TO_BE_CONFIGURED/mobilenet_v2.ckpt-1", "",
     "training"),
    ("train_input_reader.label_map_path", "/l", "PATH_TO_BE_CONFIGURED/label_map.txt", "/l",
     "paths"),
    ("eval_input_reader[0].shuffle", "true", False, True, "speed only"),
    ("eval_config.metrics_set[0]", "pascal_voc_detection_metrics", "coco_detection_metrics",
     "pascal_voc_detection_metrics", "evaluation"),
]  # fmt: skip


@pytest.mark.parametrize("path, value, a, b, cls", MODIFIED)
def test_one_field_modified(path, value, a, b, cls):
    assert after_setting((path, value)) == [("modify", path, a, b, cls)]


SET = [
    # a default written out says nothing new
    ("train_config.use_bfloat16", "false", False, "cosmetic"),
    ("model.ssd.post_processing.batch_non_max_suppression.soft_nms_sigma", "0", 0.0, "cosmetic"),
    ("eval_config.num_examples", "5000", 5000, "cosmetic"),
    # the same fields with another value do
    ("train_config.use_bfloat16", "true", True, "speed only"),
    ("model.ssd.post_processing.batch_non_max_suppression.soft_nms_sigma", "0.5", 0.5,
     "evaluation"),
    ("eval_config.num_examples", "8000", 8000, "speed only"),
    ("train_config.gradient_clipping_by_norm", "10", 10.0, "training"),
]  # fmt: skip


@pytest.mark.parametrize("path, value, b, cls", SET)
def test_one_field_set_and_deleted(path, value, b, cls):
    assert after_setting((path, value)) == [("set", path, None, b, cls)]
    message = config.template(FPNLITE)
    config.set_field(message, path, value)
    (operation,) = config.diff(message, config.template(FPNLITE))
    assert (operation.op, operation.path, operation.a, operation.cls) == ("delete", path, b, cls)


def test_a_default_is_not_cosmetic_where_the_api_asks_for_presence():
    # losses_builder passes alpha on only where it is set: unset means no balance, not 0.25
    path = "model.ssd.loss.classification_loss.weighted_sigmoid_focal.alpha"
    message = config.template(FPNLITE)
    message.model.ssd.loss.classification_loss.weighted_sigmoid_focal.ClearField("alpha")
    (operation,) = config.diff(config.template(FPNLITE), message)
    assert (operation.op, operation.path, operation.cls) == ("delete", path, "training")


def test_an_inserted_step_is_one_insertion():
    operations = after_setting(
        (AUGMENT, "[{random_horizontal_flip{}}, {random_adjust_hue{}}, "
                  "{random_crop_image{min_object_covered: 0.0 min_aspect_ratio: 0.75"
                  " max_aspect_ratio: 3.0 min_area: 0.75 max_area: 1.0 overlap_thresh: 0.0}}]"),
    )  # fmt: skip
    assert operations == [
        ("set", f"{AUGMENT}[1]", None, "{ random_adjust_hue { } }", "training"),
    ]


def test_a_removed_step_is_one_deletion():
    def change(message):
        del message.train_config.data_augmentation_options[0]

    assert diff_after(change) == [
        ("delete", f"{AUGMENT}[0]", "{ random_horizontal_flip { } }", None, "training")
    ]


def test_a_changed_step_is_told_field_by_field():
    assert after_setting((f"{AUGMENT}[1].random_crop_image.min_area", "0.5")) == [
        ("modify", f"{AUGMENT}[1].random_crop_image.min_area", 0.75, 0.5, "training")
    ]


def test_a_step_of_another_kind_is_no_change_of_the_first():
    assert [o[:2] for o in after_setting((f"{AUGMENT}[0]", "{random_adjust_hue{}}"))] == [
        ("delete", f"{AUGMENT}[0]"),
        ("set", f"{AUGMENT}[0]"),
    ]


def test_indices_count_in_a_for_what_goes_and_in_b_for_what_comes():
    def change(message):
        options = message.train_config.data_augmentation_options
        config.set_field(
            message,
            AUGMENT,
            "[{random_adjust_hue{}}, {random_horizontal_flip{}},"
            " {random_crop_image{min_object_covered: 0.0 min_aspect_ratio: 0.5"
            " max_aspect_ratio: 3.0 min_area: 0.75 max_area: 1.0 random_coef: 0.1}}]",
        )
        assert len(options) == 3

    assert [o[:4] for o in diff_after(change)] == [
        ("set", f"{AUGMENT}[0]", None, "{ random_adjust_hue { } }"),
        ("modify", f"{AUGMENT}[2].random_crop_image.min_aspect_ratio", 0.75, 0.5),
        ("delete", f"{AUGMENT}[1].random_crop_image.overlap_thresh", 0.0, None),
        ("set", f"{AUGMENT}[2].random_crop_image.random_coef", None, 0.1),
    ]


@pytest.mark.parametrize(
    "ratios, expected",
    [
        ("[1.0, 2.0, 0.5, 3.0]", [("set", f"{RATIOS}[3]", None, 3.0)]),
        ("[3.0, 1.0, 2.0, 0.5]", [("set", f"{RATIOS}[0]", None, 3.0)]),
        ("[1.0, 0.5]", [("delete", f"{RATIOS}[1]", 2.0, None)]),
        ("[1.0, 2.5, 0.5]", [("modify", f"{RATIOS}[1]", 2.0, 2.5)]),
        ("[2.0, 1.0, 0.5]",
         [("delete", f"{RATIOS}[0]", 1.0, None), ("set", f"{RATIOS}[1]", None, 1.0)]),
    ],
)  # fmt: skip
def test_numbers_of_a_list_are_aligned(ratios, expected):
    found = [o[:4] for o in after_setting((RATIOS, ratios))]
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_a_map_entry():
    path = 'model.center_net.keypoint_estimation_task[0].keypoint_label_to_std["nose"]'
    assert after_setting((path, "0.3"), model=KEYPOINTS) == [
        ("modify", path, 0.26, 0.3, "training")
    ]


def test_another_member_of_a_oneof():
    def change(message):
        message.model.ssd.image_resizer.keep_aspect_ratio_resizer.min_dimension = 320

    resizer = "model.ssd.image_resizer"
    assert diff_after(change) == [
        ("set", f"{resizer}.keep_aspect_ratio_resizer", None, "{ min_dimension: 320 }",
         "architecture"),
        ("delete", f"{resizer}.fixed_shape_resizer", "{ height: 320 width: 320 }", None,
         "architecture"),
    ]  # fmt: skip


def random_value(field, generator):
    if field.type == field.TYPE_BOOL:
        return generator.random() < 0.5
    if field.type == field.TYPE_STRING:
        return generator.choice(["", "a", 'quo"te', "back\\slash", "{ brace }", "[x]", "grüße\n"])
    if field.type == field.TYPE_ENUM:
        return generator.choice(field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return generator.choice([0.0, -1.5, 1e-8, 0.1, 3e7, generator.uniform(-1, 1)])
    return generator.randrange(0, 1000)


def fill(message, generator, depth):
    """Sets one or two random fields of a new message, and of messages in it."""
    for _ in range(generator.randint(0, 2) if message.DESCRIPTOR.fields else 0):
        mutate_field(message, generator.choice(message.DESCRIPTOR.fields), generator, depth + 1)


def mutate_field(message, field, generator, depth):
    is_message = field.type == field.TYPE_MESSAGE
    if is_message and depth > 4:
        return
    value = getattr(message, field.name)
    if is_message and field.message_type.GetOptions().map_entry:
        value[generator.choice(["nose", 'a "b"', "left_ear"])] = generator.uniform(0, 1)
    elif field.is_repeated:
        mutate_list(value, field, generator, depth)
    elif message.HasField(field.name) and generator.random() < 0.3:
        message.ClearField(field.name)
    elif is_message:
        value.SetInParent()
        fill(value, generator, depth)
    else:
        setattr(message, field.name, random_value(field, generator))


def mutate_list(values, field, generator, depth):
    action = generator.choice(["insert", "delete", "swap", "change"])
    at = generator.randrange(len(values) + 1)
    if action == "insert" or not values:
        if field.type != field.TYPE_MESSAGE:
            values.insert(at, random_value(field, generator))
            return
        new = values.add()
        fill(new, generator, depth)
        kept = [type(new).FromString(each.SerializeToString()) for each in values]
        kept.insert(at, kept.pop())
        del values[:]
        values.extend(kept)
    elif action == "delete":
        del values[at - 1]
    elif action == "swap":
        values.reverse()
    elif field.type == field.TYPE_MESSAGE:
        fill(values[at - 1], generator, depth)
    else:
        values[at - 1] = random_value(field, generator)


def messages_in(message):
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else [value]:
                yield from messages_in(each)


def mutated(message, generator):
    """A copy with one to twelve random changes anywhere in it."""
    copy = type(message).FromString(message.SerializeToString())
    for _ in range(generator.randint(1, 12)):
        holder = generator.choice([each for each in messages_in(copy) if each.DESCRIPTOR.fields])
        mutate_field(holder, generator.choice(holder.DESCRIPTOR.fields), generator, depth=0)
    return copy


@pytest.mark.parametrize("seed", range(100))
def test_a_diff_is_a_patch(seed):
    generator = random.Random(seed)
    a = config.template(generator.choice(config.template_names()))
    b = mutated(a, generator)
    untouched = type(a).FromString(a.SerializeToString())
    for one, other in ((a, b), (b, a)):
        operations = config.diff(one, other)
        assert bool(operations) == (one != other)
        # through JSON, and in any order
        listed = json.loads(json.dumps(config.operations_to_json(operations)))
        generator.shuffle(listed)
        assert config.apply(one, config.operations_from_json(listed)) == other
    assert a == untouched


def test_mutations_reach_every_kind_of_operation():
    """The property above is not vacuous: its configs set, modify and delete, in lists too."""
    seen = set()
    for seed in range(100):
        generator = random.Random(seed)
        a = config.template(generator.choice(config.template_names()))
        for operation in config.diff(a, mutated(a, generator)):
            seen.add((operation.op, operation.path.endswith("]")))
    assert seen == {(op, indexed) for op in ("set", "modify", "delete") for indexed in (0, 1)}


@pytest.mark.parametrize("a", ["efficientdet_d0_coco17_tpu-32", FPNLITE, KEYPOINTS])
@pytest.mark.parametrize("b", config.template_names())
def test_the_patch_between_any_two_models(a, b):
    a, b = config.template(a), config.template(b)
    assert config.apply(a, config.diff(a, b)) == b


def every_path(descriptor, prefix="", depth=0):
    for field in descriptor.fields:
        path = prefix + field.name
        yield path
        if field.message_type is not None and depth < 7:
            yield from every_path(field.message_type, path + ".", depth + 1)


def test_every_field_has_a_class_and_a_reason():
    for path in every_path(config.template(FPNLITE).DESCRIPTOR):
        rule = rules.rule_for(path, 1, 2)
        assert rule.path != "**", f"{path} has the catch-all rule alone"
        assert rule.cls in config.CLASSES and rule.why


def test_every_rule_names_fields_that_exist():
    paths = [path for path in every_path(config.template(FPNLITE).DESCRIPTOR)]
    for rule in rules.table():
        assert any(rules.matches(rule, path) for path in paths), rule.path


ARCHIVED = {
    FPNLITE: {
        ("train_config.fine_tune_checkpoint_type", "training"),
        ("model.ssd.post_processing.batch_non_max_suppression.use_static_shapes", "cosmetic"),
    },
    "efficientdet_d0_coco17_tpu-32": {
        (f"model.ssd.box_coder.faster_rcnn_box_coder.{name}", "architecture")
        for name in ("y_scale", "x_scale", "height_scale", "width_scale")
    },
}


@pytest.mark.parametrize("model", ARCHIVED)
def test_released_archives_against_the_repository(shared, model):
    released = shared / "zoo/tarball_configs" / f"{model}.pipeline.config"
    operations = config.diff(config.template(model), config.load(released))
    assert {(o.path, o.cls) for o in operations if o.cls != "paths"} == ARCHIVED[model]


@pytest.mark.parametrize(
    "a, b, listed",
    [
        ("0.08", "0.07999999821186066", [(0.08, 0.07999999821186066)]),
        ("0.08", "8e-2", []),
        (".08", "0.080f", []),
        ("0.08", "0.0801", []),
        ("1e99", "2e99", [(1e99, 2e99)]),
    ],
)
def test_numbers_written_otherwise_are_cosmetic(a, b, listed):
    def text(number):
        return (
            "train_config { num_steps: 16777217 optimizer { momentum_optimizer { learning_rate {"
            f" constant_learning_rate {{ learning_rate: {number} }} }} }} }} }}"
        )

    found = config.written_otherwise(text(a), text(b).replace("16777217", "16777216"))
    path = "train_config.optimizer.momentum_optimizer.learning_rate.constant_learning_rate"
    assert [(o.path, o.cls, o.a, o.b) for o in found] == [
        (f"{path}.learning_rate", "cosmetic", *pair) for pair in listed
    ]
