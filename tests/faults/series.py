"""The faults, in series: each function injects some and returns the Figures.

The tests run short series; `python -m tests.faults.long_run` the long ones.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from replicate.demo import drawing
from replicate.run import RunDir
from tests.faults.tools import (
    ANSWERED,
    MENDABLE,
    Figures,
    content,
    gone,
    partial_files,
    rng_of,
    until_done,
    work,
)

# What holds times, machines or process numbers, which differ between two runs without a fault.
NOT_COMPARED = (
    r"^(environment|training|preflight|spec|annotations)\.json$|^launch/|events\.out\.tfevents"
    r"|^checkpoints/(checkpoint$|damaged-)|^metrics\.jsonl$|^report/|^data/manifest-"
)
# Beside what has its final name: the journal of a conversion, partial files.
_UNFINISHED = r"progress-[^/]*\.jsonl$|/?\.[^/]*$"
DAMAGES = ("missing", "empty", "cut", "flipped", "other", "null", "binary", "folder")


# --- (a) stopped at any moment


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
            path for path, text in _evaluations(root).items() if not _same(text, expected[path])
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


def _same(text, other):
    """Whether two files are equal but for the seal, which is of a text with the run's own path."""
    if text == other:
        return True
    try:
        return _without(json.loads(text)) == _without(json.loads(other))
    except ValueError:
        return False


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


def differences(whole, root):
    """What a replication's directory lacks of an undisturbed one's, or holds otherwise.

    A stop by a signal saves one checkpoint more, which is evaluated too: what an undisturbed run
    has must be there, byte for byte. Paths inside evaluations are the run's own.
    """
    there = content(root, NOT_COMPARED)
    of_whole = content(whole, NOT_COMPARED)
    found = [path for path, sha in of_whole.items() if there.get(path) != sha]
    found = [each for each in found if not _same_but_paths(whole, root, each)]
    losses = _losses(root)
    if any(losses.get(step) != value for step, value in _losses(whole).items()):
        found.append("losses")
    return found


def _same_but_paths(whole, root, path):
    """Whether two texts are equal but for the runs' own paths, and how they were launched.

    A config holds its run's paths, so its hash differs; a verdict tells what preflight saw, which
    of a run that goes on is another thing than of a new one: of one whose last checkpoint does not
    read back it warns of the resume, which the verdict does not rule out as a cause.
    """
    try:
        texts = [(each / path).read_text().replace(str(each), "RUN") for each in (whole, root)]
    except (OSError, UnicodeDecodeError):
        return False
    if not path.endswith(".json"):  # a config, whose last line is its checksum
        return texts[0].splitlines()[:-1] == texts[1].splitlines()[:-1]
    values = [json.loads(text) for text in texts]
    if path == "verdict.json" and len({_warns_of_the_resume(each) for each in values}) > 1:
        for each in values:
            each["likely_causes"] = [c for c in each["likely_causes"] if c["number"] != _RESUME]
    return _without(values[0]) == _without(values[1])


_RESUME = 9  # the reason's number


def _warns_of_the_resume(verdict):
    return any(facts["preflight"]["statuses"][str(_RESUME)] == "warn" for facts in verdict["facts"])


def _without(value):
    if isinstance(value, dict):
        left_out = ("checksum", "config_sha256", "preflight")
        return {key: _without(each) for key, each in value.items() if key not in left_out}
    return [_without(each) for each in value] if isinstance(value, list) else value


def _losses(root):
    from replicate.run import read_metrics

    return {line["step"]: line["losses"] for line in read_metrics(RunDir.at(root).metrics)}


# --- (b) damaged files


