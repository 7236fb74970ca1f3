"""Runs on clouds and Kubernetes: a task file for SkyPilot, which finds, starts and ends machines.

The run directory is a bucket or a volume mounted on the machine, so a managed job
(`sky jobs launch`) whose spot machine is taken away continues on the next one from its last
checkpoint. Nothing is started here, and no account is needed to write the file.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import yaml

from replicate import installation
from replicate.cluster import TIMEOUT_VARIABLE
from replicate.errors import Unavailable, UserError
from replicate.launch.plan import Plan, PlannedRun
from replicate.run import write_text

_SAVING_S = 600  # a run past its time limit has this long to save before it is killed
_PATHS = ("train_annotations", "train_images", "val_annotations", "val_images")
_ENVIRONMENT = "$HOME/replicate-venv"
_WITH_VOLUMES = ("", "k8s", "kubernetes", "runpod")  # "": SkyPilot goes where the volume is
_PARSER = "import sys, sky\nfor path in sys.argv[1:]: sky.Task.from_yaml(path)"


@dataclasses.dataclass(frozen=True)
class SkyPilotResources:
    """What a task asks of SkyPilot.

    Attributes:
      nodes: machines that train together.
      accelerators: GPUs of each, as SkyPilot writes them ("A100:8"); "" for none.
      infra: "aws/us-east-1", "k8s", …; "" lets SkyPilot choose.
      spot: whether machines that may be taken away will do.
      cpus, memory: of each machine, at least; 0 and "" leave it to SkyPilot.
      run_store: where the run directory lives on: "s3://…", "gs://…", …, or "volume:NAME".
      mounts: (path, source) of the data, sources as for `run_store`.
      setup: shell lines before the installation, taken as they are.
      rendezvous_timeout_s: how long the workers wait for each other at the start.
    """

    nodes: int = 1
    accelerators: str = ""
    infra: str = ""
    spot: bool = False
    cpus: int = 0
    memory: str = ""
    run_store: str = ""
    mounts: tuple[tuple[str, str], ...] = ()
    setup: tuple[str, ...] = ()
    rendezvous_timeout_s: int = 600


def task(plan: Plan, run: PlannedRun, resources: SkyPilotResources, request: Any) -> dict:
    """The task of one run of a plan, as the dict that its YAML holds.

    Args:
      plan: Plan; its directory is a path on the cloud's machines.
      run: one of `plan.runs`.
      resources: SkyPilotResources.
      request: `replication.ReplicationRequest`; its paths are checked to lie in a mount.

    Raises:
      UserError: not from a checkout; a path that no mount holds; several nodes without a
        directory that all see.
    """
    if not installation.IS_CHECKOUT:
        raise UserError(
            "SkyPilot takes the kit's folder along to the cloud's machines; launch from a checkout"
        )
    _check(plan, resources, request)
    name = plan.name if run.seed is None else f"{plan.name}-seed{run.seed}"
    machine = {
        "infra": resources.infra,
        "accelerators": resources.accelerators,
        "cpus": f"{resources.cpus}+" if resources.cpus else "",
        "memory": resources.memory,
        "use_spot": resources.spot,
        "job_recovery": {
            "strategy": "EAGER_NEXT_REGION",
            "recover_on_exit_codes": [Unavailable.TRY_AGAIN],
        },
    }
    buckets, volumes = _mounts(plan, resources)
    parts = {
        "name": _task_name(name),
        "num_nodes": resources.nodes,
        "workdir": str(installation.HOME),
        "resources": {key: value for key, value in machine.items() if value != ""},
        "file_mounts": buckets,
        "volumes": volumes,
        "setup": _setup(resources),
        "run": _run(plan, run, resources),
    }
    return {key: value for key, value in parts.items() if value}


def write(
    plan: Plan,
    resources: SkyPilotResources,
    request: Any,
    path: str | os.PathLike[str] | None = None,
) -> tuple[list[pathlib.Path], bool]:
    """Writes a task file for every run of a plan and lets SkyPilot's own parser read them.

    Args:
      plan, resources, request: as for `task`.
      path: the file; None names it after the plan, in the current folder. With several seeds,
        `-seedN` goes before its endings.

    Returns:
      (paths, whether SkyPilot was there to read them).

    Raises:
      UserError: as `task`; or SkyPilot's parser refuses one, which is then left for a look.
    """
    paths = []
    for own, text in texts(plan, resources, request, path).items():
        write_text(own, text)
        paths.append(own)
    return paths, validate(paths)


def texts(
    plan: Plan,
    resources: SkyPilotResources,
    request: Any,
    path: str | os.PathLike[str] | None = None,
) -> dict[pathlib.Path, str]:
    """The task files of a plan, path -> text; the arguments and errors of `write`."""
    base = pathlib.Path(path or f"{_task_name(plan.name)}.sky.yaml")
    stem, dot, endings = base.name.partition(".")
    made = {}
    for run in plan.runs:
        own = base
        if run.seed is not None:
            own = base.with_name(f"{stem}-seed{run.seed}{dot}{endings}")
        text = yaml.dump(
            task(plan, run, resources, request), Dumper=_Dumper, sort_keys=False, width=100
        )
        head = f"# Written by tools/launch.py; start it: sky jobs launch {shlex.quote(own.name)}\n"
        made[own] = head + text
    return made


def validate(paths: Iterable[str | os.PathLike[str]]) -> bool:
    """Lets SkyPilot's parser read task files.

    SkyPilot lives in an environment of its own (requirements-skypilot.txt): SKYPILOT_PYTHON names
    its interpreter, by default build/skypilot/bin/python, or that of the `sky` command.

    Returns:
      whether there is a SkyPilot.

    Raises:
      UserError: it refuses one of them.
    """
    python = interpreter()
    if python is None or not shutil.which(python):
        return False
    done = subprocess.run([python, "-c", _PARSER, *map(str, paths)], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"SkyPilot refuses {', '.join(map(str, paths))}: {_last_line(done.stderr)}")
    return True


def interpreter() -> str | None:
    """The interpreter that may have SkyPilot, see `validate`; None where there is none."""
    beside = installation.HOME / "build" / "skypilot" / "bin" / "python"
    named = os.environ.get("SKYPILOT_PYTHON") or (str(beside) if beside.exists() else None)
    if named is None and (command := shutil.which("sky")):
        first = pathlib.Path(command).read_text(encoding="utf-8", errors="replace").splitlines()[0]
        named = first.removeprefix("#!").strip()
    return named


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _task_name(name: str) -> str:
    """The nearest name that SkyPilot takes: letters and digits, single dashes between them."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "run"


