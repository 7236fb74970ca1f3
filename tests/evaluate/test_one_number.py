"""One checkpoint, one number: by evaluation, by benchmark, from its export, from every tool."""

import copy
import json
import shutil
import subprocess
import sys

import pytest

from replicate import benchmark, config, export
from replicate.errors import UserError
from replicate.evaluate import detections, suppression
from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
from replicate.run import RunDir, read_json, write_json
from tests.evaluate.conftest import STEP, Case
from tests.evaluate.test_watch import PROJECT


@pytest.fixture(scope="module")
def run(ssd, tmp_path_factory):
    """A run directory with the SSD's checkpoint, evaluated."""
    run = RunDir.at(tmp_path_factory.mktemp("run"))
    ssd.save(STEP, run.checkpoints)
    write_json(run.spec, {"format": 1, "request": {}})
    run.pipeline_config.write_text(ssd.config_path.read_text())
    CheckpointEvaluator(run, ssd.config, ssd.annotations_file, ssd.image_dir).evaluate_all()
    return run


@pytest.fixture(scope="module")
def evaluated(run):
    metrics = read_json(run.eval_at(STEP) / "metrics.json")
    assert 0.05 < metrics["metrics"]["AP"] < 0.95
    return metrics


def _copy(run, folder):
    shutil.copytree(run.root, folder / "run")
    return RunDir.at(folder / "run")


def same(metrics, evaluated):
    """Asserts that the twelve metrics are those of the evaluation.

    Another size of batch is another order of some sums: scores differ in the seventh digit, and
    metrics only where two detections change places by it.
    """
    assert len(metrics) == 12
    assert metrics == pytest.approx(evaluated["metrics"], abs=1e-9)


@pytest.mark.parametrize("batch_size", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_run_directory_and_checkpoint(ssd, run, evaluated, batch_size):
    data = (ssd.annotations_file, ssd.image_dir)
    options = {"cache_dir": None, "progress": False, "batch_size": batch_size}
    of_run = benchmark(run.root, data, **options)
    same(of_run.metrics["bbox"], evaluated)
    told = of_run.to_json()["inference"]
    for name in ("decoder", "decoder_version", "suppression"):
        assert told[name] == evaluated["inference"][name]
    of_checkpoint = benchmark(
        run.checkpoints / f"ckpt-{STEP}", data, pipeline_config=run.pipeline_config, **options
    )
    same(of_checkpoint.metrics["bbox"], evaluated)


def test_a_moved_run_has_its_label_map(ssd, run, evaluated, tmp_path):
    """Its config names the place where it was made; the file lies where the run does now."""
    moved = _copy(run, tmp_path)
    moved.data.mkdir()
    shutil.copy(ssd.folder / "label_map.pbtxt", moved.data)
    message = copy.deepcopy(ssd.config)
    message.eval_input_reader[0].label_map_path = "/where/it/was/made/data/label_map.pbtxt"
    moved.pipeline_config.write_text(config.to_text(message))
    evaluator = CheckpointEvaluator(moved, message, ssd.annotations_file, ssd.image_dir)
    shutil.rmtree(moved.evals)
    same(evaluator.evaluate_all()["metrics"], evaluated)
    (moved.data / "label_map.pbtxt").unlink()
    with pytest.raises(UserError, match="/where/it/was/made/data/label_map.pbtxt"):
        detections.Evaluation(message, ssd.annotations_file, ssd.image_dir, beside=moved.root)


def test_suppression_of_the_api(ssd, run, evaluated, tmp_path):
    """The API's own, asked for: it runs, it is told, and it gives the same number."""
    assert evaluated["inference"]["suppression"] == "kit"
    record = benchmark(
        run.root,
        (ssd.annotations_file, ssd.image_dir),
        suppression="api",
        cache_dir=None,
        progress=False,
    )
    assert record.inference["suppression"] == "api" and "API's own suppression" in record.text()
    same(record.metrics["bbox"], evaluated)
    # A checkpoint that was evaluated with the other one is evaluated again, once.
    again = _copy(run, tmp_path)

    def evaluate(image_dir=ssd.image_dir, **options):
        return CheckpointEvaluator(again, ssd.config, ssd.annotations_file, image_dir, **options)

    asked = {"suppressed_by": suppression.API}
    assert evaluate("nowhere").evaluate_all() == evaluated
    by_api = evaluate(**asked).evaluate_all()
    assert by_api["inference"]["suppression"] == "api"
    same(by_api["metrics"], evaluated)
    assert evaluate("nowhere", **asked).evaluate_all() == json.loads(json.dumps(by_api))


def test_other_annotations_are_evaluated_anew(ssd, run, evaluated, tmp_path):
    """Metrics of another annotation file are not those that were asked for."""
    again = _copy(run, tmp_path)
    document = read_json(ssd.annotations_file)
    document["annotations"] = document["annotations"][::2]
    write_json(tmp_path / "half.json", document)
    half = CheckpointEvaluator(
        again, ssd.config, tmp_path / "half.json", ssd.image_dir
    ).evaluate_all()
    assert half["annotations"]["annotations"] < evaluated["annotations"]["annotations"]
    assert half["metrics"] != evaluated["metrics"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", ["ssd", "faster_rcnn"])
def test_every_tool_and_the_export(family, request, tmp_path):
    """tools/evaluate.py, tools/benchmark.py on the checkpoint and on its export, and Python."""
    if family == "ssd":
        case = request.getfixturevalue("ssd")
    else:
        case = Case(tmp_path / "case", family)
        case.make_objects()
    files = [f"--annotations_file={case.annotations_file}", f"--image_dir={case.image_dir}"]
    checkpoint = case.checkpoint_dir / f"ckpt-{STEP}"

    def tool(name, *arguments):
        done = subprocess.run(
            [sys.executable, PROJECT / "tools" / name, *files, *map(str, arguments)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    said = tool(
        "evaluate.py",
        f"--pipeline_config_path={case.config_path}",
        f"--checkpoint={checkpoint}",
        f"--output={tmp_path / 'detections.json.gz'}",
        f"--metrics_output={tmp_path / 'metrics.json'}",
    )
    assert "images decoded by TensorFlow" in said and "the kit's suppression" in said
    evaluated = read_json(tmp_path / "metrics.json")
    export.export(case.config, str(case.checkpoint_dir), tmp_path / "exported")
    exported = benchmark(
        tmp_path / "exported",
        (case.annotations_file, case.image_dir),
        cache_dir=None,
        progress=False,
    )
    assert exported.inference["suppression"] == "model"
    same(exported.metrics["bbox"], evaluated)
    for arguments in (
        [f"--model={checkpoint}", f"--pipeline_config={case.config_path}"],
        [f"--model={tmp_path / 'exported'}"],
        [f"--model={tmp_path / 'detections.json.gz'}"],
    ):
        tool("benchmark.py", "--nocache", f"--output={tmp_path / 'record.json'}", *arguments)
        same(read_json(tmp_path / "record.json")["metrics"]["bbox"], evaluated)
