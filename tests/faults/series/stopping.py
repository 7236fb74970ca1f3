"""Conversions, reports, replications and evaluations stopped at any moment."""

import contextlib
import os
import shutil
import signal
import time

from replicate.demo import drawing
from tests.faults.series.comparing import differences, same
from tests.faults.tools import ANSWERED, Figures, content, partial_files, rng_of, until_done

# Beside what has its final name: the journal of a conversion, partial files.
_UNFINISHED = r"progress-[^/]*\.jsonl$|/?\.[^/]*$"


def conversions_stopped(tools, folder, faults, seed=0, images=60, workers_alone=False):
    """A conversion, every third with two workers, stopped at random moments, `faults` times.

    Args:
      workers_alone: whether all have two workers and these are what is stopped.
    """
    rng, figures = rng_of(seed), Figures()
    annotations_file, image_dir = drawing.draw(folder / "drawn", train_images=images, val_images=2)[
        "train"
    ]

    def command(name, workers):
        return (
            *("create_coco_tf_record", f"--annotations_file={annotations_file}"),
            *(f"--image_dir={image_dir}", f"--output_path={folder / name / 'set'}"),
            *("--num_shards=6", "--include_masks", f"--num_workers={workers}"),
        )

    begun = time.monotonic()
    assert tools.run(*command("whole", 1)).status == 0
    seconds = {1: [time.monotonic() - begun]}
    begun = time.monotonic()
    assert tools.run(*command("whole2", 2), real=True).status == 0
    seconds[2] = [time.monotonic() - begun]
    whole = content(folder / "whole")
    number = 0
    while figures.injected < faults:
        number += 1
        workers = 2 if workers_alone or number % 3 == 0 else 1
        real = workers == 2  # spawned workers need a main module that can be found
        name = f"stopped{number}"

        def check(name=name):
            there = (
                content(folder / name, r"progress-[^/]*\.jsonl$|/?\.[^/]*$") if _is(name) else {}
            )
            wrong = [path for path, sha in there.items() if whole.get(path) != sha]
            return f"not whole under its final name: {wrong}" if wrong else ""

        def _is(name):
            return (folder / name).is_dir()

        ended, lost = until_done(
            *(tools, command(name, workers), rng, seconds[workers], figures),
            check=check,
            root=folder / name,
            real=real,
            workers="spawn_main" if workers_alone else "",
        )
        same = content(folder / name) == whole
        left = partial_files(folder / name)
        figures.end(
            f"{name}: {ended.status} {left} {ended.stderr[-300:]}",
            changed=not same or ended.status != 0,
            partial=len(left),
            traceback=ended.crashed,
            lost=lost,
        )
        shutil.rmtree(folder / name)
    return figures


def reports_stopped(tools, run, folder, faults, seed=0):
    """A report of a finished run, stopped at random moments."""
    rng, figures = rng_of(seed), Figures()
    root = folder / "run"
    shutil.copytree(run.root, root)
    command = ("report", f"--run_dir={root}")
    begun = time.monotonic()
    assert tools.run(*command).status == 0
    seconds = [time.monotonic() - begun]
    whole = content(root)
    while figures.injected < faults:
        shutil.rmtree(root / "report")
        ended, lost = until_done(tools, command, rng, seconds, figures, root=root)
        left = partial_files(root)
        figures.end(
            f"report: {ended.status} {left} {ended.stderr[-300:]}",
            changed=content(root) != whole or ended.status != 0,
            traceback=ended.crashed,
            partial=len(left),
            lost=lost,
        )
    return figures


def replications_stopped(
    tools, whole, seconds, folder, command_of, faults, seed=0, input_workers=False
):
    """A whole replication (conversion, training, evaluation, report), stopped at random moments.

    Args:
      whole: folder of an undisturbed one, which took `seconds`.
      command_of: function of a run directory to (tool, *arguments).
      input_workers: whether processes of its own make the training's input and are what is stopped.
    """
    rng, figures = rng_of(seed), Figures()
    seconds, number = [10 if input_workers else seconds], 0  # 10: they load, then training begins
    more = ("--input_service=2",) if input_workers else ()
    while figures.injected < faults:
        number += 1
        root = folder / f"stopped{number}"
        ended, lost = until_done(
            *(tools, (*command_of(root), *more), rng, seconds, figures),
            most=min(5, faults - figures.injected),
            stage=lambda root=root: stage(root),
            root=root,
            real=True,
            workers="input_service" if input_workers else "",
        )
        differing = differences(whole, root)
        left = partial_files(root)
        figures.end(
            f"replication {number}: {ended.status} {differing} {left} {ended.stderr[-500:]}",
            traceback=ended.crashed,
            changed=bool(differing) or ended.status not in ANSWERED,
            partial=len(left),
            lost=lost,
        )
        shutil.rmtree(root)
    return figures


def evaluations_stopped(tools, whole, folder, faults, seed=0):
    """The evaluation of a trained run's checkpoints, stopped while it evaluates.

    Args:
      whole: folder of the run, evaluated without a fault.
    """
    rng, figures = rng_of(seed), Figures()
    root, number = folder / "run", 0
    command = ("evaluate", f"--model_dir={root}")
    expected = _evaluations(whole)

    def check():
        wrong = [
            path for path, text in _evaluations(root).items() if not same(text, expected[path])
        ]
        return f"not whole under its final name: {wrong}" if wrong else ""

    while figures.injected < faults:
        number += 1
        shutil.copytree(whole, root, ignore=shutil.ignore_patterns("evals", "eval", "report"))
        ended, lost = until_done(
            *(tools, command, rng, [4], figures),
            most=min(5, faults - figures.injected),
            check=check,
            root=root,
            real=True,
            ready=lambda running: "evaluate ckpt" in running.says(),
        )
        left = partial_files(root)
        found = _evaluations(root)
        figures.end(
            f"evaluation {number}: {ended.status} {check()} {left} {ended.stderr[-500:]}",
            traceback=ended.crashed,
            changed=bool(check()) or found.keys() != expected.keys() or ended.status != 0,
            partial=len(left),
            lost=lost,
        )
        shutil.rmtree(root)
    return figures


def _evaluations(root):
    """{path below evals/: bytes, the run's own path aside}."""
    return {
        str(path.relative_to(root)): path.read_bytes().replace(str(root).encode(), b"RUN")
        for path in sorted((root / "evals").rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def undisturbed(tools, command):
    """Runs a command that no fault disturbs; gives the seconds it took."""
    begun = time.monotonic()
    ended = tools.run(*command, real=True)
    assert ended.status in ANSWERED, ended.stderr
    return time.monotonic() - begun


def half_done(tools, command, root, checkpoint):
    """Runs a replication in `root` until a checkpoint stands, and kills it there."""
    running = tools.start(*command, real=True)
    while not (root / "checkpoints" / f"{checkpoint}.index").exists():
        assert running.runs(), running.ended().stderr
        time.sleep(0.05)
    for each in running.children():
        each.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGKILL)
    running.ended()


def stage(root):
    """What a replication is at, in a word, as far as its files tell."""
    if len(list(root.glob("data/manifest-*.json"))) < 2:
        return "conversion"
    if not list(root.glob("checkpoints/ckpt-6.index")):
        return "training"
    return "report" if (root / "evals" / "6" / "metrics.json").is_file() else "evaluation"
