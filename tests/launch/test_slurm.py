"""Under a real Slurm of one node: trained by two tasks, requeued, cancelled, finished; preempted.

The run that is interrupted has no end of its own; when it has been stopped in every way, another
one is trained past the same steps without a stop, and must have the same losses.
"""

import os
import pathlib
import subprocess
import sys

import pytest

from replicate import checkpoint_files
from replicate.demo import drawing
from replicate.launch import slurm, status
from replicate.launch.plan import Plan
from replicate.run import RunDir, read_json, read_metrics
from tests.launch import one_node_slurm
from tests.launch.one_node_slurm import ask, job, wait_for
from tests.launch.test_secrets import PLANTED, assert_clean
from tests.launch.test_slurm_script import HOSTILE

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]

PROJECT = pathlib.Path(__file__).resolve().parents[2]
EVERY = 2  # steps between checkpoints, at each of which there is a line in the log
LOGGED = 10  # steps between the other lines
PATIENCE_S = 600  # for what takes seconds on a quiet machine
OVERRIDES = {
    "model.ssd.image_resizer.fixed_shape_resizer.height": 64,
    "model.ssd.image_resizer.fixed_shape_resizer.width": 64,
    "model.ssd.feature_extractor.depth_multiplier": 0.35,
    "train_config.batch_size": 2,
}


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    with one_node_slurm.running(folder):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return drawing.draw(tmp_path_factory.mktemp("drawn"), train_images=8, val_images=2)


def _launch(data, run_dir, *more):
    """Launches two tasks with tools/launch.py; the job's number."""
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "tools" / "launch.py", "--target=slurm"),
            *("--tasks_per_node=2", f"--checkpoint_every_n={EVERY}", f"--run_dir={run_dir}"),
            *(
                "--model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
                "--rehearsal",
                "--notrial",
            ),
            *(f"--train_annotations={data['train'][0]}", f"--train_images={data['train'][1]}"),
            *(f"--val_annotations={data['val'][0]}", f"--val_images={data['val'][1]}"),
            *(f"--set={path}={value}" for path, value in OVERRIDES.items()),
            *more,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    number = done.stdout.split()[2].rstrip(",")
    assert f"scancel {number}" in done.stdout
    return number


def _step(run):
    return read_json(run.training)["step"] if run.training.is_file() else 0


def _log(run):
    """A function that gives the run's log, for a failure's message."""
    return lambda: "".join(path.read_text() for path in run.launch.glob("*.log"))


def _trains_past(run, step, number):
    def has():
        assert job(number)["JobState"] in ("RUNNING", "PENDING", "COMPLETING"), _log(run)()
        return status.of_folder(run.root)[0].state == "running" and _step(run) > step

    wait_for(has, PATIENCE_S, f"step after {step}", _log(run))


def _requeued(run, number, restarts):
    wait_for(lambda: job(number).get("Restarts") == str(restarts), PATIENCE_S, "requeue", _log(run))
    last = checkpoint_files.steps_of(run.checkpoints)[-1]
    stopped = read_json(run.training)
    assert (stopped["state"], stopped["step"]) == ("stopped", last)
    return last


def _shorten(number, minutes_from_now):
    """The administrator's hand: the job's limit, counted from its start."""
    days, _, clock = job(number)["RunTime"].rpartition("-")
    hours, minutes, _ = clock.split(":")
    elapsed = int(days or 0) * 1440 + int(hours) * 60 + int(minutes)
    ask("scontrol", "update", f"JobId={number}", f"TimeLimit={elapsed + minutes_from_now}")


def _losses(run):
    return {entry["step"]: entry["losses"] for entry in read_metrics(run.metrics)}


@pytest.fixture(scope="module")
def interrupted(data, tmp_path_factory):
    """(run, job, step where the time limit stopped it, step where it was cancelled)."""
    run = RunDir.at(tmp_path_factory.mktemp("runs") / "it's $(touch PWNED) %j")
    number = _launch(
        data,
        run.root,
        # By --set: --num_steps would scale the schedule, and with it the losses of the first steps.
        *(
            "--set=train_config.num_steps=1000000",
            "--time_limit=2h",
            "--save_before_s=300",
            '--name=a "b" $(c)',
        ),
        "--partition=main",
    )
    assert ask("squeue", "--noheader", f"--jobs={number}", "--format=%j") == 'a "b" $(c)'
    _trains_past(run, 0, number)
    _shorten(number, 5)  # the signal is due 300 s before the limit: now
    limited = _requeued(run, number, 1)
    ask("scontrol", "update", f"JobId={number}", "TimeLimit=120")

    _trains_past(run, limited, number)
    ask("scancel", number)
    wait_for(lambda: job(number)["JobState"] == "CANCELLED", PATIENCE_S, "end", _log(run))
    wait_for(lambda: read_json(run.training)["state"] == "stopped", PATIENCE_S, "end", _log(run))
    return run, number, limited, checkpoint_files.steps_of(run.checkpoints)[-1]


