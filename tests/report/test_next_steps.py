"""What a report tells to do next is a whole command: each tool takes its words."""

import dataclasses
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from replicate import engine, reasons
from replicate.report import command_context, content, next_steps
from replicate.run import RunDir
from replicate.tfvision import render

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Parses the words of each command with the tool's own flags, and asks for what it requires.
_PARSES = """
import json, runpy, sys
tool, commands = sys.argv[1], json.loads(sys.argv[2])
from absl import flags
from tools import cli
def parsed(main, required=(), **_):
    for words in commands:
        flags.FLAGS.unparse_flags()
        rest = flags.FLAGS([tool, *words], known_only=False)
        missing = [name for name in required if not getattr(flags.FLAGS, name)]
        assert not missing, (tool, words, missing)
cli.run = parsed
sys.argv = [tool]
runpy.run_path(tool, run_name="__main__")
"""

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
REQUEST = {
    "model": MODEL,
    "train_annotations": "data/train.json",
    "train_images": "data/train",
    "val_annotations": "data/my val.json",
    "val_images": "data/val",
    "num_steps": 600,
    "overrides": [
        ["train_config.batch_size", "16"],
        ["train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate."
         "learning_rate_base", "0.1"],
        ["model.ssd.post_processing.batch_non_max_suppression.score_threshold", "0.3"],
    ],
    "seed": 3,
}  # fmt: skip
WHOLE = command_context.CommandContext(
    root="runs/a",
    model=MODEL,
    request=REQUEST,
    trained_alone=False,
    command="make demo",
    rehearsal=True,
    finetunes=False,
    batch_size=16,
    finished=True,
    annotations="data/my val.json",
    step=600,
    train_records="runs/a/data/train",
    published={"model.ssd.post_processing.batch_non_max_suppression.score_threshold": 1e-8},
)
TRAINED = dataclasses.replace(
    WHOLE,
    trained_alone=True,
    request={"config": "my.config", "seed": 0, "gradient_accumulation_steps": 2},
)
UNKNOWN = dataclasses.replace(
    WHOLE, model="MODEL", request={}, command=None, annotations=None, batch_size=None, published={}
)
VISION_MODEL = "retinanet_mobilenetv2_256"
VISION = dataclasses.replace(
    WHOLE,
    engine=engine.TFVISION,
    model=VISION_MODEL,
    request=REQUEST
    | {
        "model": VISION_MODEL,
        "overrides": [
            ["task.train_data.global_batch_size", "16"],
            ["task.model.input_size", "[96, 96, 3]"],
            ["task.model.detection_generator.pre_nms_score_threshold", "0.3"],
        ],
    },
    published={
        "task.model.input_size[0]": 256,
        "task.model.detection_generator.pre_nms_score_threshold": 0.05,
    },
)
VISION_TRAINED = dataclasses.replace(
    VISION, trained_alone=True, request={"config": "my.yaml", "seed": 0}
)
RUNS = {"whole": WHOLE, "trained alone": TRAINED, "little known": UNKNOWN}
RUNS |= {"TF-Vision": VISION, "TF-Vision trained alone": VISION_TRAINED}


def _all():
    for run in RUNS.values():
        for reason in reasons.ALL:
            yield from next_steps.commands_for(reason.number, run)
        yield from next_steps.seeds(run)
        yield next_steps.score_samples(run)


def test_every_reason_has_commands_without_a_gap():
    for name, run in RUNS.items():
        for reason in reasons.ALL:
            commands = next_steps.commands_for(reason.number, run)
            assert commands, (name, reason.title)
            for command in commands:
                assert "…" not in command and "None" not in command, (name, command)
                assert re.match(r"python tools/\w+\.py|make (venv|demo)$|git stash$", command), (
                    command
                )


