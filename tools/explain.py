"""Why do two numbers differ? Measured from detections, from a model, or from two runs.

    python tools/explain.py --annotations_file=instances_val2017.json \\
        --detections=detections.json --told=AP=0.188 --output=explain.json --html=explain.html

From detections: the official figures stand first; then which protocols, alone, in pairs, or as a
library combines them, give the told figures within their rounding (all of them, or none), and how
many would by chance. Nothing is fitted: every protocol is what somebody's evaluator does, with its
source (docs/explain.md). Give --told once for each metric you know: --told=AP=0.188
--told=AP50=0.254; with more digits and more figures, less falls there by chance. Points (18.8) and
other names of the twelve metrics (mAP, bbox_mAP_50, metrics/mAP50(B)) are understood; a whole
number is in points (15, 1, 0), and how each was read stands in the answer. After "!" stands what is
to be known of the detections beside their figures, as tools/score.py tells it.

    python tools/explain.py --model=runs/a --annotations_file=instances_val2017.json \\
        --image_dir=val2017 --num_images=200

From a model (a run directory, a checkpoint with --pipeline_config, a .tflite file): the same
weights evaluated with one change of the pipeline at a time (decoder, resize, suppression, …), what
each costs in points of AP with an interval paired over images, and in pixels. Of a run directory it
is written to explain/model.json there, for the verdict and the report.

    python tools/explain.py runs/a runs/b

From two runs: every difference between them, and how much of the gap evaluation made and how much
training, by evaluating each one's checkpoint as the other was, where that differs.

Exit status 1: told figures were given, and nothing gives them.
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
flags.DEFINE_string("annotations_file", None, "COCO annotations of the images (.json, .json.gz)")
flags.DEFINE_string("detections", None, "COCO results (.json, .json.gz)")
flags.DEFINE_multi_string("told", [], "a figure somebody told, e.g. AP=0.188; once a metric")
flags.DEFINE_enum("iou_type", "bbox", ["bbox", "segm"], "boxes or masks")
flags.DEFINE_list("fix", [], "problems of the detections to mend, as the error message offers")
flags.DEFINE_bool("pairs", True, "try pairs of protocols as well")
flags.DEFINE_string("model", None, "what to evaluate: a run directory, a checkpoint, a .tflite")
flags.DEFINE_string("image_dir", None, "folder of the images")
flags.DEFINE_integer("num_images", None, "the first N images by id (a model: 200)", lower_bound=1)
flags.DEFINE_list("steps", [], "of a model: change these steps alone (decoder, resize, …)")
flags.DEFINE_string("labels", None, "class names of a .tflite, one a line")
flags.DEFINE_string("pipeline_config", None, "config of a checkpoint outside a run directory")
flags.DEFINE_string("label_map", None, "label map of a checkpoint, where its config names none")
flags.DEFINE_integer("samples", 200, cli.SAMPLES, lower_bound=0, upper_bound=100_000)
flags.DEFINE_bool("evaluate", True, "of two runs: evaluate each as the other was")
flags.DEFINE_string("output", None, "write all figures (JSON) here")
flags.DEFINE_string("html", None, "write the page here")

_IMAGES = 200


def main(arguments: list[str]) -> int:
    runs = arguments
    wrong = _wrongly_asked(runs)
    if wrong:
        raise UserError(
            f"{wrong}; give one of: --detections (with --annotations_file), --model (with "
            "--annotations_file and --image_dir), or two run directories\n"
            "  see: python tools/explain.py --help"
        )
    if (FLAGS.model or "").endswith((".json", ".json.gz")):
        raise UserError(
            f"--model={FLAGS.model}: detections (COCO results) are given by --detections="
            f"{FLAGS.model}; a model is a run directory, a checkpoint (with --pipeline_config) or "
            "a .tflite file"
        )
    for name in () if runs else ("annotations_file", *(("image_dir",) if FLAGS.model else ())):
        if not getattr(FLAGS, name):
            raise UserError(f"missing --{name}\n  see: python tools/explain.py --help")
    if runs:
        return _print_and_write(*_from_runs(runs))
    return _print_and_write(*(_from_model() if FLAGS.model else _from_detections()))


def _wrongly_asked(runs: list[str]) -> str | None:
    """What was given too much or too little, or None."""
    given = [f"--{name}" for name in ("detections", "model") if getattr(FLAGS, name)]
    if len(given) == 2:
        return "--detections and --model were both given"
    if given and runs:
        return f"{cli.unexpected(runs)}\n  {given[0]} takes no words beside it"
    if len(runs) == 1:
        return (
            f"one run directory was given ({runs[0]}), and a second to compare it with is missing"
        )
    if len(runs) > 2:
        return f"{len(runs)} run directories were given, of which two can be compared"
    return None if given or runs else "nothing to explain was given"


def _from_detections() -> tuple[dict, str, int]:
    from replicate import explain
    from replicate.explain import text

    answer = explain.from_detections(
        FLAGS.annotations_file,
        FLAGS.detections,
        FLAGS.told,
        iou_type=FLAGS.iou_type,
        num_images=FLAGS.num_images,
        fix=FLAGS.fix,
        pairs=FLAGS.pairs,
    )
    negative = bool(answer.told) and not answer.explanations
    return (
        answer.to_json(),
        text.of_answer(answer, FLAGS.output),
        cli.NEGATIVE if negative else cli.DONE,
    )


def _from_model() -> tuple[dict, str, int]:
    from replicate import explain, run
    from replicate.explain import text

    content = explain.from_model(
        FLAGS.model,
        FLAGS.annotations_file,
        FLAGS.image_dir,
        num_images=FLAGS.num_images or _IMAGES,
        labels=FLAGS.labels,
        pipeline_config=FLAGS.pipeline_config,
        label_map=FLAGS.label_map,
        samples=FLAGS.samples,
        only=FLAGS.steps,
    )
    if run.RunDir.at(FLAGS.model).spec.is_file():
        path = pathlib.Path(FLAGS.model) / "explain" / "model.json"
        run.write_json(path, content, kind="explain")
    return content, text.of_model(content), cli.DONE


def _from_runs(runs: list[str]) -> tuple[dict, str, int]:
    from replicate import explain
    from replicate.explain import text

    content = explain.from_runs(*runs, evaluate=FLAGS.evaluate, samples=FLAGS.samples)
    return content, text.of_runs(content), cli.DONE


def _print_and_write(content: dict, lines: str, status: int) -> int:
    from replicate import environment, run

    print(lines)
    if FLAGS.output:
        run.write_json(FLAGS.output, content, kind="explain")
    if FLAGS.html:
        from replicate.explain import page

        command = environment.without_secrets(" ".join(["python", *sys.argv]))
        page.write(content, FLAGS.html, command)
    return status


if __name__ == "__main__":
    cli.run(main)
