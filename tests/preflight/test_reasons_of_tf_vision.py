"""The documented reasons of a TF-Vision launch, each made and caught by its number alone."""

import dataclasses
import json
import subprocess
import sys

import pytest

import tfrecords
from replicate import engine, replication
from replicate.errors import UserError
from replicate.preflight import memory
from replicate.run import RunDir
from replicate.tfvision import render
from tests.conftest import PROJECT
from tests.preflight.caught import statuses

ROW, MASKS = "retinanet_mobilenetv2_256", "maskrcnn_resnet50fpn_640"
RATE = "trainer.optimizer_config.learning_rate.stepwise"


@pytest.fixture(scope="module")
def vision_recipe(tmp_path_factory):
    """A params YAML that stands for the published recipe of the drawn data."""
    path = tmp_path_factory.mktemp("recipe") / "published.yaml"
    asked = render.RenderRequest(
        overrides=[("task.model.num_classes", "4"), ("task.validation_data.dtype", "float32")],
        global_batch_size=8,
        init_checkpoint="",
    )
    path.write_text(render.text_of(render.render(ROW, asked), None))
    return path


@pytest.fixture
def launch(drawn, vision_recipe, tmp_path):
    """A function: what would be launched of the recipe, with changes; `asked` were asked for."""

    def make(changed=(), asked=(), model=None, records=None, **fields):
        request = replication.ReplicationRequest(
            model=str(model or vision_recipe),
            train_annotations=str(drawn["train"][0]),
            train_images=str(drawn["train"][1]),
            val_annotations=str(drawn["val"][0]),
            val_images=str(drawn["val"][1]),
            overrides=tuple(asked),
            fine_tune_checkpoint="",
        )
        made = replication.intent(request, tmp_path / "run")
        for path, value in changed:
            render.set_field(made.message.params, path, value)
        if records:
            render.set_field(made.message.params, "task.train_data.input_path", f"{records}-*")
            fields["convert"] = False
        return dataclasses.replace(made, **fields)

    return make


def convert(drawn, folder, **flags):
    tfrecords.convert(*drawn["train"], str(folder / "made"), 1, progress=False, **flags)
    return folder / "made"


def test_the_recipe_itself_has_nothing_but_the_machine(launch, told):
    results = told(launch())
    passed = {number for number, status in statuses(results).items() if status == "pass"}
    # 10: no GPU here; 12 is told by the trial.
    assert passed >= set(range(1, 18)) - {10, 12}, {n: r.seen for n, r in results.items()}
    assert "batch 8 at peak rate 0.01, as published" in results[4].seen
    assert "3 classes and the background" in results[7].seen
    assert "score threshold 0.05, IoU 0.5, 100 detections, as published" in results[14].seen


@pytest.mark.parametrize(
    ("number", "changed", "status", "words"),
    [
        (1, [("task.init_checkpoint", "/no/ckpt-1")], "fail", ["no checkpoint at /no/ckpt-1"]),
        (3, [("task.model.max_level", "6")], "fail", ["max_level is 6, published 7"]),
        (
            4,
            [("task.train_data.global_batch_size", "4")],
            "fail",
            ["2 times too high", "gives 0.005", "published.yaml --global_batch_size=4"],
        ),
        (4, [(f"{RATE}.values", "[0.02, 0.002, 0.0002]")], "fail", ["2 times too high"]),
        (4, [("trainer.optimizer_config.optimizer.sgd.momentum", "0.8")], "fail", ["momentum"]),
        (7, [("task.model.num_classes", "3")], "fail", ["id 3", "--set task.model.num_classes=4"]),
        (8, [("trainer.train_steps", "4435200")], "fail", ["50.0% of them", "never drops"]),
        (
            8,
            [("trainer.optimizer_config.warmup.linear.warmup_steps", "10")],
            "fail",
            ["warmup_steps is 10, published 64000"],
        ),
        (13, [("trainer.optimizer_config.ema.average_decay", "0.99")], "fail", ["ema"]),
        (
            14,
            [("task.model.detection_generator.pre_nms_score_threshold", "0.3")],
            "fail",
            ["pre_nms_score_threshold is 0.3, published 0.05"],
        ),
    ],
)
def test_each_reason_is_caught_by_its_number(number, changed, status, words, launch, told):
    before, after = told(launch()), told(launch(changed))
    assert before[number].status == "pass", before[number]
    assert after[number].status == status, after[number]
    for word in words:
        assert word in f"{after[number].seen} → {after[number].fix}", after[number]


