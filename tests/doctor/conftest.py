"""Machines that are made by path: a driver of two GPUs, folders of CUDA libraries."""

import _heapq
import pathlib
import shutil
import subprocess

import pytest

# What TensorFlow 2.20 loads for a GPU (its own loader's words), the driver's library first.
LIBRARIES = (
    "libcuda.so.1",
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libcudnn.so.9",
)


@pytest.fixture(scope="session")
def driver_of_two(tmp_path_factory):
    """A folder whose libnvidia-ml.so.1 answers for two A100."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler for a driver that answers")
    folder = tmp_path_factory.mktemp("driver")
    source = pathlib.Path(__file__).with_name("nvml.c")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return folder


@pytest.fixture
def cuda_without(tmp_path):
    """A function of names: a folder with CUDA's libraries but those.

    Any shared object does: the loader asks for the file, not yet for what is in it.
    """

    def folder(*absent):
        for name in LIBRARIES:
            if name not in absent:
                shutil.copy(_heapq.__file__, tmp_path / name)
        return tmp_path

    return folder
