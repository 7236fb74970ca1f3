"""The published facts that the tests hold the engine to, made small enough to stand beside them.

    python -m tests.odapi.recording ../shared

writes tests/odapi/recorded/: of each model that was run on native TensorFlow 2.15 its outputs and
losses, large arrays thinned; of each released checkpoint its variables, a line each: name, shape,
type; and of every published training config the SHA-256 of its message. The tests of what is
recorded run everywhere; that the records are those of the reference material is tested where that
is at hand.
"""

import hashlib
import json
import pathlib
import re
import sys

import numpy as np
from google.protobuf import text_format

RECORDED = pathlib.Path(__file__).with_name("recorded")
CONFIGS = RECORDED / "config_sha256.json"
KEPT = 250  # about as many values of an array
# Kept whole: proposals are compared as a set, and the second stage runs on them.
_WHOLE = re.compile(r"^proposal_boxes(_normalized)?$|#shape$")
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# One published file misspells the placeholder of its paths.
_PATHS = re.compile("PATH_TO_BEE?_CONFIGURED")


def thinned(key, values):
    """Every n-th value of a large array, flat; a small one as it is."""
    values = np.asarray(values)
    if _WHOLE.search(key) or values.size <= KEPT:
        return values
    return values.reshape(-1)[:: -(-values.size // KEPT)]


def outputs(path):
    """The arrays of a reference `.npz`, thinned."""
    with np.load(path) as reference:
        return {key: thinned(key, reference[key]) for key in reference.files}


def variables(text):
    """The variables of a checkpoint from lines `name, shape, type`: dict name -> (shape, type)."""
    table = {}
    for line in text.splitlines():
        name, shape, dtype = line.split("\t")
        table[name.removesuffix(_VALUE)] = (shape, dtype)
    return table


def message_sha256(message):
    """SHA-256 of a protobuf message's deterministic serialization."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def published_config(path, message_class):
    """The message of a published training config, its placeholder of paths spelled as in all."""
    text = _PATHS.sub("PATH_TO_BE_CONFIGURED", path.read_text())
    return text_format.Parse(text, message_class())


def published_configs(shared):
    """name -> path of the 36 published training configs of the zoo's models."""
    paths = sorted((shared / "zoo/configs").glob("*.config"))
    return {path.stem: path for path in paths if "deepmac" not in path.stem}


def record(shared):
    """Writes tests/odapi/recorded/ from the reference material."""
    from replicate.config import textproto

    RECORDED.mkdir(exist_ok=True)
    for path in sorted((shared / "reference").glob("*.npz")):
        np.savez_compressed(RECORDED / path.name, **outputs(path))
    for path in sorted((shared / "zoo/index").glob("*/ckpt-0.vars.txt")):
        lines = (f"{name}\t{shape}\t{dtype}\n" for name, (shape, dtype) in _sorted(path))
        (RECORDED / f"{path.parent.name}.txt").write_text("".join(lines))
    hashes = {
        name: message_sha256(published_config(path, textproto.pipeline_class()))
        for name, path in published_configs(shared).items()
    }
    CONFIGS.write_text(json.dumps(hashes, indent=1) + "\n")


def _sorted(path):
    return sorted(variables(path.read_text()).items())


if __name__ == "__main__":
    record(pathlib.Path(sys.argv[1]))
