"""The check of a machine with GPUs: its judgement of made figures, its rehearsal, the export."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from replicate import devices
from replicate.errors import UserError
from replicate.gpu_check import check, judging, stages
from replicate.gpu_check.variants import REHEARSED, VARIANTS
from tests.other_pythons import python_with

PROJECT = pathlib.Path(__file__).resolve().parents[2]
LABEL = "SSD MobileNet v2 FPNLite"


def _losses(*totals):
    return [{"Loss/total_loss": total} for total in totals]


def _found(**apart):
    """Results of one model: the CPU's losses, and each variant's, `apart` from them."""
    variants = [
        {"losses": _losses(2.0 * (1 + apart.get(name, 0.0)), 1.0), "first_step_s": 3.0}
        for name in VARIANTS
    ]
    reference = {"variants": [{"losses": _losses(2.0, 1.0)}]}
    return {f"losses, CPU, {LABEL}": reference, f"losses, {LABEL}": {"variants": variants}}


def test_equal_losses_are_within_every_tolerance(tmp_path):
    answer = judging.write(tmp_path / "machine", _found(), [], rehearse=False)
    assert not answer.failed and not answer.left
    page = answer.page.read_text()
    for name in VARIANTS:
        assert f"| {LABEL} | {name} | 0.0e+00 |" in page
    assert json.loads((tmp_path / "machine.json").read_text())["failed"] == []


@pytest.mark.parametrize(
    ("variant", "apart", "fails"),
    [
        ("float32", 2e-3, True),
        ("float32", 5e-4, False),
        ("float32, XLA", 2e-3, True),
        ("float32, TF32", 5e-3, False),
        ("float32, TF32", 2e-2, True),
        ("bfloat16", 4e-2, False),
        ("bfloat16, XLA", 6e-2, True),
        ("float16", 3e-2, True),
    ],
)
def test_each_execution_has_its_tolerance(variant, apart, fails, tmp_path):
    answer = judging.write(tmp_path / "machine", _found(**{variant: apart}), [], rehearse=False)
    assert bool(answer.failed) == fails
    assert not fails or answer.failed[0].startswith(f"{LABEL}, {variant}: losses differ by")


def test_a_loss_that_is_not_a_number_fails(tmp_path):
    answer = judging.write(
        tmp_path / "machine", _found(**{"bfloat16": float("nan")}), [], rehearse=False
    )
    assert len(answer.failed) == 1


def test_what_is_left_and_what_ended_early_is_told(tmp_path):
    found = {"replicas, 1": {"error": "killed"}, "replicas, 2": {"error": "not measured yet"}}
    found |= {"losses, CPU, SSD MobileNet v2": {"error": "not measured yet"}}
    left = ["replicas, 2", "losses, CPU, SSD MobileNet v2"]
    answer = judging.write(tmp_path / "machine", found, left, rehearse=False)
    assert answer.failed == ["replicas, 1: killed"]
    told = "Not measured yet (2):\n\n- replicas, 2\n- losses, CPU, SSD MobileNet v2\n\n"
    assert told in answer.page.read_text()


def test_the_share_of_the_peak_by_hand():
    """1,000 images of 10 GFLOP a second are 10 TFLOPS, of 989.4 in bfloat16: 1.0 %."""
    measured = {
        "devices": ["NVIDIA H100 80GB HBM3"],
        "images_per_second": 1000.0,
        "model_flops_per_image": 1e10,
    }
    assert judging._share_of_peak("throughput, bfloat16, batch 32", measured) == "1.0%"
    assert judging._share_of_peak("throughput, float32, batch 32", measured) == "2.0%"
    unknown = measured | {"devices": ["NVIDIA GeForce RTX 4090"]}
    assert judging._share_of_peak("throughput, float32, batch 32", unknown) == "peak not known"


def test_without_a_gpu_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "gpus", list)
    with pytest.raises(UserError, match="tools/doctor.py.*--rehearse"):
        check(tmp_path / "work", tmp_path / "pages")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rehearse", "--precision=bfloat16"], "--precision goes with --export_step"),
        (["--model=EfficientDet-D0"], "--model goes with --export_step"),
        (["--export_step=step", "--rehearse"], "--rehearse does not go with --export_step"),
    ],
)
def test_a_flag_of_the_other_use_is_refused(flags, message):
    done = _tool(*flags)
    assert done.returncode == 2 and message in done.stderr


def test_make_looks_for_a_gpu_before_it_installs_anything_for_one():
    if devices.gpus():
        pytest.skip("a machine with a GPU")
    looked = _tool("--look")
    assert looked.returncode == 2 and "no NVIDIA GPU that the driver lists" in looked.stderr
    rule = re.search(r"^gpu-check:(.*)\n((?:\t.*\n)+)", (PROJECT / "Makefile").read_text(), re.M)
    assert "$(GPU)" not in rule[1]
    look, install, check_it = rule[2].splitlines()
    assert "--look" in look and "$(GPU)" in install and "--minutes" in check_it


def _tool(*arguments, **more):
    command = [sys.executable, "tools/gpu_check.py", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, **more)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_rehearsal_runs_to_its_end_and_goes_on(tmp_path):
    options = "--rehearse", f"--output={tmp_path / 'pages'}", f"--work={tmp_path / 'work'}"
    stopped = _tool(*options, "--minutes=0")
    assert stopped.returncode == 1
    assert "the same command goes on:\n  doctor\n  losses, CPU, " in stopped.stdout
    done = _tool(*options, "--minutes=60")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    (page,) = (tmp_path / "pages").glob("rehearsal-*.md")
    text = page.read_text()
    assert "it shows that the check runs, and no more" in text
    assert "Outside its tolerance: nothing" in text
    (label,) = stages.REHEARSED_MODELS
    for name in REHEARSED:
        assert re.search(rf"\| {label} \| {name} \| \d\.\de[-+]\d+ \|", text)
    assert "- 2 of them: " in text
    kept = {path: path.stat().st_mtime for path in (tmp_path / "work").rglob("*.json")}
    assert len(kept) > 4
    assert _tool(*options, "--minutes=0").returncode == 0, "nothing is measured again"
    assert kept == {path: path.stat().st_mtime for path in kept}


def test_the_step_s_runner_without_jax_says_what_to_install(tmp_path):
    runner = PROJECT / "replicate" / "gpu_check" / "run_step.py"
    (tmp_path / "jax.py").write_text("raise ModuleNotFoundError(\"No module named 'jax'\")")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, runner, *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )

    done = run("step")
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "No module named 'jax'" in line
    [pinned] = re.findall(r"^jax==(\S+)", (PROJECT / "requirements-jax.txt").read_text(), re.M)
    assert f"pip install jax=={pinned}" in line
    helped = run("--help")
    assert helped.returncode == 0 and "--tolerance" in helped.stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_jax_gives_the_exported_step_s_losses_and_weights(tmp_path):
    python = python_with("JAX", "jax")
    exported = _tool(f"--export_step={tmp_path / 'step'}")
    assert exported.returncode == 0, exported.stderr[-2000:]
    assert "custom calls: none" in exported.stdout
    assert "InitializeLog" not in exported.stderr and "I0000" not in exported.stderr
    runner = tmp_path / "step" / "run_step.py"
    done = subprocess.run(
        [python, runner, tmp_path / "step"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["loss_difference"] < 1e-5 and found["weight_difference"] < 1e-5
    assert len(found["losses"]) == 3 and found["losses"][0] != found["losses"][2]
    # A weight that is wrong is seen.
    import numpy as np

    with np.load(tmp_path / "step" / "expected.npz") as file:
        arrays = dict(file)
    largest = max((each for each in arrays if arrays[each].ndim == 4), key=lambda k: arrays[k].size)
    arrays[largest] = arrays[largest] * 1.001
    np.savez_compressed(tmp_path / "step" / "expected.npz", **arrays)
    wrong = subprocess.run([python, runner, tmp_path / "step"], capture_output=True, text=True)
    assert wrong.returncode == 1
