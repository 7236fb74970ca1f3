"""Launches tools/replicate.py on this machine, under Slurm, or on a cloud through SkyPilot.

    python tools/launch.py --target=local --background --gpus=2 \\
        --model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 --run_dir=runs/fpnlite320 \\
        --train_annotations=… --train_images=… --val_annotations=… --val_images=…

    python tools/launch.py --target=slurm --nodes=2 --gpus=8 --time_limit=24h --partition=gpu \\
        --seeds=0,1,2 --setup="module load cuda" --model=… --run_dir=runs/fpnlite320 …

    python tools/launch.py --target=skypilot --accelerators=A100:8 --spot \\
        --run_store=s3://bucket/runs/fpnlite320 --mount=/coco=s3://bucket/coco \\
        --model=… --run_dir=/runs/fpnlite320 --train_images=/coco/train2017 …

It takes every flag of tools/replicate.py. With --seeds each seed has a run directory of its own,
RUN_DIR/seedN. Under Slurm a job is requeued shortly before its time limit and after preemption,
its checkpoint saved first. tools/status.py shows how the runs stand; the same command launches a
run again that stopped, and it continues.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from absl import flags

from replicate import installation
from replicate.errors import UserError
from replicate.execution import MOST_SEED
from tools import cli
from tools import replicate as tool

if TYPE_CHECKING:
    from replicate.launch import Plan

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(tool)
flags.DEFINE_enum("target", None, ["local", "slurm", "skypilot"], "where to run.")
flags.DEFINE_list("seeds", [], "several seeds: a run each (an array under Slurm).")
flags.DEFINE_string("name", "", "the job's name; the run directory's otherwise.")
flags.DEFINE_integer("nodes", 1, "machines that train together.", lower_bound=1)
flags.DEFINE_integer("gpus", None, "local, slurm: GPUs of each machine; by default all.")
flags.DEFINE_string("time_limit", "", "how long a start may take: 36h, 90m, 1-12:00:00.")
flags.DEFINE_bool("dry_run", False, "print what would be launched; write and launch nothing.")
flags.DEFINE_bool("background", False, "local: go on without this terminal, with a log.")
flags.DEFINE_string("partition", "", "slurm: partition.")
flags.DEFINE_string("account", "", "slurm: account.")
flags.DEFINE_string("memory", "", "slurm, skypilot: of a machine: 120G; 64+, at least.")
flags.DEFINE_integer("cpus", 0, "slurm, skypilot: cores of a task; of a machine, at least.")
flags.DEFINE_integer("tasks_per_node", 1, "slurm: workers of a node; they share its GPUs.")
flags.DEFINE_multi_string(
    "sbatch", [], "slurm: another #SBATCH option, NAME=VALUE or NAME; may be repeated."
)
flags.DEFINE_multi_string(
    "setup", [], "slurm, skypilot: a shell line before the run, taken as it is; may be repeated."
)
flags.DEFINE_list(
    "export", [], "slurm: names of further variables of this shell that the job shall see."
)
flags.DEFINE_integer(
    "save_before_s", 300, "slurm: seconds before the time limit at which to save and requeue."
)
flags.DEFINE_integer(
    "rendezvous_timeout_s",
    600,
    "slurm, skypilot: how long several workers wait for each other at the start.",
)
flags.DEFINE_string("accelerators", "", "skypilot: GPUs of each machine, NAME:COUNT (A100:8).")
flags.DEFINE_string(
    "infra", "", "skypilot: where (aws/us-east-1, k8s, gcp); the cheapest otherwise."
)
flags.DEFINE_bool("spot", False, "skypilot: spot machines, replaced when taken away.")
flags.DEFINE_string(
    "run_store",
    "",
    "skypilot: where the run directory lives on, s3://…, gs://… or volume:NAME; mounted there.",
)
flags.DEFINE_multi_string(
    "mount", [], "skypilot: PATH=SOURCE, a bucket or volume:NAME mounted there; may be repeated."
)
flags.DEFINE_string("task_file", "", "skypilot: the file to write; NAME.sky.yaml otherwise.")
#: The flags that are not for every target; the help of each begins with those that it is for.
_ONLY_FOR = {
    "gpus": ("local", "slurm"),
    "background": ("local",),
    "partition": ("slurm",),
    "account": ("slurm",),
    "memory": ("slurm", "skypilot"),
    "cpus": ("slurm", "skypilot"),
    "tasks_per_node": ("slurm",),
    "sbatch": ("slurm",),
    "setup": ("slurm", "skypilot"),
    "export": ("slurm",),
    "save_before_s": ("slurm",),
    "rendezvous_timeout_s": ("slurm", "skypilot"),
    "accelerators": ("skypilot",),
    "infra": ("skypilot",),
    "spot": ("skypilot",),
    "run_store": ("skypilot",),
    "mount": ("skypilot",),
    "task_file": ("skypilot",),
}


def main(_: list[str]) -> int:
    _refuse_flags_of_other_targets()
    plan = _plan()
    return _TARGETS[FLAGS.target](plan)


def _refuse_flags_of_other_targets() -> None:
    for name, targets in _ONLY_FOR.items():
        if FLAGS[name].present and FLAGS.target not in targets:
            raise UserError(f"--{name} is for --target={' and '.join(targets)} alone")


def _plan() -> "Plan":
    from replicate.launch import Plan
    from replicate.launch.plan import parse_duration

    seeds = tuple(map(_seed, FLAGS.seeds))
    if seeds and FLAGS["seed"].present:
        raise UserError("give --seed or --seeds, not both")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds={','.join(map(str, seeds))}: one of them stands there twice")
    return Plan.of(
        FLAGS.run_dir,
        _arguments(),
        name=FLAGS.name,
        seeds=seeds,
        time_limit_s=parse_duration(FLAGS.time_limit) if FLAGS.time_limit else None,
    )


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        raise UserError(f"--seeds: {text!r} is no whole number") from None
    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"--seeds: {seed}: a seed is 0 to {MOST_SEED}")
    return seed


def _arguments() -> list[str]:
    """The flags of tools/replicate.py that were given, --run_dir and --seed aside, as arguments."""
    arguments: list[str] = []
    for flag in FLAGS.get_key_flags_for_module(tool):
        if not flag.present or flag.name == "run_dir":
            continue
        values = flag.value if isinstance(flag, flags.MultiFlag) else [flag.value]
        arguments += [f"--{flag.name}={_text(value)}" for value in values]
    return arguments


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _local(plan: "Plan") -> int:
    from replicate.launch import local

    if FLAGS.nodes > 1:
        raise UserError("--target=local is this machine alone; --target=slurm takes several nodes")
    _check_inputs(plan)
    if FLAGS.dry_run:
        print(local.described(plan, FLAGS.gpus, FLAGS.background))
        return cli.DONE
    if not FLAGS.background:
        return local.run(plan, FLAGS.gpus)
    _preflight(plan)
    again = [*installation.tool_command("launch"), *sys.argv[1:], "--nobackground"]
    pid, log = local.start_background(plan, again, FLAGS.gpus)
    print(f"process {pid}, log {log}\n{_watch(plan)}\nstop it, its checkpoint saved: kill {pid}")
    return cli.DONE


def _check_inputs(plan: "Plan") -> None:
    from replicate import replication
    from replicate.run import RunDir

    request = replication.resolved(tool.request())
    replication.check_inputs(request)
    for run in plan.runs:
        own = request if run.seed is None else dataclasses.replace(request, seed=run.seed)
        replication.refuse_another(RunDir.at(run.directory), own)


def _preflight(plan: "Plan") -> None:
    """What can be told here before a queue is waited through; the run checks again, where it is."""
    from replicate import preflight, replication
    from replicate.launch import status

    for run in plan.runs:
        status.refuse_if_active(run.directory)
    workers = FLAGS.nodes * FLAGS.tasks_per_node
    intent = replication.intent(tool.request(), plan.runs[0].directory, num_workers=workers)
    preflight.gate(intent, preflight.Terms(FLAGS.rehearsal, FLAGS.force, False, FLAGS.purpose))


def _slurm(plan: "Plan") -> int:
    from replicate.launch import slurm

    _check_inputs(plan)
    resources = slurm.SlurmResources(
        nodes=FLAGS.nodes,
        tasks_per_node=FLAGS.tasks_per_node,
        gpus_per_node=FLAGS.gpus or 0,
        cpus_per_task=FLAGS.cpus,
        memory=FLAGS.memory,
        partition=FLAGS.partition,
        account=FLAGS.account,
        save_before_s=FLAGS.save_before_s,
        rendezvous_timeout_s=FLAGS.rendezvous_timeout_s,
        options=tuple(_option(option) for option in FLAGS.sbatch),
        setup=tuple(FLAGS.setup),
        exported=tuple(FLAGS.export),
    )
    if not FLAGS.cpus and "exclusive" not in dict(resources.options):
        print(
            "no --cpus: unless the site says otherwise, Slurm gives a task one core, too few to "
            "feed a GPU (or --sbatch=exclusive)",
            file=sys.stderr,
        )
    if FLAGS.dry_run:
        from replicate.launch import status

        for run in plan.runs:
            status.refuse_if_active(run.directory)
        print(slurm.checked_script(plan, resources), end="")
        print(
            f"not written, not submitted. It would be {slurm.path(plan)}; submitted by hand it "
            f"wants the folder of its log: mkdir -p {shlex.quote(str(plan.folder))}",
            file=sys.stderr,
        )
        return cli.DONE
    _preflight(plan)
    job, path = slurm.submit(plan, resources)
    print(f"Slurm job {job}, script {path}\n{_watch(plan)}\nstop it: scancel {job}")
    return cli.DONE


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.removeprefix("--").partition("=")
    return name, value


def _watch(plan: "Plan") -> str:
    return f"watch it: python tools/status.py {shlex.quote(str(plan.directory))} --watch"


def _skypilot(plan: "Plan") -> int:
    from replicate.launch import skypilot

    if not FLAGS.run_dir.startswith("/"):
        raise UserError(f"--run_dir={FLAGS.run_dir}: on the cloud's machines; start it with /")
    resources = skypilot.SkyPilotResources(
        nodes=FLAGS.nodes,
        accelerators=FLAGS.accelerators,
        infra=FLAGS.infra,
        spot=FLAGS.spot,
        cpus=FLAGS.cpus,
        memory=FLAGS.memory,
        run_store=FLAGS.run_store,
        mounts=tuple(_mount(mount) for mount in FLAGS.mount),
        setup=tuple(FLAGS.setup),
        rendezvous_timeout_s=FLAGS.rendezvous_timeout_s,
    )
    if FLAGS.dry_run:
        made = skypilot.texts(plan, resources, tool.request(), FLAGS.task_file or None)
        print("---\n".join(made.values()), end="")
        print(f"not written: {', '.join(map(str, made))}", file=sys.stderr)
        return cli.DONE
    paths, validated = skypilot.write(plan, resources, tool.request(), FLAGS.task_file or None)
    if not validated:
        print(
            "not read by SkyPilot's own parser: no SkyPilot here (requirements-skypilot.txt)",
            file=sys.stderr,
        )
    print("\n".join(f"sky jobs launch {shlex.quote(str(path))}" for path in paths))
    return cli.DONE


def _mount(text: str) -> tuple[str, str]:
    path, equals, source = text.partition("=")
    if not (path and equals and source):
        raise UserError(f"--mount={text}: write PATH=SOURCE, such as /coco=s3://bucket/coco")
    return path, source


_TARGETS = {"local": _local, "slurm": _slurm, "skypilot": _skypilot}

if __name__ == "__main__":
    cli.run(main, required=["target", *tool.REQUIRED])
