"""What lets someone in is written nowhere: not in a run, a report, a script or a log."""

import dataclasses
import gzip
import json
import os
import pathlib
import subprocess
import sys
import time
import types

import pytest

from replicate import environment
from replicate.cluster import Cluster
from replicate.contracts.kinds import KINDS
from replicate.errors import UserError
from replicate.launch import local, skypilot, slurm
from replicate.launch.plan import Plan
from replicate.replication import ReplicationRequest
from replicate.run import RunDir, read_json, write_json
from tfrecords import fetch

PROJECT = pathlib.Path(__file__).resolve().parents[2]
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-wJalrXUtnFEMI",
    "HF_TOKEN": "planted-hf_abcdefgh",
    "WANDB_API_KEY": "planted-wandb-0123456789",
    "COMET_API_KEY": "planted-comet-0123456789",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-password",
    "GITHUB_TOKEN": "planted-ghp_abcdefgh",
    "DATABASE_URL": "postgres://user:planted-db-password@host/db",
    "HOUSE_RULES": "planted-in-no-listed-variable",
}


@pytest.fixture
def planted(monkeypatch):
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


def assert_clean(folder):
    """No planted value in any file of a folder, whatever its name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert b"planted" not in (gzip.decompress(content) if path.suffix == ".gz" else content)
        assert "planted" not in str(path)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("--train_images=train2017", "--train_images=train2017"),
        ("--flag=planted-hf_abcdefgh", "--flag=<HF_TOKEN>"),
        ("+key = 'planted-wandb-0123456789'", "+key = '<WANDB_API_KEY>'"),
        ("https://me:planted@host/a.zip", "https://<secret>@host/a.zip"),
        ("'s3://AKIA:planted/x+y@bucket/a'", "'s3://<secret>@bucket/a'"),
        ("https://host/a?sig=planted%2B&b=1 c", "https://host/a?sig=<secret>&b=1 c"),
        ("https://h/a?X-Amz-Security-Token=planted", "https://h/a?X-Amz-Security-Token=<secret>"),
        ("https://h/a?access_token=planted#x", "https://h/a?access_token=<secret>#x"),
        ("https://h/a?b=1&api_key=planted'", "https://h/a?b=1&api_key=<secret>'"),
        ("/runs/https:/me:planted@host/a", "/runs/https:/<secret>@host/a"),
        ("https://me:pl@nted/x@host/a", "https://<secret>@host/a"),
        ("//me:planted@host/a", "//<secret>@host/a"),
        (r"https:\/\/me:planted@host\/a", r"https:\/\/<secret>@host\/a"),
        ("s3://a:planted@b/c,s3://d:planted@e/f", "s3://<secret>@b/c,s3://<secret>@e/f"),
        ("https://h/a?key=planted&pwd=planted", "https://h/a?key=<secret>&pwd=<secret>"),
        ("https://h/a#access_token=planted", "https://h/a#access_token=<secret>"),
        (
            "tool --api_key=planted1234 --hub-token planted1234",
            "tool --api_key=<secret> --hub-token <secret>",
        ),
        ("/data/a:b@c/x.json AP@[.5:.95] // a:b @c", "/data/a:b@c/x.json AP@[.5:.95] // a:b @c"),
        ("export WANDB_API_KEY=planted-1234", "export WANDB_API_KEY=<secret>"),
        ("HF_X_TOKEN='planted1234' run", "HF_X_TOKEN='<secret>' run"),
        ("export MY_TOKEN=$HF_TOKEN", "export MY_TOKEN=$HF_TOKEN"),
        ("GOOGLE_CREDENTIALS=/home/me/a.json", "GOOGLE_CREDENTIALS=/home/me/a.json"),
        ("--max_tokens=12345678", "--max_tokens=12345678"),
        (
            "curl -H 'Authorization: Bearer planted.1234'",
            "curl -H 'Authorization: Bearer <secret>'",
        ),
        ("git@github.com:me/repo.git me@host", "git@github.com:me/repo.git me@host"),
        ("a <me@host> https://host/~me", "a <me@host> https://host/~me"),
    ],
)
def test_what_may_be_written_of_a_text(text, written, planted):
    assert environment.without_secrets(text) == written


def test_a_long_text_without_blanks_is_looked_through_at_once():
    """In a time that grows with it: half a minute of the processor would be quadratic."""
    text = "a:/" + 200_000 * "x:"
    begun = time.process_time()
    assert environment.without_secrets(text) == text
    assert time.process_time() - begun < 30


def test_a_variable_too_short_to_be_a_secret_spoils_no_text(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("EMPTY_TOKEN", "")
    assert environment.without_secrets("a false alarm") == "a false alarm"


def test_the_recorded_environment(planted, monkeypatch, tmp_path):
    """Listed variables alone."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    described = environment.describe()
    assert described["variables"]["XLA_FLAGS"] == "--xla_gpu_deterministic_ops=true"
    assert "planted" not in json.dumps(described)


