"""Says which categories a network of tools/train_recognition.py sees in image files.

    python tools/recognize.py --model=runs/rec --top_k=5 cat.jpg dog.png

prints for each image the categories that score highest, best first:

    cat.jpg
      0.982  cat
      0.311  couch

A score is an estimate of the probability that the category is in the image; several may be. With
--label_map the model must have been trained for the categories of that label map.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib

from absl import flags

from replicate.errors import UserError
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model",
    None,
    "a run directory (its last good checkpoint), or a checkpoint's prefix (…/ckpt-4).",
)
flags.DEFINE_integer("top_k", 5, "how many categories an image.", lower_bound=1)
flags.DEFINE_float("min_score", 0.0, "leave out categories below this score.", lower_bound=0)
flags.DEFINE_string("label_map", None, "refuse a model that was trained for other categories.")
flags.DEFINE_string("output", None, "also write the answer as JSON here.")


def main(paths: list[str]) -> None:
    if not paths:
        raise UserError("no image given: python tools/recognize.py --model=RUN IMAGE [IMAGE …]")
    missing = [path for path in paths if not pathlib.Path(path).is_file()]
    if missing:
        raise UserError(f"{missing[0]}: no such image")
    from replicate.recognition import model, prediction
    from replicate.run import write_json

    recognizer, checkpoint = model.load(FLAGS.model, FLAGS.label_map)
    recognised = prediction.top(recognizer, paths, FLAGS.top_k)
    for image in recognised:
        image["categories"] = [it for it in image["categories"] if it["score"] >= FLAGS.min_score]
        print(image["image"])
        for category in image["categories"]:
            print(f"  {category['score']:.3f}  {category['name']}")
    if FLAGS.output:
        write_json(FLAGS.output, {"checkpoint": checkpoint, "images": recognised})


if __name__ == "__main__":
    cli.run(main, required=["model"])