def test_the_time_limit_requeues_it_and_scancel_ends_it(interrupted):
    run, number, limited, cancelled = interrupted
    assert 0 < limited < cancelled
    assert "the time limit is near: requeued" in _log(run)()
    assert "SIGTERM: stopped" in _log(run)()
    assert job(number)["Restarts"] == "1"
    assert _step(run) == cancelled == max(_losses(run))
    (shown,) = status.of_folder(run.root)
    assert (shown.state, shown.step) == ("cancelled", cancelled)
    assert shown.where == f"Slurm job {number}"
    assert not list(run.root.parent.rglob("PWNED"))


def test_continued_it_has_the_losses_of_an_uninterrupted_run(
    interrupted, data, tmp_path, monkeypatch
):
    """… which two tasks train to its end, evaluate and report; keys they see are not written."""
    before, _, _, num_steps = interrupted
    run = RunDir.at(tmp_path / "whole")
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    number = _launch(
        data,
        run.root,
        *(f"--set=train_config.num_steps={num_steps}", "--time_limit=2h"),
        f"--checkpoint_every_n={num_steps}",
        f"--export={','.join(PLANTED)}",
    )
    wait_for(
        lambda: job(number)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"),
        PATIENCE_S + num_steps,
        "end",
        _log(run),
    )
    assert job(number)["JobState"] == "COMPLETED", _log(run)()
    assert "worker 1 (localhost:" in _log(run)()
    (shown,) = status.of_folder(run.root)
    assert (shown.state, shown.step, shown.verdict) == ("done", num_steps, "NOT COMPARABLE")
    assert (run.report / "index.html").is_file()
    assert run.evaluated_steps() == checkpoint_files.steps_of(run.checkpoints)
    whole = _losses(run)
    continued = _losses(before)
    assert set(continued) == set(range(EVERY, num_steps + 1, EVERY))
    assert set(whole) == {*range(LOGGED, num_steps, LOGGED), num_steps}
    for step in whole:  # up to rounding, which long runs repeat no more exactly
        assert continued[step] == pytest.approx(whole[step], rel=1e-3), step
    assert_clean(run.root)


# ── without training: a tool that writes down what it was given

_TOOL = """\
import json, os, signal, sys, pathlib, time
run_dir = pathlib.Path(sys.argv[-1].partition("=")[2])
(run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
out = run_dir / "checkpoints" / f"given-{os.environ['SLURM_PROCID']}.json"
out.write_text(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ)}))
"""


@pytest.fixture
def tool(tmp_path):
    path = tmp_path / "tool.py"
    path.write_text(_TOOL)
    return str(path)


def _ended(numbers):
    states = {number: job(number)["JobState"] for number in numbers}
    return states if not set(states.values()) & {"PENDING", "RUNNING", "COMPLETING"} else None


def test_every_name_arrives_as_it_was_written(tool, tmp_path):
    plans = [
        Plan.of(tmp_path / name, [f"--set={name}"], name=name, tool=tool)
        for name in HOSTILE
        if "/" not in name
    ]
    jobs = {slurm.submit(plan, slurm.SlurmResources())[0]: plan for plan in plans}
    states = wait_for(lambda: _ended(jobs), 300, "end of the jobs")
    assert set(states.values()) == {"COMPLETED"}, states
    for number, plan in jobs.items():
        given = read_json(plan.directory / "checkpoints" / "given-0.json")
        assert given["arguments"] == [*plan.arguments, f"--run_dir={plan.directory}"]
        assert (plan.folder / f"slurm-{number}.log").is_file()
    assert not list(pathlib.Path(tmp_path).rglob("PWNED"))


def test_seeds_are_an_array(tool, tmp_path):
    plan = Plan.of(tmp_path / "r", ["--model=m"], seeds=(4, 9), tool=tool)
    number, _ = slurm.submit(plan, slurm.SlurmResources(tasks_per_node=2))
    for index, run in enumerate(plan.runs):
        own = f"{number}_{index}"
        wait_for(lambda own=own: _ended([own]), 120, "end of an array task")
        for task in range(2):
            given = read_json(run.directory / "checkpoints" / f"given-{task}.json")
            assert given["arguments"][1:] == [f"--seed={run.seed}", f"--run_dir={run.directory}"]
        assert (plan.folder / f"slurm-{own}.log").is_file()