def _check(plan: Plan, resources: SkyPilotResources, request: Any) -> None:
    sources = (source for _, source in resources.mounts)
    plan.check_may_be_written("the task file", (*resources.setup, resources.run_store, *sources))
    if not resources.run_store:
        raise UserError(
            "--run_store is missing: the bucket (s3://…, gs://…) or volume (volume:NAME) that "
            "keeps the run directory when the machine is gone"
        )
    volumes = [
        flag
        for flag, source in (
            (f"--run_store={resources.run_store}", resources.run_store),
            *((f"--mount={path}={source}", source) for path, source in resources.mounts),
        )
        if _is_volume(source)
    ]
    cloud = resources.infra.partition("/")[0].lower()
    if volumes and cloud not in _WITH_VOLUMES:
        raise UserError(
            f"{volumes[0]} with --infra={resources.infra}: SkyPilot has volumes on Kubernetes and "
            "RunPod alone. Use a bucket (s3://…, gs://…), or --infra=k8s or runpod"
        )
    if resources.nodes > 1 and not _is_volume(resources.run_store):
        raise UserError(
            f"--nodes={resources.nodes}: all machines must see the run directory's files at once, "
            f"and {resources.run_store} is a bucket, whose files reach the others late. Use "
            "--run_store=volume:NAME, a volume that many machines may mount (`sky volumes apply`)"
        )
    for path in (str(plan.directory), *(path for path, _ in resources.mounts)):
        if not re.fullmatch(r"/[\w./-]+", path, re.ASCII):
            raise UserError(
                f"{path}: SkyPilot puts this path on the cloud into commands of its own; use "
                "letters, digits, '.', '_', '-' and '/'"
            )
    places = [str(plan.directory), *(path for path, _ in resources.mounts)]
    asked = [(f"--{field}", getattr(request, field)) for field in _PATHS]
    if request.fine_tune_checkpoint:
        asked.append(("--fine_tune_checkpoint", request.fine_tune_checkpoint))
    if pathlib.Path(request.model).exists() or "/" in request.model:  # a config, not a name
        asked.append(("--model", request.model))
    for flag, path in asked:
        if not any(pathlib.PurePosixPath(path).is_relative_to(place) for place in places):
            raise UserError(
                f"{flag}={path} is in none of the mounts ({', '.join(places)}); on the cloud's "
                "machines there is nothing else: --mount=PATH=s3://… puts a bucket there"
            )


def _is_volume(source: str) -> bool:
    return source.startswith("volume:")


def _mounts(plan: Plan, resources: SkyPilotResources) -> tuple[dict[str, dict], dict[str, str]]:
    """(file_mounts, volumes) of a task. What runs write is cached, what they read is not."""
    buckets, volumes = {}, {}
    for path, source, mode in (
        (str(plan.directory), resources.run_store, "MOUNT_CACHED"),
        *((path, source, "MOUNT") for path, source in resources.mounts),
    ):
        if _is_volume(source):
            volumes[path] = source.removeprefix("volume:")
        else:
            buckets[path] = {"source": source, "mode": mode}
    return buckets, volumes


def _setup(resources: SkyPilotResources) -> str:
    lines = [
        "set -eo pipefail",
        *resources.setup,
        "set -u  # only now: conda's scripts read variables that are not set",
        "command -v uv > /dev/null || python3 -m pip install --user uv",
        'export PATH="$HOME/.local/bin:$PATH"',
        f'uv venv --allow-existing --python 3.11 "{_ENVIRONMENT}"',
        f'uv pip install --python "{_ENVIRONMENT}/bin/python" -r requirements.txt'
        + (" -r requirements-gpu.txt" if resources.accelerators else ""),
    ]
    return "\n".join(lines) + "\n"


def _run(plan: Plan, run: PlannedRun, resources: SkyPilotResources) -> str:
    """The shell lines of a start; the same again, on another machine, continues the run."""
    tool, *arguments = plan.command(run)[1 + len(installation.PYTHON_OPTIONS) :]
    words = [shlex.quote(os.path.relpath(tool, installation.HOME)), *map(shlex.quote, arguments)]
    limit = f"timeout --signal=TERM --kill-after={_SAVING_S} {plan.time_limit_s} "
    lines = [
        "set -euo pipefail",
        f"export {TIMEOUT_VARIABLE}={resources.rendezvous_timeout_s}",
        "command=(",
        *(f"  {word}" for word in words),
        ")",
        (limit if plan.time_limit_s else "") + f'"{_ENVIRONMENT}/bin/python" "${{command[@]}}"',
    ]
    return "\n".join(lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, for people to read."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
