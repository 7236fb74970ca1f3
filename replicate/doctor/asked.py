"""Questions that are answered in a process of their own: `ask("keras")`.

`python asked.py NAME` imports what NAME needs and prints its answer as one line of JSON. The
process has the environment of the one that asks, so it sees what a tool of the kit would see.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import types

PROJECT = pathlib.Path(__file__).resolve().parents[2]
_MARK = "asked.py answers "
_SECONDS = 300


def ask(
    question: str, seconds: float = _SECONDS, environment: dict[str, str] | None = None
) -> dict:
    """The answer of a process of its own.

    Args:
      question: one of QUESTIONS.
      seconds: how long it may take.
      environment: variables beside this process's.

    Returns:
      dict: the answer; or {"error": why there is none} where the process died, hung or could not
      import something.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(pathlib.Path(__file__).resolve()), question],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | (environment or {}),
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds} s"}
    answers = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if answers:
        return json.loads(answers[-1].removeprefix(_MARK)) | {"log": done.stderr}
    if done.returncode < 0:
        return {"error": f"the process was killed by {signal.Signals(-done.returncode).name}"}
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return {"error": lines[-1].removeprefix("replicate.odapi.")}


def plain_keras() -> dict:
    """What `import tensorflow` alone gives a script of the user's."""
    import tensorflow as tf

    keras = tf.keras
    return {"module": keras.__name__, "version": _keras_version(keras)}


def engine() -> dict:
    """TensorFlow and the API as the kit's tools load them."""
    from replicate import odapi

    odapi.load()
    import object_detection
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    return {
        "tensorflow": tf.__version__,
        "keras": _keras_version(tf.keras),
        "keras_is_2": "tf_keras" in tf.keras.__name__ or "tf_keras" in str(tf.keras.__file__),
        "api": object_detection.__path__[0],
        "cuda_build": bool(build.get("is_cuda_build")),
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        "compute_capabilities": build.get("cuda_compute_capabilities", []),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
    }


def protobuf() -> dict:
    """The protobuf runtime, its backend, and whether the API's messages can be made with it."""
    import google.protobuf
    from google.protobuf.internal import api_implementation

    from replicate.odapi import protos

    message = protos.load("pipeline").TrainEvalPipelineConfig()
    # Map fields are what the pure-Python backend does not read in CenterNet's keypoint configs.
    keypoints = message.model.center_net.keypoint_estimation_task.add()
    keypoints.keypoint_label_to_std["nose"] = 0.25
    read = type(message).FromString(message.SerializeToString())
    return {
        "version": google.protobuf.__version__,
        "backend": api_implementation.Type(),
        "same": read == message,
    }


def cuda_libraries() -> dict:
    """Which of CUDA's libraries TensorFlow's own loader finds, by file name.

    The loader says so at a high log level; it is called without importing TensorFlow, whose import
    may be what fails. NCCL is linked into TensorFlow.
    """
    import ctypes
    import importlib.util

    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'tensorflow'")
    folder = pathlib.Path(spec.origin).parent
    library = ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"))
    status = ctypes.create_string_buffer(64)
    for name in ("GetCudaDriverDsoHandle", "TryDlopenCUDALibraries", "GetCuptiDsoHandle"):
        function = getattr(library, f"_ZN3tsl8internal9DsoLoader{len(name)}{name}Ev", None)
        if function is not None:
            function.argtypes = [ctypes.c_void_p]
            function(status)
    nccl = ctypes.c_int(0)
    if hasattr(library, "ncclGetVersion"):
        library.ncclGetVersion(ctypes.byref(nccl))
    return {"nccl": nccl.value}


QUESTIONS = {
    function.__name__: function for function in (plain_keras, engine, protobuf, cuda_libraries)
}


def loader_log(log: str) -> tuple[set[str], dict[str, str]]:
    """What TensorFlow's loader wrote: ({name: path or name found}, {name: why not})."""
    opened = set(re.findall(r"Successfully opened dynamic library (\S+)", log))
    missing = dict(re.findall(r"Could not load dynamic library '([^']+)'; dlerror: ([^;\n]+)", log))
    return opened, {name: why for name, why in missing.items() if name not in opened}


def _keras_version(keras: types.ModuleType) -> str:
    version = getattr(keras, "__version__", None)
    if version is None:
        import tf_keras

        version = tf_keras.__version__
    return version


if __name__ == "__main__":
    # The folder of this file must not stand for a package; the project's own does.
    sys.path[0] = str(PROJECT)
    print("\n" + _MARK + json.dumps(QUESTIONS[sys.argv[1]]()), flush=True)
