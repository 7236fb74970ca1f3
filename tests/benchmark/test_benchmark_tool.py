"""tools/benchmark.py as a user calls it."""

import json
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/benchmark.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def test_tflite_from_the_command_line(shared, tmp_path):
    folder, models = shared / "coco/val128", shared / "models"
    arguments = (
        f"--model={models / 'detect.tflite'}",
        f"--labels={models / 'labelmap.txt'}",
        f"--annotations_file={folder / 'instances_val128.json'}",
        f"--image_dir={folder / 'val2017'}",
        "--num_images=16",
        "--paper_results=box AP=22.2",
        "--categories",
        f"--cache_dir={tmp_path / 'cache'}",
        f"--pictures={tmp_path / 'pictures'}",
        f"--output={tmp_path / 'record.json'}",
        f"--detections_output={tmp_path / 'detections.json'}",
    )
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    assert "box AP" in first.stdout and "NOT COMPARABLE" in first.stdout
    assert "person " in first.stdout and "images/s" in first.stdout
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["model"]["name"] == "detect" and record["metrics"]["bbox"]["AP"] > 0.1
    assert (tmp_path / "pictures/sheet.jpg").is_file()
    # Again: nothing is run, and the same is said but for where the speed comes from.
    again = run(*arguments)
    assert "image/s" not in again.stderr
    assert again.stdout == first.stdout.replace("threads\n", "threads, as measured when it ran\n")
    # The detections as a file: the same score.
    from_file = run(
        f"--model={tmp_path / 'detections.json'}", *arguments[2:6], "--nocache", "--pictures="
    )
    assert from_file.returncode == 0, from_file.stderr
    assert f"{record['metrics']['bbox']['AP']:.4f}" in from_file.stdout


def test_figures_of_these_images(drawn, tmp_path):
    """The figure of another evaluator on the same images: held against, with an exit status."""
    truth = json.loads(pathlib.Path(drawn.annotations_file).read_text())
    objects = [each for each in truth["annotations"] if not each.get("iscrowd")]
    found = [
        {key: each[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9 - 0.001 * k}
        for k, each in enumerate(objects)
    ]
    detections = tmp_path / "detections.json"
    detections.write_text(json.dumps(found))
    arguments = (
        f"--model={detections}",
        f"--annotations_file={drawn.annotations_file}",
        "--nocache",
        "--paper_results=box AP=100",
    )
    here = run(*arguments, "--paper_results_on=this")
    assert here.returncode == 0 and "REPLICATED: 100.00 against 100.0" in here.stdout
    assert "the images evaluated here" in here.stdout
    missed = run(*arguments[:3], "--paper_results=box AP=90", "--paper_results_on=this")
    assert missed.returncode == 1 and "NOT REPLICATED" in missed.stdout
    assert "NOT COMPARABLE" in run(*arguments).stdout  # taken to be of val2017


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--paper_results=box AP"], "'box AP' is not NAME=POINTS"),
        (["--paper_results=boxAP=22"], "unknown metric 'boxAP'; did you mean 'box AP'"),
        (["--paper_results_on=this"], "--paper_results_on goes with --paper_results"),
        (["--name=ssd_mobilenet"], "no published results of 'ssd_mobilenet'"),
        (["--labels=l.txt"], "labels: a file of detections has no such option, it is one of a zoo"),
        (["--jit_compile"], "no such option, it is one of a checkpoint or run directory\n"),
        (
            ["--notf32"],
            "of a frozen graph; what another library, or a process of its own, computes",
        ),
        (["--notf32", "--all_forms"], "--notf32: not with --all_forms"),
        (["--iou_types=boxes"], "iou_type 'boxes'; there are"),
    ],
)
def test_usage_errors(drawn, tmp_path, flags, message):
    detections = tmp_path / "detections.json"
    detections.write_text("[]")
    done = run(
        f"--model={detections}",
        f"--annotations_file={drawn.annotations_file}",
        f"--image_dir={drawn.image_dir}",
        "--nocache",
        *flags,
    )
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches():
    done = run("--help")
    assert done.returncode == 0
    assert "python tools/benchmark.py --model=" in done.stdout and "--arxiv" in done.stdout


def test_detections_need_no_images_and_are_written_as_they_were_scored(drawn, tmp_path):
    """A file of corners: mended by request, written mended, scored again without a fix."""
    from replicate import run as files
    from tests.benchmark.test_benchmark import by_hand

    results = by_hand(drawn)
    for each in results:
        x, y, width, height = each["bbox"]
        each["bbox"] = [x, y, x + width, y + height]
    # One more, of an image that the file does not have: it is left out.
    files.write_json(tmp_path / "corners.json", [*results, results[0] | {"image_id": 99}])

    def benchmark(model, *flags):
        return run(
            f"--model={tmp_path / model}",
            f"--annotations_file={drawn.annotations_file}",
            f"--cache_dir={tmp_path / 'cache'}",
            *flags,
        )

    mended = benchmark(
        "corners.json",
        "--fix=corner_boxes,unknown_images",
        f"--detections_output={tmp_path / 'mended.json.gz'}",
        f"--output={tmp_path / 'mended-record.json'}",
    )
    assert mended.returncode == 0, mended.stderr
    assert "! --fix=corner_boxes converts them (18 of 18 detections)" in mended.stdout
    again = benchmark("mended.json.gz", f"--output={tmp_path / 'record.json'}")
    assert again.returncode == 0, again.stderr
    records = [files.read_json(tmp_path / f"{name}.json") for name in ("mended-record", "record")]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["metrics"]["bbox"]["AP"] > 0.5
    assert "corner_boxes" in str(records[0]["remarks"]["bbox"])
    written = files.read_json(tmp_path / "mended.json.gz")
    assert written == by_hand(drawn)
