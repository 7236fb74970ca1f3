"""A few steps of the trainer in a process of its own, which may have several devices.

    python -m tests.train.steps CONFIG OUTPUT --steps=3 --cpus=2 --accumulate=1

Writes OUTPUT.json (losses by step) and OUTPUT.npz (the weights). TF_CONFIG makes it a worker.
The weights it begins with are those of --initial, which is written where it does not exist.
"""

import argparse
import json
import os

import numpy as np

from replicate import config as configs
from replicate import odapi
from replicate.execution import Execution

odapi.load()

import tensorflow as tf

from replicate import cluster
from replicate.train import distribution
from replicate.train.trainer import Trainer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("output")
    parser.add_argument("--initial", required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--jit_compile", action="store_true")
    parser.add_argument("--input_service", default="")
    arguments = parser.parse_args()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * arguments.cpus,
    )
    strategy = distribution.strategy(cluster.from_environment())
    execution = Execution(
        seed=3,
        gradient_accumulation_steps=arguments.accumulate,
        jit_compile=arguments.jit_compile,
        input_service=arguments.input_service,
    )
    config = configs.read(arguments.config)
    trainer = Trainer(config, execution, strategy)
    trainer.build_variables()
    model = tf.train.Checkpoint(model=trainer.model)
    if os.path.exists(f"{arguments.initial}.index"):
        model.restore(arguments.initial).expect_partial()
    else:
        model.write(arguments.initial)
    losses = [trainer.train(1)["losses"] for _ in range(arguments.steps)]
    weights = {variable.name: variable.numpy() for variable in trainer.model.trainable_variables}
    np.savez(f"{arguments.output}.npz", **weights)
    described = {"losses": losses, "replicas": trainer.describe_execution()["replicas"]}
    with open(f"{arguments.output}.json", "w", encoding="utf-8") as stream:
        json.dump(described, stream)


if __name__ == "__main__":
    main()
