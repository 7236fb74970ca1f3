"""Other processes, here or on other machines, that decode and augment the training input.

    python -m replicate.train.input_service --port=7000      # on each machine that helps

Each is a tf.data service of its own. Batch number b of a run is made by process b modulo their
number and the batches are taken in turn, so a run gets the same batches as without the service.
The processes read the training records under the same paths as the run.
"""

import argparse
import atexit
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import tensorflow as tf

from replicate.errors import Unavailable, UserError

START_TIMEOUT_S = 120
# Batches that each process keeps ready.
AHEAD = 4
_PROJECT = pathlib.Path(__file__).resolve().parents[2]


def addresses(service: str) -> list[str]:
    """The processes that `service` asks for, started where it is a number.

    Args:
      service: "3" starts three processes on this machine, which end with this process;
        "host:port,host:port" are running already.

    Returns:
      list of "host:port".

    Raises:
      UserError: neither a number nor addresses; a process that does not answer.
    """
    if service.isdigit():
        started = [_start() for _ in range(int(service))]
        chosen = [f"localhost:{port}" for port in started]
    else:
        chosen = [part.strip() for part in service.split(",") if part.strip()]
    if not chosen:
        raise UserError(
            f"--input_service={service}: give a number of processes to start here, or host:port of "
            "running ones, with commas between"
        )
    for address in chosen:
        _wait_for(address)
    return chosen


def served(dataset_of_part: Callable[[int, int], tf.data.Dataset], service: str) -> tf.data.Dataset:
    """One dataset from the processes, each of which makes its part.

    Args:
      dataset_of_part: callable (part, parts) to the tf.data.Dataset of the batches whose number
        is `part` modulo `parts`.
      service: see `addresses`.

    Returns:
      tf.data.Dataset of all batches in their order.
    """
    workers = addresses(service)
    parts = [
        dataset_of_part(part, len(workers)).apply(
            tf.data.experimental.service.distribute(
                processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
                service=f"grpc://{address}",
                compression=None if _is_here(address) else "AUTO",
                max_outstanding_requests=AHEAD,
            )
        )
        for part, address in enumerate(workers)
    ]
    turns = tf.data.Dataset.range(len(parts)).repeat()
    return tf.data.Dataset.choose_from_datasets(parts, turns).prefetch(AHEAD)


def _is_here(address: str) -> bool:
    """Whether a process is of this machine, whose batches need not be made small for a network."""
    return address.rpartition(":")[0] in ("localhost", "127.0.0.1", socket.gethostname())


def _start() -> int:
    """Starts one process on a free port of this machine; the port.

    It ends with this process, and this one with it: TensorFlow would wait for it without an end.
    """
    with socket.create_server(("localhost", 0)) as probe:
        port = probe.getsockname()[1]
    # Ctrl-C is for the run, which ends it in its turn: it inherits that SIGINT waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, f"--port={port}", "--for_parent"],
            stdin=subprocess.PIPE,  # it ends when this process does
            env=os.environ | {"PYTHONPATH": str(_PROJECT), "CUDA_VISIBLE_DEVICES": ""},
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    ending = threading.Event()
    threading.Thread(target=_end_with, args=(process, ending), daemon=True).start()
    atexit.register(process.kill)
    atexit.register(ending.set)  # the last to be registered is the first to be called
    return port


def _end_with(process: subprocess.Popen, ending: threading.Event) -> None:
    """Ends this process where one that makes its input has been lost."""
    status = process.wait()
    if ending.is_set():
        return
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    print(
        f"\na process that makes the training input was ended ({how}; out of memory?); run the "
        "same command to continue from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(Unavailable.TRY_AGAIN)  # the main thread waits in TensorFlow, which nothing ends


def _wait_for(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise UserError(f"--input_service: {address!r} is not host:port")
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"--input_service: nothing answers at {address} ({error}); start it there with "
                    f"python -m replicate.train.input_service --port={port}"
                ) from None
            time.sleep(0.2)


def _serve(port: int, until_closed: bool) -> None:
    """Serves until the process is ended, or standard input where that is the parent's pipe."""
    service = tf.data.experimental.service
    servers = [service.DispatchServer(service.DispatcherConfig(port=port))]
    name = "localhost" if until_closed else socket.gethostname()
    config = service.WorkerConfig(f"localhost:{port}", worker_address=f"{name}:%port%")
    servers.append(service.WorkerServer(config))
    if until_closed:
        sys.stdin.read()
    else:
        servers[0].join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--for_parent", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in TensorFlow, no handler of Python's is called
    _serve(arguments.port, arguments.for_parent)
