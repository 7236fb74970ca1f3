"""Was a figure reached, the zoo's or your own, and under which conditions? From runs or scores.

Several runs of one model are its seeds; each counts once. From the gap's 90 % interval follows
whether it was reached, or how many seeds would settle it:

    python tools/verdict.py runs/seed0 runs/seed1 runs/seed2

A checkpoint evaluated again, or detections of another framework, scored by tools/score.py:

    python tools/verdict.py --model=mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8 \\
        --metrics=boxes.json,masks.json --kind=checkpoint

Against a reference of your own: an earlier run (or its seeds), a metrics.json, or figures:

    python tools/verdict.py runs/new --reference=runs/shipped
    python tools/verdict.py runs/s0 runs/s1 --reference=runs/a0,runs/a1 --margin=1
    python tools/verdict.py runs/new --reference=AP=0.412,AP50=0.655 --reference_on=this

Between sets of runs it is an equivalence test of the difference, between two evaluations of the
same images the interval paired over them (docs/scoring.md).

MODEL may be one of TF-Vision's too (tools/zoo.py list --engine=tfvision), --pipeline_config then a
params YAML.

--or_better lets a better figure pass too.

Exit status: 0 reached (REPLICATED, NEAR); 1 not reached or inconclusive; 3 not comparable, or a
fine-tuning without a reference.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import json

from absl import flags

from replicate import verdict
from replicate.errors import UserError
from replicate.run import read_json, write_json
from tools import cli, reference_flags

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model",
    None,
    "the zoo model: its name, or an archive, a config or a run of it; by default what a run says",
)
flags.DEFINE_list("metrics", [], "files of tools/score.py: boxes and masks, or seeds")
flags.DEFINE_enum("kind", "training", ["training", "checkpoint"], "what was done")
flags.DEFINE_string("pipeline_config", None, "the config of --metrics, compared with the zoo's")
flags.DEFINE_string(
    "val2017_annotations",
    None,
    "your official instances_val2017.json (or person_keypoints_val2017.json): what was evaluated "
    "is compared with it, now and, its hashes kept, from now on",
)
flags.DEFINE_string("output", None, "write verdict.json here")
flags.DEFINE_enum(
    "format", "text", ["text", "json", "junit", "github", "sarif"], "how the answer is written"
)
flags.DEFINE_bool(
    "or_better",
    False,
    "with --reference: end with 0 too where a fall by the margin or more is excluded, so that a "
    "better figure fails no job",
)
flags.adopt_module_key_flags(reference_flags)


def main(run_dirs: list[str]) -> int:
    if bool(run_dirs) == bool(FLAGS.metrics):
        raise UserError("give run directories, or --metrics (with --model); see --help")
    for path in run_dirs:
        if os.path.isfile(path) and path.endswith(".json"):
            raise UserError(f"{path}: a file; the scores of a file are given by --metrics={path}")
    asked, official = reference_flags.asked(), None
    if FLAGS.or_better and not asked:
        raise UserError("--or_better goes with --reference")
    if asked and FLAGS.model:
        raise UserError("--model names the zoo's figure and --reference another; give one of them")
    if FLAGS.val2017_annotations:
        official = verdict.remember_official(FLAGS.val2017_annotations)
    if run_dirs:
        decided = verdict.of_runs(run_dirs, FLAGS.model, FLAGS.kind, official, asked)
    elif asked:
        decided = verdict.of_metrics_files(FLAGS.metrics, asked, FLAGS.kind, official)
    else:
        decided = _of_metrics(FLAGS.metrics, official)
    better = verdict.no_worse(decided) if FLAGS.or_better else None
    if better:
        decided = dataclasses.replace(decided, notes=[better, *decided.notes])
    print(_written(decided, bool(better)))
    if FLAGS.output:
        write_json(FLAGS.output, decided.to_json(), kind="verdict")
    return cli.DONE if better else verdict.exit_status(decided.verdict)


def _written(decided: verdict.Verdict, passed: bool) -> str:
    """The answer in the format that was asked for; `passed` whatever its verdict."""
    if FLAGS.format == "text":
        return decided.text()
    if FLAGS.format == "json":
        return json.dumps(decided.to_json(), indent=1)
    from replicate import ci

    nothing = decided.verdict == verdict.NO_REFERENCE
    level = ci.NOTICE if decided.reached or passed else ci.WARNING if nothing else ci.ERROR
    checks = [ci.Check("verdict", level, decided.headline)]
    checks += [ci.Check("reason", level, reason) for reason in decided.reasons]
    checks += [ci.Check("note", ci.NOTICE, note) for note in decided.notes]
    return ci.text(FLAGS.format, "verdict", checks)


def _of_metrics(paths: list[str], official: dict | None) -> verdict.Verdict:
    if not FLAGS.model:
        raise UserError(
            "--metrics needs --model, the zoo model whose figure they are held against, or "
            "--reference, one of your own"
        )
    message = None
    if FLAGS.pipeline_config:
        from replicate import engine

        message = engine.read(FLAGS.pipeline_config)
    evaluations = [read_json(path) for path in paths]
    for path, evaluation in zip(paths, evaluations, strict=True):
        if not isinstance(evaluation, dict) or "iou_type" not in evaluation:
            raise UserError(f"{path}: not a metrics.json of tools/score.py")
        verdict.references.hold(path, evaluation)
    verdict.deciding.check_distinct(evaluations, paths)
    return verdict.of_metrics(evaluations, FLAGS.model, message, FLAGS.kind, official)


if __name__ == "__main__":
    cli.run(main)
