"""Task files, read by SkyPilot's own parser; what they run, run by bash."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from replicate.cluster import from_environment
from replicate.errors import UserError
from replicate.installation import HOME
from replicate.launch import skypilot
from replicate.launch.plan import Plan
from replicate.replication import ReplicationRequest
from tests.launch.test_slurm_script import HOSTILE

_READ = """\
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
(machine,) = task.resources
print(json.dumps({
    "name": task.name, "nodes": task.num_nodes, "run": task.run, "setup": task.setup,
    "accelerators": machine.accelerators, "spot": machine.use_spot,
    "infra": machine.infra.to_str(), "cpus": machine.cpus, "memory": machine.memory,
    "recovery": machine.job_recovery,
    "mounts": {path: [str(s.source), s.mode.value] for path, s in task.storage_mounts.items()},
    "volumes": task.volumes,
}))
"""


@pytest.fixture(scope="session")
def sky_python():
    """SkyPilot's interpreter; `make test` installs it."""
    python = skypilot.interpreter()
    if python is None or subprocess.run([python, "-c", "import sky"]).returncode:
        pytest.skip("no SkyPilot: see requirements-skypilot.txt")
    return python


def _request(**fields):
    return ReplicationRequest(
        **{
            "model": "m",
            "train_annotations": "/coco/train.json",
            "train_images": "/coco/train",
            "val_annotations": "/coco/val.json",
            "val_images": "/coco/val",
        }
        | fields
    )


_STORED = {"run_store": "s3://b/runs/a", "mounts": (("/coco", "s3://b/coco"),)}


def _plan(arguments=("--model=m",), **fields):
    return Plan.of("/runs/a", arguments, working_directory="/", **fields)


