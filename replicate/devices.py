"""The NVIDIA GPUs of this machine, as the driver itself tells (NVML), and the memory that is free.

No TensorFlow is imported.

    from replicate import devices
    devices.gpu_use()    # [] without a driver

A machine has a GPU for the kit where NVML lists it, whatever TensorFlow makes of it: the
difference between the two is what `tools/doctor.py` looks for.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import psutil
import pynvml

_GIB = 2**30
_CGROUP = pathlib.Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Memory that is free for a run: of the machine, or of the container's limit if that is less.

    cgroup version 2: memory.max ("max" is none) and memory.current, of which the page cache can be
    had back (Linux, Documentation/admin-guide/cgroup-v2.rst).
    """
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return free
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        cache = next((int(line.split()[1]) for line in lines if line.startswith("file ")), 0)
        return min(free, int(limit) - used + cache)
    except (OSError, ValueError):
        return free


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
      index: NVML's, in the order of the PCI bus.
      uuid, name: the driver's.
      memory_total_gib: of the device.
      compute_capability: (major, minor), or None where the driver does not say.
    """

    index: int
    uuid: str
    name: str
    memory_total_gib: float
    compute_capability: tuple[int, int] | None


@dataclasses.dataclass(frozen=True)
class Driver:
    """The driver: its version ("570.86.15") and the CUDA it can run at most, as (12, 8)."""

    version: str
    cuda: tuple[int, int]


def driver() -> Driver | None:
    """The NVIDIA driver, or None where NVML does not answer."""
    if not _nvml():
        return None
    version = pynvml.nvmlSystemGetDriverVersion()
    major, rest = divmod(pynvml.nvmlSystemGetCudaDriverVersion_v2(), 1000)
    return Driver(_text(version), (major, rest // 10))


def gpus() -> list[Gpu]:
    """All GPUs of the machine, whether this process may use them or not."""
    machine = []
    for index in range(pynvml.nvmlDeviceGetCount() if _nvml() else 0):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        machine.append(
            Gpu(
                index=index,
                uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                name=_text(pynvml.nvmlDeviceGetName(handle)),
                memory_total_gib=pynvml.nvmlDeviceGetMemoryInfo(handle).total / _GIB,
                compute_capability=_answer(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
            )
        )
    return machine


def visible(machine: list[Gpu], variable: str | None = None) -> list[Gpu]:
    """Those of `machine` that CUDA_VISIBLE_DEVICES leaves to this process.

    As CUDA reads it: comma-separated indices or the beginnings of UUIDs; nothing after the first
    that is no device counts; unset means all.

    Args:
      machine: its GPUs, as `gpus` gives them.
      variable: its value; by default the environment's.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES") if variable is None else variable
    if variable is None:
        return machine
    chosen: list[Gpu] = []
    for word in variable.split(","):
        word = word.strip()
        match = [
            gpu for gpu in machine if str(gpu.index) == word or (word and gpu.uuid.startswith(word))
        ]
        if len(match) != 1:
            break
        chosen += match
    return chosen


def gpu_use() -> list[dict]:
    """What the GPUs that this process may use are doing, for a log.

    Returns:
      list of dicts: index, name, memory_used_gib, memory_total_gib, and utilization_percent (share
      of the last second or so with work on it), power_watts, temperature_celsius, each None where
      the device does not say. All processes' use counts. Empty without a driver.
    """
    try:
        return [_use_of(gpu) for gpu in visible(gpus())]
    except pynvml.NVMLError:  # a GPU that fell off the bus must not end a training run here
        return []


def _use_of(gpu: Gpu) -> dict:
    handle = pynvml.nvmlDeviceGetHandleByIndex(gpu.index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    rates = _answer(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _answer(pynvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "index": gpu.index,
        "name": gpu.name,
        "memory_used_gib": memory.used / _GIB,
        "memory_total_gib": memory.total / _GIB,
        "utilization_percent": None if rates is None else rates.gpu,
        "power_watts": None if power is None else power / 1000,
        "temperature_celsius": _answer(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
    }


@functools.cache
def _nvml() -> bool:
    """Whether NVML answers; asked once a process."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


def _answer(question: Callable, *arguments: object) -> Any:
    """NVML's answer, or None where this device has none."""
    with contextlib.suppress(pynvml.NVMLError):
        return question(*arguments)
    return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
