"""What mends each documented reason, as commands of the run that is looked at.

Each can be pasted into a shell as it stands. What only the user can choose is a word in capitals
(PLACEHOLDERS); nothing else is left out.
"""

import dataclasses
import os
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from replicate import config, engine, reasons, zoo
from replicate.errors import UserError
from replicate.report.command_context import CommandContext
from replicate.run import RunDir

_COCO = "coco"
# Fields of the recipe by their flags of tools/replicate.py and tools/train.py; the order is theirs.
_DATA = ("train_annotations", "train_images", "val_annotations", "val_images")


def commands_for(number: int, run: CommandContext) -> list[str]:
    """The commands that mend a reason, in their order; each a whole line of a shell.

    Args:
      number: of `replicate.reasons`.
      run: CommandContext.
    """
    return list(_MENDS[number](run))


def seeds(run: CommandContext, *more: str) -> list[str]:
    """Two more seeds of the run, and the verdict over the three, with `more` of its flags."""
    seed = int(run.request.get("seed") or 0)
    others = [f"{run.root}-seed{seed + further}" for further in (1, 2)]
    again = [
        launch(run, into, seed=seed + further) for further, into in zip((1, 2), others, strict=True)
    ]
    return [*again, _line("tools/verdict.py", run.root, *others, *more)]


def judged(run: CommandContext, *words: str) -> str:
    """The command that judges the run, with these flags, and keeps the answer in it."""
    output = os.path.join(run.root, "verdict.json")
    return _line("tools/verdict.py", run.root, *words, f"--output={output}")


def judge_again(run: RunDir) -> str:
    """The command that writes the run's verdict.json anew."""
    return _line("tools/verdict.py", str(run.root), f"--output={run.verdict}")


def launch(
    run: CommandContext,
    into: str,
    *,
    without: Callable[[str], Any] = lambda path: False,
    model: str | None = None,
    substituted: str = "",
    **fields: Any,
) -> str:
    """The command that launches the run once more, changed.

    Args:
      run: CommandContext.
      into: the new run directory.
      without: which overrides of the config to leave out, by their path.
      model: where the config comes from, if from elsewhere.
      substituted: a word of the shell at the end, unquoted.
      **fields: other values of the request's fields; None leaves a flag out.
    """
    asked = {**run.request, **fields}
    if run.trained_alone:
        words = [f"--pipeline_config_path={model or run.config}"]
        words += [f"--{name}={asked[name]}" for name in _DATA[2:] if asked.get(name)]
        words += [f"--model={run.model}"] if run.model != "MODEL" else []
        words += _flags(asked, num_train_steps="num_steps", seed="seed")
        tool, target = "tools/train.py", "model_dir"
    else:
        named = model or asked.get("config") or asked.get("model") or run.model
        words = [f"--model={named}"]
        words += [f"--{name}={asked.get(name) or name.upper()}" for name in _DATA]
        words += [
            f"--set={path}={value}"
            for path, value in asked.get("overrides") or ()
            if not without(path)
        ]
        words += _flags(
            asked, num_steps="num_steps", fine_tune_checkpoint="fine_tune_checkpoint", seed="seed"
        )
        words += ["--include_masks"] * bool(asked.get("include_masks"))
        tool, target = "tools/replicate.py", "run_dir"
    words += _flags(asked, checkpoint_every_n="checkpoint_every_n", precision="precision")
    micro = asked.get("gradient_accumulation_steps") or 1
    words += [f"--gradient_accumulation_steps={micro}"] * (micro > 1)
    words += _flags(asked, freeze="freeze", restore="restore")
    words += ["--rehearsal"] * run.rehearsal + ["--purpose=finetune"] * run.finetunes
    return " ".join(filter(None, [_line(tool, *words, f"--{target}={into}"), substituted]))


def _flags(asked: dict, **named: str) -> list[str]:
    return [f"--{flag}={asked[key]}" for flag, key in named.items() if asked.get(key)]


def _line(tool: str, *words: str) -> str:
    return shlex.join(["python", tool, *words])


