"""Scores detections against COCO annotations: the twelve metrics, by two evaluators.

    python tools/score.py --annotations_file=instances_val2017.json \\
        --detections=detections.json.gz --output=metrics.json

Detections are COCO results JSON: a list of {"image_id", "category_id", "bbox": [x, y, width,
height] in pixels, "score"}; with --iou_type=segm a "segmentation" (compressed RLE), with
--iou_type=keypoints "keypoints" instead of the box. hotcoco and pycocotools both score them and
must agree; --evaluator=hotcoco alone answers within seconds on all of val2017.

    python tools/score.py … --analysis --plots=plots --output=metrics.json
    python tools/score.py … --baseline=other_detections.json --samples=200

--analysis adds the error split (TIDE), confusions, calibration and curves; --samples
intervals over images, from that many random halves of them (200 will do); --baseline answers "is
this better than that", paired over the images.

Below the metrics stands, after "!", what is to be known beside them: detections cut at a score or
capped, images without detections, what --fix changed.

    python tools/score.py … --at_least=AP=0.40 --at_least=AP50=0.60 --format=github

--at_least makes it a gate: a metric (0..1) below that is a negative answer. --format=junit, github
or sarif are for continuous integration, see docs/how-to-ci.md.

Exit status 1: the evaluators disagree, or a metric is below --at_least.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import json
import math

from absl import flags

from replicate import ci, run, score
from replicate.errors import UserError
from replicate.score import text
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("annotations_file", None, "COCO annotations of the images (.json, .json.gz)")
flags.DEFINE_string("detections", None, "COCO results (.json, .json.gz)")
flags.DEFINE_enum("iou_type", "bbox", ["bbox", "segm", "keypoints"], "what is compared")
flags.DEFINE_enum("evaluator", "both", [*score.EVALUATORS, "both"], "whose figures")
flags.DEFINE_integer("num_images", None, "score the first N images by id alone", lower_bound=1)
flags.DEFINE_list(
    "fix",
    [],
    "problems of the detections to mend, as the error message offers. A box layout or numbering of "
    "ids is also changed where the boxes cannot tell, on your word; what was changed stands beside "
    f"the score: {', '.join(score.BOX_LAYOUTS)}, "
    "category_ids_plus_one, category_ids_minus_one, "
    "contiguous_category_ids, contiguous_category_ids_from_zero",
)
flags.DEFINE_bool(
    "analysis", False, "categories, errors, confusions, calibration and curves as well"
)
flags.DEFINE_integer("samples", 0, cli.SAMPLES, lower_bound=0, upper_bound=100_000)
flags.DEFINE_alias("bootstrap", "samples")
flags.DEFINE_string("baseline", None, "detections of another model on the same images to compare")
flags.DEFINE_string("plots", None, "draw curves and errors as PNG files into this folder")
flags.DEFINE_string("output", None, "write metrics.json here")
flags.DEFINE_multi_string("at_least", [], "a metric that must be reached, AP=0.40; once a metric")
flags.DEFINE_enum(
    "format", "text", ["text", "json", "junit", "github", "sarif"], "how the answer is written"
)


def main(_: list[str]) -> int:
    status = cli.DONE
    wanted = [_wanted(text) for text in FLAGS.at_least]
    say = print if FLAGS.format == "text" else _say_nothing
    try:
        result = _score(FLAGS.detections)
    except score.EvaluatorsDisagree as disagreement:
        print(disagreement, file=sys.stderr)
        result, status = disagreement.result, cli.NEGATIVE
    metrics = result.to_json()
    if status == cli.DONE:
        say(text.of_scores([metrics]))
    if FLAGS.analysis or FLAGS.samples:
        metrics["analysis"] = score.analyse(result, samples=FLAGS.samples)
        say("\n" + text.of_categories(result.per_category))
        say("\n" + text.of_analysis(metrics["analysis"]))
    if FLAGS.baseline:
        metrics["comparison"] = score.compare(result, _score(FLAGS.baseline), samples=FLAGS.samples)
        say("\n" + text.of_comparison(metrics["comparison"], FLAGS.baseline))
    if FLAGS.plots:
        say("\n" + "\n".join(score.draw(result, FLAGS.plots)))
    if FLAGS.output:
        run.write_json(FLAGS.output, metrics, kind="metrics")
    checks = _checks(metrics, wanted)
    for check in checks if FLAGS.format == "text" else ():
        if check.rule in dict(wanted):
            print(f"{'below' if check.level == ci.ERROR else 'reached'}: {check.message}")
    if FLAGS.format == "json":
        print(json.dumps(metrics, indent=1))
    elif FLAGS.format != "text":
        print(ci.text(FLAGS.format, "score", checks))
    below = any(check.level == ci.ERROR for check in checks)
    return cli.NEGATIVE if below else status


def _say_nothing(text: str) -> None:
    """Where the answer is for a program."""


def _wanted(text: str) -> tuple[str, float]:
    """ "AP=0.40" as a metric and a value."""
    name, _, value = text.partition("=")
    names = score.METRICS[FLAGS.iou_type]
    if name not in names:
        raise UserError(f"--at_least={text}: no metric {name!r}; there are: {', '.join(names)}")
    try:
        least = float(value)
    except ValueError:
        least = math.nan
    if not 0 <= least <= 1:
        raise UserError(f"--at_least={text}: METRIC=VALUE with a value in 0..1, as AP=0.40")
    return name, least


def _checks(metrics: dict, wanted: list[tuple[str, float]]) -> list[ci.Check]:
    """What was asked for and what is to be known of the detections."""
    checks = [] if metrics["agree"] is not False else [_disagree()]
    for name, least in wanted:
        value = metrics["metrics"][name]
        level = ci.NOTICE if value is not None and value >= least else ci.ERROR
        checks.append(ci.Check(name, level, f"{name} is {text.shown(value)}, wanted {least:.4f}"))
    if not wanted:
        checks.append(ci.Check("AP", ci.NOTICE, f"AP is {text.shown(metrics['metrics']['AP'])}"))
    return checks + [ci.Check("detections", ci.WARNING, remark) for remark in text.remarks(metrics)]


def _disagree() -> ci.Check:
    return ci.Check("evaluators", ci.ERROR, "the evaluators give different figures")


def _score(detections: str) -> score.Result:
    return score.score(
        FLAGS.annotations_file,
        detections,
        iou_type=FLAGS.iou_type,
        evaluator=FLAGS.evaluator,
        num_images=FLAGS.num_images,
        fix=FLAGS.fix,
    )


if __name__ == "__main__":
    cli.run(main, required=["annotations_file", "detections"])