def test_each_tool_takes_its_commands():
    of_tool = {}
    for command in _all():
        # What a command prints is put in its place by the shell.
        for inner in re.findall(r"\$\((.*?)\)", command):
            of_tool.setdefault(shlex.split(inner)[1], []).append(shlex.split(inner)[2:])
        words = shlex.split(re.sub(r"\$\(.*?\)", "", command))
        if words[0] == "python":
            of_tool.setdefault(words[1], []).append(words[2:])
    assert len(of_tool) > 9
    for tool, commands in of_tool.items():
        made = subprocess.run(
            [sys.executable, "-c", _PARSES, tool, json.dumps(commands)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr[-800:]


def test_what_is_known_is_filled_in():
    (start,) = next_steps.commands_for(reasons.START.number, WHOLE)
    assert start.endswith(f"$(python tools/download.py starting {MODEL})")
    assert "--val_annotations=data/my val.json" in shlex.split(start)
    assert "--rehearsal" in start and "--run_dir=runs/a-next" in start
    rendered, schedule = next_steps.commands_for(reasons.SCHEDULE.number, WHOLE)
    # The recipe's 50,000 steps of 128 images at this run's 16, with the rate of the linear rule.
    assert "--num_steps=400000" in schedule and "--model=runs/a-scaled.config" in schedule
    assert "--global_batch_size=16" in rendered
    assert "learning_rate_base" not in schedule and "score_threshold=0.3" in schedule
    stopped = dataclasses.replace(WHOLE, finished=False)
    assert next_steps.commands_for(reasons.SCHEDULE.number, stopped) == [WHOLE.command]
    restored, evaluated = next_steps.commands_for(reasons.CUT.number, WHOLE)
    assert "score_threshold=1e-08" in restored and "--model=runs/a" in restored
    assert "--pipeline_config_path=runs/a-as-published.config" in evaluated
    assert next_steps.commands_for(reasons.RATE.number, WHOLE) == [rendered, schedule]
    first, second, judged = next_steps.seeds(WHOLE)
    assert "--seed=4" in first and "--seed=5" in second
    assert judged.split()[2:] == ["runs/a", "runs/a-seed4", "runs/a-seed5"]


def test_the_scaled_schedule_is_the_recipes_images():
    """What render_config makes of the command has the recipe's images, and none of ours."""
    from replicate import config

    whole = dataclasses.replace(
        WHOLE,
        request=REQUEST
        | {"overrides": [*REQUEST["overrides"], ["train_config.num_steps", "600"],
                         ["train_config.optimizer.momentum_optimizer.learning_rate."
                          "cosine_decay_learning_rate.total_steps", "600"]]},
    )  # fmt: skip
    _, again = next_steps.commands_for(reasons.SCHEDULE.number, whole)
    assert "total_steps" not in again and "train_config.num_steps" not in again
    facts = config.facts(config.render(MODEL, global_batch_size=16))
    assert facts.num_steps * 16 == 50_000 * 128 and f"--num_steps={facts.num_steps}" in again


def test_labels_are_mended_by_a_change_or_looked_at():
    """Never the same training once more: other data where the classes differ, else two checks."""
    own = dataclasses.replace(WHOLE, published=WHOLE.published | {"model.ssd.num_classes": 90})
    fetched, again = next_steps.commands_for(reasons.LABELS.number, own)
    assert "--split=val2017" in fetched
    assert "--val_annotations=coco/annotations/instances_val2017.json" in again
    checked, scored = next_steps.commands_for(reasons.LABELS.number, WHOLE)
    assert "verify_tf_record" in checked and "tools/score.py" in scored
    overrides = [*REQUEST["overrides"], ["model.ssd.num_classes", "91"]]
    given = dataclasses.replace(WHOLE, request=REQUEST | {"overrides": overrides})
    (again,) = next_steps.commands_for(reasons.LABELS.number, given)
    assert "num_classes" not in again


def test_a_verdict_that_is_judged_is_kept_in_the_run():
    assert "--output=runs/a/verdict.json" in shlex.split(next_steps.judged(WHOLE))


def test_words_that_the_user_chooses_are_named(run):
    for each in content.of_run(run)["answers"]["next"]:
        capitals = set(re.findall(r"(?<![\w/$-])[A-Z][A-Z_]{3,}(?!\w)", each["command"]))
        assert capitals <= set(each.get("choose", {})) | {"HOSTILE"}
    unknown = next_steps.launch(UNKNOWN, "runs/b")
    assert "--train_annotations=TRAIN_ANNOTATIONS" in unknown


@pytest.mark.parametrize("path", ["reasons.py", "preflight/starting.py"])
def test_no_mending_has_a_gap(path):
    text = (ROOT / "replicate" / path).read_text(encoding="utf-8")
    assert not re.search(r"=…", text)


def test_a_run_of_tf_vision_is_told_its_own_fields_and_files(tmp_path):
    of_api = re.compile(r"pipeline\.config|\.config\b|train_config|eval_config|parity|label_map=")
    for run in (VISION, VISION_TRAINED):
        for reason in reasons.ALL:
            for command in next_steps.commands_for(reason.number, run):
                if "create_coco_tf_record" in command:
                    assert "--include_class_labels" in command
                else:
                    assert not of_api.search(command), (reason.title, command)
    # What writes configs does so, from the run's own and from the row.
    run = RunDir.at(tmp_path / "a")
    run.root.mkdir()
    made = render.render(VISION_MODEL, render.RenderRequest(global_batch_size=16))
    render.set_field(made.params, "task.model.input_size", "[96, 96, 3]")
    run.root.joinpath("params.yaml").write_text(engine.text(made, VISION_MODEL))
    trained = dataclasses.replace(VISION_TRAINED, root=str(run.root))
    restored, again = next_steps.commands_for(reasons.DRIFT.number, trained)
    assert f"--pipeline_config_path={run.root}-next.yaml" in again
    scaled, _ = next_steps.commands_for(reasons.RATE.number, trained)
    for command in (restored, scaled):
        done = subprocess.run(
            [sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert engine.read(f"{run.root}-next.yaml").params.at("task.model.input_size") == [256, 96, 3]
    of_scaled = engine.describe(engine.read(f"{run.root}-scaled.yaml"))
    assert of_scaled.batch_size == 16
    (schedule,) = [c for c in next_steps.commands_for(8, VISION) if "replicate.py" in c]
    assert f"--num_steps={of_scaled.num_steps}" in schedule
