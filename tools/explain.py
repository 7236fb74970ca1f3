"""Why do two numbers differ? Re-scores detections under the protocols that evaluators really use.

    python tools/explain.py --annotations_file=instances_val2017.json \\
        --detections=detections.json --told=AP=0.188 --output=explain.json --html=explain.html

The official figures stand first. Then: which protocols, alone, in pairs, or as a library combines
them, give the told figures within their rounding (all of them, or none), and how many would by
chance. Nothing is fitted: every protocol is what somebody's evaluator does, with its source
(docs/explain.md). Give --told once for each figure you know: --told=AP=0.188 --told=AP50=0.254;
with more digits and more figures, less falls there by chance. Points (18.8) are understood.

Exit status 1: told figures were given, and nothing gives them.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import flags

from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("annotations_file", None, "COCO annotations of the images (.json, .json.gz)")
flags.DEFINE_string("detections", None, "COCO results (.json, .json.gz)")
flags.DEFINE_multi_string("told", [], "a figure somebody told, e.g. AP=0.188; may be repeated")
flags.DEFINE_enum("iou_type", "bbox", ["bbox", "segm"], "boxes or masks")
flags.DEFINE_integer("num_images", None, "the first N images by id alone", lower_bound=1)
flags.DEFINE_list("fix", [], "problems of the detections to mend, as the error message offers")
flags.DEFINE_bool("pairs", True, "try pairs of protocols as well")
flags.DEFINE_string("output", None, "write all figures (JSON) here")
flags.DEFINE_string("html", None, "write the page here")


def main(_):
    from replicate import explain, run
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
    print(text.of_answer(answer))
    if FLAGS.output:
        run.write_json(FLAGS.output, answer.to_json())
    return cli.NEGATIVE if answer.told and not answer.explanations else cli.DONE


if __name__ == "__main__":
    cli.run(main, required=["annotations_file", "detections"])
