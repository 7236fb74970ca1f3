"""A run directory of this kit, or a checkpoint with its pipeline.config."""

import pathlib

import numpy as np

from replicate import config as configs
from replicate.benchmarking.adapters.frameworks import tensorflow, tensorflow_device
from replicate.benchmarking.model import Model, sha256_of
from replicate.errors import UserError
from replicate.run import RunDir
from replicate.score.groundtruth import read_bytes


def of(path, dataset, pipeline_config=None):
    """The API's model of a config with a checkpoint's weights, as `tools/evaluate.py` runs it.

    Args:
      path: a run directory (its last checkpoint), a checkpoint's prefix (…/ckpt-400), or a
        folder with checkpoints.
      dataset: Dataset; its categories are matched with the config's label map.
      pipeline_config: the checkpoint's config; a run directory has its own.
    """
    tf = tensorflow()
    from replicate.evaluate import categories, detections
    from replicate.evaluate.detector import Detector

    run, checkpoint = RunDir.at(path), path
    if run.spec.is_file():
        pipeline_config, checkpoint = pipeline_config or run.pipeline_config, run.checkpoints
    if pipeline_config is None:
        beside = pathlib.Path(path) / "pipeline.config"
        if not beside.is_file():
            raise UserError(
                f"{path}: a checkpoint needs its config (--pipeline_config); a run directory "
                "(one with a spec.json) has its own"
            )
        pipeline_config = beside
        if (beside.parent / "checkpoint").is_dir():
            # The folder of a zoo archive.
            checkpoint = beside.parent / "checkpoint"
    config = configs.load(pipeline_config)
    detector = Detector(config)
    detector.restore(checkpoint)
    num_classes = getattr(config.model, config.model.WhichOneof("model")).num_classes
    category_ids = categories.category_ids(
        config.eval_input_reader[0].label_map_path, dataset.groundtruth.categories, num_classes
    )

    def prepare(image):
        return detector.preprocess(tf.constant(image))

    def collate(prepared):
        images, true_shapes = zip(*prepared, strict=True)
        return tf.stack(images), tf.stack(true_shapes)

    def found(outputs, image_hw):
        values = {name: value.numpy() for name, value in outputs.items()}
        return [
            detections.of_image(
                0, np.array(hw), {name: value[row] for name, value in values.items()}, category_ids
            )
            for row, hw in enumerate(image_hw)
        ]

    prefix = pathlib.Path(detector.checkpoint)
    parts = sorted(prefix.parent.glob(f"{prefix.name}.*"))
    return Model(
        lambda batch: detector(*batch),
        name=pathlib.Path(path).resolve().name,
        identity=sha256_of(
            "checkpoint",
            configs.to_text(config),
            [read_bytes(each).hex() for each in parts],
            category_ids,
        ),
        device=tensorflow_device(),
        max_batch=None if detector.static_shape else 1,
        input_transform=prepare,
        collate=collate,
        output_transform=found,
    )
