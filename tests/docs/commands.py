"""How the documents' commands are run here: what is replaced, what is not run and why.

A command of the documents that stands in none of these tables is run as it is, in the order of its
document, and must end with status 0.
"""

from tests.docs.workspace import MODEL, small

_DATA = (
    "--train_annotations=annotations/instances_train2017.json --train_images=train2017 "
    "--val_annotations=annotations/instances_val2017.json --val_images=val2017"
)
_ON_TINY_DATA = "--rehearsal --notrial"

# (old, new), everywhere: placeholders, and what needs the network or a real machine's time.
EVERYWHERE = (
    ("--model=MODEL", f"--model={MODEL}"),
    ("--model=ZOO_MODEL", f"--model={MODEL}"),
    ("--num_shards=128", "--num_shards=1"),
    ("--num_shards=64", "--num_shards=1"),
    ("--num_shards=32", "--num_shards=1"),
    ("--num_shards=8", "--num_shards=1"),
    ("--fine_tune_checkpoint=data/starting/mobilenet_v2/mobilenet_v2.ckpt-1", ""),
    ("--fine_tune_checkpoint=mobilenet_v2.ckpt-1", "--fine_tune_checkpoint="),
)

# (document, how the command begins, old, new); new text is appended where old is "".
IN_ONE = (
    (  # the archive here has no weights
        "docs/how-to-released-checkpoint.md",
        "python tools/evaluate.py",
        f"--checkpoint={MODEL}.tar.gz",
        "--checkpoint=runs/a/checkpoints --pipeline_config_path=pipeline.config",
    ),
    (
        "docs/how-to-released-checkpoint.md",
        "python tools/score.py",
        "released.json.gz",
        "detections.json.gz",
    ),
    (
        "docs/how-to-one-gpu.md",
        "python tools/replicate.py",
        "--gradient_accumulation_steps=4",
        f"--gradient_accumulation_steps=2 {_ON_TINY_DATA} --num_steps=2 {small()}",
    ),
    (
        "docs/how-to-fine-tune.md",
        "python tools/replicate.py",
        "--num_steps=2000",
        f"--notrial --num_steps=2 {small()}",
    ),
    ("README.md", "python tools/replicate.py", "", f"{_ON_TINY_DATA} --num_steps=2 {small()}"),
    ("README.md", "python tools/render_config.py", "", f"--num_steps=2 {small()}"),
    (
        "README.md",
        "python tools/render_config.py",
        " --train_records",
        " --fine_tune_checkpoint= --train_records",
    ),
    ("README.md", "python tools/train.py", "", _ON_TINY_DATA),
    # README's pipeline.config stays for the documents after this one.
    ("docs/configs.md", "python tools/render_config.py", "pipeline.config", "other.config"),
    ("docs/configs.md", "python tools/diff_config.py", " A B", f" {MODEL} other.config"),
    ("docs/configs.md", "python tools/lint_config.py", "pipeline.config", "other.config"),
    (
        "docs/configs.md",
        "python tools/diff_config.py",
        "[--format=text|json|html]",
        "--format=json",
    ),
    ("docs/configs.md", "python tools/lint_config.py", "[--fix]", "--fix"),
    ("docs/explain.md", "python tools/explain.py --model=runs/a", "", "--steps=decoder"),
    ("docs/explain.md", "python tools/explain.py runs/a", "runs/a runs/b", "runs/seed0 runs/seed1"),
    (
        "docs/inspection.md",
        "python tools/inspect_pipeline.py --pipeline_config_path=ssd",
        f"--pipeline_config_path={MODEL}",
        "--pipeline_config_path=released.config --draw=1 --max_images=2",
    ),
    (
        "docs/inspection.md",
        "python tools/inspect_pipeline.py --pipeline_config_path=runs/first",
        "",
        "--draw=1 --max_images=2",
    ),
    ("docs/launch.md", "python tools/launch.py --target=local", "…", f"--model={MODEL} {_DATA}"),
    (  # a folder of no other run, and no GPUs: a dry run looks
        "docs/launch.md",
        "python tools/launch.py --target=local",
        "--background --gpus=2 --time_limit=36h --run_dir=runs/a",
        "--background --dry_run --gpus=0 --time_limit=36h --run_dir=runs/launched",
    ),
    (
        "docs/launch.md",
        "python tools/launch.py --target=slurm",
        "--run_dir=/shared/runs/a …",
        f"--dry_run --run_dir=runs/slurm --model={MODEL} {_DATA}",
    ),
    (
        "docs/launch.md",
        "python tools/launch.py --target=skypilot",
        "…",
        f"--model={MODEL} --train_annotations=/coco/train.json --val_annotations=/coco/val.json "
        "--val_images=/coco/val2017",
    ),
    ("docs/launch.md", "python tools/status.py", "--watch", "--json"),
    ("docs/preflight.md", "python tools/doctor.py", "[--folder=RUNS] [--json]", "--folder=runs"),
    (
        "docs/preflight.md",
        "python tools/preflight.py --model=MODEL",
        "--train_annotations=… --train_images=…  --val_annotations=… --val_images=… "
        "--fine_tune_checkpoint=…",
        f"{_DATA} {_ON_TINY_DATA}",
    ),
    ("docs/preflight.md", "python tools/preflight.py --pipeline", "", _ON_TINY_DATA),
    (
        "docs/preflight.md",
        f"python tools/preflight.py --model={MODEL}",
        "--json …",
        f"--json --rehearsal --run_dir=runs/tried {_DATA} {small()}",
    ),
    (
        "docs/recognition.md",
        "python tools/train_recognition.py",
        "--weights=resnet50_notop.h5 --num_epochs=20",
        "--backbone=MobileNetV2 --image_size=64 --batch_size=2 --num_train_steps=2",
    ),
    ("docs/report.md", "python tools/report.py", ",mlflow,comet", ""),
    ("docs/scoring.md", "python tools/verdict.py --model", "boxes.json,masks.json", "boxes.json"),
    (  # which takes COCO's own file alone
        "docs/scoring.md",
        "python tools/verdict.py --model",
        "--val2017_annotations=instances_val2017.json",
        "",
    ),
    ("docs/tfrecords.md", "import tfrecords", '"data/val2017", 32', '"records/python", 1'),
    ("docs/tfrecords.md", "python tools/create", "[--include_masks]", "--include_masks"),
    (
        "docs/tfrecords.md",
        "python tools/create",
        "[--keypoints_file=annotations/person_keypoints_val2017.json]",
        "",
    ),
    (
        "docs/tfrecords.md",
        "python tools/create",
        "[--label_map=data/label_map.pbtxt]",
        "--label_map=data/label_map.pbtxt",
    ),
    (
        "docs/training.md",
        "python tools/evaluate.py --checkpoint",
        "--checkpoint=… --pipeline_config_path=… --annotations_file=… --image_dir=…",
        "--checkpoint=runs/a/checkpoints --pipeline_config_path=pipeline.config "
        "--annotations_file=instances_val2017.json --image_dir=val2017",
    ),
    # The Python of docs/scoring.md leaves out what is the reader's own.
    (
        "docs/scoring.md",
        "from replicate import benchmark",
        '{"boxes_xywh_px": …, "scores": …, "category_ids": …}',
        '{"boxes_xywh_px": [[8, 8, 40, 40]], "scores": [0.5], "category_ids": [1]}',
    ),
)

