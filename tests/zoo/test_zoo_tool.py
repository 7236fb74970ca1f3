"""tools/zoo.py and tools/show_schedule.py, as a user calls them."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from replicate import config, zoo
from tests.conftest import PROJECT

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True
    )


def listed(*flags):
    done = run_tool("tools/zoo.py", "list", "--format=json", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_list_as_json_is_the_whole_registry():
    records = listed()
    assert len(records) == 43
    (record,) = [record for record in records if record["archive"] == FPNLITE]
    assert record["box_map"] == 22.2 and record["speed_ms"] == 22
    assert record["input_size"] == "320x320" and record["outputs"] == ["Boxes"]


def test_list_sorted_and_by_family():
    by_map = [record["box_map"] or 0 for record in listed("--sort=map")]
    assert by_map == sorted(by_map, reverse=True) and by_map[0] == 51.2
    by_speed = [record["speed_ms"] for record in listed("--sort=speed") if record["speed_ms"]]
    assert by_speed == sorted(by_speed) and by_speed[0] == 6
    efficientdets = listed("--family=efficientdet")
    assert len(efficientdets) == 8
    assert {record["family"] for record in efficientdets} == {"efficientdet"}


def test_list_as_a_table():
    lines = run_tool("tools/zoo.py", "list").stdout.splitlines()
    assert len(lines) == 44 and lines[0].split()[:3] == ["model", "input", "ms"]
    (line,) = [line for line in lines if line.startswith(FPNLITE)]
    assert line.split() == [FPNLITE, "320x320", "22", "22.2", "public"]
    assert sum(line.endswith("in the archive") for line in lines) == 8


@pytest.mark.parametrize("model", ["efficientdet_d6_coco17_tpu-32", "EfficientDet D6 1280x1280"])
def test_show(model):
    done = run_tool("tools/zoo.py", "show", model, "--format=json")
    record = json.loads(done.stdout)
    assert record["config"]["images_seen"] == 38_400_000
    assert record["note"] == zoo.find(model).note != ""
    text = run_tool("tools/zoo.py", "show", model).stdout
    assert "box_map: 50.5" in text and "  batch_size: 128" in text


def test_show_a_recipe_that_the_table_does_not_list():
    done = run_tool("tools/zoo.py", "show", "faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8")
    assert done.returncode == 0 and "its training config alone is public" in done.stdout
    assert "published: 31.4 (box, val2017 stated; header, tensorflow/models:" in done.stdout


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "say what to do"),
        (["show"], "say what to do"),
        (["show", "ssd_mobilenet_v2_320"], "did you mean ssd_mobilenet_v2_320x320_coco17_tpu-8?"),
        (["list", "--family=yolo"], "--family=yolo"),
    ],
)
def test_mistakes(arguments, told):
    done = run_tool("tools/zoo.py", *arguments)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr


def test_show_schedule_prints_the_boundaries(tmp_path):
    message = config.render(FPNLITE, schedule="piecewise_1x", global_batch_size=64)
    path = tmp_path / "pipeline.config"
    path.write_text(config.to_text(message))
    done = run_tool("tools/show_schedule.py", FPNLITE, path)
    rows = [line.split() for line in done.stdout.splitlines()]
    # step, images seen, rate
    assert ["1,000", "128,000", "0.08", "end", "of", "warm-up"] in rows
    assert ["50,000", "6,400,000", "0", "end", "of", "training"] in rows
    assert ["2,000", "128,000", "0.04", "end", "of", "warm-up"] in rows
    assert ["15,000", "960,000", "0.004", "step"] in rows
    assert ["22,500", "1,440,000", "0.0004", "end", "of", "training"] in rows


def test_show_schedule_of_tf_vision():
    """By coco_mobilenetv2_tpu.yaml: the rate before a boundary holds to that step itself."""
    rows = run_tool("tools/show_schedule.py", "retinanet_mobilenetv2_256").stdout.splitlines()
    assert rows[0] == "retinanet_mobilenetv2_256: stepwise, batch 256"
    assert [row.split()[:3] for row in rows[2:]] == [
        ["0", "0", "0.0067"],
        ["2,000", "512,000", "0.32"],
        ["263,341", "67,415,296", "0.032"],
        ["272,581", "69,780,736", "0.0032"],
        ["277,200", "70,963,200", "0.0032"],
    ]


def test_show_schedule_draws(tmp_path):
    png, svg = tmp_path / "s.png", tmp_path / "s.svg"
    for path in (png, svg):
        done = run_tool("tools/show_schedule.py", FPNLITE, f"--output={path}", "--log")
        assert (done.returncode, done.stderr) == (0, "")
    with Image.open(png) as picture:
        assert picture.size == (1800, 675)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10  # not blank
    assert svg.read_text().rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "name at least one config"),
        ([FPNLITE, "--output=s.jpg"], "must end in .png or .svg"),
        (["nowhere.config"], "no such file"),
    ],
)
def test_show_schedule_on_mistakes(arguments, told):
    done = run_tool("tools/show_schedule.py", *arguments)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
