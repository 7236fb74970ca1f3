"""GPUs, drivers and libraries: what each state of a machine is told as."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from replicate import devices
from replicate.doctor import asked, hardware, machine

PROJECT = pathlib.Path(__file__).resolve().parents[2]
BUILT = {"compute_capabilities": ["sm_60", "sm_80", "compute_90"], "gpus": []}


def _gpu(index=0, capability=(8, 0)):
    return devices.Gpu(index, f"GPU-{index}", "A GPU", 40.0, capability)


def test_nvml_is_read_as_it_answers(driver_of_two):
    code = (
        "from replicate import devices; print(devices.driver()); print(devices.gpu_use());"
        "print([gpu.index for gpu in devices.visible(devices.gpus())])"
    )
    variables = {"LD_LIBRARY_PATH": str(driver_of_two), "CUDA_VISIBLE_DEVICES": "GPU-bbbb"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | variables,
    )
    driver, use, visible = done.stdout.splitlines()
    assert driver == "Driver(version='570.86.15', cuda=(12, 8))"
    # `gpu_use` is of the visible ones; a question that a device does not answer is None.
    assert use == (
        "[{'index': 1, 'name': 'NVIDIA A100-SXM4-40GB', 'memory_used_gib': 10.0, "
        "'memory_total_gib': 40.0, 'utilization_percent': 93, 'power_watts': 250.5, "
        "'temperature_celsius': None}]"
    )
    assert visible == "[1]"


@pytest.mark.skipif(devices.driver() is not None, reason="this machine has a driver")
def test_without_a_driver_there_is_nothing():
    assert devices.gpus() == [] and devices.gpu_use() == []


@pytest.mark.parametrize(
    ("variable", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("1,9,0", [1]),  # nothing after the first that is none
        ("GPU-2", [2]),
    ],
)
def test_visible_as_cuda_reads_it(monkeypatch, variable, indices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = devices.visible([_gpu(0), _gpu(1), _gpu(2)], variable)
    assert [gpu.index for gpu in found] == indices


def test_libraries_as_the_loader_names_them():
    log = (
        "2026 I dso_loader.cc:87] Could not load dynamic library 'libcudnn.so.9'; dlerror: "
        "libcudnn.so.9: cannot open shared object file: No such file or directory\n"
        "2026 I dso_loader.cc:87] Could not load dynamic library 'libcusolver.so.11'; dlerror: "
        "libnvJitLink.so.12: cannot open shared object file: No such file or directory; LD: /x\n"
        "2026 I dso_loader.cc:76] Successfully opened dynamic library libcublas.so.12\n"
    )
    found, missing = hardware.libraries({"log": log})
    assert found == {"libcublas.so.12"}
    # cuSOLVER is there; what it needs itself is not.
    assert set(missing) == {"libcudnn.so.9", "libnvJitLink.so.12"}
    told = hardware.cuda({}, missing, has_gpu=True)
    assert told.gravity == "fail" and "nvidia-nvjitlink-cu12" in told.do
    assert hardware.cuda({}, missing, has_gpu=False).gravity == "ok"


def test_tensorflows_own_loader_names_what_it_looks_for():
    """Without a GPU too; the names hold for the TensorFlow that is pinned."""
    loud = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}
    answer = asked.ask("cuda_libraries", environment=loud)
    found, missing = hardware.libraries(answer)
    asked_for = found | set(missing)
    assert {"libcuda.so.1", "libcudart.so.12", "libcudnn.so.9", "libcublas.so.12"} <= asked_for
    assert answer["nccl"] > 20000


@pytest.mark.parametrize(
    ("found", "engine", "variable", "about", "gravity", "words"),
    [
        ([_gpu()], BUILT | {"gpus": ["A GPU"]}, None, "GPU 0", "ok", "40 GiB"),
        ([_gpu()], BUILT, None, "GPUs used", "fail", "0 of 1: training would silently"),
        ([_gpu(), _gpu(1)], BUILT | {"gpus": ["A"]}, None, "GPUs used", "fail", "1 of 2"),
        ([_gpu(0, (5, 2))], BUILT, None, "GPU 0", "fail", "older than TensorFlow's"),
        ([_gpu(), _gpu(1)], BUILT | {"gpus": ["A"]}, "1", "GPUs visible", "ok", "1 of 2"),
        ([_gpu()], BUILT, "", "GPUs visible", "warn", "0 of 1"),
    ],
)
def test_gpus(monkeypatch, found, engine, variable, about, gravity, words):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    told = {finding.about: finding for finding in hardware.gpus(found, engine, {})}
    assert told[about].gravity == gravity and words in told[about].seen


def test_a_gpu_on_the_bus_without_a_driver(monkeypatch, tmp_path):
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x8086", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    monkeypatch.setattr(hardware, "_PCI", tmp_path)
    told = hardware.without_gpu()
    assert told.gravity == "fail" and "has 1 of NVIDIA's" in told.seen and "--gpus" in told.do
    monkeypatch.setattr(hardware, "_PCI", tmp_path / "none")
    assert hardware.without_gpu().gravity == "ok"


@pytest.mark.parametrize(
    ("told", "has_library", "machine_gpus", "gravity", "words"),
    [
        (None, False, [], "ok", "none"),
        (None, True, [], "warn", "NVML"),
        (devices.Driver("570.86.15", (12, 8)), True, [_gpu()], "ok", "12.8"),
        (devices.Driver("470.82.01", (11, 4)), True, [_gpu()], "fail", "525.60.13"),
        (devices.Driver("570.86.15", (12, 8)), False, [_gpu()], "fail", "libcuda.so.1"),
    ],
)
def test_drivers(monkeypatch, told, has_library, machine_gpus, gravity, words):
    monkeypatch.setattr(hardware.devices, "driver", lambda: told)
    finding = hardware.driver(machine_gpus, has_library)
    assert finding.gravity == gravity and words in finding.seen


@pytest.mark.parametrize(
    ("capability", "gravity", "words"),
    [((9, 0), "ok", "bfloat16"), ((7, 5), "warn", "no bfloat16"), ((6, 1), "warn", "none is fast")],
)
def test_mixed_precision(monkeypatch, capability, gravity, words):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    finding = hardware.precision([_gpu(), _gpu(1, capability)] if capability < (8, 0) else [_gpu()])
    assert finding.gravity == gravity and words in finding.seen


def test_nccl_is_missed_where_several_gpus_need_it(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert hardware.nccl({"nccl": 22501}, []).seen.startswith("2.25.1")
    assert hardware.nccl({"nccl": 0}, [_gpu()]).gravity == "ok"
    assert hardware.nccl({"nccl": 0}, [_gpu(), _gpu(1)]).gravity == "fail"


@pytest.mark.parametrize(("free_gb", "gravity"), [(500, "ok"), (20, "warn"), (1, "fail")])
def test_disk(monkeypatch, tmp_path, free_gb, gravity):
    usage = type("Usage", (), {"free": free_gb * 1e9})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: usage)
    finding = machine.disk(tmp_path / "not" / "yet")
    assert finding.gravity == gravity and str(tmp_path) in finding.seen


@pytest.mark.parametrize(
    ("limit", "gravity"), [(4096, "ok"), (512, "warn"), (64, "fail"), (-1, "ok")]
)
def test_open_files(monkeypatch, limit, gravity):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda which: (limit, 8192))
    finding = machine.open_files()
    assert finding.gravity == gravity and bool(finding.do) == (gravity != "ok")


def test_requirements_gpu_are_what_tensorflows_extra_asks_for():
    pins = dict(
        re.findall(
            r"^([\w-]+)(?:\[[\w-]+\])?==(\S+)",
            (PROJECT / "requirements-gpu.txt").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    assert pins.pop("tensorflow") == metadata.version("tensorflow")
    wanted = {}
    for line in metadata.requires("tensorflow"):
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and marker.evaluate({"extra": "and-cuda"}) and "and-cuda" in str(marker):
            wanted[requirement.name] = requirement.specifier
    assert pins.keys() == wanted.keys()
    for name, specifier in wanted.items():
        assert specifier.contains(pins[name]), f"{name} {pins[name]} is not {specifier}"


def test_the_packages_of_requirements_gpu_lie_where_the_loader_looks(tmp_path):
    """pip puts NVIDIA's libraries beside the tensorflow package; no LD_LIBRARY_PATH is needed."""
    import _heapq

    installed = pathlib.Path(metadata.distribution("tensorflow").locate_file("tensorflow"))
    (tmp_path / "tensorflow").mkdir()
    for path in (installed / "__init__.py", installed / "libtensorflow_framework.so.2"):
        (tmp_path / "tensorflow" / path.name).symlink_to(path)
    for folder, name in (("cudnn", "libcudnn.so.9"), ("cuda_runtime", "libcudart.so.12")):
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        shutil.copy(_heapq.__file__, tmp_path / "nvidia" / folder / "lib" / name)
    loud = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}
    answer = asked.ask("cuda_libraries", environment=loud | {"PYTHONPATH": str(tmp_path)})
    found, missing = hardware.libraries(answer)
    assert {"libcudnn.so.9", "libcudart.so.12"} <= found
    assert "libcublas.so.12" in missing
