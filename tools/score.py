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

Exit status 1: the evaluators disagree.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate import run, score
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
    "the score: corner_boxes, yxyx_boxes, centre_boxes, normalized_boxes, "
    "normalized_corner_boxes, normalized_yxyx_boxes, normalized_centre_boxes, "
    "category_ids_plus_one, category_ids_minus_one, "
    "contiguous_category_ids, contiguous_category_ids_from_zero",
)
flags.DEFINE_bool(
    "analysis", False, "categories, errors, confusions, calibration and curves as well"
)
flags.DEFINE_integer(
    "samples", 0, "halves of the images, for intervals", lower_bound=0, upper_bound=100_000
)
flags.DEFINE_alias("bootstrap", "samples")
flags.DEFINE_string("baseline", None, "detections of another model on the same images to compare")
flags.DEFINE_string("plots", None, "draw curves and errors as PNG files into this folder")
flags.DEFINE_string("output", None, "write metrics.json here")


def main(_: list[str]) -> int:
    status = cli.DONE
    try:
        result = _score(FLAGS.detections)
    except score.EvaluatorsDisagree as disagreement:
        print(disagreement, file=sys.stderr)
        result, status = disagreement.result, cli.NEGATIVE
    metrics = result.to_json()
    if status == cli.DONE:
        print(text.of_scores([metrics]))
    if FLAGS.analysis or FLAGS.samples:
        metrics["analysis"] = score.analyse(result, samples=FLAGS.samples)
        print("\n" + text.of_categories(result.per_category))
        print("\n" + text.of_analysis(metrics["analysis"]))
    if FLAGS.baseline:
        metrics["comparison"] = score.compare(result, _score(FLAGS.baseline), samples=FLAGS.samples)
        print("\n" + text.of_comparison(metrics["comparison"], FLAGS.baseline))
    if FLAGS.plots:
        print("\n" + "\n".join(score.draw(result, FLAGS.plots)))
    if FLAGS.output:
        run.write_json(FLAGS.output, metrics, kind="metrics")
    return status


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
