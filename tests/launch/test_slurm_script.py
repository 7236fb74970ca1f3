"""The batch script, run by bash with stand-ins for srun and scontrol."""

import os
import subprocess

import pytest

from replicate.errors import UserError
from replicate.launch import slurm
from replicate.launch.plan import Plan

HOSTILE = [
    "with spaces",
    "it's",
    'say "hi"',
    "$(touch PWNED)",
    "`touch PWNED`",
    "${HOME}",
    "; touch PWNED;",
    "&& touch PWNED",
    "a*b?[c]",
    "#hash # x",
    "--flag",
    "ünï çödé",
    "%j%%",
    "!history",
    "~root",
    "'\"'\"'$(touch PWNED)'",
]

# Writes its arguments down, one a line, and the seed's checkpoint where it is told to; ends with
# the status it is told.
_SRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$STAGE/srun"
pwd > "$STAGE/pwd"
printf '%s' "$REPLICATE_RENDEZVOUS_TIMEOUT_S" > "$STAGE/timeout"
if [[ -n ${SAVES:-} ]]; then mkdir -p "$SAVES"; sleep 0.02; touch "$SAVES/ckpt-1.index"; fi
exit "${STATUS:-0}"
"""
_SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo "$JOB_LINE"; else printf '%s\\n' "$@" > "$STAGE/scontrol"; fi
"""


