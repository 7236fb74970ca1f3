"""The Beam pipeline's shards, manifest and ledger are those of the local conversion.

Beam lives in an environment of its own (requirements-beam.txt): BEAM_PYTHON names its interpreter,
by default build/beam/bin/python.
"""

import os
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path("tools/create_coco_tf_record.py").absolute()
BEAM_PYTHON = os.environ.get("BEAM_PYTHON", "build/beam/bin/python")


@pytest.fixture(scope="module")
def beam_python():
    has_beam = [BEAM_PYTHON, "-c", "import apache_beam"]
    try:
        found = subprocess.run(has_beam, capture_output=True).returncode == 0
    except OSError:
        found = False
    if not found:
        pytest.skip(f"{BEAM_PYTHON} has no apache_beam: see requirements-beam.txt")
    return BEAM_PYTHON


def run(python, dataset, output, *options):
    return subprocess.run(
        [
            *(python, TOOL, f"--annotations_file={dataset.annotations}"),
            *(f"--image_dir={dataset.images}", f"--output_path={output}", "--num_shards=3"),
            *options,
        ],
        capture_output=True,
        text=True,
    )


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", [[], ["--include_masks", "--invalid_boxes=clip"]])
def test_same_bytes_as_the_local_conversion(options, beam_python, dataset, tmp_path):
    def spoil(document):
        document["annotations"][1]["bbox"][2] = 500.0
        document["annotations"].append(document["annotations"][2] | {"id": 1, "image_id": 1})

    dataset.change(spoil)
    options = [*options, "--on_error=skip"]
    by_beam = run(beam_python, dataset, tmp_path / "beam/set", *options, "--runner=DirectRunner")
    assert by_beam.returncode == 0, by_beam.stderr
    local = run(sys.executable, dataset, tmp_path / "local/set", *options)
    assert local.returncode == 0, local.stderr
    assert content(tmp_path / "beam") == content(tmp_path / "local")
    assert len(content(tmp_path / "beam")) == 5
    assert by_beam.stdout == local.stdout.replace("/local/", "/beam/")


def _missing_image(dataset):
    dataset.path(3).unlink()
    return "image 121: "


def _no_coco(dataset):
    dataset.annotations.write_text('{"images": 3}')
    return "instances.json: not COCO annotations"


def _no_file(dataset):
    dataset.annotations.unlink()
    return "instances.json: no such annotation file"


@pytest.mark.parametrize("spoil", [_missing_image, _no_coco, _no_file])
def test_mistakes_are_told_with_status_2(spoil, beam_python, dataset, tmp_path):
    message = spoil(dataset)
    done = run(beam_python, dataset, tmp_path / "out/set", "--runner=DirectRunner")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    left = [path.name for path in (tmp_path / "out").glob("*")]
    assert not any(name.endswith((".partial", ".json")) for name in left)


def test_a_finished_conversion_is_left_alone(beam_python, dataset, tmp_path):
    assert run(beam_python, dataset, tmp_path / "o/set", "--runner=DirectRunner").returncode == 0
    before = content(tmp_path / "o")
    again = run(beam_python, dataset, tmp_path / "o/set", "--runner=DirectRunner")
    assert (again.returncode, "is a finished conversion" in again.stderr) == (2, True)
    assert content(tmp_path / "o") == before


def test_without_beam_the_tool_says_how_to_get_it(dataset, tmp_path):
    done = run(sys.executable, dataset, tmp_path / "o/set", "--runner=DirectRunner")
    assert done.returncode == 2
    assert "requirements-beam.txt" in done.stderr
