"""Training steps over several virtual devices of this CPU, beside those of one.

    python tests/bench/bench_devices.py                    # 2 and 4 devices beside 1
    python tests/bench/bench_devices.py --devices=2 --steps=5 --turns=3

The same global batch and data, divided among devices that share the processor: nothing is computed
faster, and the ratio of their steps a second is what the division costs in all. Each number of
devices is a process of its own, which waits while the others have their turn. Prints the ratios
with their 95 % intervals from paired turns. No target: what several GPUs give is not known here.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.bench import arguments, paired

MODEL, BATCH = "SSD MobileNet v2", 8
_WARM = 3


def serve(devices, records, steps):
    """Trains so many steps for each line of standard input, and prints their seconds."""
    from replicate import odapi

    odapi.load()
    import tensorflow as tf

    from replicate.execution import Execution
    from replicate.gpu_check import small

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    config = small.config_of(MODEL, records, 10_000)
    config.train_config.batch_size = BATCH
    trainer = small.trainer_of(config, Execution(seed=1))
    trainer.train(_WARM)
    for _ in sys.stdin:
        begun = time.perf_counter()
        trainer.train(steps)
        print(time.perf_counter() - begun, flush=True)


@contextlib.contextmanager
def started(devices, records, steps):
    """A process that serves so many devices."""
    command = [sys.executable, __file__, f"--serve={devices}", f"--records={records}"]
    process = subprocess.Popen(
        [*command, f"--steps={steps}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def turn(process):
    """The seconds of so many steps."""
    process.stdin.write("go\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", default="2,4", help="how many, beside one")
    parser.add_argument("--steps", type=arguments.at_least(1), default=10, help="steps a turn")
    parser.add_argument("--turns", type=arguments.at_least(2), default=6)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--records", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.records, options.steps)
    several = [int(number) for number in options.devices.split(",")]
    if any(number < 2 or BATCH % number for number in several):
        parser.error(f"--devices: each of them divides the batch of {BATCH}, and is 2 or more")
    from replicate.gpu_check import small

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as resources:
        small.write_records(folder, images=16)
        processes = {
            number: resources.enter_context(started(number, folder, options.steps))
            for number in (1, *several)
        }
        seconds = {number: [] for number in processes}
        for number_of_turn in range(options.turns + 1):
            for number, process in processes.items():
                taken = turn(process)
                if number_of_turn:  # the first waits for the others to have been made
                    seconds[number].append(taken)
    print(f"{MODEL}, {small.SIDE_PX} px, global batch {BATCH}, {os.cpu_count()} cores")
    for number in several:
        ratios = [one / more for one, more in zip(seconds[1], seconds[number], strict=True)]
        print(f"steps a second over {number} devices beside one: {paired.text(ratios)}")
    return 0


if __name__ == "__main__":
    arguments.run(main)
