"""Files of a run damaged, and the run read or continued."""

import contextlib
import json
import pathlib
import re
import shutil

from tests.faults.series.comparing import differences
from tests.faults.tools import ANSWERED, MENDABLE, Figures, gone, partial_files, rng_of, work

DAMAGES = ("missing", "empty", "cut", "flipped", "other", "null", "binary", "folder")


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
