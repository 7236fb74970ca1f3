"""Was a published figure replicated? From run directories, or from scores made elsewhere.

Several runs of one model are its seeds: from three on, the verdict is an equivalence test.

    python tools/verdict.py runs/seed0 runs/seed1 runs/seed2

A checkpoint evaluated again, or detections of another framework, scored by tools/score.py:

    python tools/verdict.py --model=mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8 \\
        --metrics=boxes.json,masks.json --kind=checkpoint

Exit status: 1 NOT REPLICATED; 0 REPLICATED, NEAR or NOT COMPARABLE (each reason is named).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import flags

from replicate import verdict, zoo
from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "the zoo model's name; a run directory knows its own")
flags.DEFINE_list("metrics", [], "files of tools/score.py: boxes and masks, or seeds")
flags.DEFINE_enum("kind", "training", ["training", "checkpoint"], "what was done")
flags.DEFINE_string("pipeline_config", None, "the config of --metrics, compared with the zoo's")
flags.DEFINE_string(
    "val2017_annotations", None, "your instances_val2017.json: image ids are compared with its"
)
flags.DEFINE_string("output", None, "write verdict.json here")


def main(run_dirs):
    if bool(run_dirs) == bool(FLAGS.metrics):
        raise UserError("give run directories, or --metrics (with --model); see --help")
    model, evaluations, deviations, environment = (
        _of_runs(run_dirs) if run_dirs else _of_metrics(FLAGS.metrics)
    )
    val2017 = None
    if FLAGS.val2017_annotations:
        from replicate.score import Groundtruth

        val2017 = Groundtruth.read(FLAGS.val2017_annotations).identity()
    decided = verdict.decide(
        zoo.find(model),
        evaluations,
        deviations,
        kind=FLAGS.kind,
        environment=environment,
        val2017=val2017,
    )
    print(decided.text())
    if FLAGS.output:
        write_json(FLAGS.output, decided.to_json())
    return cli.NEGATIVE if decided.verdict == "NOT REPLICATED" else cli.DONE


def _of_runs(run_dirs):
    """(model, last evaluation of each run, all their deviations, the first's environment)."""
    models, evaluations, deviations = set(), [], []
    for each in run_dirs:
        run = RunDir.existing(each)
        steps = run.evaluated_steps()
        if not steps:
            raise UserError(f"{each}: no complete evaluation in it; continue the run")
        models.add(FLAGS.model or read_json(run.spec)["request"]["model"])
        evaluations += run.scores_at(steps[-1])
        found = read_json(run.deviations)
        deviations += [deviation for deviation in found if deviation not in deviations]
    if len(models) > 1:
        raise UserError(f"the runs are of different models: {', '.join(sorted(models))}")
    return models.pop(), evaluations, deviations, read_json(RunDir.at(run_dirs[0]).environment)


def _of_metrics(paths):
    if not FLAGS.model:
        raise UserError("--metrics needs --model, the zoo model whose figure they are held against")
    deviations = []
    if FLAGS.pipeline_config:
        from replicate import config

        message = config.load(FLAGS.pipeline_config)
        deviations = config.operations_to_json(config.deviations(message, FLAGS.model))
    evaluations = [read_json(path) for path in paths]
    for path, evaluation in zip(paths, evaluations, strict=True):
        if not isinstance(evaluation, dict) or "iou_type" not in evaluation:
            raise UserError(f"{path}: not a metrics.json of tools/score.py")
    return FLAGS.model, evaluations, deviations, None


if __name__ == "__main__":
    cli.run(main)
