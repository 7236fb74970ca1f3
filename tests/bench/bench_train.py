"""Training beside the Object Detection API's own loop: steps a second, time to the first step.

    python tests/bench/bench_train.py                          # 80 steps of 8 images
    python tests/bench/bench_train.py --steps=40 --batch_size=4

Both train ssd_mobilenet_v2_fpnlite_320x320 from random weights on the same drawn records, in
float32: the API with `model_lib_v2.train_loop`, the kit with `replicate.train.loop.train`, as
tools/train.py does. Each is a process of its own; they run in turns, one held (SIGSTOP) while the
other works, so that a machine that slows down slows both. Times are those of the TensorBoard
events that both write every 10 steps, on each process's own clock, which stands while it is held.
The ratio is what to compare, with its 95 % interval over pairs of turns; where the target lies in
it, the run cannot tell, and says so. Exit status 1 where the kit is slower beyond that.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.bench import arguments, paired

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
# The API's loop beside itself differs by this share (--sides=theirs,theirs).
NOISE = 0.02
LOG_EVERY = 10
# Seconds that a process works before it is the other's turn.
TURN = 5


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
    settings = loop.TrainingSettings(
        num_steps=steps, checkpoint_every_n=steps, log_every_n=LOG_EVERY
    )
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
    """Prints when training began and when each LOG_EVERY steps ended."""
    from replicate import odapi

    odapi.load()
    model_dir = pathlib.Path(tempfile.mkdtemp(dir=folder))
    with contextlib.redirect_stdout(sys.stderr):
        begun = {"ours": train_ours, "theirs": train_theirs}[side](folder, model_dir, steps)
    print(json.dumps([begun, *_ends_of_steps(model_dir / "train")]))


def _ends_of_steps(folder):
    """The wall times at which a total loss was written, ascending."""
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.TENSORS: 0}
    )
    events.Reload()
    return sorted(event.wall_time for event in events.Tensors("Loss/total_loss"))


class Side:
    """One of the two loops: a process that is held but in its turns, and its clock."""

    def __init__(self, name, folder, options):
        self.name = name
        self.turns = []
        self._log = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "log"
        command = [sys.executable, __file__, f"--side={name}", f"--folder={folder}"]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--steps={options.steps}"],
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._send(signal.SIGSTOP)

    def take_turn(self, seconds):
        """Works for `seconds`, or to its end; whether there is more to do."""
        begin = time.time()
        self._send(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._send(signal.SIGSTOP)
        self.turns.append((begin, time.time()))
        return self._process.returncode is None

    def ends(self, steps):
        """When each LOG_EVERY steps ended, in seconds of its own clock from the begin."""
        printed = self._process.stdout.read().splitlines()
        if self._process.returncode:
            sys.exit(self._log.read_text(errors="replace")[-4000:])
        begun, *ends = map(self._clock, json.loads(printed[-1]))
        if len(ends) != steps // LOG_EVERY:
            sys.exit(f"{self.name}: {len(ends)} events for {steps} steps")
        return [end - begun for end in ends]

    def kill(self):
        self._send(signal.SIGKILL)

    def _clock(self, moment):
        """Seconds that it had worked by then."""
        return sum(max(0, min(end, moment) - begin) for begin, end in self.turns)

    def _send(self, sign):
        if self._process.returncode is None:
            os.killpg(self._process.pid, sign)


def in_turns(sides):
    """Runs all to their ends, one at a time; killed together where this ends early."""
    try:
        working = list(sides)
        while working:
            working = [side for side in working if side.take_turn(TURN)]
    finally:
        for side in sides:
            side.kill()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch_size", type=arguments.at_least(1), default=8)
    parser.add_argument(
        "--sides",
        default="ours,theirs",
        choices=["ours,theirs", "theirs,theirs"],
        metavar="SIDES",
        help="ours,theirs, or theirs,theirs, which shows how exact the ratio is",
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps % LOG_EVERY or options.steps < 2 * LOG_EVERY:
        parser.error(f"--steps: a multiple of {LOG_EVERY}, {2 * LOG_EVERY} at least")
    if options.side:
        return _measure_side(options.side, pathlib.Path(options.folder), options.steps)
    with tempfile.TemporaryDirectory() as folder:
        make(pathlib.Path(folder), options.steps, options.batch_size)
        sides = [Side(name, folder, options) for name in options.sides.split(",")]
        in_turns(sides)
        return _report([(side.name, side.ends(options.steps)) for side in sides], options)


def _report(sides, options):
    print(f"{options.steps} steps of {options.batch_size} images, {MODEL}, {os.cpu_count()} cores")
    seconds, first, spans = [], [], []
    for side, ends in sides:
        spans.append([b - a for a, b in itertools.pairwise(ends)])
        # The median: a checkpoint or a stall of the machine counts for nothing.
        step = statistics.median(b - a for a, b in itertools.pairwise(ends)) / LOG_EVERY
        seconds.append(step)
        first.append(ends[0] - (LOG_EVERY - 1) * step)
        name = "the API's train_loop" if side == "theirs" else side
        print(f"  {name:22} first step after {first[-1]:6.1f} s, then {1 / step:6.3f} steps/s")
    # The two loops take turns: the tens of steps of one number were made at about the same time.
    ratios = [theirs / ours for ours, theirs in zip(*spans, strict=True)]
    print(f"steps a second, ours to theirs: {paired.text(ratios, 1 - NOISE)}")
    print(f"time to the first step, theirs to ours: {first[1] / first[0]:.2f}")
    return 1 if paired.answer(ratios, 1 - NOISE) == paired.MISSED else 0


if __name__ == "__main__":
    arguments.run(main)
