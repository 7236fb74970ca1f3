"""Preflight as the first act of a launch: what it stops, what it keeps, what it tries."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from replicate import preflight
from replicate.errors import UserError
from replicate.preflight import checks, forecast, launching
from replicate.preflight import trial as trials
from replicate.preflight.launch_facts import LaunchFacts
from replicate.run import RunDir, read_json
from tests.preflight.conftest import MODEL, SMALL

PROJECT = pathlib.Path(__file__).resolve().parents[2]
NO_TRIAL = preflight.Terms(trial=False)


def _shorter(message):
    message.train_config.num_steps = 10


def test_a_fail_stops_the_launch_and_writes_nothing(intent, tmp_path, capsys):
    made = intent(_shorter)
    with pytest.raises(UserError, match="reason 8 fails; nothing was launched.*--force"):
        preflight.gate(made, NO_TRIAL)
    assert not (tmp_path / "run").exists()
    assert " 8  FAIL  length of schedule" in capsys.readouterr().err


def test_force_goes_on_and_is_kept(intent, tmp_path):
    made = intent(_shorter)
    forced = preflight.gate(made, dataclasses.replace(NO_TRIAL, force=True))
    (sentence,) = forced
    assert sentence.startswith("reason 8 (length of schedule): ") and "of them" in sentence
    kept = read_json(tmp_path / "run" / "preflight.json")
    assert kept["forced"] == forced
    assert [result["number"] for result in kept["results"]] == list(range(1, 18))
    # Mended later, the run still says what its first part was launched with.
    assert preflight.gate(intent(num_steps=20), NO_TRIAL) == forced


def test_a_config_that_is_there_is_mended_by_rendering_it(intent):
    with pytest.raises(UserError, match="reason 8 fails") as stopped:
        preflight.gate(intent(_shorter), NO_TRIAL)
    assert "render_config" not in str(stopped.value)  # tools/replicate.py has the flags itself
    with pytest.raises(UserError, match="flags of tools/render_config.py"):
        preflight.gate(intent(_shorter, convert=False), NO_TRIAL)


def test_a_rehearsal_is_launched(intent, tmp_path):
    made = intent(_shorter)
    assert preflight.gate(made, dataclasses.replace(NO_TRIAL, rehearsal=True)) == []
    assert read_json(tmp_path / "run" / "preflight.json")["rehearsal"] is True


def test_a_complete_run_is_not_checked_again(intent, tmp_path, monkeypatch):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "ckpt-10.index").touch()
    monkeypatch.setattr(launching, "check", lambda *args: pytest.fail("checked"))
    assert preflight.gate(intent(_shorter), NO_TRIAL) == []


def test_what_was_tried_here_is_not_tried_again(intent, monkeypatch):
    asked = []

    def check(intent, trial=True, numbers=None, waiting=None):
        asked.append(trial)
        return checks.check(intent, trial=False)

    def pretend(*args, **kwargs):
        return dataclasses.replace(check(*args, **kwargs), trial={"steps": {}})

    monkeypatch.setattr(checks.Preflight, "page", lambda self, head: "")
    monkeypatch.setattr(launching, "check", pretend)
    monkeypatch.setattr(launching, "_machine", lambda: ["here"])
    preflight.gate(intent(), preflight.Terms())
    preflight.gate(intent(), preflight.Terms())
    assert asked == [True, False]
    monkeypatch.setattr(launching, "_machine", lambda: ["elsewhere"])
    preflight.gate(intent(), preflight.Terms())
    assert asked == [True, False, True]


def test_records_are_checked_again_once_they_are_made(intent, records, tmp_path):
    made = intent()
    preflight.gate(made, NO_TRIAL)
    (records / "train-00000-of-00003.tfrecord").unlink()
    with pytest.raises(UserError, match="reason 16 fails"):
        preflight.gate(made, NO_TRIAL, preflight.OF_RECORDS)


def _tool(*flags, **variables):
    return subprocess.run(
        [sys.executable, str(PROJECT / "tools" / "preflight.py"), *flags],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | variables,
    )


def _request(drawn, run_dir, *more):
    return (
        f"--train_annotations={drawn['train'][0]}",
        f"--train_images={drawn['train'][1]}",
        f"--val_annotations={drawn['val'][0]}",
        f"--val_images={drawn['val'][1]}",
        f"--run_dir={run_dir}",
        *more,
    )


def test_the_tool_numbers_every_reason(drawn, tmp_path):
    done = _tool(*_request(drawn, tmp_path / "run", f"--model={MODEL}", "--notrial"))
    assert done.returncode == 1, done.stderr
    assert "4 fail (1, 2, 7, 17)" in done.stdout.splitlines()[0]
    told = [line[:8].split() for line in done.stdout.splitlines() if line[:2].strip().isdigit()]
    assert [int(number) for number, _ in told] == list(range(1, 18))
    assert not (tmp_path / "run").exists()


def test_a_config_file_alone_gets_an_answer_on_every_reason(recipe, tmp_path):
    done = _tool(f"--pipeline_config_path={recipe}", f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == 1, done.stderr
    told = [line[:8].split() for line in done.stdout.splitlines() if line[:2].strip().isdigit()]
    assert [int(number) for number, _ in told] == list(range(1, 18))
    statuses = {int(number): status for number, status in told}
    assert {n for n, status in statuses.items() if status == "FAIL"} == {7, 16}
    # Without a model, there is nothing to compare with: told so, and never a pass.
    assert [statuses[n] for n in (2, 3, 4, 6, 8, 12, 15, 17)] == ["warn"] * 8


def test_the_tool_says_what_it_needs(tmp_path):
    done = _tool(f"--run_dir={tmp_path}", f"--model={MODEL}")
    assert done.returncode == 2 and "--train_annotations, --train_images" in done.stderr


def test_two_real_steps_and_two_images(drawn, recipe, tmp_path):
    """The trial on the smallest SSD, and the forecast it gives."""
    done = _tool(*_request(drawn, tmp_path / "run", f"--model={recipe}", "--json"))
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)
    results = {result["number"]: result for result in answer["results"]}
    assert {n for n, r in results.items() if r["status"] != "pass"} <= {10}
    foreseen = answer["forecast"]
    assert foreseen["tried_batch"] == foreseen["batch"] == 8
    assert foreseen["step_seconds"] > 0 and 0 <= foreseen["input_wait"] <= 1
    # 50,000 steps at that time; the seven kept checkpoints on six images each.
    assert foreseen["train_hours"] == pytest.approx(50_000 * foreseen["step_seconds"] / 3600)
    assert (foreseen["evaluations"], foreseen["images"]) == (7, 6)
    assert 1e6 < foreseen["checkpoint_bytes"] < 1e8 and foreseen["checkpoints"] == 8
    assert foreseen["disk_bytes"] > 8 * foreseen["checkpoint_bytes"]
    assert foreseen["host_bytes"] > 3e8
    assert "memory:" in results[12]["seen"]
    assert "the 200 of the trial" in results[15]["seen"]  # 100 detections an image
    took = answer["took"]
    assert took["trial"] > took["tracing"] > foreseen["first_step_seconds"] > 0 < took["checks"]
    assert not (tmp_path / "run").exists()


def test_the_trial_takes_the_runs_input_service(intent, records):
    found = trials.run(LaunchFacts(intent(input_service="nowhere")), progress=False)
    assert "'nowhere' is not host:port" in found["error"]


@pytest.mark.slow
def test_the_forecast_of_space_is_what_a_checkpoint_takes(drawn, recipe, tmp_path):
    """A real run of a few steps writes checkpoints of the size that was foreseen."""
    run_dir = tmp_path / "run"
    done = subprocess.run(
        [
            *(sys.executable, str(PROJECT / "tools" / "replicate.py")),
            *_request(drawn, run_dir, f"--model={MODEL}", "--rehearsal", "--num_steps=2"),
            *(f"--set={path}={value}" for path, value in SMALL),
            "--checkpoint_every_n=2",
        ],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    foreseen = read_json(run_dir / "preflight.json")["forecast"]
    written = sum(path.stat().st_size for path in (run_dir / "checkpoints").glob("ckpt-2.*"))
    assert written == pytest.approx(foreseen["checkpoint_bytes"], rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_forecast_of_memory_is_near_what_the_batch_takes(intent, monkeypatch):
    """From a quarter of the batch, scaled, against the batch itself."""
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    small = dict(SMALL) | {"train_config.batch_size": "32"}
    size = "model.ssd.image_resizer.fixed_shape_resizer."
    small |= {f"{size}height": "192", f"{size}width": "192"}
    facts = LaunchFacts(intent(overrides=tuple(small.items())))
    peaks = {}
    for batch in (8, 32):
        monkeypatch.setattr(trials, "_CPU_PIXELS", batch * 192 * 192)
        tried = trials.run(facts, progress=False)
        assert tried["steps"]["batch"] == batch
        peaks[batch] = forecast.of(facts, tried).host_bytes
    assert peaks[8] == pytest.approx(peaks[32], rel=0.25)


@pytest.mark.slow
def test_forced_is_in_spec_verdict_and_report(drawn, tmp_path):
    run_dir = tmp_path / "run"
    done = subprocess.run(
        [
            *(sys.executable, str(PROJECT / "tools" / "replicate.py")),
            *_request(drawn, run_dir, f"--model={MODEL}", "--force", "--notrial"),
            *(f"--set={path}={value}" for path, value in SMALL),
            *("--num_steps=1", "--checkpoint_every_n=1"),
        ],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    run = RunDir.existing(run_dir)
    forced = read_json(run.spec)["forced"]
    assert [sentence.split()[1] for sentence in forced] == ["1", "2", "4", "7"]
    assert len([n for n in read_json(run.verdict)["notes"] if "--force although" in n]) == 4
    for page in ("report.md", "index.html"):
        text = (run.report / page).read_text(encoding="utf-8")
        assert "launched with --force although it failed: reason 1" in text
        assert "reason 4 (batch and rate): batch 8 at peak rate" in text


def test_a_trial_that_dies_says_where(intent, monkeypatch, tmp_path):
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import json, os, sys\n"
        "json.dump({'stage': 'two training steps'}, open(sys.argv[2], 'w'))\n"
        "print('two training steps', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setattr(trials, "_CHILD", dying)
    found = trials.run(LaunchFacts(intent()), progress=False)
    assert found["error"].startswith("it was killed while two training steps")


def test_a_trial_that_hangs_is_ended(intent, monkeypatch, tmp_path):
    hanging = tmp_path / "hanging.py"
    hanging.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(trials, "_CHILD", hanging)
    found = trials.run(LaunchFacts(intent()), seconds=1, progress=False)
    assert "out of time" in found["error"]
