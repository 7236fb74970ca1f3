"""GPUs, their driver, and the libraries that TensorFlow must find to use them."""

import os
import pathlib
import re
from collections.abc import Iterator

from replicate import devices
from replicate.doctor import asked
from replicate.doctor.finding import FAIL, OK, WARN, DoctorFinding

# CUDA 12's minor-version compatibility begins with this driver on Linux.
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
OLDEST_DRIVER = (525, 60, 13)
DRIVER_LIBRARY = "libcuda.so.1"
_PCI = pathlib.Path("/sys/bus/pci/devices")
_NVIDIA = "0x10de"
# PyPI's packages of the libraries, by the beginning of the file's name.
_PACKAGES = {
    "libcudart": "nvidia-cuda-runtime-cu12",
    "libcublas": "nvidia-cublas-cu12",
    "libcufft": "nvidia-cufft-cu12",
    "libcusolver": "nvidia-cusolver-cu12",
    "libcusparse": "nvidia-cusparse-cu12",
    "libcudnn": "nvidia-cudnn-cu12",
    "libnvJitLink": "nvidia-nvjitlink-cu12",
    "libnvrtc": "nvidia-cuda-nvrtc-cu12",
    "libcupti": "nvidia-cuda-cupti-cu12",
}
_GPU_INSTALL = "`make venv-gpu`, or `pip install -r requirements.txt -r requirements-gpu.txt`"


def findings(answers: dict[str, dict]) -> Iterator[DoctorFinding]:
    """The findings from what the processes of `asked` answered: dict question -> answer."""
    machine = devices.gpus()
    opened, missing = libraries(answers["cuda_libraries"])
    yield from gpus(machine, answers["engine"], missing)
    if not machine and DRIVER_LIBRARY not in opened:
        yield without_gpu()
    yield driver(machine, DRIVER_LIBRARY in opened)
    yield cuda(answers["cuda_libraries"], missing, bool(machine) or DRIVER_LIBRARY in opened)
    yield precision(machine)
    yield nccl(answers["cuda_libraries"], machine)


def libraries(answer: dict) -> tuple[set[str], dict[str, str]]:
    """(names that TensorFlow's loader found, {name: why not} of the others)."""
    opened, missing = asked.loader_log(answer.get("log", ""))
    # A library that is there and lacks another one itself: the other is what is missing.
    return opened, {_lacking(name, why): why for name, why in missing.items()}


def gpus(
    machine: list[devices.Gpu], engine: dict, missing: dict[str, str]
) -> Iterator[DoctorFinding]:
    """What the machine has against what TensorFlow uses."""
    usable = devices.visible(machine)
    used = engine.get("gpus", [])
    for gpu in machine:
        capability = ".".join(map(str, gpu.compute_capability or ("unknown",)))
        hidden = "" if gpu in usable else "; hidden by CUDA_VISIBLE_DEVICES"
        seen = (
            f"{gpu.name}, {gpu.memory_total_gib:.0f} GiB, compute capability {capability}{hidden}"
        )
        too_old = gpu.compute_capability and gpu.compute_capability < _oldest(engine)
        yield DoctorFinding(
            f"GPU {gpu.index}",
            FAIL if too_old else OK,
            seen + (": older than TensorFlow's wheels are built for" * bool(too_old)),
            "use another GPU" if too_old else "",
        )
    if len(usable) < len(machine):
        yield DoctorFinding(
            "GPUs visible",
            OK if usable else WARN,
            f"{len(usable)} of {len(machine)}: CUDA_VISIBLE_DEVICES is "
            f"{os.environ['CUDA_VISIBLE_DEVICES']!r}",
            "" if usable else "unset it, or name the GPUs that are meant; now the CPU is used",
        )
    if len(used) < len(usable):
        yield DoctorFinding(
            "GPUs used",
            FAIL,
            f"TensorFlow uses {len(used)} of {len(usable)}: training would silently run on "
            + ("the CPU" if not used else "fewer"),
            "see CUDA libraries" if missing else engine.get("error") or "see the driver",
        )


def without_gpu() -> DoctorFinding:
    """No GPU that the driver lists: none at all, or one that nothing drives."""
    count = sum(map(_is_nvidia_display, _PCI.glob("*"))) if _PCI.is_dir() else 0
    if count:
        return DoctorFinding(
            "GPU",
            FAIL,
            f"the PCI bus has {count} of NVIDIA's, but no driver answers: training would silently "
            "run on the CPU",
            "install NVIDIA's driver; in a container, start it with the GPUs (docker run --gpus "
            "all, and the NVIDIA container toolkit)",
        )
    return DoctorFinding("GPU", OK, "none: training runs on the CPU")


