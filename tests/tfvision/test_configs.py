"""Lint, diff and render of TF-Vision's configs, and the registry."""

import json
import subprocess
import sys

import pytest

from replicate import config as pipeline_configs
from replicate.config import same, view
from replicate.errors import UserError
from replicate.tfvision import configs, diff, experiments, lint, published, render
from replicate.tfvision.render import RenderRequest
from replicate.zoo import vision
from tests.conftest import PROJECT

HEAD = "# --experiment_type=retinanet_mobile_coco\n"

ZOO_MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def run(tool, *arguments):
    command = [sys.executable, PROJECT / "tools" / tool, *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def test_the_registry_is_the_published_table(shared):
    """Row by row, figure by figure; the kit adds names and what it read off."""
    import csv

    with open(shared / "tfvision" / "published.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(vision.rows()) == 48
    for theirs, row in zip(table, vision.rows(), strict=True):
        assert row.display_name == theirs["model"]
        for ours, field in (
            *((row.box_ap, "box_ap"), (row.mask_ap, "mask_ap"), (row.epochs, "epochs")),
            *((row.params_m, "params_m"), (row.flops_b, "flops_b")),
        ):
            assert ours == (float(theirs[field]) if theirs[field] else None), (row.name, field)
        assert row.input_size == theirs["input_size"] and row.yaml == theirs["yaml"]
        assert row.checkpoint_url == theirs["checkpoint_url"] and row.source == theirs["source"]
    assert len({row.name for row in vision.rows()}) == 48


def test_disagreements_have_both_sources():
    told = vision.find("cascadercnn_spinenet96_1024").disagrees
    assert len(told) == 2
    assert told[0].startswith("box AP 50.9 (tensorflow/models:official/vision/README.md@0c7c3052")
    assert "51.9 (header of tensorflow/models:official/vision/" in told[0]
    assert {row.name for row in vision.rows() if row.disagrees} == {
        *("retinanet_mobile_spinenet49_384", "maskrcnn_spinenet49_640"),
        *("cascadercnn_spinenet96_1024", "centernet_hourglass104_tpu_512"),
        *("retinanet_mobilenetv2_qat_page_256", "retinanet_mobilenetv2_qat_256"),
    }


def test_every_published_yaml_of_a_row_lints_and_differs_in_paths_alone(shared):
    """After what lint mends; what the package lacks is named and left out on both sides."""
    folder = shared / "tfvision" / "configs"
    seen = unknown = 0
    for row in vision.rows():
        if not row.yaml or row.experiment in experiments.missing():
            continue
        text = configs.text_of(folder / row.yaml)
        findings = lint.lint(text, row.yaml)
        config = configs.of_text(lint.fixed(text, findings), row.yaml)
        assert all("has no field" in problem.message for problem in config.problems)
        unknown += len(config.problems)
        rendered = configs.of_text(
            render.text_of(render.render(row.name, RenderRequest()), row.name), "params.yaml"
        )
        operations = diff.diff(config.params, rendered.params)
        assert {each.cls for each in operations} <= {"paths"}, (row.name, view.summary(operations))
        seen += 1
    # six unknown fields of the CenterNet GPU YAML, one of SpineNet-143's
    assert (seen, unknown) == (37, 7)


def test_the_overrides_are_those_of_the_yamls(shared):
    """`python -m replicate.tfvision.published` would change nothing."""
    assert published.taken(shared / "tfvision" / "configs") == configs.published()


def test_the_published_fault_is_caught_and_mended(shared, tmp_path):
    text = configs.text_of(shared / "tfvision" / "configs" / "coco_mobiledetcpu_tpu.yaml")
    path = tmp_path / "coco_mobiledetcpu_tpu.yaml"
    path.write_text(text)
    line = 1 + text[: text.index("input_size")].count("\n")
    column = 1 + text.splitlines()[line - 1].index("320 320")
    done = run("lint_config.py", path)
    assert done.returncode == 1
    (error,) = [each for each in done.stdout.splitlines() if ": error: " in each]
    assert error.startswith(f"{path}:{line}:{column}: error: task.model.input_size[0]")
    assert run("lint_config.py", path, "--fix").returncode == 0
    assert "input_size: [320, 320, 3]" in path.read_text()
    assert path.read_text().replace("[320, 320, 3]", "[320 320, 3]") == text
    done = run("diff_config.py", "retinanet_mobiledetcpu_320", path)
    assert (done.returncode, done.stdout) == (0, "no difference\n")


@pytest.mark.parametrize(
    ("body", "place", "path", "said"),
    [
        ("task:\n  modle: {}\n", (3, 3), "task.modle", "did you mean model"),
        ("task:\n  model: {num_classes: 90}\n", (3, 11), "task.model.num_classes", "91 is wanted"),
        (
            "task:\n  annotation_file: /no/instances_val2017.json\n",
            *((3, 3), "task.annotation_file", "no such file"),
        ),
        (
            "task:\n  validation_data:\n    global_batch_size: 64\n",
            *((4, 5), "task.validation_data.global_batch_size", "leave 8 of 5000 unevaluated"),
        ),
        (
            "trainer:\n  validation_steps: 10\n",
            *((3, 3), "trainer.validation_steps", "80 of 5000"),
        ),
        (
            "trainer: {train_steps: 1000}\n",
            *((2, 1), "trainer.optimizer_config.learning_rate.stepwise.boundaries", "never drops"),
        ),
        (
            "task:\n  model:\n    backbone: {type: resnt}\n",
            *((4, 16), "task.model.backbone.type", "'resnt' is none of"),
        ),
        ("task: {}\ntask: {}\n", (3, 1), "task", "is given twice"),
    ],
)
def test_findings_have_line_and_column(body, place, path, said):
    found = [each for each in lint.lint(HEAD + body, "params.yaml") if each.path == path]
    assert [(each.line, each.column) for each in found] == [place]
    assert said in found[0].message


def test_masks_are_sampled_from_regions():
    """As seen: `input must have last dimension >= k = 128 but is 32`, from the first step."""
    head = "# --experiment_type=maskrcnn_resnetfpn_coco\n"
    text = head + "task:\n  model:\n    roi_sampler: {num_sampled_rois: 32}\n"
    path = "task.model.mask_sampler.num_sampled_masks"
    found = {each.path: each for each in lint.lint(text, "params.yaml")}
    assert "128 masks of 32 sampled regions" in found[path].message
    mended = text + "    mask_sampler: {num_sampled_masks: 32}\n"
    assert path not in {each.path for each in lint.lint(mended, "params.yaml")}


def test_the_annotation_file_decides_on_classes_and_batches(tmp_path):
    """Three images, categories 1 to 3: four classes, and no batch of two."""
    path = tmp_path / "instances.json"
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 9, "width": 9} for i in (1, 2, 3)]
    names = [{"id": i, "name": str(i)} for i in (1, 2, 3)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": names}))
    text = (
        f"{HEAD}task:\n  annotation_file: {path}\n  model: {{num_classes: 3}}\n"
        "  validation_data: {global_batch_size: 2}\n"
    )
    found = {each.path: each.message for each in lint.lint(text, "params.yaml")}
    assert "4 is wanted" in found["task.model.num_classes"]
    assert "1 of 3 unevaluated" in found["task.validation_data.global_batch_size"]
    clean = lint.lint(text.replace("3}", "4}").replace("2}", "3}"), "params.yaml")
    assert not [each for each in clean if each.path.startswith("task.")]


def test_no_yaml_and_no_experiment_are_one_message():
    with pytest.raises(UserError, match=r"p\.yaml:1:\d+: not YAML"):
        lint.lint("task: {a: [1}", "p.yaml")
    with pytest.raises(UserError, match="names no experiment"):
        lint.lint("task: {}\n", "p.yaml")


@pytest.mark.parametrize("source", ["retinanet_mobilenetv2_256", "params.yaml"])
def test_what_only_the_other_engine_can_do_says_so(source, tmp_path):
    """Wherever a pipeline.config is wanted: no parser's mistakes, no nearest names."""
    if source.endswith(".yaml"):
        source = str(tmp_path / source)
        (tmp_path / "params.yaml").write_text(HEAD)
    with pytest.raises(UserError, match=r"TF-Vision.*docs/tfvision\.md"):
        pipeline_configs.read(source)


def test_a_complete_config_needs_no_experiment():
    """As TF-Vision's trainer writes it: its name is not in it, and nothing else is missing."""
    import yaml

    whole = render.render("maskrcnn_resnet50fpn_640", RenderRequest(num_steps=1000)).params
    text = yaml.dump(whole.as_dict(), default_flow_style=False)
    read = configs.of_text(text, "params.yaml")
    assert read.params.as_dict() == whole.as_dict() and not read.problems
    del whole.values["runtime"]
    with pytest.raises(UserError, match="not complete without one"):
        configs.of_text(yaml.dump(whole.as_dict()), "params.yaml")


def test_diff_aligns_lists_and_classifies():
    a = experiments.factory("retinanet_mobile_coco")
    b = experiments.factory("retinanet_mobile_coco")
    stepwise = {"boundaries": [100000, 265650, 272580], "values": [0.32, 0.1, 0.032, 0.0032]}
    b.override({"trainer": {"optimizer_config": {"learning_rate": {"stepwise": stepwise}}}})
    b.override({"task": {"model": {"detection_generator": {"nms_iou_threshold": 0.6}}}})
    b.override({"task": {"train_data": {"input_path": "elsewhere*"}}})
    rate = "trainer.optimizer_config.learning_rate.stepwise"
    found = {(each.op, each.path, each.a, each.b, each.cls) for each in diff.diff(a, b)}
    assert found == {
        ("set", f"{rate}.boundaries[0]", None, 100000, "training"),
        ("set", f"{rate}.values[1]", None, 0.1, "training"),
        ("modify", "task.model.detection_generator.nms_iou_threshold", 0.5, 0.6, "evaluation"),
        ("modify", "task.train_data.input_path", "coco/train*", "elsewhere*", "paths"),
    }
    assert not same(diff.diff(a, b)) and diff.diff(a, a) == []


def test_every_field_has_a_rule():
    """Of every factory, every field changed to nothing and to something."""
    for name in experiments.names():
        stack = [("", experiments.factory(name).as_dict())]
        while stack:
            prefix, block = stack.pop()
            for key, value in block.items():
                if isinstance(value, dict):
                    stack.append((f"{prefix}{key}.", value))
                if prefix:
                    assert diff.rule_for(f"{prefix}{key}", value, "x").why


def test_batch_and_epochs_scale_the_schedule():
    """256 to 32 images a step, 500 to 50 epochs of train2017: rates by 8, steps 50 * 3696."""
    request = RenderRequest(global_batch_size=32, epochs=50)
    params = render.render("retinanet_spinenet49_640", request).params
    rate = "trainer.optimizer_config"
    assert params.at("trainer.train_steps") == 50 * (118287 // 32) == 184800
    assert params.at(f"{rate}.learning_rate.stepwise.values") == [0.04, 0.004, 0.0004]
    assert params.at(f"{rate}.learning_rate.stepwise.boundaries") == [175560, 181104]
    assert params.at(f"{rate}.warmup.linear.warmup_steps") == 1600
    unscaled = render.render(
        "retinanet_spinenet49_640", RenderRequest(global_batch_size=32, scale="none")
    ).params
    assert unscaled.at("trainer.train_steps") == 231000


def test_the_tools(tmp_path):
    """render, lint, diff of one row with one's own paths; list and show."""
    labels = tmp_path / "map.csv"
    labels.write_text("1,a\n7,b\n")
    output = tmp_path / "params.yaml"
    done = run(
        *("render_config.py", "--model=retinanet_mobilenetv2_256", f"--output={output}"),
        *("--train_records=data/train*", f"--label_map={labels}"),
        *("--set", "task.train_data.parser.aug_rand_hflip=false"),
    )
    assert done.returncode == 0, done.stderr
    params = configs.read(str(tmp_path)).params
    assert params.at("task.model.num_classes") == 8
    assert params.at("task.train_data.decoder.label_map_decoder.label_map") == str(labels)
    assert params.at("task.train_data.parser.aug_rand_hflip") is False
    compared = run("diff_config.py", "retinanet_mobilenetv2_256", tmp_path, "--format=json")
    assert compared.returncode == 1
    classes = {each["class"] for each in json.loads(compared.stdout)["operations"]}
    assert classes == {"architecture", "training", "evaluation", "paths"}
    wrong = run(
        *("render_config.py", "--model=retinanet_mobilenetv2_256", f"--output={output}"),
        *("--set", "task.modle.num_classes=3"),
    )
    assert wrong.returncode == 2 and "did you mean model" in wrong.stderr
    listed = run("zoo.py", "list", "--engine=tfvision", "--format=json")
    assert len(json.loads(listed.stdout)) == 48
    shown = run("zoo.py", "show", "retinanet_mobile_spinenet49_384").stdout
    assert "box_ap: 28.1" in shown and "27.6 (header of" in shown and "#13610" in shown
    assert run("diff_config.py", "retinanet_mobilenetv2_256", "none_such").returncode == 2
    for sources in (("retinanet_mobilenetv2_256", "none.config"), (ZOO_MODEL, "none.yaml")):
        missing = run("diff_config.py", *sources)
        assert missing.returncode == 2 and f"{sources[1]}: no such file" in missing.stderr
    again = run("render_config.py", f"--model={tmp_path}", f"--output={tmp_path}/again.yaml")
    assert "task.train_data.parser.aug_rand_hflip" in again.stdout
    assert (
        json.loads(
            run("diff_config.py", tmp_path, tmp_path / "again.yaml", "--format=json").stdout
        )["operations"]
        == []
    )
    for model, name in (("retinanet_mobilenetv2_256", "x.config"), (ZOO_MODEL, "x.yaml")):
        wrong = run("render_config.py", f"--model={model}", f"--output={tmp_path / name}")
        assert wrong.returncode == 2 and "its ending, .yaml or .yml" in wrong.stderr
        assert not (tmp_path / name).exists()
