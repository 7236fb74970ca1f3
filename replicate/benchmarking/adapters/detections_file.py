"""Detections made elsewhere: a COCO results file."""

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING

from replicate.benchmarking.model import Detected, sha256_of, sha256_of_files

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


_NOT_KNOWN = {"decoder": None, "decoder_version": None, "suppression": None, "batch_size": None}


@dataclasses.dataclass(frozen=True)
class DetectionsFile:
    """A file of detections in the place of a model; its speed is not known."""

    path: str
    name: str
    identity: str
    decoder = None  # nothing is decoded

    def detect(self, dataset: "Dataset", *, batch_size: int, progress: bool) -> Detected:
        return Detected(self.path, None, _NOT_KNOWN)


def of(path: str | os.PathLike, dataset: "Dataset") -> DetectionsFile:
    """Args: path of COCO results (`.json`, `.json.gz`)."""
    name = pathlib.Path(path).name.removesuffix(".gz").removesuffix(".json")
    return DetectionsFile(str(path), name, sha256_of("file", sha256_of_files([path])))
