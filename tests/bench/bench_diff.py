"""Telling how two configs differ, beside reading both with the API and Python's difflib.

    python tests/bench/bench_diff.py             # five turns of each

The two configs are a zoo model's and the same with three fields changed. Ours is
tools/diff_config.py as a user runs it, from start to exit. The peer is what one would write without
it: a script that reads both files with the API's `config_util` and prints difflib's lines, from
start to exit too, TensorFlow's import among it, since the API's reader needs that. Then bare
Python, which does nothing: how near the tool is to what a command costs at least. Printed: seconds
and ratios with their 95 % intervals over pairs of turns. Exit status 1 where ours is slower than
the peer beyond that, or does not name the three fields.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from tests.bench import arguments, paired

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
CHANGED = {
    "train_config.num_steps": "1234",
    "train_config.batch_size": "7",
    "model.ssd.loss.localization_weight": "2.5",
}
_PEER = """
import difflib, sys
sys.path.insert(0, {project!r})
from replicate import odapi
odapi.load()
from google.protobuf import text_format
from object_detection.utils import config_util
texts = [
    str(config_util.create_pipeline_proto_from_configs(
        config_util.get_configs_from_pipeline_file(path))).splitlines()
    for path in sys.argv[1:]
]
print("\\n".join(difflib.unified_diff(*texts, lineterm="")))
"""


def make(folder):
    """The two config files."""
    from replicate import config

    paths = folder / "a.config", folder / "b.config"
    for path, overrides in zip(paths, ([], list(CHANGED.items())), strict=True):
        path.write_text(config.to_text(config.render(MODEL, overrides=overrides)))
    return [str(path) for path in paths]


def commands(paths):
    """{who: the command line}."""
    return {
        "tools/diff_config.py": [sys.executable, str(PROJECT / "tools" / "diff_config.py"), *paths],
        "the API and difflib": [sys.executable, "-c", _PEER.format(project=str(PROJECT)), *paths],
        "bare Python": [sys.executable, "-c", "pass"],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=arguments.at_least(1), default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = commands(make(pathlib.Path(folder)))
        seconds = {name: [] for name in sides}
        for turn in range(options.turns + 1):  # the first fills the page cache
            for name, command in sides.items():
                begun = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True)
                if turn:
                    seconds[name].append(time.perf_counter() - begun)
                _hold(name, done)
    for name, each in seconds.items():
        print(f"{name:22} {statistics.median(each):7.2f} s (median of {len(each)})")
    ours, peer, bare = seconds.values()
    ratios = [theirs / mine for mine, theirs in zip(ours, peer, strict=True)]
    print(f"times as fast as the API and difflib: {paired.text(ratios, 1.0)}")
    starts = [mine / start for mine, start in zip(ours, bare, strict=True)]
    print(f"times as long as bare Python: {paired.text(starts)}")
    return 1 if paired.answer(ratios, 1.0) == paired.MISSED else 0


def _hold(name, done):
    """Both name what differs: status 1 of ours, lines of the other."""
    if name == "bare Python":
        return
    last = [field.rpartition(".")[2] for field in CHANGED]
    expected = 1 if name.startswith("tools") else 0
    if done.returncode != expected or not all(field in done.stdout for field in last):
        sys.exit(f"{name}: exit status {done.returncode}\n{done.stdout}{done.stderr[-2000:]}")


if __name__ == "__main__":
    arguments.run(main)