WORKED_EXAMPLE = "trains for minutes; tests/docs/test_fine_tuning.py runs it as it stands"

# (document, how the command begins): why it is not run.
NOT_RUN = {
    (
        "docs/export.md",
        "python tools/export.py",
    ): "minutes of conversion; tests/export makes every form",
    (
        "docs/export.md",
        "python tools/benchmark.py",
    ): "needs the export before it; tests/export/test_forms.py runs the ladder",
    ("docs/export.md", "python tools/replicate.py"): (
        "a training of ten minutes on images of COCO; tests/export exports a padded model"
    ),
    ("docs/export.md", "R="): "a shell variable of the training below it",
    ("docs/export.md", "import supervision"): (
        "Ultralytics is no part of the kit; tests/benchmark/test_supervision.py has its detections"
    ),
    ("docs/export.md", "# mine.py"): "a sketch; tests/benchmark/test_another_python.py runs one",
    (
        "docs/how-to-released-checkpoint.md",
        "python tools/download.py",
    ): "the network; tests/zoo/test_archive.py",
    (
        "docs/how-to-one-gpu.md",
        "python tools/download.py",
    ): "the network; tests/tfrecords/test_fetch.py",
    ("docs/how-to-one-gpu.md", "make venv-gpu"): "installs from the network, for GPUs",
    (
        "docs/explain.md",
        "python tools/explain.py --annotations_file=instances_val128.json",
    ): "COCO's own images and a model's detections; tests/explain/test_detections.py",
    (
        "docs/reliability.md",
        "python -m tests.faults.long_run",
    ): "takes most of an hour; tests/faults runs a slice of it",
    ("README.md", "make demo"): "tools/demo.py trains for minutes; `make demo` itself is that test",
    ("README.md", "make test"): "this is it",
    ("README.md", "make venv-gpu"): "installs from the network, for GPUs",
    ("README.md", "python tools/download.py"): "the network: 20 GB; tests/tfrecords/test_fetch.py",
    ("docs/configs.md", "python tools/download.py"): "the network; tests/zoo/test_archive.py",
    ("docs/explain.md", "python tools/explain.py --model=demo/run"): (
        "the demo's run is a training; the same command is run on another run directory"
    ),
    ("docs/explain.md", "python tools/explain.py --model=detect.tflite"): (
        "the released detect.tflite is not part of the project; tests/explain runs the tool"
    ),
    ("docs/how-to-fine-tune.md", "python tools/demo.py"): WORKED_EXAMPLE,
    ("docs/how-to-fine-tune.md", "python -c"): WORKED_EXAMPLE,
    ("docs/how-to-fine-tune.md", "python tools/replicate.py --purpose=finetune --model=demo/run"): (
        WORKED_EXAMPLE
    ),
    ("docs/how-to-fine-tune.md", "python tools/export.py"): WORKED_EXAMPLE,
    ("docs/how-to-fine-tune.md", "python tools/benchmark.py"): WORKED_EXAMPLE,
    ("docs/launch.md", "sky jobs launch"): "needs SkyPilot and an account",
    ("docs/performance.md", "make gpu-check"): "needs a GPU; tests/gpu_check rehearses it",
    ("docs/report.md", "pip install"): "the network; `make test` installs it",
    ("docs/scoring.md", "python tools/benchmark.py"): (
        "the released detect.tflite is not part of the project; tests/benchmark runs the command"
    ),
    ("docs/scoring.md", "import torchvision"): "PyTorch is optional; test_torchvision.py",
    ("docs/tfrecords.md", "python -m venv build/beam"): "the network, a second environment",
    ("docs/tfrecords.md", "build/beam/bin/python"): "needs that environment; test_beam.py",
    ("docs/tfrecords.md", "python -m pytest"): "the suite runs it",
}

