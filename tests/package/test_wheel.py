"""The wheel in an environment of its own: what it holds, and its tools from an empty folder."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

from replicate import config, installation
from replicate.demo import drawing

PROJECT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def _run(command, status=0, **options):
    """What a command says, which ends with this status: its answer, or its message."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stderr if status else done.stdout


def _tracked():
    names = _run(("git", "ls-files", "-z"), cwd=PROJECT).split("\0")
    return [name for name in names if name and (PROJECT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the files that are under version control."""
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in _tracked():
        if not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    _run((*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", output, source))
    return next(output.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs a command of an environment with the wheel, in an empty folder.

    The packages that the kit needs are those of the environment that runs this test.
    """
    root = tmp_path_factory.mktemp("environment")
    _run((sys.executable, "-m", "venv", "--without-pip", root))
    python = root / "bin" / "python"
    own = _run((python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])")).strip()
    _run((*PIP, "--python", python, "install", "--no-deps", wheel))
    (pathlib.Path(own) / "needs.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty = tmp_path_factory.mktemp("empty")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command, status=0):
        command = (root / "bin" / command[0], *command[1:])
        return _run(command, status, cwd=empty, env=environment)

    run.folder, run.root = empty, root
    return run


def test_the_wheel_holds_every_file_of_the_kit(wheel):
    places = {"configs": "replicate_tf2_zoo/configs", "tools": "replicate_tf2_zoo/tools"}
    wanted = {
        f"{places.get(top, top)}/{rest}"
        for top, _, rest in (name.partition("/") for name in _tracked())
        if top in ("replicate", "tfrecords", *places)
    }
    held = set(_run((sys.executable, "-m", "zipfile", "--list", wheel)).split())
    assert wanted - held == set()


def test_it_is_imported_from_there(installed):
    told = installed(
        "python",
        "-c",
        "import replicate, tfrecords; from replicate import benchmark, installation;"
        "print(replicate.__file__, tfrecords.__file__, installation.HOME, sep='\\n')",
    ).splitlines()
    assert all(path.startswith(str(installed.root)) for path in told)
    assert told[2].endswith("/replicate_tf2_zoo")
    assert installed("replicate-tf2-zoo", "--version").startswith("replicate-tf2-zoo 0.")


def test_every_tool_is_found_by_name(installed):
    listed = installed("replicate-tf2-zoo")
    assert set(installation.tool_names()) <= set(listed.split())
    assert "--model" in installed("replicate-tf2-zoo", "render-config", "--help")


def test_render_and_diff(installed):
    """A config of configs/ is found, and is the one that a checkout renders."""
    command = ("replicate-tf2-zoo", "render_config", f"--model={MODEL}", "--output=r.config")
    installed(*command, "--train_records=t", "--val_records=v")
    rendered = config.read(installed.folder / "r.config")
    published = config.template(MODEL)
    assert rendered.model == published.model
    assert rendered.train_config.optimizer == published.train_config.optimizer
    told = installed("replicate-tf2-zoo", "diff_config", MODEL, MODEL)
    assert told == "no difference\n"


def test_commands_are_named_as_they_are_typed_there(installed):
    """In help, in messages of tools and rooms, in errors that a script catches."""
    told = installed("replicate-tf2-zoo", "render_config", "--help")
    assert "    replicate-tf2-zoo render_config --model=" in told
    refused = installed("replicate-tf2-zoo", "lint_config", status=2)
    assert "replicate-tf2-zoo lint_config pipeline.config" in refused
    refused += installed("replicate-tf2-zoo", "score", status=2)
    assert "see: replicate-tf2-zoo score --help" in refused
    told += refused + installed(
        "python", "-c", "from replicate import zoo; print(zoo.unknown('x'))"
    )
    assert "all of them: replicate-tf2-zoo zoo list" in told
    assert "python tools/" not in told


def test_convert_and_score(installed):
    """Two objects on one image, one of them found: at every threshold half of the recall."""
    folder = installed.folder
    annotations_file, images = drawing.draw(folder / "drawn", train_images=2, val_images=1)["train"]
    installed(
        "replicate-tf2-zoo",
        "create_coco_tf_record",
        f"--annotations_file={annotations_file}",
        f"--image_dir={images}",
        "--output_path=records/train",
        "--num_shards=1",
    )
    assert (folder / "records" / "train-00000-of-00001.tfrecord").is_file()
    boxes = [[10, 10, 40, 40], [100, 100, 50, 50]]
    annotations = {
        "images": [{"id": 1, "width": 200, "height": 200, "file_name": "1.jpg"}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for n, b in enumerate(boxes, 1)
        ],
    }
    (folder / "a.json").write_text(json.dumps(annotations))
    found = [{"image_id": 1, "category_id": 1, "bbox": boxes[0], "score": 0.9}]
    (folder / "d.json").write_text(json.dumps(found))
    installed(
        "replicate-tf2-zoo",
        "score",
        "--annotations_file=a.json",
        "--detections=d.json",
        "--output=s.json",
    )
    metrics = json.loads((folder / "s.json").read_text())["metrics"]
    assert metrics["AR@100"] == pytest.approx(0.5)
    # Of COCO's 101 recall levels, 0.00 to 0.50 are reached, at a precision of 1.
    assert metrics["AP"] == pytest.approx(51 / 101)