def _again(run: CommandContext, **changed: Any) -> str:
    return launch(run, f"{run.root}-next", **changed)


def _evaluate(*words: str) -> str:
    return _line("tools/evaluate.py", *words)


def _start(run: CommandContext) -> list[str]:
    point = zoo.starting_point(run.model)
    rendered = run.beside("next")
    if point is None or not point.archive:
        given = "CHECKPOINT"
        if not run.trained_alone:
            return [_again(run, fine_tune_checkpoint=given)]
        return [
            _render(run, rendered, f"--fine_tune_checkpoint={given}"),
            _again(run, model=rendered),
        ]
    if run.trained_alone:
        return [
            _render(run, rendered) + f" $({_line('tools/download.py', 'starting', run.model)})",
            _again(run, model=rendered),
        ]
    printed = f"$({_line('tools/download.py', 'starting', run.model)})"
    return [_again(run, fine_tune_checkpoint=None, substituted=printed)]


def _render(run: CommandContext, output: str, *words: str) -> str:
    """The recipe's config with this run's records."""
    records = os.path.dirname(run.train_records) or "."
    labels = [f"--label_map={os.path.join(records, 'label_map.pbtxt')}"]
    if run.engine == engine.TFVISION:  # whose records hold the labels themselves
        labels = [f"--annotations_file={run.annotations or 'VAL_ANNOTATIONS'}"]
    return _line(
        "tools/render_config.py",
        f"--model={run.model}",
        f"--output={output}",
        *labels,
        f"--train_records={run.train_records}-?????-of-?????.tfrecord",
        f"--val_records={os.path.join(records, 'val')}-?????-of-?????.tfrecord",
        *words,
    )


def _images(run: CommandContext) -> list[str]:
    return [
        _line("tools/download.py", "coco", "--split=val2017", "--split=annotations",
              f"--dest={_COCO}"),
        _evaluate(
            f"--checkpoint={run.root}",
            f"--annotations_file={_COCO}/annotations/instances_val2017.json",
            f"--image_dir={_COCO}/val2017",
            f"--output={run.root}/val2017_detections.json.gz",
        ),
    ]  # fmt: skip


def _without(*paths: str) -> Callable[[CommandContext], list[str]]:
    """The same run, without its overrides of these fields; a config of its own is compared."""
    pattern = re.compile("|".join(paths))

    def commands(run: CommandContext) -> list[str]:
        changed = [path for path, _ in run.request.get("overrides") or () if pattern.search(path)]
        if changed and not run.trained_alone:
            return [_again(run, without=pattern.search)]
        rendered = run.beside("next")
        restored = _restored(run, pattern, rendered)
        return [restored, _again(run, model=rendered)] if restored else _compared(run)

    return commands


def _restored(run: CommandContext, pattern: re.Pattern[str], output: str) -> str | None:
    """The run's config with the recipe's values of these fields; None where none is plain."""
    values = {path: value for path, value in run.published.items() if pattern.search(path)}
    if not values:
        return None
    words = [
        f"--set={path}={str(value).lower() if isinstance(value, bool) else value}"
        for path, value in values.items()
    ]
    return _line("tools/render_config.py", f"--model={run.root}", f"--output={output}", *words)


def _compared(run: CommandContext) -> list[str]:
    """The recipe's config beside the run's, and the run from the recipe's."""
    if run.model == "MODEL" or not run.trained_alone:
        return [_line("tools/diff_config.py", run.model, run.config)]
    rendered = run.beside("next")
    return [_render(run, rendered), _again(run, model=rendered)]


def _scaled(run: CommandContext) -> list[str]:
    """The recipe's rate and schedule for this run's batch, by the linear rule, with its steps."""
    rendered, batch = run.beside("scaled"), run.batch_size or _published_batch(run)
    steps = _steps_at(run, batch)
    if run.trained_alone:
        return [
            _render(run, rendered, f"--global_batch_size={batch}"),
            _again(run, model=rendered, num_steps=steps),
        ]
    own = re.compile(f"{reasons.RATE.paths}|{reasons.SCHEDULE.paths}").search
    return [
        _line(
            "tools/render_config.py",
            f"--model={run.model}",
            f"--global_batch_size={batch}",
            f"--output={rendered}",
        ),
        _again(run, model=rendered, without=own, num_steps=steps),
    ]


