"""What the doctor's page says of machines in the states that users have met."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from replicate import installation
from replicate.doctor import asked, software

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TOOL = PROJECT / "tools" / "doctor.py"
# Set by a user's shell, these would be another state than the one a test is about.
UNSET = ("TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")


def _doctor(*flags, python=(sys.executable,), **variables):
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        [*python, str(TOOL), *flags],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment | {name: str(value) for name, value in variables.items()},
    )


def _findings(done):
    return {finding["about"]: finding for finding in json.loads(done.stdout)}


def test_all_is_well_on_a_cpu(tmp_path):
    done = _doctor(f"--folder={tmp_path / 'runs'}")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 100  # one page
    assert "FAIL" not in done.stdout
    for said in (
        "Python",
        "all 17",  # pinned packages, over 170
        "2.20.0, built for CUDA 12.5.1 and cuDNN 9",
        "2, through tf_keras",
        "backend upb",
        "unmodified: its 539 files",
        "Mixed precision",
        "inside TensorFlow",
        "free in",
        "at once",
    ):
        assert said in done.stdout, said


@pytest.mark.slow
def test_every_library_that_is_missing_is_named_by_its_file(cuda_without):
    folder = cuda_without("libcudnn.so.9", "libcufft.so.11")
    done = _doctor("--json", LD_LIBRARY_PATH=folder)
    assert done.returncode == 1
    cuda = _findings(done)["CUDA libraries"]
    assert cuda["gravity"] == "fail"
    assert "did not find libcudnn.so.9, libcufft.so.11:" in cuda["seen"]
    assert "nvidia-cudnn-cu12 and nvidia-cufft-cu12" in cuda["do"]


@pytest.mark.slow
def test_gpus_that_tensorflow_does_not_use(cuda_without, driver_of_two):
    paths = f"{driver_of_two}:{cuda_without('libcudnn.so.9')}"
    done = _doctor("--json", LD_LIBRARY_PATH=paths)
    assert done.returncode == 1
    findings = _findings(done)
    assert findings["GPU 1"]["seen"] == "NVIDIA A100-SXM4-40GB, 40 GiB, compute capability 8.0"
    assert "570.86.15, for CUDA up to 12.8" in findings["Driver"]["seen"]
    assert findings["GPUs used"]["gravity"] == "fail"
    assert "uses 0 of 2" in findings["GPUs used"]["seen"]
    assert "did not find libcudnn.so.9:" in findings["CUDA libraries"]["seen"]
    assert "bfloat16" in findings["Mixed precision"]["seen"]
    gravities = [finding["gravity"] for finding in json.loads(done.stdout)]
    assert gravities == sorted(gravities, key=["fail", "warn", "ok"].index)


def test_without_the_kits_packages_it_still_answers():
    done = _doctor(python=(sys.executable, "-I", "-S"))
    assert done.returncode == 1
    assert "FAIL  Packages" in done.stdout and "make venv" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_misspelled_flag_is_a_usage_error():
    assert _doctor("--folders=x").returncode == 2


def _asked(question, **variables):
    return asked.ask(question, environment={name: str(v) for name, v in variables.items()})


@pytest.fixture(scope="module")
def keras_3_first(tmp_path_factory):
    """What the engine answers where something imports Keras 3 as Python starts."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text("import keras\n")
    return _asked("engine", PYTHONPATH=folder, TF_USE_LEGACY_KERAS="0")


def test_keras_3_active_before_the_kit(keras_3_first):
    found = software.keras(keras_3_first, {})
    assert found.gravity == "fail" and "Keras 3 is active" in found.seen
    assert "sitecustomize.py" in found.do and "TF_USE_LEGACY_KERAS=1" in found.do
    assert software.tensorflow(keras_3_first).gravity == "warn"  # told once


def test_keras_3_asked_for_by_the_environment(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    engine, plain = asked.ask("engine"), asked.ask("plain_keras")
    assert engine["keras_is_2"] and plain["version"].startswith("3")
    found = software.keras(engine, plain)
    assert found.gravity == "warn" and "TF_USE_LEGACY_KERAS is set to 0" in found.seen


def test_an_edited_api_is_named_file_by_file(tmp_path):
    import object_detection

    folder = tmp_path / "object_detection"
    shutil.copytree(
        object_detection.__path__[0], folder, ignore=shutil.ignore_patterns("*.pyc", "__pycache__")
    )
    with open(folder / "model_lib_v2.py", "a", encoding="utf-8") as file:
        file.write("# my change\n")
    (folder / "core" / "losses.py").unlink()
    code = (
        "import json; from replicate.doctor import software;"
        "found = software.api(); print(found.gravity); print(found.seen)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    gravity, seen = done.stdout.splitlines()
    assert gravity == "fail"
    assert "object_detection/core/losses.py missing" in seen
    assert "object_detection/model_lib_v2.py changed" in seen


DEATHS = {
    # the text of a tensorflow/__init__.py: (what is seen, what to do)
    "raise ImportError('libstdc++.so.6: version GLIBCXX_3.4.30 not found')": ("GLIBCXX", "pip"),
    "import os; os.kill(os.getpid(), 4)": ("SIGILL", "AVX"),
    "class VersionError(Exception): pass\nraise VersionError('gencode 6.31 runtime 4.21')": (
        "gencode",
        "protobuf",
    ),
}


@pytest.mark.parametrize("text", DEATHS)
def test_a_tensorflow_that_does_not_import(tmp_path, text):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(text)
    found = software.tensorflow(_asked("engine", PYTHONPATH=tmp_path))
    seen, do = DEATHS[text]
    assert found.gravity == "fail" and seen in found.seen and do in found.do


def test_a_process_that_hangs_is_given_up(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("import time; time.sleep(60)")
    answer = asked.ask("plain_keras", seconds=2, environment={"PYTHONPATH": str(tmp_path)})
    assert answer == {"error": "no answer within 2 s"}


def test_the_pure_python_backend_of_protobuf():
    answer = _asked("protobuf", PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")
    found = software.protobuf(answer)
    assert found.gravity == "warn" and "backend python" in found.seen


def test_another_project_with_the_same_import_name(tmp_path, monkeypatch):
    """A client of another service is called `replicate` on PyPI; in an environment, one wins."""
    assert installation.namesake() is None
    information = tmp_path / "replicate-1.0.7.dist-info"
    information.mkdir()
    told = "Metadata-Version: 2.1\nName: replicate\nVersion: 1.0.7\n"
    (information / "METADATA").write_text(told)
    done = _doctor("--json", PYTHONPATH=tmp_path)
    found = _findings(done)["Import name"]
    assert done.returncode == 1 and found["gravity"] == "fail"
    assert "replicate 1.0.7" in found["seen"] and "pip uninstall replicate" in found["do"]
