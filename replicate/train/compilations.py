"""What XLA compiled, kept between processes, so that a run that goes on does not compile again.

TensorFlow keeps one file for each compilation in $XDG_CACHE_HOME/replicate-tf2-zoo/xla (~/.cache
where that is not set), in a folder for this TensorFlow and these processors; the folder may be
removed at any time. It is told by TF_XLA_FLAGS, whose own cache, where it names one, stays.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import platform

from replicate import devices

_FLAG = "--tf_xla_persistent_cache_directory"


def folder() -> pathlib.Path:
    """Where this machine's compilations are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    processors = "\n".join([_cpu(), *(gpu.name for gpu in devices.gpus())])
    kind = hashlib.sha256(processors.encode()).hexdigest()[:12]
    version = importlib.metadata.version("tensorflow")
    return pathlib.Path(home) / "replicate-tf2-zoo" / "xla" / f"tensorflow-{version}-{kind}"


def keep() -> None:
    """Makes TensorFlow keep them; call it before the first TensorFlow op of the process."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if _FLAG in flags:
        return
    cache = folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written is no reason not to train
        return
    ours = f"{_FLAG}={cache} --tf_xla_persistent_cache_device_types=CPU,GPU"
    os.environ["TF_XLA_FLAGS"] = f"{flags} {ours}".strip()


def _cpu() -> str:
    """The processor and what it can, since code is compiled for it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    machine_lines = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(machine_lines)}))
