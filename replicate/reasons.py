"""The documented reasons why replications fail, each once: for preflight and for the verdict.

Preflight attaches its checks to a reason (`preflight/checks.py`), the verdict its evidence
(`verdict/causes.py`); what is known of a reason stands here. A source is cited for what its thread
says and no more; `effect` is NOT_MEASURED where no source measures one.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from replicate import engine

NOT_MEASURED = "no measured effect known"
# The words by which preflight's reason 2 says what the verdict calls reason 26.
TRAINING_EVALUATED = "training images are evaluated"

_TF_MODELS = "tensorflow/models issue"


@dataclasses.dataclass(frozen=True)
class Reason:
    """A documented reason.

    Attributes:
      number: as docs/preflight.md lists it; preflight checks 1 to 17 before the first step.
      title: in two or three words.
      cause: as a cause of a missed figure.
      sources: where it was met, and what is said there.
      effect: what a source measured of its size, or NOT_MEASURED.
      points: that size in points of AP, None where it was not measured.
      check: what settles whether it is the reason here.
      mend: what mends it: a command where there is one.
      sign: how preflight tells it before the first step; "" where it cannot be told then.
      paths: regular expression of config paths whose difference from the recipe is evidence of it.
      config_alone: the config tells it: where no such path differs it is not the reason.
      kinds: where it can apply: "training", "checkpoint" (a released one evaluated again).
      vision: of a TF-Vision run, what is otherwise than above: attribute -> value.
      above: whether it can also explain a figure above the published one.
      below: whether it can explain a figure below it.
    """

    number: int
    title: str
    cause: str
    sources: tuple[str, ...]
    check: str
    mend: str
    effect: str = NOT_MEASURED
    points: float | None = None
    sign: str = ""
    paths: str = ""
    config_alone: bool = False
    kinds: tuple[str, ...] = ("training", "checkpoint")
    vision: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    above: bool = False
    below: bool = True

    def of_engine(self, name: str) -> "Reason":
        """This reason in the words of an engine (`replicate.engine`): its own fields and files."""
        own = dataclasses.replace(self, **self.vision) if name == engine.TFVISION else self
        words = {"config": engine.FILES[name], "batch": engine.BATCH[name]}
        texts = {text: getattr(own, text).format(**words) for text in ("check", "mend")}
        return dataclasses.replace(own, **texts)


_DIFF = "python tools/diff_config.py MODEL {config}"
_CONVERT, _TRAINING = "python tools/create_coco_tf_record.py", ("training",)

START = Reason(
    1,
    "starting checkpoint",
    "the recipe's starting checkpoint was not loaded",
    (f"{_TF_MODELS}s 9172, 8892, 9272, 9855",),
    check="how many variables of it matched: reason 1 of tools/preflight.py, start.json",
    mend="python tools/download.py starting MODEL, then --fine_tune_checkpoint=CHECKPOINT",
    sign="train_config.fine_tune_checkpoint and its type against the recipe's; the checkpoint is "
    "restored and the variables it changed are counted",
    paths=r"fine_tune_checkpoint|init_checkpoint|load_all_detection_checkpoint_vars|from_detection_checkpoint",
    kinds=_TRAINING,
    vision={
        "mend": "--fine_tune_checkpoint=CHECKPOINT, of which task.init_checkpoint_modules says "
        "what is loaded",
        "sign": "task.init_checkpoint and its modules against the recipe's; official's own "
        "initialize loads them, and the variables are counted",
    },
)
IMAGES = Reason(
    2,
    "evaluation images",
    "evaluated on other images or groundtruth than val2017's",
    (f"{_TF_MODELS}s 4421, 9127, 6421, 10232",),
    check="score with instances_val2017.json: 5,000 images, 36,781 annotations",
    mend="python tools/download.py coco --split=val2017",
    effect="24.4 on minival's 8,059 images where 20.2 is published (tensorflow/models 9127)",
    points=4.2,
    sign="images, annotations, crowds, 128 lowest ids; images in both sets, by the annotation "
    "files' hashes and byte by byte",
    paths=r"eval_input_reader",
    config_alone=True,
    above=True,
)
DRIFT = Reason(
    3,
    "config drift",
    "the config differs from the one that made the number",
    (
        f'{_TF_MODELS} 9127 (a "320" model resizes to 300; 32 used where the file says 24)',
        "mmdetection issue 2379",
    ),
    check=f"set each field back: {_DIFF}",
    mend="python tools/render_config.py --model=MODEL",
    sign="every difference that affects AP and is no other reason's",
    config_alone=True,
    above=True,
)
RATE = Reason(
    4,
    "batch and rate",
    "smaller batch with the published learning rate, or another rate",
    (
        f"{_TF_MODELS} 9151 (NaN; a tenth of the rate mended it)",
        "google/automl issues 137, 437",
        "NVIDIA DeepLearningExamples, SSD300",
    ),
    check="the linear rule: learning rate × (batch ÷ published batch), schedule ÷ the same",
    mend="python tools/render_config.py --model=MODEL --global_batch_size=BATCH",
    effect="SSD300 on 8 GPUs: 27.1 with 32 images a GPU, 26.0 with 256, not the same kind of GPU "
    "(NVIDIA DeepLearningExamples)",
    points=1.1,
    sign="batch and peak rate against the recipe; the linear rule's values as flags",
    paths=r"train_config\.batch_size|train_data\.global_batch_size|learning_rate|optimizer",
    config_alone=True,
    kinds=_TRAINING,
)
DEVICES = Reason(
    5,
    "batch over devices",
    "the batch size read as that of one GPU where it is global",
    (f"{_TF_MODELS} 1972", "tensorflow issue 41213"),
    check="the global batch in {config} against the published one",
    mend="--set={batch}=BATCH, over all devices",
    sign="both are printed; a batch that is the published one divided or multiplied by the devices",
    kinds=_TRAINING,
)
RECORDS = Reason(
    6,
    "records",
    "annotations lost in conversion: boxes dropped, crowd flags lost, area computed again",
    ("google/automl issue 99 (26,715 annotations of a labelme set of 3,249 images skipped)",),
    check="the converter's manifest: counts and the ledger of drops against the JSON",
    mend=_CONVERT,
    sign="before the conversion the converter's own rules on each box, afterwards manifest and "
    "ledger; without a manifest, a sample of records against the JSON",
    paths=r"train_input_reader|min_area|ignore_|train_data\.decoder",
    kinds=_TRAINING,
    vision={"mend": f"{_CONVERT} --include_class_labels"},
)
LABELS = Reason(
    7,
    "labels, classes",
    "the label map or the number of classes is wrong: 80 contiguous ids for COCO's 90, background "
    "off by one",
    (f"{_TF_MODELS}s 9127, 1906", f"{_TF_MODELS} 7305 (names differ: nothing learned)"),
    check="the table of AP by category shows zeros; tools/score.py names shifted ids",
    mend=f"{_CONVERT}, which writes the label map with the records",
    sign="label map, `num_classes`, categories and COCO's ids against each other; numbers in the "
    "records",
    paths=r"num_classes|label_map",
    vision={
        "sign": "task.model.num_classes (with the background), the decoder's label map, a sample "
        "of the records as task.train_data.decoder reads it, the annotation file's ids",
        "mend": f"{_CONVERT} --include_class_labels, and --set=task.model.num_classes=IDS, the "
        "highest category id and one for the background",
    },
)
SCHEDULE = Reason(
    8,
    "length of schedule",
    "undertrained: fewer images seen, or a schedule that ends elsewhere",
    (f"{_TF_MODELS} 10745 (19 where 22.2 is published; one user, who suspects rate and steps)",),
    check="images seen (steps × global batch) against the recipe's; AP over steps has levelled off",
    mend="train the recipe's images: the same command again continues a run that was stopped",
    sign="images seen; the schedule's own end",
    paths=r"num_steps|total_steps|train_steps|warmup_steps|decay_steps|hold_base_rate_steps"
    r"|\.boundaries",
    kinds=_TRAINING,
)
RESUME = Reason(
    9,
    "state of a resume",
    "a resume kept the step but not the optimizer, schedule or data position",
    (f"{_TF_MODELS}s 9229, 4116",),
    check="loss and learning rate in metrics.jsonl go on without a jump at each resume",
    mend="train once without a stop",
    sign="the config of the last launch, what the checkpoint holds, the log's end; a "
    "`fine_tune_checkpoint` that is a run's own",
    kinds=_TRAINING,
    vision={
        "sign": "the config of the last launch, what the checkpoint holds, the log's end; a "
        "`task.init_checkpoint` that is a run's own",
    },
)
GPU = Reason(
    10,
    "GPU used",
    "the GPU was silently not used",
    ("tensorflow issues 63362, 66987",),
    check="environment.json lists the run's GPUs",
    mend="python tools/doctor.py",
    sign="doctor's; `--num_gpus`; the device of the two steps",
    kinds=(),
)
LIBRARIES = Reason(
    11,
    "Keras, protobuf",
    "Keras 3, another protobuf, a changed Object Detection API",
    ("tensorflow issues 65463, 98980", f"{_TF_MODELS} 11192"),
    check="python tools/doctor.py",
    mend="make venv",
    sign="doctor's",
    kinds=(),
)
MEMORY = Reason(
    12,
    "memory, evaluation",
    "training and evaluation exhausted the memory, or evaluation gave up early",
    (f"{_TF_MODELS}s 10841, 1854, 1885",),
    check="the run's log ends with all steps and one evaluation a checkpoint",
    mend="the same command again continues the run",
    sign="the forecast against what is there, a container's limit included. Evaluation follows "
    "training in the same process, so nothing waits",
    kinds=(),
)
AVERAGES = Reason(
    13,
    "moving averages",
    "moving-average weights evaluated, or not, unlike the recipe",
    ("the zoo's configs, which differ in use_moving_average(s)",),
    check="use_moving_average of the optimizer and use_moving_averages of eval_config agree",
    mend="--set=eval_config.use_moving_averages=BOOL, as the recipe has it",
    vision={
        "sources": ("TF-Vision's configs, which differ in trainer.optimizer_config.ema",),
        "sign": "trainer.optimizer_config.ema against the recipe's: what is averaged is evaluated",
        "check": "trainer.optimizer_config.ema is there, or not, as in the recipe: what is "
        "averaged is evaluated",
        "mend": "python tools/render_config.py --model=MODEL, whose "
        "trainer.optimizer_config.ema is the recipe's",
    },
    sign="use_moving_average of the optimizer and use_moving_averages of eval_config against each "
    "other and the recipe",
    paths=r"use_moving_average|optimizer_config\.ema",
    config_alone=True,
    above=True,
)
CUT = Reason(
    14,
    "detections cut",
    "score threshold, suppression or number of detections set for deployment",
    (f"{_TF_MODELS}s 10376, 10337 (released TF1 graphs cut at 0.3)",),
    check="evaluate with the recipe's post_processing and score again",
    mend="python tools/evaluate.py with the recipe's {config}",
    vision={
        "sign": "task.model.detection_generator against the recipe's, where "
        "pre_nms_score_threshold is 0.05 as published",
        "check": "evaluate with the recipe's task.model.detection_generator and score again",
    },
    sign="post_processing and the numbers of detections against the recipe's",
    paths=r"post_processing|max_detections|max_box_predictions|detection_generator",
    config_alone=True,
    above=True,
)
EVALUATORS = Reason(
    15,
    "evaluators",
    "the evaluators disagree",
    (
        "keras-cv issues 915 (0.18 against 0.44), 2504",
        "ultralytics issue 10326",
        "yolov7 issue 490 (49.8 by one, 51.2 by pycocotools)",
    ),
    check="tools/score.py --evaluator=both on the same detections",
    mend="python tools/score.py --evaluator=both",
    effect="one model's 0.18 by one and 0.44 by another (keras-cv 915), 49.8 and 51.2 (yolov7 490)",
    points=1.4,
    sign="both score made detections on your annotation file, and the trial's",
    above=True,
)
FILES = Reason(
    16,
    "disk, files",
    "the disk was full, shards incomplete, images unreadable halfway",
    (f"{_TF_MODELS} 8538 and others",),
    check="python tools/verify_tf_record.py --full",
    mend=_CONVERT,
    sign="manifest sizes, record framing, images read, free space against the forecast",
    kinds=(),
)
TRAINING_IMAGES = Reason(
    17,
    "training images",
    "trained on other or fewer images than train2017's",
    ("seen with the kit: a run on a small part of the training set passed unnoticed",),
    check="the manifest's count and ids: 118,287 images, 860,001 annotations",
    mend="python tools/download.py coco --split=train2017, then convert it",
    sign="118,287 images and 860,001 annotations against the annotation file or the manifest",
    kinds=_TRAINING,
)
DECODER = Reason(
    18,
    "decoder, resize",
    "evaluation decoded or resized the images otherwise than the published one",
    (
        "measured with the kit: a released TFLite SSD on the first 128 images of val2017",
        "roboflow/inference pull request 2519; airo-mono issue 89; opencv issue 25620",
    ),
    check="the decoder is named in metrics.json; evaluate once more with the other",
    mend="python tools/evaluate.py, which feeds the API's own pixels",
    vision={"mend": "python tools/evaluate.py, which feeds TF-Vision's own pixels"},
    effect="22.53 with Pillow's pixels, 22.82 with TensorFlow's (a TFLite SSD on 128 images, "
    "measured with the kit)",
    points=0.29,
    above=True,
)
BATCH_NORM = Reason(
    19,
    "batch norm",
    "batch-norm statistics over other numbers of images than the published replicas' or of "
    "micro-batches",
    ("the recipes name their replicas (tpu-8, gpu-8); no source measures what other ones cost",),
    check="train once with the published images a replica",
    mend="as many images a replica as published; --gradient_accumulation_steps=1",
    kinds=_TRAINING,
    vision={
        "sources": ("no source measures what other numbers of replicas cost",),
        "mend": "as many images a replica as published; tools/zoo.py show MODEL has the hardware "
        "where it was stated",
    },
    above=True,
)
TWO_FIGURES = Reason(
    20,
    "table and header",
    "the zoo's table and the config's header publish different figures",
    ("tf2_detection_zoo.md and the comments at the head of the configs; tools/zoo.py show MODEL",),
    check="which of the two the released checkpoint has: evaluate it",
    mend="python tools/download.py zoo MODEL, then tools/evaluate.py",
    vision={
        "sources": ("TF-Vision's page and its YAMLs' headers; tools/zoo.py show MODEL",),
        "mend": "tools/zoo.py show MODEL has the weights' address; then tools/evaluate.py",
    },
    above=True,
)
IGNORED = Reason(
    21,
    "fields not read",
    "freeze_variables and other fields that TensorFlow 2's code does not read",
    (f"{_TF_MODELS}s 10167, 9548, 10797",),
    check="python tools/lint_config.py {config}",
    mend="python tools/lint_config.py {config} --fix",
    kinds=(),
)
BFLOAT16 = Reason(
    22,
    "bfloat16 on TPU",
    "the recipe computes in bfloat16 on TPU, this run otherwise",
    ("21 of the 36 public recipes say use_bfloat16: true",),
    check="train once in bfloat16: --precision=bfloat16",
    mend="--precision=bfloat16 where the device computes it",
    kinds=_TRAINING,
    vision={
        "sources": ("32 of the 41 public configs that compose say mixed_precision_dtype: bfloat16",)
    },
    above=True,
)
PRECISION = Reason(
    23,
    "precision",
    "another numeric precision than published",
    ("NVIDIA DeepLearningExamples, SSD300: 15 seeds each in TF32 and mixed precision",),
    check="evaluate the checkpoint once more in float32",
    mend="--precision=float32",
    above=True,
)
DIVERGED = Reason(
    24,
    "divergence",
    "the loss diverged or was not finite",
    (f"{_TF_MODELS} 9151 (NaN at the published rate with a smaller batch)",),
    check="the losses in metrics.jsonl: a jump that does not come back, a NaN",
    mend="a lower learning rate or a longer warm-up; see reason 4",
    kinds=_TRAINING,
)
ADAM = Reason(
    25,
    "scaling on Adam",
    "rates scaled by the linear rule on an Adam recipe, for which it is not established",
    ("Goyal et al., arXiv 1706.02677, establish it for SGD with momentum",),
    check="train once with the published batch",
    mend="--set={batch}=BATCH, the published one, with its rate",
    kinds=_TRAINING,
    above=True,
)
OVERLAP = Reason(
    26,
    "evaluation images in training",
    "the evaluation images, or some of them, were trained on",
    ("tensorpack issue 922 (COCO's 2014 training set overlaps val2014)",),
    check="reason 2 of tools/preflight.py compares annotation files and images",
    mend="train on train2017 alone",
    kinds=_TRAINING,
    above=True,
    below=False,
)
CODE = Reason(
    27,
    "changed code",
    "the kit's own code was changed",
    ("environment.json: git",),
    check="repeat the run from the committed revision",
    mend="git stash; the same command again",
    above=True,
)
PLATFORM = Reason(
    28,
    "platform",
    "another TensorFlow or device than the published run's",
    ("the kit's parity check: fourteen models on TensorFlow 2.20 and 2.15",),
    check="python tools/parity.py on this machine",
    mend="python tools/parity.py",
    effect="predictions, losses and gradients equal in float64 to 1e-6 (docs/engine.md)",
    points=0.0,
    vision={
        "sources": ("none: TF-Vision has not been compared between TensorFlow's versions",),
        "effect": NOT_MEASURED,
        "points": None,
        "check": "train or evaluate once more on the other platform",
        "mend": "the platform of the published run, where it is known",
    },
    above=True,
)
CHANCE = Reason(
    29,
    "chance",
    "chance: the seed alone",
    ("spread between seeds: replicate/verdict/seed_spread.csv",),
    effect="σ 0.10 to 0.31 points between the seeds of one recipe, by model",
    points=0.31,
    check="several seeds: then the verdict is an equivalence test",
    mend="the same command with --seed=1 and --seed=2, then python tools/verdict.py RUN RUN RUN",
    kinds=_TRAINING,
    above=True,
)

ALL = (
    *(START, IMAGES, DRIFT, RATE, DEVICES, RECORDS, LABELS, SCHEDULE, RESUME, GPU, LIBRARIES),
    *(MEMORY, AVERAGES, CUT, EVALUATORS, FILES, TRAINING_IMAGES, DECODER, BATCH_NORM, TWO_FIGURES),
    *(IGNORED, BFLOAT16, PRECISION, DIVERGED, ADAM, OVERLAP, CODE, PLATFORM, CHANCE),
)

# A difference is evidence of the first reason whose paths it matches, so the narrow come first.
_BY_PATH = (AVERAGES, SCHEDULE, START, LABELS, CUT, IMAGES, RATE, RECORDS)


def of_path(path: str) -> Reason:
    """The reason that a difference from the recipe at a config path is evidence of."""
    return next((reason for reason in _BY_PATH if re.search(reason.paths, path)), DRIFT)
