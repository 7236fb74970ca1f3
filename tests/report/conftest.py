"""A drawn data set, a run directory on it and a comparison of four, made once."""

import shutil

import numpy as np
import pytest
from PIL import Image

from replicate import report
from replicate.benchmarking import ModelDetections, benchmark
from replicate.run import read_json, write_json
from tests.report import browsing, making

# What outside data may hold: it must be shown, never run.
HOSTILE = "<script>document.title='run'</script>"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(annotations_file, image_dir) of 16 drawn images; one category has a hostile name."""
    folder = tmp_path_factory.mktemp("drawn")
    return making.groundtruth(folder, images=16, names=("disc", HOSTILE, "tri|angle"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, drawn):
    """RunDir of a whole run with its report; not to be changed."""
    run = making.run_directory(tmp_path_factory.mktemp("runs") / "finished", *drawn)
    report.write(run)
    return run


@pytest.fixture
def run(tmp_path, finished_run):
    """A copy of the run directory, without its report, for a test to break."""
    root = tmp_path / "run"
    shutil.copytree(finished_run.root, root, ignore=shutil.ignore_patterns("report"))
    return type(finished_run)(root)


@pytest.fixture(scope="session")
def compared_runs(tmp_path_factory, drawn, finished_run):
    """dict name -> RunDir: the finished run, another seed, another learning rate."""
    folder = tmp_path_factory.mktemp("compared")
    return {
        "finished": finished_run,
        "second": making.run_directory(folder / "second", *drawn, seed=1),
        "lower_rate": making.run_directory(
            folder / "lower_rate", *drawn, learning_rate=0.02, skill=0.5
        ),
    }


@pytest.fixture(scope="session")
def record(tmp_path_factory, drawn):
    """(record.json, detections) of a benchmark of a detector that knows some answers."""
    folder = tmp_path_factory.mktemp("benchmark")
    found = making.detections(drawn[0], skill=0.9, seed=77)
    known = {}
    for image in read_json(drawn[0])["images"]:
        pixels = np.asarray(Image.open(f"{drawn[1]}/{image['file_name']}").convert("RGB"))
        known[pixels.tobytes()] = [each for each in found if each["image_id"] == image["id"]]

    def detector(images):
        return [
            ModelDetections(
                boxes_xywh_px=np.array([each["bbox"] for each in known[image.tobytes()]]),
                scores=np.array([each["score"] for each in known[image.tobytes()]]),
                category_ids=np.array([each["category_id"] for each in known[image.tobytes()]]),
            )
            for image in images
        ]

    made = benchmark(detector, drawn, cache_dir=None, progress=False)
    made.write(folder / "other.json")
    write_json(folder / "other_dt.json.gz", made.detected.as_list())
    return folder / "other.json", folder / "other_dt.json.gz"


@pytest.fixture(scope="session")
def compared(tmp_path_factory, compared_runs, record):
    """The folder of a comparison of three runs and a benchmark."""
    folder = tmp_path_factory.mktemp("comparison")
    paths = [*(str(run.root) for run in compared_runs.values()), ":".join(map(str, record))]
    report.write_comparison(paths, folder, with_zoo=True, samples=60)
    return folder


@pytest.fixture(scope="module")
def told(finished_run):
    """report.json of the finished run."""
    return read_json(finished_run.report / "report.json")


@pytest.fixture
def page(driver, finished_run):
    """The finished run's page."""
    with browsing.opened(driver, finished_run.report / "index.html") as opened:
        yield opened