# (document, how the command begins): statuses that are answers as well, and of what.
ANSWERS = {
    ("docs/how-to-released-checkpoint.md", "python tools/verdict.py"): (0, 1, 3),
    ("docs/how-to-one-gpu.md", ".venv/bin/python tools/doctor.py"): (0, 1),  # what this machine is
    ("docs/how-to-one-gpu.md", "python tools/replicate.py"): (0, 3),
    ("docs/how-to-own-detections.md", "python tools/verdict.py"): (0, 1, 3),
    ("docs/how-to-own-baseline.md", "python tools/benchmark.py"): (0, 1),
    ("docs/how-to-own-baseline.md", "python tools/verdict.py"): (0, 1),
    ("docs/how-to-fine-tune.md", "python tools/verdict.py"): (0, 1),
    ("README.md", ".venv/bin/python tools/doctor.py"): (0, 1),  # what this machine is
    ("README.md", "python tools/diff_config.py"): (1,),  # the small detector differs
    ("README.md", "python tools/verdict.py"): (0, 3),  # not comparable: tiny data
    ("README.md", "python tools/replicate.py"): (0, 3),
    ("docs/configs.md", "python tools/diff_config.py"): (1,),
    ("docs/explain.md", "python tools/explain.py --annotations_file"): (0, 1),  # not explained
    ("docs/preflight.md", "python tools/doctor.py"): (0, 1),
    ("docs/preflight.md", "python tools/preflight.py --model=MODEL"): (0, 1),
    ("docs/scoring.md", "python tools/verdict.py"): (0, 1, 3),
    ("docs/inspection.md", "python tools/inspect_pipeline.py --pipeline_config_path=ssd"): (1,),
}

# Documents whose commands build models: (document, how it begins), for `-m slow`.
SLOW = {
    ("docs/how-to-released-checkpoint.md", "python tools/evaluate.py"),
    ("docs/how-to-one-gpu.md", "python tools/replicate.py"),
    ("docs/engine.md", "import numpy"),
    ("docs/explain.md", "python tools/explain.py --model=runs/a"),
    ("docs/inspection.md", "python tools/inspect_pipeline.py"),
    ("docs/preflight.md", f"python tools/preflight.py --model={MODEL}"),
    ("docs/recognition.md", "python tools/"),
    ("docs/training.md", "python tools/evaluate.py"),
}
