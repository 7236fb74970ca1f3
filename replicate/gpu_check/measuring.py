"""What is measured in a process of its own: `python -m replicate.gpu_check.measuring JOB RESULT`.

JOB is a JSON file {"what": a function's name here, **its arguments}; RESULT gets what it returns.
"""

import json
import os
import pathlib
import sys
import tempfile
import time
from typing import Any

from tfrecords.whole_files import written_whole

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
_SECONDS = 10.0
# An update costs about three forward passes: backward, gradients of activations and of weights.
_PASSES = 3
_RATE_UNCLIPPED = 1e-7


def losses(label: str, variants: list[dict], steps: int) -> dict:
    """Losses of a model's first steps, as each of `variants` executes them.

    Args:
      label: of `replicate.parity.models.MODELS`.
      variants: fields of Execution.
      steps: how many.

    Returns:
      {"devices": names, "variants": [{"losses": by step, "first_step_s"} or {"error"}]}.
    """
    import tensorflow as tf

    from replicate.execution import Execution
    from replicate.gpu_check import small
    from replicate.odapi import xla
    from replicate.train.trainer import NonFiniteLoss

    results: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        records = pathlib.Path(folder) / "records"
        small.write_records(records)
        config = small.config_of(label, records, steps)
        for variant in variants:
            if variant.get("jit_compile") and xla.obstacle(config.model):
                results.append({"error": xla.obstacle(config.model)})
                continue
            try:
                trainer = small.trainer_of(config, Execution(seed=3, **variant))
                by_step, first_s = small.losses_of(trainer, steps)
                results.append({"losses": by_step, "first_step_s": first_s})
            except tf.errors.OpError as error:
                results.append({"error": error.message.splitlines()[0]})
            except NonFiniteLoss as error:  # of one execution; the others are compared
                results.append({"error": str(error)})
    return {"devices": _devices(), "variants": results}


def throughput(batch_size: int, execution: dict, seconds: float = _SECONDS, **small: int) -> dict:
    """Images a second of the kit's training, of a real recipe on drawn images.

    Args:
      batch_size: the global batch.
      execution: fields of Execution.
      seconds: measured, after the first step.
      small: `side_px` of the input, where it is not the recipe's.

    Returns:
      dict of figures; {"error"} where memory was not enough.
    """
    import tensorflow as tf

    from replicate.execution import Execution
    from replicate.train import distribution
    from replicate.train.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        config = _recipe(pathlib.Path(folder), batch_size, small.get("side_px"))
        try:
            trainer = Trainer(config, Execution(seed=3, **execution), distribution.strategy(None))
            trainer.train(1)
            images, waited, begun = 0, 0.0, time.monotonic()
            while time.monotonic() - begun < seconds:
                output = trainer.train(2)
                images += 2 * batch_size
                waited += output["input_wait"] * output["seconds"]
            took = time.monotonic() - begun
        except tf.errors.ResourceExhaustedError as error:
            return {"devices": _devices(), "error": error.message.splitlines()[0]}
        replica_batch = batch_size // trainer.strategy.num_replicas_in_sync
        flops = _forward_flops(trainer) / replica_batch
    return {
        "devices": _devices(),
        "batch_size": batch_size,
        "images_per_second": images / took,
        "seconds_to_first_step": trainer.seconds_to_first_step,
        "input_wait": waited / took,
        "model_flops_per_image": _PASSES * flops,
        "peak_memory_bytes": [
            tf.config.experimental.get_memory_info(gpu.name)["peak"]
            for gpu in tf.config.list_logical_devices("GPU")
        ],
        "losses": output["losses"],
    }


def replicas(label: str, batch_size: int, steps: int, num_cpus: int = 0) -> dict:
    """Losses of a model over this process's GPUs, or over so many parts of the CPU.

    Every image has the same boxes, so that the parts of a batch sum to the whole.
    """
    import tensorflow as tf

    from replicate.execution import Execution
    from replicate.gpu_check import small

    if num_cpus:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * num_cpus,
        )
    with tempfile.TemporaryDirectory() as folder:
        records = pathlib.Path(folder) / "records"
        small.write_records(records, images=2 * batch_size, jitter_px=0.0)
        config = small.config_of(label, records, steps)
        train = config.train_config
        train.batch_size = batch_size
        # Each replica clips its own part's gradients, as in the API's loop, which is another update
        # than the whole batch's. Without it, a rate as low as the gradients are large.
        train.gradient_clipping_by_norm = 0.0
        rate = train.optimizer.momentum_optimizer.learning_rate.constant_learning_rate
        rate.learning_rate = _RATE_UNCLIPPED
        trainer = small.trainer_of(config, Execution(seed=3, tf32=False))
        by_step, _ = small.losses_of(trainer, steps)
    count = trainer.strategy.num_replicas_in_sync
    return {"devices": _devices(), "replicas": count, "losses": by_step}


def _recipe(folder: pathlib.Path, batch_size: int, side_px: int | None) -> Any:
    """MODEL's config over drawn records."""
    import tfrecords
    from replicate import config
    from replicate.demo import drawing

    annotations, images = drawing.draw(folder, train_images=64, val_images=1)["train"]
    tfrecords.convert(annotations, images, str(folder / "train"), 8, progress=False)
    tfrecords.write_label_map(annotations, str(folder / "label_map.pbtxt"))
    size = "model.ssd.image_resizer.fixed_shape_resizer"
    sides = [(f"{size}.{side}", str(side_px)) for side in ("height", "width") if side_px]
    return config.render(
        MODEL,
        overrides=[("train_config.batch_size", str(batch_size)), *sides],
        train_records=f"{folder}/train-*.tfrecord",
        label_map=str(folder / "label_map.pbtxt"),
        fine_tune_checkpoint="",
    )


def _forward_flops(trainer: Any) -> float:
    """Floating-point operations of one replica's forward pass and losses, as TensorFlow counts."""
    import tensorflow as tf

    replica = trainer._replica
    features, labels, _ = trainer._input().next()
    first = tf.nest.map_structure(
        lambda t: trainer.strategy.experimental_local_results(t)[0], (features, labels)
    )
    graph = tf.function(replica.losses).get_concrete_function(*first).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def _devices() -> list[str]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    return names or [device.name for device in tf.config.list_logical_devices("CPU")]


def main() -> None:
    job = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from replicate import odapi

    odapi.load()
    measured = {"losses": losses, "throughput": throughput, "replicas": replicas}
    result = measured[job.pop("what")](**job)
    with written_whole(sys.argv[2]) as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
