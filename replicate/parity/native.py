"""The environment the Object Detection API was made for: TensorFlow 2.15, Python 3.11, no shims."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from tfrecords.whole_files import in_temporary_folder

PACKAGES = pathlib.Path(__file__).resolve().parents[2]
REQUIREMENTS = pathlib.Path(__file__).resolve().parent / "requirements-native.txt"
DIRECTORY = pathlib.Path.home() / ".cache" / "replicate-tf2-zoo" / "native-tf2.15"


class NativeError(RuntimeError):
    """The native environment cannot be made or a run in it failed; the message says why."""


def python(directory: str | os.PathLike[str] = DIRECTORY) -> pathlib.Path:
    """The interpreter of the native environment, which is made where it is missing or outdated.

    Args:
      directory: where the virtual environment is kept, outside the checkout.

    Returns:
      The interpreter's `pathlib.Path`.

    Raises:
      NativeError: no Python 3.11, or an installation that failed.
    """
    directory = pathlib.Path(directory)
    interpreter = directory / "bin" / "python"
    stamp = directory / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        raise NativeError(
            "the API's native TensorFlow 2.15 needs Python 3.11, which is not on the PATH; "
            "install it (for example `pyenv install 3.11`) and run again"
        )
    # Each package is pinned, and their declared needs contradict each other: hence --no-deps.
    install = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps"]
    for command in (
        [base, "-m", "venv", "--clear", directory],
        [interpreter, *install, "-r", REQUIREMENTS],
    ):
        if subprocess.run([str(part) for part in command], stdout=sys.stderr).returncode:
            raise NativeError(f"failed: {' '.join(str(part) for part in command)}")
    stamp.write_text(wanted)
    return interpreter


def run(
    interpreter: str | os.PathLike[str],
    job_path: str | os.PathLike[str],
    onednn: bool = True,
    threads: int | None = None,
) -> None:
    """Runs one job of `runs.py` with this interpreter, the native one or the kit's own.

    Args:
      interpreter: a Python with the Object Detection API.
      job_path: the job's JSON file, absolute, as the paths in it are.
      onednn: whether TensorFlow may use oneDNN's kernels; without them it rounds differently.
      threads: how many threads an operation may use, or None for as many as there are cores.

    Raises:
      NativeError: the run ended with an error; the message has the end of what it wrote.
    """
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", PYTHONWARNINGS="ignore")
    environment.pop("TF_USE_LEGACY_KERAS", None)
    environment["TF_ENABLE_ONEDNN_OPTS"] = str(int(onednn))
    if threads:
        environment["TF_NUM_INTRAOP_THREADS"] = str(threads)
    environment["CUDA_VISIBLE_DEVICES"] = ""  # one processor for all, so that kernels compare
    with in_temporary_folder("parity-") as kit_alone:
        # Where the kit is installed, its folder holds this environment's TensorFlow too.
        for package in ("replicate", "tfrecords"):
            (kit_alone / package).symlink_to(PACKAGES / package)
        done = subprocess.run(
            [str(interpreter), "-m", "replicate.parity.runs", str(job_path)],
            cwd=kit_alone,
            env=environment,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        ended = f"status {done.returncode}"
        if done.returncode < 0:
            ended = signal.Signals(-done.returncode).name
        if done.returncode == -signal.SIGKILL:
            ended += " (where memory runs out, the kernel does that)"
        last_lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise NativeError(f"{job_path}: {interpreter} ended with {ended}:\n{last_lines}")