def test_records_without_class_labels_are_caught(drawn, launch, told, tmp_path):
    """TF-Vision's decoder reads them without an object; with the feature nothing is wrong."""
    bare = told(launch(records=convert(drawn, tmp_path / "bare")))[7]
    assert bare.status == "fail" and "hold no class labels" in bare.seen
    assert "--include_class_labels" in bare.fix
    labelled = convert(drawn, tmp_path / "labelled", include_class_labels=True)
    assert told(launch(records=labelled))[7].status == "pass"
    two = told(launch([("task.model.num_classes", "3")], records=labelled))[7]
    assert two.status == "fail" and "the records have label 3, the model classes 1 to 2" in two.seen


def test_records_read_by_a_label_map_need_none(drawn, launch, told, tmp_path):
    """The label map's decoder goes by names: one that is missing loses its objects."""
    records = convert(drawn, tmp_path / "bare")
    decoder = "task.train_data.decoder"

    def asked(text):
        path = tmp_path / "map.csv"
        path.write_text(text)
        changed = [(f"{decoder}.type", "label_map_decoder")]
        changed.append((f"{decoder}.label_map_decoder.label_map", str(path)))
        return told(launch(changed, records=records))[7]

    assert "triangle" not in asked("1,disc\n2,square\n3,triangle\n").seen
    lacking = asked("1,disc\n2,square\n4,triangel\n")
    assert "'triangle'" in lacking.seen and "--set task.model.num_classes=5" in lacking.fix


def test_a_model_of_masks_needs_them(drawn, launch, told, tmp_path):
    to_make = told(launch(model=MASKS))[7]
    assert to_make.status == "fail" and "the records will have none" in to_make.seen
    made = convert(drawn, tmp_path / "made", include_class_labels=True)
    assert "the records have none" in told(launch(model=MASKS, records=made))[7].seen


def test_a_checkpoint_of_another_config_is_caught(launch, told):
    made = launch([(f"{RATE}.values", "[0.02, 0.002, 0.0002]")])
    run = RunDir.at(made.run_dir)
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "ckpt-4.index").touch()
    (run.checkpoints / "ckpt-4.data-00000-of-00001").touch()
    run.root.joinpath("params.yaml").write_text(engine.text(made.message, None))
    changed = told(launch())[9]
    assert changed.status == "fail"
    assert f"{RATE}.values[0] was 0.02, is 0.01" in changed.seen
    assert "another config" not in told(made)[9].seen
    longer = launch(
        [(f"{RATE}.values", "[0.02, 0.002, 0.0002]"), ("trainer.train_steps", "9000000")]
    )
    assert "another config" not in told(longer)[9].seen


def test_a_batch_over_devices_and_a_buffer_over_the_memory(launch, told, monkeypatch):
    four = told(launch(num_gpus=None, num_workers=3))[5]
    assert "does not divide among 3 devices" in four.seen
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    buffer = told(launch())[12]
    assert buffer.status == "fail" and "shuffle buffer of 10,000 records" in buffer.seen
    assert "--set task.train_data.shuffle_buffer_size=" in buffer.fix


def test_xla_is_not_for_it(launch, told):
    assert "--jit_compile: not for a TF-Vision config" in told(launch(jit_compile=True))[10].seen


def test_a_batch_of_no_images_names_its_field(launch, told):
    with pytest.raises(UserError, match="task.train_data.global_batch_size is 0"):
        told(launch([("task.train_data.global_batch_size", "0")]))


def test_the_tool_takes_its_config(vision_recipe, tmp_path):
    """Of a YAML as tools/train.py would train it, with --set in its own words."""
    command = [sys.executable, PROJECT / "tools" / "preflight.py", "--notrial", "--json"]
    command += [f"--pipeline_config_path={vision_recipe}", f"--model={vision_recipe}"]
    command += [f"--run_dir={tmp_path / 'run'}", "--set=task.model.max_level=6"]
    command += ["--fine_tune_checkpoint=/no/ckpt-1"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    told = {each["number"]: each for each in json.loads(done.stdout)["results"]}
    assert "no checkpoint at /no/ckpt-1" in told[1]["seen"]
    assert "max_level is 6, published 7: asked for" in told[3]["seen"]
    assert told[3]["status"] == "warn"


def test_a_short_rehearsal_is_launched(launch, told):
    """A schedule cut to a few steps ends at its last drop: another experiment, and no fault."""
    short = launch(num_steps=8)
    render.set_field(short.message.params, "trainer.train_steps", "8")
    render.set_field(short.message.params, f"{RATE}.boundaries", "[7, 8]")
    result = told(short, rehearsal=True)[8]
    assert result.status == "warn" and "never drops" in result.seen, result
    assert told(short)[8].status in ("warn", "fail")