def _read(sky_python, path):
    done = subprocess.run([sky_python, "-c", _READ, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_skypilot_reads_what_was_asked_for(sky_python, tmp_path):
    resources = skypilot.SkyPilotResources(
        accelerators="A100:8", infra="aws/us-east-1", spot=True, cpus=32, memory="128+", **_STORED
    )
    paths, validated = skypilot.write(_plan(name="a b"), resources, _request(), tmp_path / "t.yaml")
    assert validated and paths == [tmp_path / "t.yaml"]
    seen = _read(sky_python, paths[0])
    assert (seen["name"], seen["nodes"], seen["spot"]) == ("a-b", 1, True)
    assert (seen["accelerators"], seen["infra"]) == ({"A100": 8}, "aws/us-east-1")
    assert (seen["cpus"], seen["memory"]) == ("32+", "128+")
    assert seen["recovery"]["recover_on_exit_codes"] == [75]
    assert seen["mounts"] == {
        "/runs/a": ["s3://b/runs/a", "MOUNT_CACHED"],
        "/coco": ["s3://b/coco", "MOUNT"],
    }
    assert "-r requirements-gpu.txt" in seen["setup"]


def test_several_nodes_share_a_volume(sky_python, tmp_path):
    resources = skypilot.SkyPilotResources(
        nodes=2, infra="k8s", run_store="volume:runs", mounts=(("/coco", "volume:coco"),)
    )
    (path,), _ = skypilot.write(_plan(), resources, _request(), tmp_path / "t.yaml")
    seen = _read(sky_python, path)
    assert seen["nodes"] == 2 and seen["infra"].lower() in ("k8s", "kubernetes")
    assert seen["volumes"] == {"/runs/a": "runs", "/coco": "coco"}
    assert "requirements-gpu.txt" not in seen["setup"]


def test_a_seed_is_a_task_of_its_own(sky_python, tmp_path):
    plan = _plan(seeds=(0, 3))
    paths, _ = skypilot.write(
        plan, skypilot.SkyPilotResources(**_STORED), _request(), tmp_path / "a.sky.yaml"
    )
    assert [path.name for path in paths] == ["a-seed0.sky.yaml", "a-seed3.sky.yaml"]
    for path, seed in zip(paths, (0, 3), strict=True):
        seen = _read(sky_python, path)
        assert seen["name"] == f"a-seed{seed}"
        assert f"--seed={seed}" in seen["run"] and f"--run_dir=/runs/a/seed{seed}" in seen["run"]


def test_what_skypilot_refuses_is_told(sky_python, tmp_path):
    resources = skypilot.SkyPilotResources(infra="mars", **_STORED)
    with pytest.raises(UserError, match=r"SkyPilot refuses .*'mars' does not match"):
        skypilot.write(_plan(), resources, _request(), tmp_path / "t.yaml")


def test_without_skypilot_the_file_is_written_and_the_tool_says_so(tmp_path):
    arguments = [
        *("--target=skypilot", "--model=ssd_mobilenet_v2_320x320_coco17_tpu-8"),
        *("--run_dir=/runs/a", "--run_store=s3://b/a", "--mount=/coco=s3://b/coco"),
        *("--train_annotations=/coco/t.json", "--train_images=/coco/t"),
        *("--val_annotations=/coco/v.json", "--val_images=/coco/v", "--num_steps=5"),
    ]

    def launched(*more):
        done = subprocess.run(
            [sys.executable, HOME / "tools" / "launch.py", *arguments, *more],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"SKYPILOT_PYTHON": "none"},
        )
        assert done.returncode == 0, done.stderr
        return done

    shown = launched("--dry_run")
    assert not list(tmp_path.iterdir()) and "not written: a.sky.yaml" in shown.stderr
    done = launched()
    assert shown.stdout == (tmp_path / "a.sky.yaml").read_text()
    assert done.stdout == "sky jobs launch a.sky.yaml\n"
    assert "not read by SkyPilot's own parser" in done.stderr
    run = yaml.safe_load((tmp_path / "a.sky.yaml").read_text())["run"]
    assert "--num_steps=5" in run and "--train_images=/coco/t" in run


@pytest.mark.parametrize(
    ("fields", "request_fields", "said"),
    [
        ({"run_store": ""}, {}, "--run_store is missing"),
        ({"nodes": 2}, {}, "all machines must see"),
        ({"mounts": ()}, {}, "--train_annotations=/coco/train.json is in none of the mounts"),
        ({}, {"val_images": "val2017"}, "--val_images=val2017 is in none of the mounts"),
        ({}, {"val_images": "/cocoa/val"}, "--val_images=/cocoa/val is in none"),
        ({}, {"fine_tune_checkpoint": "/ckpt/m"}, "--fine_tune_checkpoint=/ckpt/m is in none"),
        ({}, {"model": "runs/a"}, "--model=runs/a is in none"),
        ({"mounts": (("/co co; rm", "s3://b"),)}, {}, "commands of its own"),
        ({"run_store": "volume:v", "infra": "aws"}, {}, "volumes on Kubernetes and RunPod alone"),
        ({"mounts": (("/coco", "volume:v"),), "infra": "gcp/us"}, {}, "--mount=/coco=volume:v"),
    ],
)
def test_what_would_fail_on_the_cloud_is_told_here(fields, request_fields, said, tmp_path):
    resources = skypilot.SkyPilotResources(**_STORED | fields)
    with pytest.raises(UserError) as error:
        skypilot.write(_plan(), resources, _request(**request_fields), tmp_path / "t.yaml")
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


_RECORDER = """#!/bin/bash
printf '%s\\n' "$@" > "$STAGE/arguments"
printf '%s' "$REPLICATE_RENDEZVOUS_TIMEOUT_S" > "$STAGE/timeout"
if [[ -n ${SLOW:-} ]]; then trap 'exit 143' TERM; sleep 60 & wait; fi
exit "${STATUS:-0}"
"""


def _run_part(tmp_path, text, **variables):
    """Runs the task's `run` with a stand-in for the interpreter, as SkyPilot does: by bash."""
    python = tmp_path / "home" / "replicate-venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(_RECORDER)
    python.chmod(0o755)
    own = {"HOME": str(tmp_path / "home"), "STAGE": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", text], cwd=tmp_path, env=os.environ | own | variables, capture_output=True
    )
    assert not list(pathlib.Path(tmp_path).rglob("PWNED"))
    return done.returncode, (tmp_path / "arguments").read_text().splitlines()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_run(name, tmp_path):
    resources = skypilot.SkyPilotResources(rendezvous_timeout_s=42, **_STORED)
    plan = _plan([f"--set=a={name}", name], name=name)
    task = skypilot.task(plan, plan.runs[0], resources, _request())
    text = yaml.safe_load(yaml.dump(task, Dumper=skypilot._Dumper))["run"]
    status, arguments = _run_part(tmp_path, text)
    assert status == 0
    assert arguments == ["tools/replicate.py", f"--set=a={name}", name, "--run_dir=/runs/a"]
    assert (tmp_path / "timeout").read_text() == "42"


def test_the_status_is_passed_on_and_the_time_limit_kept(tmp_path):
    plan = _plan(time_limit_s=3600)
    text = skypilot.task(plan, plan.runs[0], skypilot.SkyPilotResources(**_STORED), _request())[
        "run"
    ]
    status, _ = _run_part(tmp_path, text, STATUS="75")
    assert status == 75
    assert "timeout --signal=TERM --kill-after=600 3600 " in text


def test_at_the_time_limit_it_is_told_to_stop(tmp_path):
    plan = _plan(time_limit_s=1)
    text = skypilot.task(plan, plan.runs[0], skypilot.SkyPilotResources(**_STORED), _request())[
        "run"
    ]
    status, _ = _run_part(tmp_path, text, SLOW="1")
    assert status == 124  # of `timeout`: it was sent SIGTERM, and ended


def test_the_workers_find_each_other_in_skypilots_variables():
    found = from_environment({"SKYPILOT_NODE_IPS": "10.0.0.4\n10.0.0.5", "SKYPILOT_NODE_RANK": "1"})
    assert found.workers == ("10.0.0.4:12355", "10.0.0.5:12355") and found.index == 1
