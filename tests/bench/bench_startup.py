"""From tools/replicate.py to the first training step, by parts, at train2017's size.

    python tests/bench/bench_startup.py --folder=/tmp/startup
    python tests/bench/bench_startup.py --folder=/tmp/startup --images=2000 --val_images=100
    python tests/bench/bench_startup.py --folder=/tmp/startup --project=../another-checkout

Makes annotation files of --images and --val_images images as scale_convert.py does, over hard
links to a few drawn JPEGs, and replicates the SSD MobileNet V2 FPNLite of --batch_size images on
them until the first step is logged: once as a user does, with preflight's trial, once with
--notrial. The records are converted once (about 4 GB); conversion has its own column and is in no
sum. A batch of more than ten is not tried whole on a CPU, and then the trial's process does not
train. Needs time on an otherwise idle machine; figures and what they say: docs/preflight.md. The
folder is removed at the end, unless --keep; what a kept one has is used again.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "bench")]

import scale_convert
from absl import flags

from tools import cli

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
FLAGS = flags.FLAGS  # folder, images and keep are scale_convert's
_VAL = flags.DEFINE_integer("val_images", 5_000, "evaluation images.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "the global batch.")
_OTHER = flags.DEFINE_string("project", str(PROJECT), "the checkout whose tools are timed.")
PARTS = ("start", "checks", "trial", "after the trial", "config", "training", "in all")


def main(_):
    folder = pathlib.Path(FLAGS.folder)
    try:
        for split, count in (("train", FLAGS.images), ("val", _VAL.value)):
            if not (folder / split / "instances.json").is_file():
                (folder / split).mkdir(parents=True)
                scale_convert.make(folder / split, count)
        for name, more in (("with the trial", ()), ("without", ("--notrial",))):
            _tell(name, _run(folder, more))
    finally:
        if not FLAGS.keep:
            shutil.rmtree(folder)


def _run(folder, more):
    """Seconds by part of one replication until its first step; the records stay for the next."""
    run_dir, kept = folder / "run", folder / "records"
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir()
    if kept.is_dir():
        kept.rename(run_dir / "data")
    begun = time.time()
    process = subprocess.Popen(
        _command(folder, run_dir, more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        marks = _marks(process, run_dir)
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.wait()
    (run_dir / "data").rename(kept)
    written = (kept / "manifest-val.json").stat().st_mtime
    converted = max(written, marks["records"])  # those that were there already are not written
    took = {"start": marks["preflight"] - begun, "checks": marks["checks"]}
    took |= {"trial": marks["trial"], "conversion": converted - marks["records"]}
    took["after the trial"] = (
        marks["records"] - marks["preflight"] - marks["checks"] - marks["trial"]
    )
    took["config"] = marks["training"] - converted
    took["training"] = marks["step"] - marks["training"]
    took["in all"] = marks["step"] - begun - took["conversion"]
    return took | {"of the trainer": marks["seconds_to_first_step"]}


def _command(folder, run_dir, more):
    files = [
        flag
        for split in ("train", "val")
        for flag in (
            f"--{split}_annotations={folder / split / 'instances.json'}",
            f"--{split}_images={folder / split / 'images'}",
        )
    ]
    return [
        *(sys.executable, os.path.join(_OTHER.value, "tools", "replicate.py"), f"--model={MODEL}"),
        *(*files, f"--run_dir={run_dir}", "--num_steps=1", "--rehearsal", "--force", *more),
        f"--set=train_config.batch_size={_BATCH.value}",
    ]


def _marks(process, run_dir):
    """When stages began (seconds since 1970), and how long preflight says that it took."""
    marks, log, text = {"trial": 0.0}, run_dir / "metrics.jsonl", b""
    os.set_blocking(process.stderr.fileno(), False)
    while "step" not in marks:
        if process.poll() is not None:
            raise SystemExit(f"replicate.py ended: {text.decode(errors='replace')[-2000:]}")
        text += process.stderr.read() or b""
        for stage in ("preflight", "records", "training"):
            if f"── {stage}\n".encode() in text:
                marks.setdefault(stage, time.time())
        if log.is_file() and (line := log.read_text().partition("\n")[0]):
            marks["step"] = log.stat().st_mtime
            marks["seconds_to_first_step"] = json.loads(line)["seconds_to_first_step"]
        time.sleep(0.02)
    said = re.search(rb"The checks took (\d+) s(?:, the trial (\d+) s)?", text)
    marks["checks"], marks["trial"] = (float(each or 0) for each in said.groups())
    return marks


def _tell(name, took):
    print(f"{name}: " + ", ".join(f"{part} {took[part]:.1f} s" for part in PARTS))
    print(
        f"  conversion {took['conversion']:.1f} s; of the training, from the making of the trainer "
        f"to its first step {took['of the trainer']:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    cli.run(main, required=["folder"])
