"""The Object Detection API's protocol buffers, on today's protobuf, without TensorFlow.

The `_pb2` modules that the API ships were generated for protobuf < 3.20 and cannot be
imported on protobuf >= 4 ("Descriptors cannot be created directly"). Each of them still
carries its file descriptor in serialized form, and that is all protobuf's own builder
needs. `install()` adds an import hook for `object_detection.protos.*_pb2` that reads the
serialized descriptor out of the shipped file and builds the module from it, so the fast
upb backend and real map fields stay in use. Nothing of the API is modified, and nothing
here imports TensorFlow.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Sequence
from typing import Any

_PACKAGE = "object_detection.protos"
_SERIALIZED = re.compile(r"^\s*serialized_pb=(b'.*?(?<!\\)(?:\\\\)*')\s*$", re.MULTILINE)
_DEPENDENCY = re.compile(rf"^from {re.escape(_PACKAGE)} import (\w+_pb2)", re.MULTILINE)


class _DescriptorLoader(importlib.abc.Loader):
    """Builds one `_pb2` module from the serialized descriptor inside its shipped source."""

    def __init__(self, path: str) -> None:
        self._path = path

    def exec_module(self, module: Any) -> None:
        from google.protobuf import descriptor_pool
        from google.protobuf.internal import builder

        with open(self._path, encoding="utf-8") as source_file:
            source = source_file.read()
        match = _SERIALIZED.search(source)
        if match is None:
            raise ImportError(
                f"{self._path}: no serialized descriptor found in this file; is it the "
                "_pb2 module of tf-models-research-object-detection 2.8.0.post1?"
            )
        for dependency in _DEPENDENCY.findall(source):
            importlib.import_module(f"{_PACKAGE}.{dependency}")
        descriptor = descriptor_pool.Default().AddSerializedFile(ast.literal_eval(match.group(1)))
        module.DESCRIPTOR = descriptor
        builder.BuildMessageAndEnumDescriptors(descriptor, module.__dict__)
        builder.BuildTopDescriptorsAndMessages(descriptor, module.__name__, module.__dict__)


class _ProtoFinder(importlib.abc.MetaPathFinder):
    """Finds `object_detection.protos.*_pb2` and hands it to `_DescriptorLoader`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if not (fullname.startswith(_PACKAGE + ".") and fullname.endswith("_pb2")):
            return None
        shipped = importlib.machinery.PathFinder.find_spec(fullname, path)
        if shipped is None or shipped.origin is None:
            return None
        return importlib.util.spec_from_loader(
            fullname, _DescriptorLoader(shipped.origin), origin=shipped.origin
        )


def install() -> None:
    """Makes `import object_detection.protos.NAME_pb2` work. Calling it again does nothing."""
    if not any(isinstance(finder, _ProtoFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ProtoFinder())


def load(name: str) -> Any:
    """The protobuf module `object_detection.protos.<name>_pb2`, e.g. `load("pipeline")`.

    Raises:
      ModuleNotFoundError: the Object Detection API is not installed.
    """
    install()
    return importlib.import_module(f"{_PACKAGE}.{name}_pb2")
