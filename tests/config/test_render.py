"""Rendering: paths, overrides, the linear scaling rule, other schedules, class counts."""

import json
import pathlib
import subprocess
import sys

import pytest

from replicate import config
from replicate.config import labelmap, scaling
from replicate.errors import UserError
from tests.conftest import PROJECT

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
CENTERNET = "centernet_hg104_512x512_coco17_tpu-8"
COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
STEPS = "train_config.optimizer.adam_optimizer.learning_rate.manual_step_learning_rate"


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True
    )


def changes(message, model):
    return {o.path: o.b for o in config.deviations(message, model)}


def test_paths_and_classes():
    message = config.render(
        FPNLITE,
        train_records="a/train-?????-of-00002.tfrecord",
        val_records=["a/val-0.tfrecord", "a/val-1.tfrecord"],
        label_map="a/label_map.pbtxt",
        num_classes=3,
        fine_tune_checkpoint="",
    )
    facts = config.facts(message)
    assert facts.train_records == ("a/train-?????-of-00002.tfrecord",)
    assert facts.val_records == ("a/val-0.tfrecord", "a/val-1.tfrecord")
    assert message.eval_input_reader[0].label_map_path == facts.label_map == "a/label_map.pbtxt"
    assert (facts.num_classes, facts.fine_tune_checkpoint) == (3, "")
    classes = {o.path: o.cls for o in config.deviations(message, FPNLITE)}
    assert classes.pop("model.ssd.num_classes") == "architecture"
    assert classes.pop("train_config.fine_tune_checkpoint") == "training"
    assert set(classes.values()) == {"paths"}


def test_nothing_asked_changes_nothing():
    assert config.deviations(config.render(FPNLITE), FPNLITE) == []


@pytest.mark.parametrize(
    "model, batch, expected",
    [
        # a quarter of the images a step: a quarter of the rate, four times the steps
        (FPNLITE, 32, {
            "train_config.batch_size": 32, "train_config.num_steps": 200_000,
            f"{COSINE}.learning_rate_base": 0.02, f"{COSINE}.total_steps": 200_000,
            f"{COSINE}.warmup_learning_rate": 0.0066665, f"{COSINE}.warmup_steps": 4000,
        }),
        # twice the images a step
        (FPNLITE, 256, {
            "train_config.batch_size": 256, "train_config.num_steps": 25_000,
            f"{COSINE}.learning_rate_base": 0.16, f"{COSINE}.total_steps": 25_000,
            f"{COSINE}.warmup_learning_rate": 0.053332, f"{COSINE}.warmup_steps": 500,
        }),
        # no whole number of steps sees as many images: the nearest
        (FPNLITE, 48, {
            "train_config.batch_size": 48, "train_config.num_steps": 133_333,
            f"{COSINE}.learning_rate_base": 0.03, f"{COSINE}.total_steps": 133_333,
            f"{COSINE}.warmup_learning_rate": 0.00999975, f"{COSINE}.warmup_steps": 2667,
        }),
        # a piecewise schedule
        (CENTERNET, 64, {
            "train_config.batch_size": 64, "train_config.num_steps": 280_000,
            f"{STEPS}.initial_learning_rate": 0.0005,
            f"{STEPS}.schedule[0].step": 180_000, f"{STEPS}.schedule[0].learning_rate": 5e-5,
            f"{STEPS}.schedule[1].step": 240_000, f"{STEPS}.schedule[1].learning_rate": 5e-6,
        }),
        # the recipe's own batch
        (FPNLITE, 128, {}),
    ],
)  # fmt: skip
def test_linear_scaling(model, batch, expected):
    message = config.render(model, global_batch_size=batch)
    assert changes(message, model) == pytest.approx(expected)
    published = config.facts(config.template(model))
    assert abs(config.facts(message).images_seen - published.images_seen) <= batch / 2


def test_a_batch_of_no_images_is_refused_and_its_difference_shown():
    with pytest.raises(UserError, match="train_config.batch_size is 0"):
        config.render(FPNLITE, overrides=[("train_config.batch_size", "0")])
    message = config.template(FPNLITE)
    message.train_config.batch_size = 0
    assert changes(message, FPNLITE) == {"train_config.batch_size": 0}
    with pytest.raises(UserError, match="train_config.batch_size is 0"):
        scaling.scale_batch(message, 8)


def test_scaled_changes_say_so_and_others_do_not():
    message = config.render(
        FPNLITE, global_batch_size=32, overrides=[(f"{COSINE}.warmup_steps", "5")]
    )
    said = {
        o.path.rsplit(".", 1)[1]: "128 -> 32 by the linear scaling rule" in o.why
        for o in config.deviations(message, FPNLITE)
    }
    assert said == {
        "batch_size": False,
        "num_steps": True,
        "learning_rate_base": True,
        "total_steps": True,
        "warmup_learning_rate": True,
        "warmup_steps": False,
    }


def test_unscaled_on_request():
    message = config.render(FPNLITE, global_batch_size=32, scale="none")
    assert changes(message, FPNLITE) == {"train_config.batch_size": 32}


