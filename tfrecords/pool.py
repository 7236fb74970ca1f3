"""Shards over processes: started afresh (no fork of a process that may hold TensorFlow's threads).

Workers end with their parent, however it ends, and leave no partial shard when they are stopped.
"""

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfrecords.errors import InputError

_POLL_S = 0.3
_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
_IMAGES_A_PROCESS = 200  # fewer are done before a process has started


class _Stopped(Exception):
    """The parent has asked to stop."""


def run(
    work: Callable[[Any, Callable[[], None]], Any],
    tasks: Iterable[tuple[int, Any]],
    num_workers: int,
    on_images: Callable[[int], Any],
    on_shard: Callable[[int, Any], Any],
) -> None:
    """Does the work of many shards and reports each as it is finished, in no particular order.

    Args:
      work: function of a module: (task, count_image) to a result; it calls `count_image()` after
        every image.
      tasks: iterable of (index, task); consumed only as workers become free.
      num_workers: processes; with 1 the work is done in this one.
      on_images: called with the number of images done since the last call.
      on_shard: called with (index, result).

    Raises:
      InputError: the first that a shard met; or a worker was killed.
    """
    if num_workers == 1:
        for index, task in tasks:
            on_shard(index, work(task, lambda: on_images(1)))
        return
    context = multiprocessing.get_context("spawn")
    # Nothing of these has a lock, which a worker that is killed would hold for ever: a flag, and a
    # pipe that gets a byte for every image.
    stop = context.RawValue("b", 0)
    counted, count = context.Pipe(duplex=False)
    for end in (counted, count):
        os.set_blocking(end.fileno(), False)
    executor = concurrent.futures.ProcessPoolExecutor(
        num_workers, context, initializer=_start, initargs=(count, stop)
    )
    tasks = iter(tasks)
    others, workers = set(multiprocessing.active_children()), set[Any]()
    running: dict[concurrent.futures.Future, int] = {}
    try:
        while True:
            while len(running) <= num_workers and (item := next(tasks, None)) is not None:
                with _stops_blocked():  # a new worker is to be known, and whole, before one is met
                    running[executor.submit(_work, work, item[1])] = item[0]
            if not running:
                break
            done, _ = concurrent.futures.wait(running, _POLL_S, concurrent.futures.FIRST_COMPLETED)
            on_images(_arrived(counted))
            for future in done:
                on_shard(running.pop(future), future.result())
            # The executor may not watch a worker that it started last until another has finished.
            alive = set(multiprocessing.active_children()) - others
            if workers - alive:
                raise concurrent.futures.process.BrokenProcessPool
            workers |= alive
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError(
            "a worker process was killed, perhaps for want of memory; run the same command to "
            "continue, with a smaller --num_workers if it happens again"
        ) from None
    finally:
        stop.value = 1
        executor.shutdown(cancel_futures=True)
        for end in (counted, count):
            end.close()
        for future, index in running.items():  # what was finished meanwhile is not made again
            if future.done() and not future.cancelled() and not future.exception():
                result = future.result()
                if result is not None:
                    on_shard(index, result)


def num_workers_for(num_workers: int | None, num_tasks: int, num_images: int) -> int:
    """The processes to start: as asked for, or as many as there are cores and work for."""
    if num_workers is None:
        cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        num_workers = min(len(cores), num_images // _IMAGES_A_PROCESS)
    return max(1, min(num_workers, num_tasks))


@contextlib.contextmanager
def _stops_blocked() -> Iterator[None]:
    """Inside, signals to stop wait, here and in processes that are started, which inherit that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _arrived(counted: multiprocessing.connection.Connection) -> int:
    """The images that were counted since the last call."""
    number = 0
    with contextlib.suppress(BlockingIOError):
        for _ in range(16):  # who counts faster than this reads is not waited for
            number += len(os.read(counted.fileno(), 65536))
    return number


def _start(count: Any, stop: Any) -> None:
    """Sets up a worker."""
    global _count, _stop
    _count, _stop = count, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(work: Callable, task: Any) -> Any:
    with contextlib.suppress(_Stopped):
        return work(task, _count_image)


def _count_image() -> None:
    if _stop.value:
        raise _Stopped
    with contextlib.suppress(BlockingIOError):  # a bar that is behind is no reason to wait
        os.write(_count.fileno(), b".")