def _steps_at(run: CommandContext, batch: int) -> int | None:
    """The recipe's steps at a batch, by the linear rule; None where it has no template here."""
    try:
        if run.engine == engine.TFVISION:
            published = engine.describe(engine.read(run.model))
            return max(1, round(published.num_steps * published.batch_size / batch))
        return config.facts(config.render(run.model, global_batch_size=batch)).num_steps
    except UserError:
        return None


def _published_batch(run: CommandContext) -> int:
    return engine.describe(engine.read(run.model)).batch_size if run.model != "MODEL" else 1


def _schedule(run: CommandContext) -> list[str]:
    """All of the recipe's images: its schedule at this run's batch, or the stopped run on."""
    return [run.command] if not run.finished and run.command else _scaled(run)


def _records_whole(run: CommandContext) -> list[str]:
    return [_line("tools/verify_tf_record.py", f"--output_path={run.train_records}", "--full")]


def _converted(run: CommandContext) -> list[str]:
    """The records anew: tools/replicate.py makes them and the label map in the new directory."""
    if not run.trained_alone:
        return [*_records_whole(run), _again(run)]
    rendered, records = run.beside("next"), f"{run.root}-next-records"
    label_map = os.path.join(records, "label_map.pbtxt")
    of_vision = run.engine == engine.TFVISION
    return [
        _line(
            "tools/create_coco_tf_record.py",
            f"--annotations_file={run.request.get('train_annotations') or 'TRAIN_ANNOTATIONS'}",
            f"--image_dir={run.request.get('train_images') or 'TRAIN_IMAGES'}",
            f"--output_path={records}/train",
            "--num_shards=16",
            f"--label_map={label_map}",
            *["--include_class_labels"] * of_vision,
        ),
        _line(
            "tools/render_config.py",
            f"--model={run.root}",
            f"--output={rendered}",
            *[f"--label_map={label_map}"] * (not of_vision),
            f"--train_records={records}/train-?????-of-?????.tfrecord",
        ),
        _again(run, model=rendered),
    ]


def _labels(run: CommandContext) -> list[str]:
    """Other classes than the recipe's are those of other data; the recipe's are COCO's. Where they
    are as many, what was recorded and what was detected is looked at."""
    pattern = re.compile(reasons.LABELS.paths)
    if any(pattern.search(path) for path, _ in run.request.get("overrides") or ()):
        return [_again(run, without=pattern.search)]
    if any(path.endswith("num_classes") for path in run.published):
        return _train2017(run)
    return [*_records_whole(run), _score(run)]


def _train2017(run: CommandContext) -> list[str]:
    """Train2017, and val2017 where the run was evaluated on something else."""
    files = {
        "train_annotations": f"{_COCO}/annotations/instances_train2017.json",
        "train_images": f"{_COCO}/train2017",
    }
    splits = ["--split=train2017", "--split=annotations"]
    if "val2017" not in os.path.basename(run.request.get("val_annotations") or ""):
        splits.insert(1, "--split=val2017")
        files |= {
            "val_annotations": f"{_COCO}/annotations/instances_val2017.json",
            "val_images": f"{_COCO}/val2017",
        }
    fetched = _line("tools/download.py", "coco", *splits, f"--dest={_COCO}")
    if run.trained_alone:
        changed = dataclasses.replace(run, request=run.request | files)
        return [fetched, *_converted(changed)]
    return [fetched, _again(run, **files)]


def _score(run: CommandContext, *words: str) -> str:
    return _line(
        "tools/score.py",
        f"--annotations_file={run.annotations or 'VAL_ANNOTATIONS'}",
        f"--detections={os.path.join(run.root, 'evals', str(run.step), 'detections.json.gz')}",
        *words,
    )