def driver(machine: list[devices.Gpu], has_library: bool) -> DoctorFinding:
    """NVIDIA's driver, its version and the CUDA it can run."""
    installed = devices.driver()
    if installed is None and has_library:
        return DoctorFinding(
            "Driver",
            WARN,
            f"{DRIVER_LIBRARY} is there, but NVML (libnvidia-ml.so.1) does not answer: the GPUs "
            "cannot be listed",
            "run nvidia-smi: it says what is wrong; after an update of the driver, restart",
        )
    if installed is None:
        return DoctorFinding("Driver", OK, "none, and none needed on the CPU")
    seen = f"{installed.version}, for CUDA up to {'.'.join(map(str, installed.cuda))}"
    version = tuple(int(part) for part in re.findall(r"\d+", installed.version))
    if version < OLDEST_DRIVER:
        oldest = ".".join(map(str, OLDEST_DRIVER))
        return DoctorFinding(
            "Driver", FAIL, f"{seen}: CUDA 12 needs {oldest} or later", "update NVIDIA's driver"
        )
    if not has_library and machine:
        return DoctorFinding(
            "Driver",
            FAIL,
            f"{seen}, but {DRIVER_LIBRARY} is not found",
            "add its folder to LD_LIBRARY_PATH, or run ldconfig",
        )
    return DoctorFinding("Driver", OK, seen)


def cuda(answer: dict, missing: dict[str, str], has_gpu: bool) -> DoctorFinding:
    """The libraries that TensorFlow's own loader looked for."""
    missing = {name: why for name, why in missing.items() if not _optional(name)}
    if "error" in answer:
        return DoctorFinding("CUDA libraries", WARN, f"could not be asked for: {answer['error']}")
    if not has_gpu:
        return DoctorFinding(
            "CUDA libraries",
            OK,
            "not needed without a GPU"
            + (f" (TensorFlow would look for {', '.join(sorted(missing))})" * bool(missing)),
        )
    if not missing:
        return DoctorFinding("CUDA libraries", OK, "TensorFlow finds all that it looks for")
    packages = sorted({package for name in missing if (package := _package(name))})
    return DoctorFinding(
        "CUDA libraries",
        FAIL,
        f"TensorFlow looked for and did not find {', '.join(sorted(missing))}: it will not use "
        "the GPU",
        f"{_GPU_INSTALL} brings {' and '.join(packages) or 'them'}; or add the folder that has "
        "the file to LD_LIBRARY_PATH",
    )


def precision(machine: list[devices.Gpu]) -> DoctorFinding:
    """Which number formats the GPUs that may be used compute fast."""
    usable = devices.visible(machine)
    if not usable:
        return DoctorFinding(
            "Mixed precision",
            OK,
            "float32 on a CPU; use_bfloat16 of a config is ignored there, as by the API",
        )
    lowest = min(gpu.compute_capability or (0, 0) for gpu in usable)
    capability = f"compute capability {'.'.join(map(str, lowest))}"
    if lowest >= (8, 0):
        return DoctorFinding("Mixed precision", OK, f"bfloat16 and float16 ({capability})")
    if lowest >= (7, 0):
        return DoctorFinding(
            "Mixed precision",
            WARN,
            f"float16, no bfloat16 ({capability}); use_bfloat16 of a config is ignored",
            "--precision=float16 is the fast one here (with loss scaling, which the kit does)",
        )
    return DoctorFinding(
        "Mixed precision",
        WARN,
        f"none is fast here ({capability})",
        "train in float32 (the default)",
    )


def nccl(answer: dict, machine: list[devices.Gpu]) -> DoctorFinding:
    """NCCL, which sums gradients over several GPUs; TensorFlow's wheels carry it inside."""
    code = answer.get("nccl", 0)
    if not code:
        several = len(devices.visible(machine)) > 1
        return DoctorFinding(
            "NCCL",
            FAIL if several else OK,
            "not in this TensorFlow" + ("; several GPUs need it" if several else ""),
            "install TensorFlow's own wheel (requirements-gpu.txt)" if several else "",
        )
    version = f"{code // 10000}.{code // 100 % 100}.{code % 100}"
    return DoctorFinding("NCCL", OK, f"{version}, inside TensorFlow; used with two GPUs or more")


def _lacking(name: str, why: str) -> str:
    other = re.match(r"(lib[^:\s]+\.so[.\d]*): cannot open shared object", why)
    return other.group(1) if other else name


def _optional(name: str) -> bool:
    return name.startswith(("libcupti", DRIVER_LIBRARY))


def _package(name: str) -> str | None:
    return next((pkg for start, pkg in _PACKAGES.items() if name.startswith(start)), None)


def _oldest(engine: dict) -> tuple[int, int]:
    built = [int(n) for n in re.findall(r"\d+", " ".join(engine.get("compute_capabilities", [])))]
    return divmod(min(built), 10) if built else (0, 0)


def _is_nvidia_display(device: pathlib.Path) -> bool:
    try:
        vendor = (device / "vendor").read_text().strip()
        kind = (device / "class").read_text().strip()
    except OSError:
        return False
    return vendor == _NVIDIA and kind.startswith("0x03")