@pytest.fixture
def stage(tmp_path):
    """Runs a script as Slurm would; returns what came of it."""
    folder, commands = tmp_path / "stage", tmp_path / "commands"
    folder.mkdir()
    commands.mkdir()
    for name, text in (("srun", _SRUN), ("scontrol", _SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def run(text, **variables):
        script = commands / "job"
        script.write_text(text)
        own = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "STAGE": str(folder),
            "SLURM_JOB_ID": "12",
        }
        done = subprocess.run(
            ["bash", script],
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | own | variables,
        )
        assert not list(tmp_path.rglob("PWNED")), "a name was run as a command"
        return done, lambda name: _text_of(folder / name)

    return run


def _text_of(path):
    return path.read_text() if path.exists() else None


def _plan(directory, arguments=("--model=m",), **fields):
    return Plan.of(directory, arguments, python="/py thon", tool="/to ol.py", **fields)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_run(name, stage, tmp_path):
    """As job, run directory, working directory and argument, it arrives as it was written."""
    working = tmp_path / f"cwd {name.replace('/', '_')}"
    working.mkdir()
    plan = _plan(
        tmp_path / name.replace("/", "_"),
        [f"--set=a.b={name}", name],
        name=name,
        working_directory=str(working),
    )
    done, read = stage(slurm.script(plan, slurm.SlurmResources()))
    assert done.returncode == 0, done.stderr
    assert read("srun").splitlines()[3:] == [
        "/py thon",
        "/to ol.py",
        f"--set=a.b={name}",
        name,
        f"--run_dir={plan.directory}",
    ]
    assert read("pwd").strip() == str(working)


def test_an_array_task_takes_its_own_seed(stage, tmp_path):
    text = slurm.script(_plan(tmp_path / "r", seeds=(3, 5, 8)), slurm.SlurmResources())
    assert "#SBATCH --array=0-2" in text
    _, read = stage(text, SLURM_ARRAY_TASK_ID="1")
    assert read("srun").splitlines()[-2:] == ["--seed=5", f"--run_dir={tmp_path}/r/seed5"]


def test_resources_stand_in_the_script(tmp_path):
    resources = slurm.SlurmResources(
        nodes=2,
        gpus_per_node=8,
        cpus_per_task=64,
        memory="500G",
        partition="gpu",
        account="lab 7",
        save_before_s=120,
        rendezvous_timeout_s=42,
        options=(("qos", "high"), ("exclusive", ""), ("requeue", "")),
        setup=("module load cuda/12.5",),
        exported=("HTTPS_PROXY",),
    )
    text = slurm.script(_plan(tmp_path / "r", time_limit_s=86400), resources)
    directives = [
        line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")
    ]
    assert directives[:-2] == [
        "--job-name=r",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=8",
        "--cpus-per-task=64",
        "--mem=500G",
        "--partition=gpu",
        '--account="lab 7"',
        "--time=1-00:00:00",
        "--signal=USR1@120",
        "--requeue",
        "--open-mode=append",
        f"--output={tmp_path}/r/launch/slurm-%j.log",
        f"--export={','.join(slurm.EXPORTED)},HTTPS_PROXY",
    ]
    assert directives[-2:] == ["--qos=high", "--exclusive"]
    lines = text.splitlines()
    assert lines.index("set -eo pipefail") < lines.index("module load cuda/12.5")
    assert "export REPLICATE_RENDEZVOUS_TIMEOUT_S=42" in lines


def test_tasks_share_the_gpus_of_a_node_and_srun_hears_of_the_cores(stage, tmp_path):
    """srun does not inherit --cpus-per-task from the script (since Slurm 22.05)."""
    resources = slurm.SlurmResources(tasks_per_node=4, gpus_per_node=8, cpus_per_task=16)
    text = slurm.script(_plan(tmp_path / "r"), resources)
    assert "#SBATCH --gpus-per-task=2\n" in text and "gpus-per-node" not in text
    _, read = stage(text)
    assert "--cpus-per-task=16" in read("srun").splitlines()


@pytest.mark.parametrize(
    # Lmod's and conda's scripts read variables that are not set, so that is no error there.
    ("setup", "stops"), [("false", True), ("echo $UNSET_ANYWHERE", False), ("false | true", True),
                         ("true", False)]
)  # fmt: skip
def test_it_fails_on_the_first_error(setup, stops, stage, tmp_path):
    text = slurm.script(_plan(tmp_path / "r"), slurm.SlurmResources(setup=(setup,)))
    done, read = stage(text)
    assert (done.returncode != 0) == stops
    assert (read("srun") is None) == stops


def test_a_missing_working_directory_stops_it(stage, tmp_path):
    plan = _plan(tmp_path / "r", working_directory=str(tmp_path / "gone"))
    done, read = stage(slurm.script(plan, slurm.SlurmResources()))
    assert done.returncode != 0 and read("srun") is None


_RUNNING = "JobId=12 JobState=RUNNING Reason=None PreemptTime={} SuspendTime=None"


@pytest.mark.parametrize(
    ("status", "saves", "preempted", "requeued"),
    [
        (0, True, False, False),
        (1, True, False, False),  # not replicated
        (2, True, False, False),  # a user's mistake
        (137, True, False, False),  # out of memory
        (138, True, False, True),  # SIGUSR1: the time limit
        (138, False, False, False),  # nothing saved: it would not get further next time
        (75, True, False, True),  # a worker was lost
        (75, False, False, False),
        (143, True, True, True),  # SIGTERM, and Slurm says that it preempts
        (143, True, False, False),  # SIGTERM by a person
    ],
)
def test_when_it_goes_back_to_the_queue(status, saves, preempted, requeued, stage, tmp_path):
    text = slurm.script(_plan(tmp_path / "r"), slurm.SlurmResources())
    done, read = stage(
        text,
        STATUS=str(status),
        SAVES=str(tmp_path / "r" / "checkpoints") if saves else "",
        JOB_LINE=_RUNNING.format("2026-11-21T12:27:12" if preempted else "None"),
    )
    assert (read("scontrol") == "requeue\n12\n") == requeued
    if not requeued:
        assert done.returncode == status
    if not saves:
        assert "nothing was saved since this start" in done.stderr
    assert not list((tmp_path / "r" / "launch").glob(".started*"))


def test_what_was_saved_before_this_start_does_not_count(stage, tmp_path):
    saved = tmp_path / "r" / "checkpoints"
    saved.mkdir(parents=True)
    (saved / "ckpt-1.index").touch()
    os.utime(saved / "ckpt-1.index", (1, 1))
    _, read = stage(slurm.script(_plan(tmp_path / "r"), slurm.SlurmResources()), STATUS="138")
    assert read("scontrol") is None


@pytest.mark.parametrize(
    ("fields", "resources", "said"),
    [
        ({"time_limit_s": 300}, {"save_before_s": 300}, "leaves no time to train"),
        ({}, {"options": (("qos", "a\nb"),)}, "cannot stand in a #SBATCH line"),
        ({}, {"options": (("qos=x --uid", "0"),)}, "cannot stand in a #SBATCH line"),
        ({}, {"partition": "a\n#SBATCH --uid=0"}, "cannot stand in a #SBATCH line"),
        ({}, {"exported": ("TOKEN=abc",)}, "the name of a variable"),
        ({"directory": "/tmp/a\\b"}, {}, "no backslash"),
        ({}, {"gpus_per_node": 8, "tasks_per_node": 3}, "cannot be shared evenly by 3 tasks"),
    ],
)
def test_what_cannot_stand_in_it_is_refused(fields, resources, said, tmp_path):
    plan = _plan(**{"directory": tmp_path / "r"} | fields)
    with pytest.raises(UserError, match=said):
        slurm.script(plan, slurm.SlurmResources(**resources))