def remove(path):
    """Removes a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def damaged(path, how, rng):
    """Damages a file as `how` says; DAMAGES has the words."""
    content = path.read_bytes()
    path.unlink()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        place = rng.randrange(len(content)) if content else 0
        flipped = bytearray(content or b"\0")
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
    elif how == "other":
        path.write_text('{"format": 1, "step": "x", "metrics": [], "verdict": 3, "shards": {}}\n')
    elif how == "null":
        path.write_text("null\n")
    elif how == "binary":
        path.write_bytes(bytes(rng.randrange(256) for _ in range(200)))
    elif how == "folder":
        path.mkdir()


def damages(tools, run, folder, readers, faults=None, seed=0, files=None):
    """Every file of a run damaged in every way, every reader of it run: a message, or its result.

    Args:
      tools: Tools.
      run: RunDir of a run that is not changed: each fault is put into a copy.
      folder: for the copies.
      readers: dict name -> function of a run directory to (tool, *arguments).
      faults: how many (file, damage) pairs, drawn at random; None takes all.
      files: paths relative to the run; None takes all.
    """
    rng, figures = rng_of(seed), Figures()
    root = folder / "run"
    shutil.copytree(run.root, root)
    expected = {name: _outcome(tools, root, command) for name, command in readers.items()}
    for name, (ended, _) in expected.items():
        # A half-trained run may have no evaluation yet, which a verdict says with status 2.
        assert ended.status in MENDABLE and not ended.crashed, (name, ended)
    whole = sorted(str(e.relative_to(run.root)) for e in run.root.rglob("*") if e.is_file())
    pairs = [(each, how) for each in files or whole for how in DAMAGES]
    if faults is not None and faults < len(pairs):
        pairs = drawn_pairs(rng, files or whole, faults)
    for path, how in pairs:
        shutil.rmtree(root)
        shutil.copytree(run.root, root)
        damaged(root / path, how, rng)
        before = {name: seen for name, seen in work(root).items() if name != str(root / path)}
        for name, command in readers.items():
            ended, numbers = _outcome(tools, root, command)
            told = ended.stderr.strip() if ended.status == 2 else _names(ended, root, path)
            right = numbers == expected[name][1]
            figures.fault(
                f"{path} {how}, {name}: {ended.status} {ended.stderr[-500:]} "
                f"{_first(numbers, expected[name][1])}",
                kind=how,
                traceback=ended.crashed or ended.status not in MENDABLE,
                changed=not (told or right or _is_less(numbers, expected[name][1])),
                lost=gone(before, work(root)),
            )
    return figures


def drawn_pairs(rng, files, faults):
    """(file, damage) pairs drawn without repetition, every kind of damage as often as the others"""
    drawn = [[(each, how) for each in rng.sample(files, len(files))] for how in DAMAGES]
    return [drawn[number % len(DAMAGES)].pop() for number in range(faults)]


def damages_continued(tools, whole, half, folder, command_of, faults=0, seed=0, pairs=None):
    """Files of a half-trained run damaged, and its command given again: a message, or its end.

    Args:
      whole: folder of the undisturbed run.
      half: folder of one that was killed half-trained; the copies take its place, since a config
        holds its run's path.
      command_of: function of a run directory to (tool, *arguments).
      pairs: (file, damage) pairs; None draws `faults` of them.
    """
    rng, figures = rng_of(seed), Figures()
    kept = folder / "kept"
    half.rename(kept)
    files = sorted(str(e.relative_to(kept)) for e in kept.rglob("*") if e.is_file())
    for path, how in pairs or drawn_pairs(rng, files, faults):
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(kept, half)
        damaged(half / path, how, rng)
        own = _of_damaged(path)  # what the damage itself takes away
        before = {
            name: seen
            for name, seen in work(half).items()
            if not own.match(str(pathlib.Path(name).relative_to(half)))
        }
        ended = tools.run(*command_of(half), real=True)
        differing = differences(whole, half) if ended.status in ANSWERED else []
        if _passed_over(path, ended.stderr):
            differing = [each for each in differing if not own.match(each)]
        told = ended.status == 2 and ended.stderr.strip()
        left = partial_files(half)
        figures.fault(
            f"{path} {how}, continued: {ended.status} {differing} {left} {ended.stderr[-500:]}",
            kind=f"{how}, {'told' if told else 'continued'}",
            traceback=ended.crashed or ended.status not in MENDABLE,
            changed=bool(differing),
            partial=0 if told else len(left),
            lost=gone(before, work(half)),
        )
    return figures


def _of_damaged(path):
    """What belongs to a damaged file: itself; of a checkpoint's its other file, its evaluation."""
    checkpoint = re.match(r"checkpoints/ckpt-(\d+)\.", path)
    if checkpoint is None:
        return re.compile(re.escape(path) + "$")
    return re.compile(rf"(checkpoints/ckpt-{checkpoint[1]}\.|evals/{checkpoint[1]}/)")


def _passed_over(path, told):
    """Whether it was told that a damaged checkpoint, not the last, is of no use any more."""
    name = re.match(r"checkpoints/(ckpt-\d+)\.", path)
    words = "damaged, cannot be read.*passed over|without its index"
    return name is not None and re.search(rf"{name[1]}\b.*({words})", told) is not None


