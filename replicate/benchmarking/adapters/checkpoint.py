"""A run directory of this kit, or a checkpoint with its pipeline.config."""

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate import checkpoint_files, engine, weights
from replicate import config as configs
from replicate.benchmarking.adapters.frameworks import (
    tensorflow,
    tensorflow_device,
    tensorflow_tf32,
    tensorflow_version,
)
from replicate.benchmarking.model import Deferred, Model, sha256_of, sha256_of_files
from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    pipeline_config: str | os.PathLike | None = None,
    label_map: str | os.PathLike | None = None,
    suppression: str = "kit",
    jit_compile: bool = False,
    tf32: bool = True,
) -> Deferred:
    """The engine's model of a config with a checkpoint's weights, as `tools/evaluate.py` runs it.

    Args:
      path: a run directory (its last checkpoint), a checkpoint's prefix (…/ckpt-400), or a
        folder with checkpoints.
      dataset: Dataset; its categories are matched with the config's label map.
      pipeline_config: the checkpoint's config; a run directory has its own.
      label_map: the model's StringIntLabelMap; default the config's, and where that names no
        file (the zoo's archives), class index i is category id i + 1.
      suppression: whose to run, "kit" or "api", as `tools/evaluate.py --suppression`.
      jit_compile: whether XLA compiles the forward pass, as `tools/evaluate.py --jit_compile`.
      tf32: whether a GPU that can may compute float32 in TensorFloat-32, as TensorFlow does by
        default; it is set for the whole process.
    """
    config, prefix, category_ids = read(
        path, dataset.groundtruth.categories, pipeline_config, label_map
    )
    name = pathlib.Path(path).resolve().name
    parts = sorted(prefix.parent.glob(f"{prefix.name}.*"))
    return Deferred(
        name,
        sha256_of(
            *("checkpoint", tensorflow_version(), engine.text(config)),
            *(sha256_of_files(parts), category_ids, suppression, jit_compile, tf32),
        ),
        lambda: _model(config, prefix, category_ids, name, suppression, jit_compile, tf32),
    )


def read(
    path: str | os.PathLike,
    names: dict[int, str],
    pipeline_config: str | os.PathLike | None = None,
    label_map: str | os.PathLike | None = None,
) -> tuple[Any, pathlib.Path, list[int | None]]:
    """What a checkpoint is run with.

    Args:
      path, pipeline_config, label_map: as of `of`.
      names: dict category id -> name, of the annotation file.

    Returns:
      (the config, of either engine, the checkpoint's prefix, the category id of each class index of
      the model, None where the file has no such one).

    Raises:
      UserError: no checkpoint there, or no config of it.
    """
    place = weights.of(path)
    pipeline_config = pipeline_config or place.config
    if pipeline_config is None:
        raise UserError(
            f"{path}: a checkpoint needs its config (--pipeline_config); a run directory has one"
        )
    prefix = _prefix(pathlib.Path(place.checkpoint))
    config = engine.read(pipeline_config)
    if label_map is None:
        from replicate.evaluate import categories

        named, folder = engine.describe(config).label_map, pathlib.Path(pipeline_config).parent
        label_map = configs.placed(named, folder) if named else categories.kept_with(folder)
        label_map = label_map if label_map and pathlib.Path(label_map).is_file() else None
    return config, prefix, _category_ids(config, label_map, names)


def _model(
    config: Any,
    prefix: pathlib.Path,
    category_ids: list[int | None],
    name: str,
    suppression: str,
    jit_compile: bool,
    tf32: bool,
) -> Model:
    tf = tensorflow()
    from replicate.evaluate import detections
    from replicate.train import compilations

    if jit_compile:
        compilations.keep()
    detector = engine.detector(config, suppressed_by=suppression, jit_compile=jit_compile)
    if jit_compile:
        detections.tell_of_xla()
    detector.restore(prefix)
    compiled_for = 0  # images a batch

    def prepare(image: np.ndarray) -> tuple:
        return detector.preprocess(tf.constant(image))

    def collate(prepared: list) -> tuple:
        nonlocal compiled_for
        if jit_compile:  # the last batch, which is not full, is not compiled again
            compiled_for = max(compiled_for, len(prepared))
            prepared = prepared + prepared[-1:] * (compiled_for - len(prepared))
        images, true_shapes = zip(*prepared, strict=True)
        return tf.stack(images), tf.stack(true_shapes)

    def detections_of(outputs: dict, image_hw: list) -> list[list[dict]]:
        values = {key: value.numpy() for key, value in outputs.items()}
        one_by_one = [
            {key: value[row] for key, value in values.items()} for row in range(len(image_hw))
        ]
        return [
            detections.of_output(0, np.array(hw), output, category_ids, detector.masks).as_results()
            for hw, output in zip(image_hw, one_by_one, strict=True)
        ]

    return Model(
        lambda batch: detector(*batch),
        name=name,
        device=tensorflow_device(),
        tf32=tensorflow_tf32(tf32),
        max_batch=None if detector.static_shape else 1,
        decoder=detections.DECODER,
        suppression=detector.suppression,
        jit_compile=jit_compile,
        input_transform=prepare,
        collate=collate,
        output_transform=detections_of,
    )


def _prefix(path: pathlib.Path) -> pathlib.Path:
    """The prefix of the checkpoint at `path`, of a folder's the one with the largest number."""
    if pathlib.Path(f"{path}.index").is_file():
        return path
    steps = checkpoint_files.steps_of(path)
    if not steps:
        raise UserError(f"{path}: no checkpoint (ckpt-N.index) there")
    return pathlib.Path(checkpoint_files.path_of(path, steps[-1]))


def _category_ids(
    config: Any, label_map: str | os.PathLike | None, names: dict[int, str]
) -> list[int | None]:
    """The category id of each class index of the model; None where the file has no such one."""
    from replicate.evaluate import categories

    num_classes = engine.describe(config).num_classes
    if label_map is not None:
        return categories.category_ids(label_map, names, num_classes)
    return [index + 1 if index + 1 in names else None for index in range(num_classes)]
