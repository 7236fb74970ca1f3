"""How the runs of a folder stand: state, step, time left, last AP, verdict.

Everything is read from the files that a run keeps, from the process table of this machine and
from Slurm's queue where there is one.
"""

import dataclasses
import os
import platform
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from replicate import best, judged, processes
from replicate.errors import UserError
from replicate.launch import slurm_queue
from replicate.launch.plan import launched
from replicate.run import RunDir, read_json, read_metrics

# A run that logs nothing for this long is taken for dead where its process cannot be seen; the
# longest silence of a live one is the tracing of a large model, a few minutes.
SILENCE_S = 1800
_DEPTH = 4
_PACE_LINES = 20
ACTIVE = ("queued", "preparing", "running", "evaluating")
# What Slurm's states say of a run, and of its end; RUNNING and the like need a look at its files.
_SLURM_STATES = {
    "PENDING": "queued",
    "CONFIGURING": "queued",
    "REQUEUED": "queued",
    "REQUEUE_HOLD": "held",
    "SPECIAL_EXIT": "held",
    "SUSPENDED": "held",
    "CANCELLED": "cancelled",
    "TIMEOUT": "timed out",
    "FAILED": "failed",
    "OUT_OF_MEMORY": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "DEADLINE": "timed out",
}


@dataclasses.dataclass(frozen=True)
class Status:
    """How a run stands.

    Attributes:
      run: its directory, relative to the folder that was asked about.
      state: "queued" (in Slurm, or behind another seed), "held", "preparing" (preflight, records,
        config), "running" (training), "evaluating", "done", "trained" (to its end, without a
        verdict),
        "stopped" (by a signal, its checkpoint saved), "failed", "cancelled", "timed out",
        "skipped" (a run before it failed), "dead" (gone without a word), "damaged" (a file of it
        cannot be read, see `reason`).
      step, num_steps: of the training; None before it.
      eta_s: seconds until the last step at the present pace; None where it does not train.
      ap: the last evaluation's AP (mean AP of a recognition run), 0..1, and `ap_step` its
        checkpoint's step; None before.
      best: the best checkpoint that is kept, as `best.best_kept` gives it, or None.
      verdict: as verdict.json has it, or None.
      where: where it was launched ("Slurm job 12", "process 4711 on gpu3"), or "";
        "" of one that is done and ran as a process.
      reason: why it stopped, failed or waits, or "".
      log: path of its log, or "".
    """

    run: str
    state: str
    step: int | None = None
    num_steps: int | None = None
    eta_s: float | None = None
    ap: float | None = None
    ap_step: int | None = None
    best: dict | None = None
    verdict: str | None = None
    where: str = ""
    reason: str = ""
    log: str = ""


