"""What may explain a gap: the documented reasons of failed replications, most likely first."""

import dataclasses
import re

from replicate.verdict import comparable


@dataclasses.dataclass(frozen=True)
class Cause:
    """A documented reason why a replication failed.

    Attributes:
      title: the reason.
      points: how many points of AP it was seen to cost or add; they order the list. Where no
        source gives a figure, it is a judgement of the place among those that do.
      effect: what is known of its size.
      source: where it was met.
      check: what settles whether it is the reason here.
      path: regular expression of config paths whose deviation is evidence of it.
      config_alone: the config's diff tells it: without such a deviation it is not the reason.
      kinds: where it can apply, "training" or "checkpoint".
      above: whether it can also explain a figure above the published one.
    """

    title: str
    points: float
    effect: str
    source: str
    check: str
    path: str = ""
    config_alone: bool = False
    kinds: tuple[str, ...] = ("training", "checkpoint")
    above: bool = False


IMAGES = Cause(
    title="evaluated on other images than val2017",
    points=4.2,
    effect="24.4 against 20.2 on minival (9127); train images in val2014 (tensorpack 922)",
    source="tensorflow/models issues 4421, 9127, 6421, 10232; tensorpack issue 922",
    check="score with instances_val2017.json: 5,000 images, 36,781 annotations",
    path=r"eval_input_reader.*input_path",
    above=True,
)
LABELS = Cause(
    title="the label map or the number of classes is wrong: 80 contiguous ids for COCO's 90, or "
    "background off by one",
    points=20.0,
    effect="AP near zero, or whole categories at zero",
    source="tensorflow/models issue 9127 and many",
    check="tools/score.py names shifted category ids; the table of AP by category shows zeros",
    path=r"num_classes|label_map",
)
CUT = Cause(
    title="score threshold, non-maximum suppression or the number of detections is set for "
    "deployment",
    points=5.0,
    effect="AP of detections cut at a score of 0.5 is far below the zoo's",
    source="the zoo's configs: score_threshold about 1e-8, 100 detections an image",
    check="evaluate with the zoo's post_processing and score again",
    path=r"post_processing|second_stage_post_processing|max_number_of_boxes|max_detections",
    above=True,
)
EVALUATORS = Cause(
    title="the evaluators disagree",
    points=26.0,
    effect="0.18 against 0.44 for the same model (keras-cv 915)",
    source="keras-cv issue 915; ultralytics issue 10326",
    check="tools/score.py --evaluator=both on the same detections",
    above=True,
)
INITIAL = Cause(
    title="the classification checkpoint of the recipe was not loaded",
    points=3.2,
    effect="19 against 22.2 (10745)",
    source="tensorflow/models issues 10745, 9172",
    check="tools/train.py says at its start how many variables of fine_tune_checkpoint matched",
    path=r"fine_tune_checkpoint|load_all_detection_checkpoint_vars|from_detection_checkpoint",
    kinds=("training",),
)
RATE = Cause(
    title="smaller batch with the published learning rate, or another rate",
    points=3.0,
    effect="NaN, or a lower plateau; a tenth of the rate mended it (9151)",
    source="tensorflow/models issue 9151; google/automl issues 137, 437",
    check="the linear rule: learning rate × (batch ÷ published batch), schedule ÷ the same",
    path=r"train_config\.batch_size|learning_rate|optimizer",
    config_alone=True,
    kinds=("training",),
)
SCHEDULE = Cause(
    title="schedule shorter than published",
    points=2.5,
    effect="undertrained: AP still rising at the last checkpoint",
    source="tensorflow/models issues 10745, 10530",
    check="images seen (steps × global batch) against the row; AP over steps has levelled off",
    path=r"num_steps|total_steps|warmup_steps|decay_steps",
    config_alone=True,
    kinds=("training",),
)
DRIFT = Cause(
    title="the config differs from the one that made the number",
    points=1.5,
    effect="batch 32 used where the file says 24 (1952); a '320' model resizing to 300",
    source="tensorflow/models issues 1952, 9127; mmdetection issue 2379",
    check="tools/diff_config.py against the zoo, and set each field back",
    above=True,
)
RECORDS = Cause(
    title="records lost in conversion: boxes dropped, crowd flags lost, area computed again",
    points=1.0,
    effect="26,715 records skipped (automl 99)",
    source="google/automl issue 99",
    check="the converter's manifest: counts and the ledger of drops against the JSON",
    path=r"train_input_reader|min_area|ignore_",
    kinds=("training",),
)
AVERAGE = Cause(
    title="moving-average weights evaluated, or not, unlike the recipe",
    points=0.8,
    effect="the zoo's configs differ in use_moving_average(s)",
    source="the zoo's configs",
    check="use_moving_average of the optimizer and use_moving_averages of eval_config agree",
    path=r"use_moving_average",
    config_alone=True,
    above=True,
)
RESUME = Cause(
    title="a resume kept the step but not the optimizer, schedule or data position",
    points=0.7,
    effect="a jump of the loss at the resume",
    source="tensorflow/models issues 9229, 4116",
    check="loss and learning rate in metrics.jsonl go on without a jump at each resume",
    kinds=("training",),
)
REPLICAS = Cause(
    title="batch_size read as per GPU where it is global",
    points=0.6,
    effect="another effective batch than the schedule is for",
    source="tensorflow/models issue 1972; tensorflow issue 41213",
    check="global batch in spec.json against the published batch_size",
    kinds=("training",),
)
PRECISION = Cause(
    title="another numeric precision than published",
    points=0.1,
    effect="σ over seeds 0.14 in mixed precision, 0.16 in TF32: no shift (SSD300, 15 seeds)",
    source="NVIDIA DeepLearningExamples",
    check="evaluate the checkpoint once more in float32",
    above=True,
)
MICRO_BATCHES = Cause(
    title="batch-norm statistics and loss normalizers of micro-batches",
    points=0.4,
    effect="noisier statistics, other moving averages than those of the published batch",
    source="environment.json: execution",
    check="train once with --gradient_accumulation_steps=1 on more or larger devices",
    kinds=("training",),
)
CODE = Cause(
    title="the kit's own code was changed",
    points=0.9,
    effect="whatever the change does",
    source="environment.json: git",
    check="repeat the run from the committed revision",
    above=True,
)
PLATFORM = Cause(
    title="another TensorFlow or device than the published run's",
    points=0.05,
    effect="six models of five families gave the same outputs on TensorFlow 2.20 as on 2.15, to a "
    "relative 2e-6",
    source="the kit's parity check (tools/parity.py)",
    check="tools/parity.py on this machine",
    above=True,
)
SEED = Cause(
    title="chance: the seed alone",
    points=0.2,
    effect="σ 0.10 to 0.16 points over seeds",
    source="NVIDIA DeepLearningExamples; detectron2 projects",
    check="run three seeds: then the verdict is an equivalence test",
    kinds=("training",),
    above=True,
)