_TOOL = """\
import os, sys, pathlib
assert os.environ["HF_TOKEN"].startswith("planted")  # the run may use it; nobody writes it down
run_dir = pathlib.Path(sys.argv[-1].partition("=")[2])
(run_dir / "verdict.json").write_text('{"verdict": "NEAR"}')
"""


def test_a_launch_here(planted, tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(_TOOL)
    plan = Plan.of(tmp_path / "r", ["--model=m"], tool=str(tool))
    assert local.run(plan) == 0
    assert read_json(RunDir.at(plan.directory).launch / "launch.json")["exit"] == 0
    assert_clean(plan.directory)


ADDRESS = "https://me:planted-password@host/records?sig=planted-signature"


def test_what_a_run_keeps_holds_none(planted, tmp_path):
    """Every file that `write_json` writes for a run, whatever it is asked to hold."""
    for name in (f"{name}.json" for name, kind in KINDS.items() if kind.named):
        value = {"request": {"overrides": [["a", ADDRESS]]}, "reason": PLANTED["HF_TOKEN"]}
        write_json(tmp_path / name, [value] if name == "deviations.json" else value)
    assert_clean(tmp_path)
    assert read_json(tmp_path / "spec.json")["request"]["overrides"][0][1] == (
        "https://<secret>@host/records?sig=<secret>"
    )


def test_a_download_that_is_noted_for_later(tmp_path):
    wanted = fetch._Wanted(ADDRESS, tmp_path / "a.zip", None, 1, False)
    fetch._note_version(wanted, types.SimpleNamespace(headers={"ETag": '"1"'}))
    assert fetch._noted_version(wanted) == '"1"'
    other = dataclasses.replace(wanted, url=ADDRESS + "2")
    assert fetch._noted_version(other) is None
    assert_clean(tmp_path)


@pytest.mark.parametrize("where", ["an argument", "a line of the set-up", "an option"])
@pytest.mark.parametrize("write", ["slurm", "skypilot"])
def test_a_script_that_would_hold_one_is_not_written(write, where, tmp_path):
    request = ReplicationRequest("m", "/coco/a", "/coco/b", "/coco/c", "/coco/d")
    arguments = [f"--set=train_config.fine_tune_checkpoint={ADDRESS}"]
    plan = Plan.of(tmp_path / "r", arguments if where == "an argument" else ["--model=m"])
    setup = ("export WANDB_API_KEY=planted-1234",) if where == "a line of the set-up" else ()
    options = (("comment", ADDRESS),) if where == "an option" else ()
    store = ADDRESS if where == "an option" else "s3://b/r"
    with pytest.raises(UserError, match="a password or token would stand in the") as told:
        if write == "slurm":
            slurm.write(plan, slurm.SlurmResources(setup=setup, options=options))
        else:
            resources = skypilot.SkyPilotResources(
                run_store=store, mounts=(("/coco", "s3://b/c"),), setup=setup
            )
            skypilot.write(plan, resources, request, tmp_path / "t.yaml")
    assert "planted" not in str(told.value)
    assert not list(tmp_path.rglob("*"))


def test_a_slurm_script(planted, tmp_path):
    plan = Plan.of(tmp_path / "r", ["--model=m"])
    slurm.write(plan, slurm.SlurmResources(exported=("HF_TOKEN",)))
    assert_clean(plan.directory)
    assert not set(slurm.EXPORTED) & set(PLANTED)


def test_a_task_file(planted, tmp_path):
    request = ReplicationRequest("m", "/coco/a", "/coco/b", "/coco/c", "/coco/d")
    resources = skypilot.SkyPilotResources(run_store="s3://b/r", mounts=(("/coco", "s3://b/coco"),))
    skypilot.write(Plan.of("/r", ["--model=m"]), resources, request, tmp_path / "t.yaml")
    assert_clean(tmp_path)


def test_workers_are_told_nothing_but_who_they_are(planted, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    Cluster(("a:1", "b:2"), 1).export()
    assert "planted" not in os.environ["TF_CONFIG"]


def test_a_difference_of_configs_is_shown_without(tmp_path):
    """The config that needs the address keeps it, and that is said."""
    config, page = tmp_path / "p.config", []
    model = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
    address = f"--set=train_config.fine_tune_checkpoint={ADDRESS}"
    for tool, *arguments in (
        ("render_config", f"--model={model}", f"--output={config}", address),
        *(("diff_config", model, str(config), f"--format={form}") for form in ("text", "json")),
        ("diff_config", model, str(config), "--format=html"),
    ):
        command = [sys.executable, str(PROJECT / "tools" / f"{tool}.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        page.append((done.stdout + done.stderr).replace("<wbr>", ""))
        assert done.returncode == 0 and "fine_tune_checkpoint" in page[-1], done.stderr
    assert "planted" in config.read_text()
    assert "keeps what lets someone in" in page[0]
    assert all("planted" not in text and "secret" in text for text in page)