def of_folder(folder: str | os.PathLike[str]) -> list[Status]:
    """The status of every run in a folder, itself a run directory or not, by path.

    Raises:
      UserError: there is no such folder.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    roots = _without_aliases(sorted(_run_directories(folder, _DEPTH)))
    records = {root: _launched(root) for root in roots}
    jobs = {record["job"] for record in records.values() if record and record.get("job")}
    queue = slurm_queue.read(jobs)
    return [_of_run(root, str(root.relative_to(folder)), records[root], queue) for root in roots]


def _launched(root: Path) -> dict | None:
    """launch.json of a run; None of a damaged one."""
    try:
        return launched(root)
    except UserError:
        return None


def _of_run(
    root: Path, name: str, record: dict | None, queue: dict[str, slurm_queue.Job] | None
) -> Status:
    """The Status of a run; one with a damaged file says which, and hides no other run."""
    try:
        return _status(root, name, launched(root) if record is None else record, queue)
    except UserError as error:
        return Status(run=name, state="damaged", reason=str(error))


def refuse_if_active(directory: str | os.PathLike[str]) -> None:
    """Raises UserError where the run in `directory` is queued or running; two would spoil it."""
    record = launched(directory)
    queue = slurm_queue.read({record["job"]} if record.get("job") else set())
    status = _status(Path(directory), str(directory), record, queue)
    if status.state in ACTIVE:
        raise UserError(
            f"{directory} is {status.state} already ({status.where}); stop it first"
            + (f": {stop_command(record)}" if record else "")
        )


def stop_command(record: dict) -> str:
    """The command that stops what launch.json holds; the run saves its checkpoint first."""
    return f"scancel {record['job']}" if record.get("job") else f"kill {record.get('pid')}"


def _run_directories(folder: Path, depth: int) -> Iterator[Path]:
    if any(path.is_file() for path in _marks(folder)):
        yield folder
    elif depth:
        for child in folder.iterdir():
            if child.is_dir() and not child.name.startswith("."):
                yield from _run_directories(child, depth - 1)


def _without_aliases(roots: Iterable[Path]) -> list[Path]:
    """Without a link to another one of them."""
    own = {root.resolve(): root for root in roots}
    own |= {root.resolve(): root for root in roots if root.resolve() == root.absolute()}
    return sorted(own.values())


def _marks(folder: Path) -> tuple[Path, ...]:
    run = RunDir.at(folder)
    return run.spec, run.training, run.launch / "launch.json"


def _status(
    root: Path, name: str, record: dict, queue: dict[str, slurm_queue.Job] | None
) -> Status:
    run = RunDir.at(root)
    if run.spec.is_file():
        read_json(run.spec)  # a damaged one is told, whatever the state
    training = read_json(run.training) if run.training.is_file() else {}
    state, reason = _state(run, training, record, queue)
    ap_step, ap = _last_ap(run)
    decided = read_json(run.verdict) if run.verdict.is_file() else None
    return Status(
        run=name,
        state=state,
        step=training.get("step"),
        num_steps=training.get("num_steps"),
        eta_s=_seconds_left(run, training) if state == "running" else None,
        ap=ap,
        ap_step=ap_step,
        best=best.best_kept(run),
        verdict=decided["verdict"] if decided else None,
        where=_where(training, record, state),
        reason=reason
        or ("" if state in ACTIVE else _unfinished(run, ap_step) or _of_another(run, decided)),
        log=record.get("log", ""),
    )


def _state(
    run: RunDir, training: dict, record: dict, queue: dict[str, slurm_queue.Job] | None
) -> tuple[str, str]:
    """(state, reason)."""
    job = (queue or {}).get(record.get("job", ""))
    begun = max(record.get("launched", 0), (job and job.started) or 0)
    fresh = bool(training) and training["updated"] >= begun
    state, reason = (training["state"], training.get("reason", "")) if fresh else (None, "")
    if run.verdict.is_file() and run.verdict.stat().st_mtime >= begun and state in _AT_END:
        return "done", reason
    if job and job.state in _SLURM_STATES:
        return _SLURM_STATES[job.state], reason or _slurm_reason(job)
    if not _is_alive(run, training, record, job, queue):
        return _end_of(run, state, reason, record)
    if state is None:
        return "queued" if record.get("waits") else "preparing", ""
    return ("evaluating" if state == "done" else state), reason


_AT_END = ("done", None)


def _slurm_reason(job: slurm_queue.Job) -> str:
    """Slurm's reason where it says more than the state: "Priority", "NonZeroExitCode"."""
    return "" if job.reason in ("None", "") else f"{job.state.lower()}: {job.reason}"


def _end_of(run: RunDir, state: str | None, reason: str, record: dict) -> tuple[str, str]:
    """(state, reason) of a run that nobody is working on."""
    if state in ("stopped", "failed"):
        return state, reason
    if state == "done" and not _ends_with_verdict(run):
        return "trained", reason
    if state == "done" and not run.verdict.is_file() and _is_evaluated(run):
        return "trained", "evaluated to its end, not judged: no verdict.json"
    if "skipped" in record:
        return "skipped", record["skipped"]
    if code := record.get("exit"):
        return _of_exit(code)
    if state is None and not record and run.verdict.is_file():
        return "done", ""
    return "dead", "its process is gone"


def _ends_with_verdict(run: RunDir) -> bool:
    """Replications do; other kinds of run say theirs in their spec."""
    return run.spec.is_file() and "kind" not in read_json(run.spec)