# A deviation is evidence of the first cause whose path it matches, so the narrow come first.
CAUSES = (
    *(AVERAGE, SCHEDULE, INITIAL, LABELS, CUT, IMAGES, RATE, RECORDS),
    *(EVALUATORS, RESUME, REPLICAS, PRECISION, CODE, PLATFORM, SEED),
)


def likely_causes(evaluations, deviations, kind, environment, achieved, published):
    """The reasons that may explain a gap, most likely first.

    First those that something in this run speaks for, in the order of the effect they were seen
    to have; then those that nothing here rules out.

    Args:
      evaluations: list of metrics.json dicts.
      deviations, kind, environment: as of `decide`.
      achieved, published: dicts figure's name -> points.

    Returns:
      list of dicts: cause, evidence (list of sentences, empty: not ruled out), effect, source,
      check.
    """
    gaps = [
        achieved[name] - published[name]
        for name in achieved
        if name in published and achieved[name] is not None
    ]
    above = bool(gaps) and min(gaps) > 0
    evidence = {}
    for deviation in deviations:
        if deviation["class"] in comparable.AFFECTING[kind]:
            cause = cause_of(deviation["path"])
            evidence.setdefault(cause, []).append(comparable.told(deviation))
    for evaluation in evaluations:
        for cause, sentences in _facts(evaluation):
            known = evidence.setdefault(cause, [])
            known += [each for each in sentences if each not in known]
    for cause, sentence in _environment(environment or {}):
        evidence.setdefault(cause, []).append(sentence)

    seen = sorted(evidence, key=lambda cause: -cause.points)
    open_ones = sorted(
        (
            cause
            for cause in CAUSES
            if cause not in evidence
            and kind in cause.kinds
            and (cause.above or not above)
            and not _ruled_out(cause, evaluations, environment)
        ),
        key=lambda cause: -cause.points,
    )
    return [
        {
            "cause": cause.title,
            "evidence": evidence.get(cause, []),
            "effect": cause.effect,
            "source": cause.source,
            "check": cause.check,
        }
        for cause in (*seen, *open_ones)
    ]


def cause_of(path):
    """The documented reason that a deviation at a config path is evidence of."""
    return next((each for each in CAUSES if each.path and re.search(each.path, path)), DRIFT)


def _facts(evaluation):
    """(cause, sentences) for what an evaluation itself shows."""
    for cause, find in (
        (EVALUATORS, comparable.of_evaluators),
        (IMAGES, comparable.of_images),
        (LABELS, comparable.of_categories),
    ):
        sentences = list(find(evaluation))
        if sentences:
            yield cause, sentences
    sentences = list(comparable.of_detections(evaluation["detections"]))
    if sentences:
        yield CUT, sentences
    elif silent := _silent_categories(evaluation):
        yield LABELS, [silent]


def _silent_categories(evaluation):
    """A sentence where many categories that have five objects or more got no detection at all."""
    present = [each for each in evaluation["per_category"] if each["groundtruth"] >= 5]
    silent = [each["name"] for each in present if not each["detections"]]
    if len(silent) < max(2, 0.1 * len(present)):
        return None
    return (
        f"{len(silent)} of {len(present)} categories with five objects or more have no detection "
        f"at all ({', '.join(silent[:4])}{', …' if len(silent) > 4 else ''})"
    )


def _environment(environment):
    """(cause, sentence) for what environment.json tells."""
    precision = environment.get("precision")
    if precision and precision != "float32":
        yield PRECISION, f"this run used {precision}"
    micro = (environment.get("execution") or {}).get("gradient_accumulation_steps", 1)
    if micro > 1:
        yield MICRO_BATCHES, f"this run split each batch into {micro} micro-batches"
    if (environment.get("git") or {}).get("diff"):
        revision = environment["git"].get("revision", "")[:12]
        yield CODE, f"the working tree differed from revision {revision}"
    version = environment.get("packages", {}).get("tensorflow")
    if version:
        names = [gpu.get("device_name", "a GPU") for gpu in environment.get("gpus", [])]
        yield PLATFORM, f"this run: TensorFlow {version} on {', '.join(names) or 'the CPU'}"


def _ruled_out(cause, evaluations, environment):
    """Causes on which the facts at hand speak: without evidence above they are not the reason."""
    if cause is EVALUATORS:
        return all(each["agree"] for each in evaluations)
    if cause is PRECISION:
        return (environment or {}).get("precision") == "float32"
    if cause is CODE:
        # Known: unchanged, or told above; not known: nothing speaks for it.
        return True
    return cause.config_alone or cause in (IMAGES, LABELS, CUT)
