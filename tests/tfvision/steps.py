"""A few steps of a TF-Vision config in a process of its own, which may have several devices.

    python -m tests.tfvision.steps CONFIG OUTPUT --by=kit --steps=3 --cpus=2

Writes OUTPUT.json (the losses by step) and the checkpoint OUTPUT. `--by=official` takes TF-Vision's
own trainer, with the kit's batches. The weights it begins with are those of --initial, which the
kit's trainer writes where it does not exist; --resume goes on from a checkpoint.
"""

import argparse
import json
import os

from replicate import engine, odapi
from replicate.execution import Execution

odapi.load()

import tensorflow as tf

from replicate.tfvision import input_stream, official_task
from replicate.train import distribution, precision, repeatable

SEED = 5


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("output")
    parser.add_argument("--by", choices=("kit", "official"), default="kit")
    parser.add_argument("--initial", required=True)
    parser.add_argument("--resume", default="")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--input_service", default="")
    arguments = parser.parse_args()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * arguments.cpus,
    )
    strategy = distribution.strategy(None) or tf.distribute.get_strategy()
    by = {"kit": of_kit, "official": of_official}[arguments.by]
    losses, checkpoint = by(arguments, strategy)
    assert checkpoint.save_counter is not None  # asked for, it is there, as in a run's checkpoints
    checkpoint.write(arguments.output)
    described = {"losses": losses, "replicas": strategy.num_replicas_in_sync}
    with open(f"{arguments.output}.json", "w", encoding="utf-8") as stream:
        json.dump(described, stream)


def of_kit(arguments, strategy):
    execution = Execution(
        seed=SEED, precision=arguments.precision, input_service=arguments.input_service
    )
    trainer = engine.trainer(engine.read(arguments.config), execution, strategy)
    if arguments.resume:
        trainer.resume(arguments.resume)
    else:
        trainer.build_variables()
        if os.path.exists(f"{arguments.initial}.index"):
            trainer.checkpoint.read(arguments.initial).assert_existing_objects_matched()
        else:
            trainer.checkpoint.write(arguments.initial)
    losses = [trainer.train(1)["losses"] for _ in range(arguments.steps)]
    return losses, trainer.checkpoint


def of_official(arguments, strategy):
    from official.core import base_trainer

    params = official_task.experiment(engine.read(arguments.config))
    params.runtime.mixed_precision_dtype = arguments.precision
    precision.activate(arguments.precision)
    tf.keras.utils.set_random_seed(SEED)  # of which the order of the records is, too
    task = official_task.task_of(params)
    place = input_stream.Place(SEED, 0)
    batches = strategy.distribute_datasets_from_function(
        lambda context: input_stream.train_dataset(task, place, context).map(
            lambda given, labels: (given[input_stream.IMAGES], labels)
        )
    )
    with strategy.scope():
        model = task.build_model()
        optimizer = task.create_optimizer(params.trainer.optimizer_config, params.runtime)
        trainer = base_trainer.Trainer(
            *(params, task),
            model=model,
            optimizer=optimizer,
            train=True,
            evaluate=False,
            train_dataset=batches,
        )
        status = trainer.checkpoint.read(arguments.initial)
    losses = []
    with repeatable.sums_in_order():
        for step in range(arguments.steps):
            logs = trainer.train(tf.constant(1))
            if not step:
                status.assert_existing_objects_matched()
            losses.append({f"Loss/{name}": float(value) for name, value in logs.items()})
    return losses, trainer.checkpoint


if __name__ == "__main__":
    main()
