"""The kit's tools, run many times: started as users start them, judged by what they leave behind.

A process that has imported what they need forks for every run of a tool, so that a run costs its
own work and not a second of imports. Each is a process group of its own, which can be killed.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import random
import re
import runpy
import signal
import subprocess
import sys
import time

from tfrecords import manifest

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PROJECT = pathlib.Path(__file__).resolve().parents[2]
ANSWERED = (0, 1, 3)  # done, a negative answer, not comparable
MENDABLE = (*ANSWERED, 2)  # or a message


@dataclasses.dataclass
class Figures:
    """What a series of faults came to.

    Attributes:
      injected: faults.
      survived: of them, those after which everything was as it has to be.
      tracebacks: runs that ended in one, or with the status of a fault of the kit.
      changed: results that differ from those without a fault.
      partial: partial files under a final name, or left behind.
      lost: bytes of finished work (see `work`) that stood under their final names at a fault, and
        were gone or made again after it.
      kinds: how often each kind of fault was injected.
      notes: what went wrong, in words.
    """

    injected: int = 0
    survived: int = 0
    tracebacks: int = 0
    changed: int = 0
    partial: int = 0
    lost: int = 0
    kinds: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    notes: list = dataclasses.field(default_factory=list)

    def fault(self, what="", *, kind="", traceback=False, changed=False, partial=0, lost=0):
        """Counts one fault; it is survived where nothing is said against it."""
        self.injected += 1
        self.kinds[kind] += 1
        self.tracebacks += traceback
        self.changed += changed
        self.partial += partial
        self.lost += lost
        if traceback or changed or partial or lost:
            self.notes.append(what)
        else:
            self.survived += 1

    def end(self, what="", *, traceback=False, changed=False, partial=0, lost=0):
        """Judges what a series of faults ended in: no fault of its own, but one not survived."""
        if traceback or changed or partial or lost:
            self.tracebacks += traceback
            self.changed += changed
            self.partial += partial
            self.lost += lost
            self.survived -= self.survived > 0
            self.notes.append(what)

    def __add__(self, other):
        names = [each.name for each in dataclasses.fields(self)]
        return Figures(*(getattr(self, name) + getattr(other, name) for name in names))

    def clean(self):
        return self.injected == self.survived


@dataclasses.dataclass
class Ended:
    """How a run of a tool ended: its status (negative: killed by that signal), what it wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def crashed(self):
        """Whether it met a fault of the kit: a traceback, its status, or an abort."""
        aborted = self.status < 0 and -self.status in (signal.SIGABRT, signal.SIGSEGV)
        traceback = "Traceback" in self.stderr and not self.loading
        return traceback or self.status == 70 or aborted

    @property
    def loading(self):
        """Whether it was interrupted before the first lines of its tool or after the last."""
        stopped = self.status == -signal.SIGINT or self.stderr.endswith("\nKeyboardInterrupt\n")
        return stopped and not re.search(r'/tools/\w+\.py", line \d+, in', self.stderr)


class Tools:
    """Runs tools; use it as a context manager.

    Args:
      folder: for what the runs write to their terminals.
    """

    def __init__(self, folder):
        self._folder, self._number = pathlib.Path(folder), 0
        self._folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.tools"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *exc_info):
        self._forker.stdin.close()
        self._forker.wait(timeout=60)

    def start(self, tool, *arguments, file_bytes=None, real=False):
        """Starts `tools/TOOL.py ARGUMENTS`; gives the running one.

        Args:
          tool: its name.
          arguments: of its command line.
          file_bytes: the largest file it may write (RLIMIT_FSIZE), or None.
          real: whether to start an interpreter of its own rather than to fork.
        """
        self._number += 1
        base = self._folder / f"{self._number:05d}"
        argv = [str(PROJECT / "tools" / f"{tool}.py"), *map(str, arguments)]
        if real:
            return _Real(argv, base)
        request = {"argv": argv, "base": str(base), "file_bytes": file_bytes}
        return _Forked(self, self.ask(request | {"do": "start"}), base)

    def run(self, tool, *arguments, **options):
        """Runs a tool to its end: Ended."""
        return self.start(tool, *arguments, **options).ended()

    def ask(self, request):
        self._forker.stdin.write(json.dumps(request) + "\n")
        return json.loads(self._forker.stdout.readline())


