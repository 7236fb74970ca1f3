"""Evaluates checkpoints on the images of a COCO annotation file: detections and their score.

One checkpoint, of any origin; the detections go to --output, the metrics to the screen, of boxes
and of masks or keypoints where model and annotations have them:

    python tools/evaluate.py --pipeline_config_path=pipeline.config --checkpoint=ckpt-50000 \\
        --annotations_file=instances_val2017.json --image_dir=val2017 --output=detections.json.gz

Every checkpoint of a run, into its evals/STEP/ and TensorBoard events under eval/; with --watch
also those to come, until training has ended:

    python tools/evaluate.py --model_dir=runs/a --watch

As with model_main_tf2.py, --checkpoint_dir names the checkpoints of another folder and watches
it: until the checkpoint of --num_train_steps has been evaluated, or none came for --eval_timeout
seconds. Beside a training that uses the GPU, evaluate on another one, or on the processor:
CUDA_VISIBLE_DEVICES= python tools/evaluate.py …

--keep_best=AP keeps the best checkpoint by that metric in MODEL_DIR/best, beside the last ones;
--patience=N asks a training that goes on to end after N evaluations without gain. Keeping goes on
when the same command is given again; MODEL_DIR/best can be named wherever a run or a checkpoint is:

    python tools/evaluate.py --model_dir=runs/a --watch --keep_best=AP --patience=5
    python tools/evaluate.py --model_dir=runs/a --checkpoint=best --output=best.json.gz

The images are decoded as the API's own input decodes them (TensorFlow). --suppression=api runs the
API's own non-maximum suppression; by default the kit's runs where it is equal to that (the same
boxes, tests/evaluate/), which is faster. metrics.json and the screen say which one ran.

--jit_compile compiles the forward pass with XLA (SSD, EfficientDet, CenterNet); images are
prepared and boxes suppressed as without. Scores differ in their last digits, so it is recorded and
told as the suppression is. Another model is refused with the reason. On a CPU it is slower (an SSD
at 320 px takes fourteen to thirty times as long).

A GPU of compute capability 8.0 or more computes float32 in TensorFloat-32, as TensorFlow does by
default; it is recorded and told likewise, and --notf32 keeps all 23 bits of mantissa.

A TF-Vision checkpoint is evaluated likewise, with --pipeline_config_path=params.yaml (or a folder
that holds both): every image of the annotation file, where TF-Vision's own evaluator scores those
alone that have detections; docs/tfvision.md says what its figures are made of.

The images are read from --image_dir and not from records, so that what conversion dropped counts
as missed. Exit status 1: the watch ended before the checkpoint of the last step was there. The
same command again passes over what is evaluated.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from replicate.errors import UserError
from tools import cli

if TYPE_CHECKING:
    from replicate import best
    from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
    from replicate.run import RunDir

_HELP = "\n  see: python tools/evaluate.py --help"

_CONFIG = flags.DEFINE_string(
    "pipeline_config_path",
    None,
    "the checkpoint's config: a file, a run directory, an archive or a zoo model's name; by "
    "default that of --model_dir, or the one that lies with --checkpoint.",
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "prefix of a TF2 checkpoint (…/ckpt-400), a folder that holds one, a run directory, a released "
    "MODEL.tar.gz, or the name of a zoo model that tools/download.py fetched; RUN/best, or best "
    "with --model_dir: the one that --keep_best kept.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "of --checkpoint: the results file; .json.gz compresses it."
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "the run directory: evals/ and eval/ are written there."
)
_CHECKPOINT_DIR = flags.DEFINE_string(
    "checkpoint_dir", None, "watch this folder's checkpoints; MODEL_DIR/checkpoints by default."
)
_WATCH = flags.DEFINE_bool(
    "watch", None, "wait for further checkpoints; on with --checkpoint_dir (--nowatch: off)."
)
_STEPS = flags.DEFINE_integer(
    "num_train_steps", None, "the step at which training ends; the run's or config's otherwise."
)
_TIMEOUT = flags.DEFINE_float(
    "eval_timeout", 3600, "seconds to wait for a new checkpoint.", lower_bound=0
)
_ANNOTATIONS = flags.DEFINE_string(
    "annotations_file", None, "COCO annotation JSON; that of --model_dir's run by default."
)
_IMAGES = flags.DEFINE_string("image_dir", None, "the folder of its images; likewise.")
_SUPPRESSION = flags.DEFINE_enum(
    "suppression", "kit", ["kit", "api"], "whose non-maximum suppression: the kit's or the API's."
)
_JIT = flags.DEFINE_bool("jit_compile", False, "compile the forward pass with XLA (for GPUs).")
_TF32 = flags.DEFINE_bool(
    "tf32",
    True,
    "let a GPU that can compute float32 in TensorFloat-32, as TensorFlow does by default; --notf32 "
    "keeps all 23 bits of mantissa.",
)
_METRICS = flags.DEFINE_string(
    "metrics_output", None, "of --checkpoint: write metrics.json here (tools/verdict.py takes it)."
)
_KEEP_BEST = flags.DEFINE_string(
    "keep_best",
    None,
    "keep the best checkpoint by this metric (AP, AP50, …, segm/AP) in MODEL_DIR/best; by default "
    "as the run kept it before; empty: consider none of these, a best that is kept stays.",
)
_PATIENCE = flags.DEFINE_integer(
    "patience",
    None,
    "end the training after so many evaluations without gain; 0 takes an end back.",
    lower_bound=0,
)
_BATCH = flags.DEFINE_integer("batch_size", 8, "images a forward pass.", lower_bound=1)


def main(_: list[str]) -> int:
    of_best = _CHECKPOINT.value == "best" and bool(_MODEL_DIR.value)
    if bool(_CHECKPOINT.value) == bool(_MODEL_DIR.value) and not of_best:
        raise UserError(f"give either --checkpoint with --output, or --model_dir{_HELP}")
    return _evaluate_one() if _CHECKPOINT.value else _evaluate_run()


def _evaluate_one() -> int:
    from replicate import best, engine, weights
    from replicate.run import RunDir, write_json
    from tfrecords import annotation_file

    source = _CHECKPOINT.value
    if _MODEL_DIR.value:
        source = RunDir.existing(_MODEL_DIR.value).best
    owner = best.run_of(source)
    if owner is None and _MODEL_DIR.value:
        raise UserError(f"{source}: no best checkpoint is kept there; --keep_best=AP keeps it")
    annotations_file, image_dir = _ANNOTATIONS.value, _IMAGES.value
    if owner is not None:
        annotations_file, image_dir = _groundtruth(RunDir.at(owner))
    _require(annotations_file=annotations_file, image_dir=image_dir, output=_OUTPUT.value)
    trained = weights.of(source)
    config_path = _CONFIG.value or trained.config
    if not config_path:
        raise UserError(f"missing --pipeline_config_path{_HELP}")
    message = engine.read(config_path)
    if engine.of(message) == engine.TFVISION and flags.FLAGS["suppression"].present:
        raise UserError("--suppression is the API's models'; TF-Vision suppresses in its own model")
    scored = annotation_file.read(annotations_file).has_annotations
    from replicate.evaluate import detections, detector, results
    from replicate.score import text

    checkpoint = detector.find_checkpoint(trained.checkpoint)
    evaluation = detections.Evaluation(
        message,
        annotations_file,
        image_dir,
        batch_size=_BATCH.value,
        suppressed_by=_SUPPRESSION.value,
        jit_compile=_JIT.value,
        tf32=_TF32.value,
        beside=_folder_of(config_path),
    )
    evaluation.restore(checkpoint)
    count, result = results.write(evaluation, _OUTPUT.value, scored=scored)
    print(f"{count} detections of {checkpoint} in {_OUTPUT.value}")
    print(text.of_inference(evaluation.inference))
    if not scored:
        print(f"{annotations_file} has no annotations: not scored")
        return cli.DONE
    assert result is not None
    others = results.beside_boxes(message, annotations_file, _OUTPUT.value)
    scores = [score.to_json(evaluation.inference) for score in [result, *others]]
    print(text.of_scores(scores))
    if _METRICS.value:
        metrics = scores[0] | ({"others": scores[1:]} if others else {})
        write_json(_METRICS.value, metrics, kind="metrics")
    return cli.DONE


def _evaluate_run() -> int:
    from replicate import engine
    from replicate.run import RunDir

    run = RunDir.at(_MODEL_DIR.value)
    annotations_file, image_dir = _groundtruth(run)
    message = engine.read(_CONFIG.value or run.config)
    directory = pathlib.Path(_CHECKPOINT_DIR.value or run.checkpoints)
    watching = bool(_CHECKPOINT_DIR.value) if _WATCH.value is None else _WATCH.value
    from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator

    checkpoints = CheckpointEvaluator(
        run,
        message,
        annotations_file,
        image_dir,
        directory=directory,
        batch_size=_BATCH.value,
        suppressed_by=_SUPPRESSION.value,
        jit_compile=_JIT.value,
        tf32=_TF32.value,
        keep_best=_kept_by(run),
        patience=_PATIENCE.value,
    )
    with run.evaluating():
        return _evaluate_kept(run, message, directory, checkpoints, watching)


def _evaluate_kept(
    run: "RunDir",
    message: Any,
    directory: pathlib.Path,
    checkpoints: "CheckpointEvaluator",
    watching: bool,
) -> int:
    from replicate import engine
    from replicate.evaluate import watch
    from replicate.score import text

    if watching:
        end = watch.watch(
            checkpoints,
            run.training,
            _STEPS.value or engine.describe(message).num_steps,
            _TIMEOUT.value,
        )
        print(end.reason)
        _print_best(run)
        return cli.DONE if end.complete else cli.NEGATIVE
    if not checkpoints.checkpoints():
        raise UserError(f"{directory}: no checkpoint there; --watch waits for one")
    metrics = checkpoints.evaluate_all()
    assert metrics is not None  # there is a checkpoint
    print(f"step {metrics['step']}, in {run.eval_at(metrics['step'])}:")
    if metrics.get("inference"):
        print(text.of_inference(metrics["inference"]))
    print(text.of_scores(run.scores_at(metrics["step"])))
    _print_best(run)
    return cli.DONE


def _print_best(run: "RunDir") -> None:
    from replicate import best

    if sentence := best.sentence_of(run):
        considered = "" if _KEEP_BEST.value != "" else "; as kept before, none newer considered"
        print(f"best: {sentence} ({run.best}){considered}")


def _kept_by(run: "RunDir") -> "best.Metric | None":
    """The metric of --keep_best, or else the one that the run kept its best by."""
    from replicate import best

    before = best.read(run)
    metric = _KEEP_BEST.value
    if metric is None:
        metric = before["metric"] if before else ("AP" if _PATIENCE.value else "")
    if _PATIENCE.value is not None and not metric:
        raise UserError(f"--patience needs a metric: --keep_best=AP{_HELP}")
    return best.Metric.parse(metric) if metric else None


def _groundtruth(run: "RunDir") -> tuple[str, str]:
    """The annotation file and image folder: the flags', else those that the run was asked for."""
    from replicate.run import read_json

    request = read_json(run.spec).get("request", {}) if run.spec.is_file() else {}
    annotations_file = _ANNOTATIONS.value or request.get("val_annotations")
    image_dir = _IMAGES.value or request.get("val_images")
    if not (annotations_file and image_dir) and not run.root.is_dir():
        why = "a file" if run.root.exists() else "no such folder"
        raise UserError(
            f"{run.root}: {why}, so no run tells what it is evaluated on; give a run directory, or "
            f"what is missing: --annotations_file, --image_dir{_HELP}"
        )
    _require(annotations_file=annotations_file, image_dir=image_dir)
    _require_there(run, "annotations_file", _ANNOTATIONS.value, annotations_file)
    _require_there(run, "image_dir", _IMAGES.value, image_dir)
    return str(annotations_file), str(image_dir)


def _folder_of(config: str) -> pathlib.Path | None:
    """The folder that a config lies in; None of a zoo model's name."""
    path = pathlib.Path(config)
    return path if path.is_dir() else path.parent if path.is_file() else None


def _require_there(run: "RunDir", flag: str, given: str | None, path: str | None) -> None:
    """Where a run was made with what has moved since, says which flag names its new place."""
    if path and not given and not pathlib.Path(path).exists():
        raise UserError(
            f"{path}: not there; it is what {run.spec} says the run is evaluated on. Where it "
            f"lies now: --{flag}=…{_HELP}"
        )


def _require(**values: str | None) -> None:
    missing = [f"--{name}" for name, value in values.items() if not value]
    if missing:
        raise UserError(f"missing {', '.join(missing)}{_HELP}")


if __name__ == "__main__":
    cli.run(main)
