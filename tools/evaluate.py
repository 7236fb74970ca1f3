"""Detects the images of a COCO annotation file with a checkpoint; writes COCO results JSON.

    python tools/evaluate.py --pipeline_config_path=runs/a/pipeline.config \\
        --checkpoint=runs/a/checkpoints/ckpt-50000 --annotations_file=instances_val2017.json \\
        --image_dir=val2017 --output=detections.json

Score the result with tools/score.py.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import flags

from tools import cli

_CONFIG = flags.DEFINE_string(
    "pipeline_config_path", None, "the checkpoint's config: a file, a run directory or an archive."
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "prefix of a TF2 checkpoint (…/ckpt-400), a folder that holds one, or a released MODEL.tar.gz.",
)
_ANNOTATIONS = flags.DEFINE_string("annotations_file", None, "COCO annotation JSON.")
_IMAGES = flags.DEFINE_string("image_dir", None, "the folder of its images.")
_OUTPUT = flags.DEFINE_string("output", None, "the results file; .json.gz compresses it.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "images a forward pass.", lower_bound=1)


def main(_):
    from replicate import archive, config
    from replicate.run import write_json

    checkpoint = _CHECKPOINT.value
    if pathlib.Path(checkpoint).is_file() and archive.is_archive(checkpoint):
        checkpoint = archive.checkpoint(archive.unpack(checkpoint))
    message = config.read(_CONFIG.value)
    from replicate.evaluate import detections, detector

    checkpoint = detector.find_checkpoint(checkpoint)
    evaluation = detections.Evaluation(
        message, _ANNOTATIONS.value, _IMAGES.value, batch_size=_BATCH.value
    )
    results, checkpoint = evaluation.detect(checkpoint)
    write_json(_OUTPUT.value, results)
    print(f"{len(results)} detections of {checkpoint} in {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(
        main,
        required=["pipeline_config_path", "checkpoint", "annotations_file", "image_dir", "output"],
    )
