"""Training beside the Object Detection API's own loop: steps a second, time to the first step.

    python tests/bench/bench_train.py                          # 40 steps of 8 images
    python tests/bench/bench_train.py --steps=20 --batch_size=4

Both train ssd_mobilenet_v2_fpnlite_320x320 from random weights on the same drawn records, in
float32: the API with `model_lib_v2.train_loop`, the kit with `replicate.train.loop.train`, as
tools/train.py does. Each runs twice, in processes of their own and the kit's first and last, so
that a change of the machine's load shows. Both log every 10 steps; times are those of the
TensorBoard events that they write then. The ratios are what to compare. Exit status 1 where the
kit is slower.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
# Two runs of the same loop on a quiet machine differ by this share.
NOISE = 0.03
LOG_EVERY = 10


def make(folder, steps, batch_size):
    """Drawn images as records, and the config, in `folder`."""
    import tfrecords
    from replicate import config
    from replicate.demo import drawing
    from tests.bench.bench_evaluate import write_label_map

    annotations, images = drawing.draw(folder, train_images=64, val_images=1)["train"]
    tfrecords.convert(annotations, images, str(folder / "train"), 2, progress=False)
    write_label_map(annotations, folder / "label_map.pbtxt")
    message = config.render(
        MODEL,
        overrides=[
            ("train_config.batch_size", str(batch_size)),
            ("train_config.num_steps", str(steps)),
            ("train_config.use_bfloat16", "false"),
        ],
        train_records=f"{folder}/train-*.tfrecord",
        label_map=str(folder / "label_map.pbtxt"),
        num_classes=90,
        fine_tune_checkpoint="",
    )
    (folder / "pipeline.config").write_text(config.to_text(message))


def train_ours(folder, model_dir, steps):
    from replicate import config
    from replicate.train import loop

    message = config.read(folder / "pipeline.config")
    begun = time.time()
    settings = loop.Settings(num_steps=steps, checkpoint_every_n=steps, log_every_n=LOG_EVERY)
    loop.train(message, model_dir, settings)
    return begun


def train_theirs(folder, model_dir, steps):
    from object_detection import model_lib_v2

    begun = time.time()
    model_lib_v2.train_loop(
        str(folder / "pipeline.config"),
        str(model_dir),
        train_steps=steps,
        checkpoint_every_n=steps,
        num_steps_per_iteration=LOG_EVERY,
        record_summaries=False,
    )
    return begun


def _measure_side(side, folder, steps):
    """Prints when each LOG_EVERY steps ended, in seconds from the begin."""
    from replicate import odapi

    odapi.load()
    model_dir = pathlib.Path(tempfile.mkdtemp(dir=folder))
    with contextlib.redirect_stdout(sys.stderr):
        begun = {"ours": train_ours, "theirs": train_theirs}[side](folder, model_dir, steps)
    ends = [end - begun for end in _ends_of_steps(model_dir / "train")]
    print(json.dumps(ends))


def _ends_of_steps(folder):
    """The wall times at which a total loss was written, ascending."""
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.TENSORS: 0}
    )
    events.Reload()
    return sorted(event.wall_time for event in events.Tensors("Loss/total_loss"))


def _in_a_process(side, folder, options):
    command = [sys.executable, __file__, f"--side={side}", f"--folder={folder}"]
    done = subprocess.run([*command, f"--steps={options.steps}"], capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode()[-4000:])
    ends = json.loads(done.stdout.splitlines()[-1])
    if len(ends) != options.steps // LOG_EVERY:
        sys.exit(f"{side}: {len(ends)} events for {options.steps} steps")
    return ends


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps % LOG_EVERY or options.steps < 2 * LOG_EVERY:
        parser.error(f"--steps: a multiple of {LOG_EVERY}, {2 * LOG_EVERY} at least")
    if options.side:
        return _measure_side(options.side, pathlib.Path(options.folder), options.steps)
    with tempfile.TemporaryDirectory() as folder:
        make(pathlib.Path(folder), options.steps, options.batch_size)
        sides = [
            (side, _in_a_process(side, folder, options))
            for side in ("ours", "theirs", "theirs", "ours")
        ]
    return _report(sides, options)


def _report(sides, options):
    print(f"{options.steps} steps of {options.batch_size} images, {MODEL}, {os.cpu_count()} cores")
    seconds, first = {}, {}
    for side, ends in sides:
        # The median: a checkpoint or another process in one step counts for nothing.
        step = statistics.median(b - a for a, b in itertools.pairwise(ends)) / LOG_EVERY
        begin = ends[0] - (LOG_EVERY - 1) * step
        seconds.setdefault(side, []).append(step)
        first.setdefault(side, []).append(begin)
        name = "the API's train_loop" if side == "theirs" else side
        print(f"  {name:22} first step after {begin:6.1f} s, then {1 / step:6.3f} steps/s")
    ratio = statistics.mean(seconds["theirs"]) / statistics.mean(seconds["ours"])
    sooner = statistics.mean(first["theirs"]) / statistics.mean(first["ours"])
    print(f"steps a second, ours to theirs: {ratio:.3f} (target: at least 1, ± {NOISE:g} of noise)")
    print(f"time to the first step, theirs to ours: {sooner:.2f}")
    return 0 if ratio >= 1 - NOISE else 1


if __name__ == "__main__":
    sys.exit(main())
