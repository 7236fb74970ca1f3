"""What a fault left, against what no fault disturbed."""

import json

from replicate.run import RunDir
from tests.faults.tools import ANSWERED, content

# What holds times, machines or process numbers, which differ between two runs without a fault.
NOT_COMPARED = (
    r"^(environment|training|preflight|spec|annotations)\.json$|^launch/|events\.out\.tfevents"
    r"|^checkpoints/(checkpoint$|damaged-)|^metrics\.jsonl$|^report/|^data/manifest-"
)


def whole_output(tools, whole_at, command):
    """`content` of the new folder `whole_at` in which a command ran without a fault."""
    whole_at.mkdir()
    done = tools.run(*command(whole_at))
    assert done.status in ANSWERED, done.stderr
    return content(whole_at)


def same(text, other):
    """Whether two files are equal but for the seal, which is of a text with the run's own path."""
    if text == other:
        return True
    try:
        return _without(json.loads(text)) == _without(json.loads(other))
    except ValueError:
        return False


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


def equal(out, whole_at, path):
    """Whether an output is the undisturbed one, the folder's own path and the seal aside."""
    if not all((each / path).is_file() for each in (out, whole_at)):
        return False
    texts = [
        (each / path).read_bytes().replace(str(each).encode(), b"OUT") for each in (out, whole_at)
    ]
    return texts[0] == texts[1] or _without_seal(texts[0]) == _without_seal(texts[1])


def _without_seal(text):
    return [line for line in text.splitlines() if b"checksum" not in line]