def test_a_job_sees_listed_variables_alone(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    plan = Plan.of(tmp_path / "r", [], tool=tool)
    number, _ = slurm.submit(plan, slurm.SlurmResources(exported=("HTTPS_PROXY",)))
    wait_for(lambda: _ended([number]), 120, "end of the job")
    seen = read_json(plan.directory / "checkpoints" / "given-0.json")["environment"]
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert seen["XLA_FLAGS"] == "--xla_dump_to=/tmp/x"
    assert seen["HTTPS_PROXY"] == "http://proxy:3128"
    assert seen["REPLICATE_RENDEZVOUS_TIMEOUT_S"] == "600"


_SAVES_ON_TERM = """\
import os, pathlib, signal, sys, time
run_dir = pathlib.Path(sys.argv[-1].partition("=")[2])
start = os.environ.get("SLURM_RESTART_COUNT", "0")
saved = run_dir / "checkpoints" / f"saved-{start}-{os.environ['SLURM_PROCID']}"
saved.parent.mkdir(parents=True, exist_ok=True)
def save(number, frame):
    saved.write_text(str(number))
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
(run_dir / f"begun-{start}").touch()
while start == "0":
    time.sleep(0.1)
"""


@pytest.mark.parametrize("seeds", [(), (5,)], ids=["a job", "a task of an array"])
def test_preempted_it_saves_and_is_requeued(seeds, tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(_SAVES_ON_TERM)
    plan = Plan.of(tmp_path / "r", [], tool=str(tool), seeds=seeds)
    number, _ = slurm.submit(plan, slurm.SlurmResources(tasks_per_node=2, partition="main"))
    (run,) = plan.runs
    number = f"{number}_0" if seeds else number
    wait_for((run.directory / "begun-0").exists, 120, "start")
    with subprocess.Popen(["srun", "--partition=urgent", "--ntasks=2", "true"]) as urgent:
        assert urgent.wait(120) == 0
    states = wait_for(lambda: _ended([number]), 120, "end of the job")
    assert states == {number: "COMPLETED"} and job(number)["Restarts"] == "1"
    saved = {path.name: path.read_text() for path in (run.directory / "checkpoints").iterdir()}
    assert saved == {"saved-0-0": "15", "saved-0-1": "15"}
    assert "preempted: requeued" in (plan.folder / f"slurm-{number}.log").read_text()


_MEETS = f"""\
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from replicate.errors import UserError
from replicate import cluster
if os.environ["SLURM_PROCID"] == "1":
    sys.exit(0)
try:
    cluster.from_environment().wait_for_all()
except UserError as error:
    sys.exit(str(error))
"""


def test_a_task_that_does_not_come_is_named(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(_MEETS)
    plan = Plan.of(tmp_path / "r", [], tool=str(tool))
    resources = slurm.SlurmResources(tasks_per_node=2, rendezvous_timeout_s=5)
    number, _ = slurm.submit(plan, resources)
    states = wait_for(lambda: _ended([number]), 300, "end of the job")
    assert states == {number: "FAILED"}
    port = 10_000 + 2 * int(number) + 1
    log = (plan.folder / f"slurm-{number}.log").read_text()
    assert f"worker 1 (localhost:{port}) did not come within 5 s" in log


def test_a_second_launch_is_refused_while_the_first_waits(tool, tmp_path, capsys):
    plan = Plan.of(tmp_path / "r", [], tool=tool)
    number, _ = slurm.submit(plan, slurm.SlurmResources(options=(("hold", ""),)))
    (shown,) = status.of_folder(tmp_path / "r")
    assert (shown.state, shown.reason) == ("queued", "pending: JobHeldUser")
    with pytest.raises(slurm.UserError, match=f"queued already .*scancel {number}"):
        slurm.submit(plan, slurm.SlurmResources())
    ask("scancel", number)
    assert status.of_folder(tmp_path / "r")[0].state == "cancelled"


def test_what_slurm_refuses_is_told(tool, tmp_path):
    plan = Plan.of(tmp_path / "r", [], tool=tool)
    with pytest.raises(slurm.UserError, match="sbatch refuses: .*invalid partition"):
        slurm.submit(plan, slurm.SlurmResources(partition="no-such"))
    assert not status.of_folder(tmp_path) or os.listdir(tmp_path)
