"""A detector that runs under another Python, in a process of its own."""

import os
import pathlib
import subprocess
import sys
import venv

import numpy as np
import psutil
import pytest

from replicate.errors import UserError
from tests.benchmark.conftest import NAMES
from tests.benchmark.replaying import corners_of, images_of, run

DETECTOR = """
import sys, json, pathlib
import numpy as np

def make(options):
    here = pathlib.Path(__file__).parent
    recorded = np.load(here / "recorded.npz", allow_pickle=False)
    def detect(image):
        print("a library that talks")  # must not come between the answers
        key = str(int(image.astype(np.int64).sum()))
        return {"boxes_xyxy_px": recorded[key + "/boxes"], "scores": recorded[key + "/scores"],
                "class_names": recorded[key + "/names"]}
    detect.about = sys.prefix
    return detect

def broken(options):
    raise RuntimeError("weights are missing")

def silent(options):
    return lambda image: {"boxes_xyxy_px": [[0, 0, 1, 1]]}

def fails_on_one(options):
    def detect(image):
        if image.shape[0] == 100:
            raise ValueError("a shape it does not know")
        return {"boxes_xyxy_px": np.zeros((0, 4)), "scores": [], "class_names": []}
    return detect

def crashes(options):
    import os
    return lambda image: os._exit(7)
"""


@pytest.fixture(scope="module")
def detector(drawn, recorded, tmp_path_factory):
    """(a detector's file, the Python of another environment, which has NumPy alone)."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "detector.py").write_text(DETECTOR)
    arrays = {}
    for image, one in zip(images_of(drawn), recorded[0], strict=True):
        key = str(int(image.astype(np.int64).sum()))
        arrays[f"{key}/boxes"] = corners_of(one)
        arrays[f"{key}/scores"] = one.scores
        arrays[f"{key}/names"] = np.array([NAMES[id] for id in one.category_ids])
    np.savez(folder / "recorded.npz", **arrays)
    venv.create(folder / "env", symlinks=True, with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    ours = pathlib.Path(np.__file__).parent
    for package in (ours, ours.with_name("numpy.libs")):
        if package.exists():
            os.symlink(package, pathlib.Path(site) / package.name)
    return folder / "detector.py", str(python)


def test_a_detector_in_another_environment(drawn, recorded, detector):
    path, python = detector
    alone = subprocess.run([python, "-c", "import tensorflow"], capture_output=True)
    assert alone.returncode != 0
    record = run(f"{path}:make", drawn, python=python)
    assert record.metrics["bbox"] == recorded[1]
    assert str(path.parent / "env") in record.speed["device"]
    assert record.model["identity"] is None  # what the file loads cannot be told from it
    # The detector's own seconds, without the way of the images through files.
    assert record.speed["latency_ms"]["median"] > 0


def test_a_detector_elsewhere_that_fails(drawn, detector):
    path, python = detector
    line = next(i for i, text in enumerate(DETECTOR.split("\n"), 1) if "weights are" in text)
    before = set(psutil.Process().children())
    with pytest.raises(UserError) as caught:
        run(f"{path}:broken", drawn, python=python)
    told = f"RuntimeError: weights are missing ({path}, line {line}, in broken)"
    assert f"{path}:broken: {told}; its traceback is in " in str(caught.value)
    log = pathlib.Path(str(caught.value).rpartition(" is in ")[2])
    assert "Traceback" in log.read_text() and "Traceback" not in str(caught.value)
    log.unlink()
    assert set(psutil.Process().children()) <= before
    with pytest.raises(UserError, match=r"1\.png \(image 1\): .*expected scores and one of"):
        run(f"{path}:silent", drawn, python=python)
    with pytest.raises(UserError, match=r"3\.png \(image 3\): .*ValueError: a shape it does not"):
        run(f"{path}:fails_on_one", drawn, python=python, batch_size=2)
    with pytest.raises(UserError, match="ended with status 7"):
        run(f"{path}:crashes", drawn, python=python)
    with pytest.raises(UserError, match="no function 'mak' in it; there are: broken, crashes"):
        run(f"{path}:mak", drawn, python=python)
    with pytest.raises(UserError, match="no such interpreter"):
        run(f"{path}:make", drawn, python="/nowhere/python")
    with pytest.raises(UserError, match="no such file"):
        run(f"{path}x:make", drawn, python=sys.executable)