class Running:
    """A tool that has been started."""

    def __init__(self, base):
        self._base = base

    def runs(self):
        """Whether the process has not ended yet."""
        import psutil

        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def says(self):
        """What it has written to its terminal so far."""
        path = pathlib.Path(f"{self._base}.err")
        return path.read_text(errors="replace") if path.exists() else ""

    def children(self, named=""):
        """Its processes that have `named` in their command line."""
        import psutil

        found = []
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            for each in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    line = " ".join(each.cmdline())
                    # Python's own tracker of shared memory is no worker, and tells of its death
                    # at length.
                    if named in line and "resource_tracker" not in line:
                        found.append(each)
        return found

    def _told(self, status):
        texts = []
        for name in ("out", "err"):
            path = pathlib.Path(f"{self._base}.{name}")
            # One that was killed at once has opened none.
            texts.append(path.read_text(errors="replace") if path.exists() else "")
            path.unlink(missing_ok=True)
        return Ended(status, *texts)


class _Forked(Running):
    def __init__(self, tools, pid, base):
        super().__init__(base)
        self._tools, self.pid = tools, pid

    def ended(self):
        return self._told(self._tools.ask({"do": "wait", "pid": self.pid}))


class _Real(Running):
    def __init__(self, argv, base):
        super().__init__(base)
        with open(f"{base}.out", "wb") as out, open(f"{base}.err", "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, *argv], stdout=out, stderr=err, start_new_session=True
            )
        self.pid = self._process.pid

    def ended(self):
        return self._told(self._process.wait(timeout=900))


def until_done(
    tools,
    command,
    rng,
    seconds,
    figures,
    *,
    most=8,
    check=None,
    stage=None,
    root=None,
    real=False,
    ready=None,
    workers="",
):
    """Stops a command at random moments until it gets through; counts each stop as a fault.

    One that gets through before its moment is no fault.

    Args:
      tools: Tools.
      command: (tool, *arguments).
      rng: random.Random.
      seconds: list of one number: about how long an undisturbed run takes. One that gets through
        sooner makes it smaller.
      figures: Figures to count into.
      most: stops before it is left to finish.
      check: called after each stop; returns what is wrong with what lies there, or "".
      stage: called at each stop; says in a word what was going on.
      root: folder of the finished work that no stop may lose.
      real: as of `Tools.start`.
      ready: of the running command; the moment is counted from when it is true.
      workers: its children with this in their command line are stopped alone, and the moment is
        counted from when there are some; otherwise a third of the stops is of any child.

    Returns:
      (Ended, lost): of the last run; bytes of finished work gone or made again.
    """
    finished, lost = {}, 0
    for number in range(most):
        running = tools.start(*command, real=real)
        if workers:
            ready = functools.partial(Running.children, named=workers)
        while ready is not None and running.runs() and not ready(running):
            time.sleep(0.02)
        begun, moment = time.monotonic(), rng.uniform(0, seconds[0])
        while running.runs() and time.monotonic() - begun < moment:
            time.sleep(min(0.005, moment))
        if not running.runs() and not number and ready is None:  # what goes on is done sooner
            seconds[0] = min(seconds[0], time.monotonic() - begun)
        kind = rng.choice(("KILL", "TERM", "INT", "STOP"))
        who = _stop(running, kind, rng, workers)
        if who is None:
            ended = running.ended()
            return ended, lost + _gone(root, finished)
        kind = f"{kind} of {who}" + (f" in {stage()}" if stage is not None else "")
        ended = running.ended()
        kind += ", outside its lines" if ended.loading else ""
        wrong = check() if check is not None else ""
        lost += _gone(root, finished)
        finished = work(root) if root is not None else {}
        continued = "STOP" in kind and ended.status not in MENDABLE
        figures.fault(
            f"{command[0]} {kind}: {ended.status} {wrong or ended.stderr[-600:]}",
            kind=kind,
            traceback=ended.crashed or continued,
            partial=bool(wrong),
        )
        if ended.status in ANSWERED and not ended.loading:
            return ended, lost
    ended = tools.run(*command, real=real)
    return ended, lost + _gone(root, finished)


