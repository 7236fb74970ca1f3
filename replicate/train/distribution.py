"""The devices that share a global batch: one, those of a machine, or those of several machines."""

import atexit
import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from replicate.errors import Unavailable
from tfrecords.whole_files import temporary_folder

if TYPE_CHECKING:
    from replicate.cluster import Cluster

# Batches that wait on a device; one is computed on, the next two are there.
_READY = 2


def prepare() -> None:
    """How TensorFlow uses this process's GPUs; call it before any TensorFlow op.

    Memory is taken as it is needed, so that an evaluation finds some on the same GPU. Threads that
    launch kernels are the GPU's own, where those of tf.data would keep them waiting
    (`TF_GPU_THREAD_MODE`, which the environment may set otherwise).
    """
    os.environ.setdefault("TF_GPU_THREAD_MODE", "gpu_private")
    for gpu in tf.config.list_physical_devices("GPU"):
        # What has begun to use its GPUs keeps them as they are.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)


def ahead_of(dataset: Any) -> Any:
    """The batches of one device, copied to it before they are asked for.

    Several devices have their batches copied by their strategy; a single one is left to copy each
    within its step. Without a GPU there is nothing to copy.

    Args:
      dataset: what `strategy.distribute_datasets_from_function` gave; a plain dataset of one
        device.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus or not isinstance(dataset, tf.data.Dataset):
        return dataset
    return copied_to(dataset, gpus[0].name)


def copied_to(dataset: tf.data.Dataset, device: str) -> tf.data.Dataset:
    """`dataset`, with batches ready on the device."""
    return dataset.apply(tf.data.experimental.prefetch_to_device(device, _READY))


def strategy(cluster: "Cluster | None") -> tf.distribute.Strategy | None:
    """The distribution strategy of this process; call it before any other TensorFlow op.

    Args:
      cluster: `cluster.Cluster` of the workers that train together, or None for this machine.

    Returns:
      MultiWorkerMirroredStrategy for a cluster; MirroredStrategy for several GPUs (or several
      logical CPU devices, where TensorFlow was told to make them); None for one device.

    Raises:
      UserError: a worker of the cluster did not come; it is named.
    """
    prepare()
    if cluster is not None:
        cluster.wait_for_all()
        cluster.export()
        return tf.distribute.MultiWorkerMirroredStrategy()
    for kind in ("GPU", "CPU"):
        devices = tf.config.list_logical_devices(kind)
        if len(devices) > 1:
            return tf.distribute.MirroredStrategy([device.name for device in devices])
        if devices:
            return None
    return None


#: Given to `agreed_signal` by who finds that training is to end early; no signal has the number.
ENDS_EARLY = 64


def agreed_signal(strategy: tf.distribute.Strategy, number: int | None) -> int | None:
    """The signal that any worker got (or ENDS_EARLY), so that all stop after the same step.

    Args:
      strategy: tf.distribute.Strategy; with one process this is `number` itself.
      number: this worker's signal, or None.

    Returns:
      the largest signal number that a worker got, or None. All workers must call this together.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return number
    got = tf.one_hot(number or 0, 65)
    counts = strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: got), axis=None)
    signals = tf.where(counts > 0).numpy().ravel()
    return int(signals.max()) or None


_SIGNS_OF_A_LOST_PEER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@contextlib.contextmanager
def lost_peer_named(cluster: "Cluster | None") -> Iterator[None]:
    """Turns the failure of a collective into a message; other exceptions pass.

    Args:
      cluster: the workers, or None of one that trains alone.
    """
    try:
        yield
    except _SIGNS_OF_A_LOST_PEER as error:
        if cluster is None:
            raise
        raise Unavailable(
            f"worker {cluster.index} ({cluster.workers[cluster.index]}) lost "
            f"another worker of {', '.join(cluster.workers)}: "
            f"{_cause(error.message)}. Start all workers again with the same command; "
            "they continue from the last checkpoint"
        ) from None


def _cause(message: str) -> str:
    """The line of an error's message that says what failed, which AutoGraph puts a stack before."""
    match = re.search(r"^\s*\w+Error: (?:\{\{.*?\}\} )?(.+)", message, re.MULTILINE)
    return match[1] if match else message.splitlines()[0]


def checkpoint_folder(cluster: "Cluster | None", folder: pathlib.Path) -> pathlib.Path | str:
    """Where this worker writes its checkpoints.

    Saving is a collective act, since averaged variables are read from all workers; only the
    chief's files are kept.
    """
    if cluster is None or cluster.is_chief:
        return folder
    unkept = temporary_folder("not-kept-")
    atexit.register(shutil.rmtree, unkept, ignore_errors=True)
    return unkept