def score_samples(run: CommandContext) -> str:
    """The command that computes intervals over images."""
    return _score(run, "--samples=200")


def _evaluated_as_published(reason: reasons.Reason) -> Callable[[CommandContext], list[str]]:
    """The run's checkpoint with the recipe's own values of a reason's fields."""

    def commands(run: CommandContext) -> list[str]:
        rendered = run.beside("as-published")
        restored = _restored(run, re.compile(reason.paths), rendered)
        if restored is None:
            return _compared(run)
        return [restored, *_evaluated(run, f"--pipeline_config_path={rendered}")]

    return commands


def _evaluated(run: CommandContext, *words: str) -> list[str]:
    """The run's last checkpoint evaluated once more."""
    return [
        _evaluate(
            f"--checkpoint={run.root}",
            *words,
            f"--annotations_file={run.annotations or 'VAL_ANNOTATIONS'}",
            f"--image_dir={run.request.get('val_images') or 'VAL_IMAGES'}",
            f"--output={run.root}/again_detections.json.gz",
        )
    ]


def _batch_norm(run: CommandContext) -> list[str]:
    if (run.request.get("gradient_accumulation_steps") or 1) > 1:
        return [_again(run, gradient_accumulation_steps=1)]
    return _published_size(run)


def _published_size(run: CommandContext) -> list[str]:
    """The published batch, with its rate."""
    return _without(f"^{re.escape(engine.BATCH[run.engine])}$", reasons.RATE.paths)(run)


def _released(run: CommandContext) -> list[str]:
    """The published weights, evaluated on the same images; of TF-Vision where they were said to
    lie."""
    if run.engine == engine.TFVISION:
        return [_line("tools/zoo.py", "show", run.model)]
    return [
        _line("tools/download.py", "zoo", run.model),
        _evaluate(
            f"--checkpoint={run.model}",
            f"--annotations_file={run.annotations or 'VAL_ANNOTATIONS'}",
            f"--image_dir={run.request.get('val_images') or 'VAL_IMAGES'}",
            f"--output={run.root}/released_detections.json.gz",
        ),
    ]


def _same_command(run: CommandContext) -> list[str]:
    return [run.command or _again(run)]


_MENDS: dict[int, Callable[[CommandContext], Iterable[str]]] = {
    reasons.START.number: _start,
    reasons.IMAGES.number: _images,
    reasons.DRIFT.number: _without("."),
    reasons.RATE.number: _scaled,
    reasons.DEVICES.number: _published_size,
    reasons.RECORDS.number: _converted,
    reasons.LABELS.number: _labels,
    reasons.SCHEDULE.number: _schedule,
    reasons.RESUME.number: lambda run: [_again(run)],
    reasons.GPU.number: lambda run: [_line("tools/doctor.py")],
    reasons.LIBRARIES.number: lambda run: ["make venv"],
    reasons.MEMORY.number: _same_command,
    reasons.AVERAGES.number: _evaluated_as_published(reasons.AVERAGES),
    reasons.CUT.number: _evaluated_as_published(reasons.CUT),
    reasons.EVALUATORS.number: lambda run: [_score(run, "--evaluator=both")],
    reasons.FILES.number: _records_whole,
    reasons.TRAINING_IMAGES.number: _train2017,
    reasons.DECODER.number: _evaluated,
    reasons.BATCH_NORM.number: _batch_norm,
    reasons.TWO_FIGURES.number: _released,
    reasons.IGNORED.number: lambda run: [_line("tools/lint_config.py", run.config)],
    reasons.BFLOAT16.number: lambda run: [_again(run, precision="bfloat16")],
    reasons.PRECISION.number: lambda run: [_again(run, precision="float32")],
    reasons.DIVERGED.number: _scaled,
    reasons.ADAM.number: _published_size,
    reasons.OVERLAP.number: _train2017,
    reasons.CODE.number: lambda run: ["git stash", _again(run)],
    reasons.PLATFORM.number: lambda run: [
        _line("tools/parity.py") if run.engine == engine.ODAPI else _again(run)
    ],
    reasons.CHANCE.number: seeds,
}