def _gone(root, finished):
    return gone(finished, work(root)) if root is not None else 0


def _stop(running, kind, rng, workers):
    """Stops a process, or with the probability `child` one of its children.

    Returns:
      "parent" or "child"; None where the process has ended.
    """
    children = running.children(workers) if workers or rng.random() < 1 / 3 else []
    who = rng.choice(children).pid if children else running.pid
    if not running.runs():
        return None
    numbers = ("STOP", "CONT") if kind == "STOP" else (kind,)
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(who, getattr(signal, f"SIG{number}"))
        if number == "STOP":
            time.sleep(rng.uniform(0, 0.5))
    return "child" if children else "parent"


def work(folder):
    """Finished work below a folder: {path: (bytes, time it was written)}.

    Shards that the journal or the manifest of their conversion names, the data of checkpoints
    that have an index, the detections of evaluations that have their metrics: what takes long to
    make, and is not written anew where it is whole.
    """
    found = {}
    for path in pathlib.Path(folder).rglob("*"):
        if re.search(r"-of-\d{5}\.tfrecord$", path.name):
            whole = path.name in _named(path)
        elif re.match(r"ckpt-\d+\.data-", path.name):
            whole = path.with_name(path.name.split(".")[0] + ".index").exists()
        elif path.name.startswith("detections."):
            whole = (path.parent / "metrics.json").exists()
        else:
            continue
        with contextlib.suppress(FileNotFoundError):
            if whole:
                found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def _named(shard):
    """The text that names the finished shards of a shard's conversion."""
    output = re.sub(r"-\d{5}-of-\d{5}\.tfrecord$", "", str(shard))
    texts = []
    for path in (manifest.beside(output, "progress", ".jsonl"), manifest.path_of(output)):
        with contextlib.suppress(FileNotFoundError):
            texts.append(pathlib.Path(path).read_text(errors="replace"))
    return "\n".join(texts)


def gone(before, after):
    """Bytes of the work `before` that is not in `after` as it was."""
    return sum(seen[0] for path, seen in before.items() if after.get(path) != seen)


def content(folder, leave_out=r"$^"):
    """{path below the folder: SHA-256}, without paths that match `leave_out`."""
    folder = pathlib.Path(folder)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not re.search(leave_out, str(path.relative_to(folder)))
    }


def partial_files(folder):
    """What no finished command may leave: partial files, locks, temporary folders."""
    return [
        str(path)
        for path in pathlib.Path(folder).rglob("*")
        if re.search(r"\.partial$|\.part$|\.lock(\.json)?$|_temp$", path.name)
    ]


def rng_of(seed):
    return random.Random(seed)


def _serve():
    """The forking process: one JSON request a line."""
    import matplotlib

    matplotlib.use("Agg")
    import filelock
    import msgspec
    import psutil

    import replicate.launch.status
    import replicate.report
    import replicate.score
    import replicate.stopping
    import replicate.verdict
    import tfrecords.conversion

    loaded = (filelock, msgspec, psutil, replicate, tfrecords)
    assert all(loaded)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            # Until the child stands where a tool's first line is, a stop waits.
            signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
            answer = os.fork() or _child(request)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        else:
            _, status = os.waitpid(request["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        sys.__stdout__.write(json.dumps(answer) + "\n")
        sys.__stdout__.flush()


def _child(request):
    from replicate import stopping

    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    out, err = (os.open(f"{request['base']}.{name}", flags) for name in ("out", "err"))
    for source, target in ((null, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    if request["file_bytes"] is not None:
        import resource

        limits = (request["file_bytes"], resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sys.argv = request["argv"]
    status = 1
    stopping.while_loading()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    try:
        runpy.run_path(request["argv"][0], run_name="__main__")
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
