"""`import replicate` is the Python API: what it lists is there, documented, and shows short."""

import inspect
import json
import subprocess
import sys

import pytest

import replicate
from tests.conftest import PROJECT

MODEL = "ssd_mobilenet_v2_320x320_coco17_tpu-8"
NOTEBOOK = PROJECT / "docs" / "from-records-to-report.ipynb"


@pytest.fixture
def scored(tmp_path):
    """An annotation file of one object, and detections that find it."""
    truth = {
        "images": [{"id": 1, "width": 40, "height": 30, "file_name": "a<b>.jpg"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 12], "area": 120}
            | {"iscrowd": 0}
        ],
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(truth))
    return path, [{"image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 12], "score": 0.9}]


def test_what_is_listed_is_there_and_documented():
    assert [name for name in dir(replicate) if not name.startswith("_")] == [
        "benchmark",
        "convert",
        "diff",
        "render",
        "score",
        "verdict",
    ]
    for name in replicate.__all__:
        function = getattr(replicate, name)
        assert callable(function) and inspect.getdoc(function), name
        assert inspect.signature(function).parameters, name


def test_a_room_is_called_and_keeps_its_functions(scored):
    assert replicate.score(*scored).metrics == replicate.score.score(*scored).metrics
    assert replicate.score.METRICS["bbox"][0] == "AP"
    assert list(inspect.signature(replicate.score).parameters)[:2] == [
        "annotations_file",
        "detections",
    ]
    with pytest.raises(replicate.errors.UserError, match="name the run directories"):
        replicate.verdict()


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda truth, found: replicate.score(truth, found, num_images=0), "num_images is 0"),
        (lambda truth, found: replicate.score(truth, found, num_images=-5), "1 or more"),
        (lambda truth, found: replicate.score(truth, None), "no detections"),
        (lambda truth, found: replicate.render(MODEL, scale="sqrt"), "there are: linear, none"),
        (lambda truth, found: replicate.render(MODEL, num_steps=0), "num_steps is 0"),
        (lambda truth, found: replicate.render(MODEL, global_batch_size="32"), "is '32'"),
        (lambda truth, found: replicate.render(MODEL, schedule="foo"), "piecewise_1x"),
        (lambda truth, found: replicate.diff(MODEL, {}), "dict is no config"),
        (lambda truth, found: replicate.convert(truth, ".", "r/v", "2"), "'2' shards"),
        (lambda truth, found: replicate.verdict("runs", model="nope"), "runs"),
        (lambda truth, found: replicate.verdict("runs", kind="both"), "there are: training"),
    ],
)
def test_a_wrong_argument_is_named(scored, tmp_path, monkeypatch, ask, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(replicate.errors.UserError, match=told):
        ask(*scored)


def test_overrides_may_be_a_dict():
    (difference,) = replicate.diff(
        MODEL, replicate.render(MODEL, overrides={"train_config.num_steps": "7"})
    )
    assert (difference.path, difference.b) == ("train_config.num_steps", 7)


def test_results_are_short_and_tables_in_a_notebook(scored, tmp_path):
    result = replicate.score(*scored)
    assert repr(result) == ("<score of bbox on 1 images: AP 1.0000, AP50 1.0000, AR@100 1.0000>")
    assert "<td" in result._repr_html_() and "pycocotools" in result._repr_html_()

    changed = replicate.render(MODEL, overrides=[("train_config.num_steps", "7")])
    differences = replicate.diff(MODEL, changed)
    assert [each.path for each in differences] == ["train_config.num_steps"]
    assert not differences.same and replicate.diff(MODEL, MODEL).same
    assert repr(differences) == f"<differences of {MODEL} and a config: 1 training>"
    assert "train_config.num_steps" in differences._repr_html_()


def test_what_comes_from_a_file_is_escaped():
    from replicate import python_api

    hostile = "<script>"
    assert hostile not in python_api.table(hostile, [hostile], [[hostile]], [hostile])


def test_the_api_loads_when_it_is_asked_for():
    code = "import sys, replicate; dir(replicate); print([m for m in sys.modules if m.startswith("
    done = subprocess.run(
        [sys.executable, "-c", code + "'replicate.')])"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_notebook_names_what_there_is():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    compile(text, str(NOTEBOOK), "exec")
    assert "replicate.verdict(" in text and "replicate.convert(" in text


@pytest.mark.slow  # trains the demo: three minutes
def test_the_notebook_runs(tmp_path):
    """Its code cells in their order, as a kernel runs them, in an empty folder."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    script = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "NOT COMPARABLE" in done.stdout
    assert (tmp_path / "notebook-demo" / "run" / "report" / "index.html").is_file()
