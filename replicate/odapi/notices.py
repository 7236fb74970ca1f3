"""TensorFlow's notices that TF_CPP_MIN_LOG_LEVEL does not reach: those of Abseil's log, as is
XLA's "Compiled cluster using XLA!". Errors stay.
"""

import contextlib
import ctypes
import os
import pathlib

# absl::SetMinLogLevel(absl::LogSeverityAtLeast) as TensorFlow 2.20 exports it; its Python has no
# name for it. Where another release has none of this name, the notices come as they did.
_SET_MIN_LOG_LEVEL = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"
_ERROR = 2  # absl::LogSeverity::kError


def quiet() -> None:
    """Holds Abseil's log to TF_CPP_MIN_LOG_LEVEL, where that is set; once TensorFlow is imported.

    Both count info, warning, error from 0.
    """
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "")
    if not level.isdecimal():
        return
    import tensorflow

    library = pathlib.Path(tensorflow.__file__).with_name("libtensorflow_framework.so.2")
    with contextlib.suppress(OSError, AttributeError):
        set_level = getattr(ctypes.CDLL(str(library)), _SET_MIN_LOG_LEVEL)
        set_level.argtypes, set_level.restype = [ctypes.c_int], None
        set_level(min(int(level), _ERROR))
