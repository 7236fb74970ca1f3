"""Runs under Slurm: a batch script that a person can read and submit again.

The script asks for a signal before the time limit; the training saves a checkpoint and ends with
that signal's status, and the script requeues its own job. Preemption works the same way where
its grace time lets the checkpoint be saved; otherwise the last periodic one is continued.
"""

import dataclasses
import pathlib
import re
import shlex

import jinja2

from replicate import installation
from replicate.cluster import TIMEOUT_VARIABLE
from replicate.errors import Unavailable, UserError
from replicate.launch import slurm_queue, status
from replicate.launch.plan import Plan, clock
from replicate.run import write_text

# Variables of the submitting shell that a job sees; Slurm's own come with the job.
EXPORTED = (
    *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"),
    *("CUDA_HOME", "XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "TF_ENABLE_ONEDNN_OPTS"),
    *("TF_DETERMINISTIC_OPS", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR"),
    *("NCCL_SOCKET_IFNAME", "NCCL_IB_DISABLE", "NCCL_DEBUG"),
)
_TEMPLATES = pathlib.Path(__file__).parent / "templates"


@dataclasses.dataclass(frozen=True)
class SlurmResources:
    """What a job asks of Slurm.

    Attributes:
      nodes, tasks_per_node: workers; one a node uses all GPUs that the job has there.
      gpus_per_node: shared evenly by the tasks of a node; 0 leaves it to the cluster.
      cpus_per_task: 0 leaves it to the cluster, which often means one.
      memory: of a node, as Slurm writes it ("120G"); "" leaves it to the cluster.
      partition, account: "" takes the user's own.
      save_before_s: seconds before the time limit at which the run is told to save and stop.
      rendezvous_timeout_s: how long the workers wait for each other at the start.
      options: further #SBATCH options as (name, value), such as ("qos", "high").
      setup: shell lines before the run, such as "module load cuda"; they are taken as they are.
      exported: further variables of the submitting shell that the job shall see, by name.
    """

    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 0
    memory: str = ""
    partition: str = ""
    account: str = ""
    save_before_s: int = 300
    rendezvous_timeout_s: int = 600
    options: tuple[tuple[str, str], ...] = ()
    setup: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()


def script(plan: Plan, resources: SlurmResources) -> str:
    """The batch script of a plan, as text; several seeds are the tasks of a job array.

    Raises:
      UserError: something that cannot stand in a #SBATCH line.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    return environment.get_template("job.sbatch.j2").render(
        what=plan.name,
        directives=_directives(plan, resources),
        setup=resources.setup,
        cpus_per_task=resources.cpus_per_task,
        working_directory=plan.working_directory,
        python=[plan.python, *installation.PYTHON_OPTIONS],
        tool=plan.tool,
        arguments=plan.arguments,
        directory=plan.directory,
        seeds=plan.seeds,
        timeout_variable=TIMEOUT_VARIABLE,
        rendezvous_timeout_s=resources.rendezvous_timeout_s,
        try_again=Unavailable.TRY_AGAIN,
    )


def path(plan: Plan) -> pathlib.Path:
    """Where the script of a plan lies."""
    return plan.folder / "job.sbatch"


def checked_script(plan: Plan, resources: SlurmResources) -> str:
    """`script`, once nothing that lets someone in would stand in it."""
    options = (f"{name}={value}" for name, value in resources.options)
    plan.check_may_be_written("the batch script", (*resources.setup, *options))
    return script(plan, resources)


def write(plan: Plan, resources: SlurmResources) -> pathlib.Path:
    """Writes the script into the plan's folder; its path."""
    write_text(path(plan), checked_script(plan, resources))
    return path(plan)


def submit(plan: Plan, resources: SlurmResources) -> tuple[str, pathlib.Path]:
    """Writes the script, submits it and notes its job in every run directory.

    Returns:
      (job id, path of the script).

    Raises:
      UserError: a run of the plan is active already; sbatch is missing or refuses.
    """
    for run in plan.runs:
        status.refuse_if_active(run.directory)
    written = write(plan, resources)
    job = slurm_queue.ask("sbatch", "--parsable", str(written)).split(";")[0]
    for index, run in enumerate(plan.runs):
        own = f"{job}_{index}" if plan.seeds else job
        log = plan.folder / f"slurm-{own}.log"
        plan.record(run, "slurm", job=own, script=str(written), log=str(log))
    return job, written


def _directives(plan: Plan, resources: SlurmResources) -> list[str]:
    if plan.time_limit_s and plan.time_limit_s < resources.save_before_s + 60:
        raise UserError(
            f"the time limit, {clock(plan.time_limit_s)}, leaves no time to train before the "
            f"checkpoint is saved {resources.save_before_s} s ahead of it; give a longer "
            "--time_limit or a shorter --save_before_s"
        )
    gpus, rest = divmod(resources.gpus_per_node, resources.tasks_per_node)
    if rest:
        raise UserError(
            f"{resources.gpus_per_node} GPUs of a node cannot be shared evenly by "
            f"{resources.tasks_per_node} tasks"
        )
    given = {
        "job-name": plan.name,
        "nodes": resources.nodes,
        "ntasks-per-node": resources.tasks_per_node,
        "gpus-per-node" if resources.tasks_per_node == 1 else "gpus-per-task": gpus or None,
        "cpus-per-task": resources.cpus_per_task or None,
        "mem": resources.memory or None,
        "partition": resources.partition or None,
        "account": resources.account or None,
        "time": clock(plan.time_limit_s) if plan.time_limit_s else None,
        "signal": f"USR1@{resources.save_before_s}",
        "requeue": True,
        "open-mode": "append",
        "array": f"0-{len(plan.seeds) - 1}" if plan.seeds else None,
        "output": _log_pattern(plan),
        "export": ",".join((*EXPORTED, *map(_variable_name, resources.exported))),
    } | dict(resources.options)
    return [_directive(name, value) for name, value in given.items() if value is not None]


def _log_pattern(plan: Plan) -> str:
    folder = str(plan.folder)
    if "\\" in folder:
        raise UserError(f"--run_dir={plan.directory}: Slurm takes no backslash in a log's path")
    return folder.replace("%", "%%") + ("/slurm-%A_%a.log" if plan.seeds else "/slurm-%j.log")


def _directive(name: str, value: str | int) -> str:
    """A line as sbatch reads it: in double quotes a backslash makes the next character plain."""
    text = "" if value is True else str(value)
    if not re.fullmatch(r"[a-z][a-z-]*", name) or re.search(r"[\x00-\x1f\x7f]", text):
        raise UserError(f"--{name}={text!r} cannot stand in a #SBATCH line")
    if value is True or text == "":
        return f"--{name}"
    if re.fullmatch(r"[\w.,:/@%+-]+", text, re.ASCII):
        return f"--{name}={text}"
    escaped = re.sub(r'([\\"])', r"\\\1", text)
    return f'--{name}="{escaped}"'


def _variable_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII):
        raise UserError(f"--export={text!r}: the name of a variable, without a value")
    return text