@pytest.mark.parametrize(
    "model, gpus, batch",
    [
        # 128 images on 8 cores
        (FPNLITE, 1, 16),
        (FPNLITE, 4, 64),
        (FPNLITE, 8, 128),
        # 16 images on 8 GPUs
        ("faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8", 2, 4),
        # the training config says 8 devices, the archive's name 32: the config's is the recipe
        ("efficientdet_d0_coco17_tpu-32", 1, 16),
        # 128 images on 32 cores
        ("efficientdet_d4_coco17_tpu-32", 1, 4),
    ],
)
def test_num_gpus_keeps_the_images_a_device(model, gpus, batch):
    assert config.facts(config.render(model, num_gpus=gpus)).batch_size == batch


def test_num_gpus_against_the_batch():
    assert config.facts(config.render(FPNLITE, num_gpus=3, global_batch_size=33)).batch_size == 33
    with pytest.raises(UserError, match="does not divide by --num_gpus=3; the nearest .* is 33"):
        config.render(FPNLITE, num_gpus=3, global_batch_size=32)


@pytest.mark.parametrize("batch", [16, 64, 128])
@pytest.mark.parametrize(
    "name, drops_and_end",
    [
        ("piecewise_1x", (960_000, 1_280_000, 1_440_000)),
        ("piecewise_3x", (3_360_000, 4_000_000, 4_320_000)),
    ],
)
def test_piecewise_in_images_seen(name, drops_and_end, batch):
    message = config.render(FPNLITE, schedule=name, global_batch_size=batch)
    schedule = message.train_config.optimizer.momentum_optimizer.learning_rate
    schedule = schedule.manual_step_learning_rate
    base = 0.08 * batch / 128
    assert schedule.warmup
    assert schedule.initial_learning_rate == pytest.approx(base * 0.026666 / 0.08)
    assert [entry.step * batch for entry in schedule.schedule] == [128_000, *drops_and_end[:2]]
    assert [entry.learning_rate for entry in schedule.schedule] == pytest.approx(
        [base, base / 10, base / 100]
    )
    assert message.train_config.num_steps * batch == drops_and_end[2]


def test_cosine_for_a_piecewise_recipe():
    message = config.render(CENTERNET, schedule="cosine")
    cosine = message.train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    assert (cosine.total_steps, cosine.warmup_steps) == (140_000, 0)
    assert cosine.learning_rate_base == pytest.approx(1e-3)


@pytest.mark.parametrize("model", config.template_names())
@pytest.mark.parametrize("schedule", config.SCHEDULES)
def test_every_model_takes_every_schedule(model, schedule):
    if (model, schedule) == ("ssd_mobilenet_v2_320x320_coco17_tpu-8", "piecewise_1x"):
        # Its warm-up of 2000 steps x 512 images alone is longer than 0.96 million images.
        with pytest.raises(UserError, match="warm-up of 16000 steps is not shorter than the 15000"):
            config.render(model, schedule=schedule, global_batch_size=64)
        return
    message = config.render(model, schedule=schedule, global_batch_size=64)
    assert config.apply(config.template(model), config.deviations(message, model)) == message


def label_map(path, ids):
    path.write_text("".join(f"item {{ id: {i} name: 'n{i}' }}\n" for i in ids))
    return str(path)


def test_num_classes_and_the_label_map_agree(tmp_path):
    three = label_map(tmp_path / "three.pbtxt", [1, 2, 3])
    assert labelmap.highest_id(three) == 3
    assert config.facts(config.render(FPNLITE, label_map=three)).num_classes == 3
    assert config.facts(config.render(FPNLITE, label_map=three, num_classes=3)).num_classes == 3
    with pytest.raises(UserError, match=r"--num_classes=4, but the highest id in .*three.* is 3"):
        config.render(FPNLITE, label_map=three, num_classes=4)
    coco = label_map(tmp_path / "coco.pbtxt", [1, 44, 90])
    assert "model.ssd.num_classes" not in changes(config.render(FPNLITE, label_map=coco), FPNLITE)
    broken = tmp_path / "broken.pbtxt"
    broken.write_text("item { id: 1 nam: 'a' }")
    with pytest.raises(
        UserError, match="broken.pbtxt:1:14: no field 'nam' in .* did you mean name"
    ):
        config.render(FPNLITE, label_map=str(broken))


@pytest.mark.parametrize(
    "path, value, told",
    [
        ("model.ssd.num_clases", "3", "no field 'num_clases' in Ssd; did you mean num_classes?"),
        ("modle.ssd", "{}", "did you mean model?"),
        ("train_config.batch_size", "many", "the field takes a whole number"),
        ("train_config.sync_replicas", "maybe", "the field takes true or false"),
        ("model.ssd.post_processing.score_converter", "SIGMOD", "did you mean SIGMOID?"),
        ("model.ssd.loss", "3", "takes a Loss message in braces"),
        ("model.ssd.num_classes.x", "3", "has no fields of its own"),
        ("train_config.data_augmentation_options.random_adjust_hue", "{}", "has 2 elements; say"),
        ("train_config.data_augmentation_options[7]", "{}", "the list has 2 elements"),
        ("train_config.num_steps[0]", "1", "is not a list"),
        ("eval_config.metrics_set[0]", "[a]", "one element is set, not a list"),
        ("", "1", "is not a field path"),
        ("train_config..x", "1", "is not a field path"),
    ],
)
def test_overrides_that_do_not_fit(path, value, told):
    before = config.template(FPNLITE)
    message = config.template(FPNLITE)
    with pytest.raises(UserError) as raised:
        config.set_field(message, path, value)
    assert told in str(raised.value)
    assert message == before


