"""A checkpoint as TF-Vision's own SavedModel, by the package's export module."""

import os
import pathlib

from replicate import checkpoint_files, odapi
from replicate.errors import UserError
from replicate.run import write_text
from replicate.tfvision import configs, official_task, render
from replicate.tfvision.configs import VisionConfig
from tfrecords.whole_files import in_temporary_folder


def saved_model(
    config: VisionConfig, checkpoint: str | os.PathLike, folder: str | os.PathLike
) -> str:
    """Writes saved_model/, checkpoint/ and params.yaml into a folder (`replicate.engine.export`).

    The weights are those that are evaluated: moving averages where the config trains with them.
    The signature takes one uint8 image [1, height, width, 3] and gives boxes in pixels of the
    resized image beside `image_info` (original size, resized size, scale, offset).

    Args:
      checkpoint: a prefix, or a folder with checkpoints, of which the last is taken.
      folder: where they go; must not hold an export.

    Returns:
      the checkpoint's prefix.

    Raises:
      UserError: no checkpoint, or not this model's; the folder holds an export.
    """
    odapi.load()
    import tensorflow as tf
    from official.core import export_base
    from official.vision.serving import detection

    from replicate.tfvision.detector import Detector

    out, prefix = pathlib.Path(folder), _prefix(pathlib.Path(checkpoint))
    if (out / "saved_model").exists():
        raise UserError(f"{out}: holds an export already; name another --output_directory")
    detector = Detector(config)
    detector.restore(prefix)
    params = official_task.experiment(config)
    module = detection.DetectionModule(
        params=params,
        batch_size=1,
        input_image_size=list(params.task.model.input_size[:2]),
        input_type="image_tensor",
    )
    (out / "checkpoint").mkdir(parents=True, exist_ok=True)
    with in_temporary_folder("export-") as temporary:
        weights = tf.train.Checkpoint(model=detector.model).write(str(temporary / "ckpt"))
        export_base.export(
            module,
            function_keys=["image_tensor"],
            export_savedmodel_dir=str(out / "saved_model"),
            checkpoint_path=weights,
            timestamped=False,
        )
    tf.train.Checkpoint(model=detector.model).write(str(out / "checkpoint" / "ckpt-0"))
    write_text(out / configs.FILE, render.text_of(config, None))
    return prefix


def _prefix(path: pathlib.Path) -> str:
    if pathlib.Path(f"{path}.index").is_file():
        return str(path)
    steps = checkpoint_files.steps_of(path)
    if not steps:
        raise UserError(f"{path}: no checkpoint (ckpt-N.index) there")
    return checkpoint_files.path_of(path, steps[-1])
