"""What is asked when a model is explained: which model, and on which images."""

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any, Self

from replicate.explain.rigs import Rig, rig_of

if TYPE_CHECKING:
    from replicate.benchmarking import Dataset

_PATHS = ("model", "annotations_file", "image_dir", "labels", "pipeline_config", "label_map")


@dataclasses.dataclass(frozen=True)
class AskedModel:
    """A model and the images that it is evaluated on.

    Attributes:
      model: path of a .tflite file, a run directory or a checkpoint.
      annotations_file, image_dir: COCO annotations and the folder of their images.
      num_images: the first so many by id; None for all.
      labels, pipeline_config, label_map: of the model, see tools/benchmark.py.
    """

    model: str | os.PathLike[str]
    annotations_file: str | os.PathLike[str]
    image_dir: str | os.PathLike[str]
    num_images: int | None = 200
    labels: str | os.PathLike[str] | None = None
    pipeline_config: str | os.PathLike[str] | None = None
    label_map: str | os.PathLike[str] | None = None

    def dataset(self) -> "Dataset":
        """The images with their groundtruth."""
        from replicate.benchmarking import Dataset

        return Dataset(self.annotations_file, self.image_dir, self.num_images)

    def rig(self, dataset: "Dataset") -> Rig:
        """The model, loaded.

        Raises:
          UserError: no such model, or one that cannot be loaded.
        """
        return rig_of(
            self.model,
            dataset,
            labels=self.labels,
            pipeline_config=self.pipeline_config,
            label_map=self.label_map,
        )

    def to_json(self) -> dict[str, Any]:
        """Its fields, for a process that works in another folder: paths are absolute."""
        paths = {name: getattr(self, name) for name in _PATHS}
        return dataclasses.asdict(self) | {
            name: path and str(pathlib.Path(path).absolute()) for name, path in paths.items()
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**fields)