def _names(ended, root, path):
    """Whether what was said, or the report, names the damaged file or its folder."""
    said = ended.stderr + ended.stdout
    report = root / "report" / "report.json"
    if report.is_file():
        said += json.dumps(json.loads(report.read_text())["not_checked"])
    parts = pathlib.PurePath(path)
    names = {parts.name, str(parts), f"{parts.parent} is", f"{parts.parent}:"}
    return any(each in said for each in names if each[0] != ".")


def _first(numbers, expected):
    """The first number that differs, for a note."""
    differing = [
        (key, expected.get(key), value)
        for key, value in numbers.items()
        if expected.get(key) != value
    ]
    return differing[:2]


def _outcome(tools, root, command):
    """(Ended, numbers): what a reader says, as {where: number}, the run's own path left out."""
    if command(root)[0] == "report":
        shutil.rmtree(root / "report", ignore_errors=True)
    shutil.rmtree(root.parent / "compared", ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        (root.parent / "answer.json").unlink()
    ended = tools.run(*command(root))
    numbers = {}
    tool = command(root)[0]
    answers = {
        "report": root / "report" / "report.json",
        "verdict": root.parent / "answer.json",
        "compare_runs": root.parent / "compared" / "comparison.json",
    }
    with contextlib.suppress(ValueError, OSError):
        text = answers[tool].read_text() if tool in answers else ended.stdout
        _flatten(json.loads(text), tool, numbers)
    return ended, numbers


# Where a report speaks of what it could not read, and of when it was made.
_ABOUT = ("not_checked", "checksum", "sha256", "eta_s", "updated")


def _flatten(value, where, numbers):
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in _ABOUT:
                _flatten(each, f"{where}.{key}", numbers)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _flatten(each, f"{where}[{index}]", numbers)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        numbers[where] = value


def _is_less(numbers, expected):
    """Whether a report says less than it might, and nothing else: no number it has is another.

    Lists may be shorter, so a number must be found among those that were under the same name.
    """

    def name(where):
        return "".join(each for each in where if not each.isdigit())

    known = {}
    for where, value in expected.items():
        known.setdefault(name(where), set()).add(value)
    derived = ("gap", "count", "steps_run", "images_seen", "step", "logged_steps", "affecting")
    return all(
        value in known.get(name(where), ()) or where.rpartition(".")[2].split("[")[0] in derived
        for where, value in numbers.items()
    )


# --- (c) no room


def no_room(tools, folder, commands, limits):
    """Every command with a limit on the size of files, then without: it ends as if undisturbed.

    Args:
      commands: dict name -> function of an output folder to (tool, *arguments).
      limits: bytes.
    """
    figures = Figures()
    for name, command in commands.items():
        whole_at = folder / f"{name}-whole"
        whole_at.mkdir()
        assert tools.run(*command(whole_at)).status in ANSWERED, name
        whole = content(whole_at)
        for limit in limits:
            out = folder / f"{name}-{limit}"
            out.mkdir()
            ended = tools.run(*command(out), file_bytes=limit)
            there = content(out, r"progress-[^/]*\.jsonl$")
            wrong = [each for each in there if not _equal(out, whole_at, each)]
            finished = work(out)
            again = tools.run(*command(out))
            same = sorted(content(out)) == sorted(whole) and all(
                _equal(out, whole_at, each) for each in whole
            )
            figures.fault(
                f"{name} in {limit} bytes: {ended.status} {ended.stderr[-400:]} {wrong}; then "
                f"{again.status} {again.stderr[-200:]}",
                traceback=ended.crashed or again.crashed or ended.status not in MENDABLE,
                kind=f"{limit} bytes",
                changed=not same,
                partial=len(wrong) + len(partial_files(out)),
                lost=gone(finished, work(out)),
            )
            shutil.rmtree(out)
    return figures


def _equal(out, whole_at, path):
    if not all((each / path).is_file() for each in (out, whole_at)):
        return False
    texts = [
        (each / path).read_bytes().replace(str(each).encode(), b"OUT") for each in (out, whole_at)
    ]
    return texts[0] == texts[1] or _without_seal(texts[0]) == _without_seal(texts[1])


def _without_seal(text):
    return [line for line in text.splitlines() if b"checksum" not in line]


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """A file system of that size under `folder`; yields None where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disks(tools, folder, commands):
    """Every command on a disk with no room left, and on one that cannot be written."""
    figures = Figures()
    for name, command in commands.items():
        with small_disk(folder / f"disk-{name}", 2) as disk:
            if disk is None:
                return figures
            out = disk / "out"
            out.mkdir()
            asked = command(out)  # which may copy what it works on
            with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
                while True:
                    filler.write(b"x" * 4096)
            before = content(out)
            ended = tools.run(*asked)
            left = {each: sha for each, sha in content(out).items() if before.get(each) != sha}
            figures.fault(
                f"{name} on a full disk: {ended.status} {ended.stderr[-400:]} {left}",
                traceback=ended.crashed or ended.status != 2,
                partial=len([each for each in left if left[each] != _EMPTY]),
            )
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            ended = tools.run(*asked)
            figures.fault(
                f"{name} on a read-only disk: {ended.status} {ended.stderr[-400:]}",
                traceback=ended.crashed or ended.status != 2,
            )
    return figures


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# --- (e) two of everything


def two_at_once(tools, folder, commands, times=1):
    """Every command twice at the same moment: the output is that of one."""
    figures = Figures()
    for name, command in commands.items():
        whole_at = folder / f"{name}-one"
        whole_at.mkdir()
        assert tools.run(*command(whole_at)).status in ANSWERED, name
        whole = content(whole_at)
        for number in range(times):
            out = folder / f"{name}-two{number}"
            out.mkdir()
            both = [tools.start(*command(out)) for _ in range(2)]
            ended = [each.ended() for each in both]
            if not any(each.status in ANSWERED for each in ended):
                ended.append(tools.run(*command(out)))
            wrong = [
                each
                for each in whole
                if not (out / each).is_file() or not _equal(out, whole_at, each)
            ]
            figures.fault(
                f"two of {name}: {[(each.status, each.stderr[-300:]) for each in ended]} {wrong}",
                traceback=any(each.crashed or each.status not in MENDABLE for each in ended),
                changed=bool(wrong),
                partial=len(partial_files(out)),
            )
            shutil.rmtree(out)
    return figures


def writers(drawn, run):
    """Commands that write: dict name -> function of an output folder to (tool, *arguments)."""
    annotations_file, image_dir = drawn
    model = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
    step = run.evaluated_steps()[-1]

    def report_of(out):
        root = pathlib.Path(out) / "run"
        if not root.exists():
            shutil.copytree(run.root, root, ignore=shutil.ignore_patterns("report"))
        return ("report", f"--run_dir={root}")

    return {
        "conversion": lambda out: (
            *("create_coco_tf_record", f"--annotations_file={annotations_file}", "--num_shards=3"),
            *(f"--image_dir={image_dir}", f"--output_path={out}/set", "--num_workers=1"),
            f"--label_map={out}/label_map.pbtxt",
        ),
        "config": lambda out: ("render_config", f"--model={model}", f"--output={out}/p.config"),
        "score": lambda out: (
            *("score", f"--annotations_file={annotations_file}", f"--output={out}/metrics.json"),
            f"--detections={run.eval_at(step) / 'detections.json.gz'}",
        ),
        "albumentations": lambda out: (
            *("convert_annotations", "--from=coco", "--to=albumentations"),
            *(f"--input={annotations_file}", f"--output={out}/a.jsonl"),
        ),
        "yolo": lambda out: (
            *("convert_annotations", "--from=coco", "--to=yolo"),
            *(f"--input={annotations_file}", f"--output={out}/yolo"),
        ),
        "voc": lambda out: (
            *("convert_annotations", "--from=coco", "--to=voc"),
            *(f"--input={annotations_file}", f"--output={out}/voc"),
        ),
        "report": report_of,
    }


def readers():
    """Tools that read a run directory: dict name -> function of its path to (tool, *arguments)."""
    return {
        "report": lambda root: ("report", f"--run_dir={root}"),
        "status": lambda root: ("status", root, "--json"),
        "verdict": lambda root: ("verdict", root, f"--output={root.parent / 'answer.json'}"),
        "compare": lambda root: (
            *("compare_runs", root, "--bootstrap=0"),
            f"--output={root.parent / 'compared'}",
        ),
        "diff": lambda root: ("diff_config", "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", root),
    }
