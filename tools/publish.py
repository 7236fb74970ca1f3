"""Writes a result in the formats that others read. Nothing is uploaded.

    python tools/publish.py runs/first --format=hf --output=hub --dataset_id=owner/coco
    python tools/publish.py runs/first --format=eee --output=eee.json --organization='Example Lab'
    python tools/publish.py runs/first --format=croissant --output=croissant.json \\
        --license=https://creativecommons.org/licenses/by/4.0/
    python tools/publish.py runs/first --format=badge --output=badge.svg
    python tools/publish.py runs/first --format=citation --output=citation.txt

The result is the last evaluation of a run directory, or a record of tools/benchmark.py --output:

  hf         a folder for a model repository of the Hugging Face Hub: .eval_results/coco.yaml, from
             which leaderboards are filled, and a model card (README.md). A result that is none of
             COCO's (NOT COMPARABLE, a rehearsal, other images) has the card alone; --leaderboard
             writes the entry too, where --dataset_id is a benchmark of the images that were scored
  eee        Every Eval Ever's JSON, schema 0.2.2, with the protocol and, where detections and
             annotations are at hand, intervals over images
  croissant  Croissant 1.1 of the TFRecords of a run, or of a folder of them
  badge      an SVG
  citation   a line of text
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate.errors import UserError
from tools import cli

FLAGS = flags.FLAGS
_FORMATS = ["hf", "eee", "croissant", "badge", "citation"]
flags.DEFINE_enum("format", None, _FORMATS, "what is written, see above")
flags.DEFINE_string("output", None, "the file; of hf the folder")
flags.DEFINE_string("organization", "", "who publishes")
flags.DEFINE_string(
    "model_id", "", "the model's id, owner/name (default: of organization and model)"
)
flags.DEFINE_string(
    "relationship",
    "",
    "of who evaluated to who made the model: first_party, third_party, collaborative, other "
    "(default: first_party of a trained run, third_party of a record)",
)
flags.DEFINE_string("dataset_id", "", "the benchmark's data set on the Hub, owner/name")
flags.DEFINE_bool(
    "leaderboard", False, "hf: an entry of --dataset_id's leaderboard whatever COCO's verdict is"
)
flags.DEFINE_string("task_id", "default", "the benchmark's task there")
flags.DEFINE_string("source_url", "", "where the result can be looked at")
flags.DEFINE_string("license", "", "of the model (hf: an identifier), of the data set (croissant)")
flags.DEFINE_integer("samples", 200, cli.SAMPLES, lower_bound=0, upper_bound=100_000)


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise UserError("give one run directory or record: python tools/publish.py runs/first …")
    from replicate import publish

    terms = publish.PublisherTerms(
        organization=FLAGS.organization,
        model_id=FLAGS.model_id,
        relationship=FLAGS.relationship,
        dataset_id=FLAGS.dataset_id,
        task_id=FLAGS.task_id,
        source_url=FLAGS.source_url,
        license=FLAGS.license,
        samples=FLAGS.samples,
        leaderboard=FLAGS.leaderboard,
    )
    written = publish.write(arguments[0], FLAGS.format, FLAGS.output, terms)
    for path in written:
        print(path)
    if FLAGS.format == "hf" and len(written) == 1:
        print(
            f"no entry of a leaderboard (.eval_results): {publish.why_no_entry(arguments[0])}\n"
            "  --leaderboard writes one, where --dataset_id is a benchmark of the images scored",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run(main, required=["format", "output"], folders=["output"])
