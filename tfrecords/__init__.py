"""COCO JSON to sharded TFRecords and back, with nothing lost silently.

    import tfrecords
    summary = tfrecords.convert("instances_val2017.json", "val2017", "data/val2017", 32)
    tfrecords.write_label_map("instances_val2017.json", "data/label_map.pbtxt")

Imports no TensorFlow.
"""

import importlib
from typing import Any

_MODULES = {
    "InputError": ("errors", "InputError"),
    "Summary": ("conversion", "Summary"),
    "convert": ("conversion", "convert"),
    "write_label_map": ("label_map", "write"),
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: a room that only writes a file does not wait for the converter.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _MODULES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