@pytest.mark.parametrize(
    "path, value, expected",
    [
        ("train_config.num_steps", "7", 7),
        ("train_config.optimizer.momentum_optimizer.momentum_optimizer_value", "0.5", 0.5),
        ("train_config.fine_tune_checkpoint", "/a b/ckpt-1", "/a b/ckpt-1"),
        ("train_config.fine_tune_checkpoint", '"quoted"', "quoted"),
        ("train_config.fine_tune_checkpoint", "", ""),
        ("train_config.sync_replicas", "false", False),
        ("train_config.fine_tune_checkpoint_version", "V1", 1),
        ("eval_input_reader[0].shuffle", "true", True),
        # the only element needs no index
        ("eval_input_reader.shuffle", "true", True),
        ("eval_config.metrics_set", "[a, b]", None),
        ("eval_config.metrics_set", "coco_mask_metrics", ["coco_mask_metrics"]),
        ("eval_config.metrics_set[1]", "coco_mask_metrics", "coco_mask_metrics"),
        ("model.ssd.anchor_generator.multiscale_anchor_generator.aspect_ratios", "[1.0, 3]",
         [1.0, 3.0]),
        ("model.ssd.anchor_generator.multiscale_anchor_generator.aspect_ratios[2]", "0.25", 0.25),
    ],
)  # fmt: skip
def test_set_any_field(path, value, expected):
    message = config.template(FPNLITE)
    if expected is None:
        with pytest.raises(UserError, match="the field takes a list, each element a string"):
            config.set_field(message, path, value)
        return
    config.set_field(message, path, value)
    found = config.get_field(message, path)
    assert (list(found) if isinstance(expected, list) else found) == expected


def test_set_augmentation_steps():
    message = config.template(FPNLITE)
    options = message.train_config.data_augmentation_options
    config.set_field(
        message, "train_config.data_augmentation_options[2]", "{ random_adjust_hue {} }"
    )
    assert [o.WhichOneof("preprocessing_step") for o in options] == [
        "random_horizontal_flip",
        "random_crop_image",
        "random_adjust_hue",
    ]
    config.set_field(
        message, "train_config.data_augmentation_options[0]", "{ random_jitter_boxes {} }"
    )
    assert options[0].HasField("random_jitter_boxes") and len(options) == 3
    config.set_field(
        message,
        "train_config.data_augmentation_options",
        "[{ random_horizontal_flip {} }, { random_crop_image { min_area: 0.5 } }]",
    )
    assert options[1].random_crop_image.min_area == 0.5 and len(options) == 2
    config.set_field(message, "train_config.data_augmentation_options", "[]")
    assert len(options) == 0


def test_a_map_entry():
    message = config.template("centernet_hourglass104_512x512_kpts_coco17_tpu-32")
    path = 'model.center_net.keypoint_estimation_task[0].keypoint_label_to_std["nose"]'
    config.set_field(message, path, "0.5")
    assert config.get_field(message, path) == 0.5
    stds = message.model.center_net.keypoint_estimation_task[0].keypoint_label_to_std
    assert len(stds) == 17


def test_the_tool(tmp_path):
    output, deviations = tmp_path / "pipeline.config", tmp_path / "deviations.json"
    done = run_tool(
        "tools/render_config.py", f"--model={FPNLITE}", f"--output={output}",
        "--set", "train_config.num_steps=1000", "--set=eval_input_reader[0].shuffle=true",
        f"--deviations={deviations}",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    message = config.load(output)
    assert message.train_config.num_steps == 1000 and message.eval_input_reader[0].shuffle
    written = config.operations_from_json(json.loads(deviations.read_text()))
    assert written == config.deviations(message, FPNLITE)
    assert "train_config.num_steps: 50000 -> 1000" in done.stdout


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--model=ssd_mobilenet_v3"], "unknown zoo model 'ssd_mobilenet_v3'"),
        ([f"--model={FPNLITE}", "--set", "train_config.num_step=3"], "did you mean num_steps?"),
        ([f"--model={FPNLITE}", "--set", "train_config.num_steps"], "write --set PATH=VALUE"),
        (["--model=centernet_mobilenetv2fpn_512x512_coco17_od"], "only the released archive"),
        (["--model=nowhere/pipeline.config"], "nowhere/pipeline.config: no such file"),
        (["--output=x"], "missing --model"),
    ],
)
def test_the_tool_on_mistakes(tmp_path, arguments, told):
    output = tmp_path / "pipeline.config"
    done = run_tool("tools/render_config.py", f"--output={output}", *arguments)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not pathlib.Path(output).exists()