def _is_evaluated(run: RunDir) -> bool:
    """Whether the last step that was trained is evaluated."""
    steps = run.evaluated_steps()
    return bool(steps) and steps[-1] >= read_json(run.training)["step"]


def _of_exit(code: int) -> tuple[str, str]:
    if code - 128 not in signal.valid_signals():
        return "failed", f"exit status {code}, see its log"
    name = signal.Signals(code - 128).name
    return "stopped" if code - 128 in processes.STOP_SIGNALS else "failed", name


def _is_alive(
    run: RunDir,
    training: dict,
    record: dict,
    job: slurm_queue.Job | None,
    queue: dict[str, slurm_queue.Job] | None,
) -> bool:
    """Whether somebody works on the run, as far as can be told from here."""
    known = [process for process in (training, record) if process.get("pid")]
    mine = [process for process in known if process["host"] == platform.node()]
    if training in mine and processes.lives(training["pid"], training["updated"]):
        return True  # whoever started it, and whatever became of an earlier launch
    if "exit" in record or "skipped" in record:
        return False
    if record.get("job") and queue is not None:
        return job is not None and job.state in ("RUNNING", "COMPLETING")
    if known and len(mine) == len(known):
        return record in mine and processes.lives(record["pid"], record["launched"])
    return time.time() - _last_sign(run, training, record) < SILENCE_S


def _last_sign(run: RunDir, training: dict, record: dict) -> float:
    """When the run last wrote something that shows it lives: seconds since 1970."""
    files = [run.metrics, *run.evals.glob("*/*"), *run.data.glob("*"), *run.data.glob(".*")]
    times = [path.stat().st_mtime for path in files if path.is_file()]
    return max(times + [training.get("updated", 0), record.get("launched", 0)])


def _seconds_left(run: RunDir, training: dict) -> float | None:
    """From the pace of the last logged steps."""
    pace = [entry["steps_per_second"] for entry in read_metrics(run.metrics)[-_PACE_LINES:]]
    if not pace or not training.get("num_steps"):
        return None
    pace.sort()
    return (training["num_steps"] - training["step"]) / pace[len(pace) // 2]


def _last_ap(run: RunDir) -> tuple[int | None, float | None]:
    steps = run.evaluated_steps()
    if not steps:
        return _last_mean_ap(run)
    metrics = read_json(run.eval_at(steps[-1]) / "metrics.json")
    return steps[-1], metrics.get("metrics", {}).get("AP")


def _last_mean_ap(run: RunDir) -> tuple[int | None, float | None]:
    """The same of a recognition run: mean AP of val, of the training images where there is none."""
    of_splits = run.evals.glob("*/*.json") if run.evals.is_dir() else ()
    scored = [path for path in of_splits if path.stem in ("val", "train")]
    if not scored:
        return None, None
    last = max(scored, key=lambda path: (int(path.parent.name), path.stem == "val"))
    return int(last.parent.name), read_json(last).get("metrics", {}).get("mean_AP")


def _unfinished(run: RunDir, ap_step: int | None) -> str:
    """A word on an evaluation that should be there and is not whole; "" where there is none."""
    later = [step for step in run.unfinished_steps() if step > (ap_step or 0)]
    return f"evals/{later[-1]} is not complete" if later else ""


def _of_another(run: RunDir, decided: dict | None) -> str:
    """A word on a verdict that is not of the evaluation whose AP is shown."""
    steps = run.evaluated_steps()
    if decided is None or not steps:
        return ""
    scores = [{"step": steps[-1]} | score for score in run.scores_at(steps[-1])]
    other = judged.of_another(decided, scores)
    return f"verdict.json: {other}" if other else ""


def _where(training: dict, record: dict, state: str) -> str:
    if record.get("job"):
        return f"Slurm job {record['job']}"
    if state in ("done", "trained"):
        return ""  # its process is no more, and its number may be another's
    source = training if training.get("pid") else record
    return f"process {source['pid']} on {source['host']}" if source.get("pid") else ""
