"""One global batch on one device, on several, in micro-batches, in two processes: the same step."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from replicate import config as configs

PROJECT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 3


@pytest.fixture(scope="module")
def config_path(even_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("steps") / "pipeline.config"
    path.write_text(configs.to_text(even_config))
    return path


def _start(config_path, output, *flags, **environment):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.train.steps",
            config_path,
            output,
            f"--initial={config_path.parent / 'initial'}",
            f"--steps={STEPS}",
            *flags,
        ],
        cwd=PROJECT,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def _result(process, output):
    _, told = process.communicate(timeout=500)
    assert process.returncode == 0, told
    return json.loads(output.with_suffix(".json").read_text()), np.load(f"{output}.npz")


def _steps(config_path, output, *flags):
    return _result(_start(config_path, output, *flags), output)


@pytest.fixture(scope="module")
def one_device(config_path, tmp_path_factory):
    return _steps(config_path, tmp_path_factory.mktemp("one") / "one")


def _assert_same(found, expected, replicas):
    assert found[0]["replicas"] == replicas
    for ours, theirs in zip(found[0]["losses"], expected[0]["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert len(found[1]) == len(expected[1]) > 100
    # Weights start at 1e-2 and move by 1e-4 and more; some that start at 0 move by rounding alone.
    for name in expected[1]:
        scale = np.abs(expected[1][name]).max()
        atol = max(1e-5 * scale, 1e-8)
        np.testing.assert_allclose(
            found[1][name], expected[1][name], rtol=1e-4, atol=atol, err_msg=name
        )


def test_the_batches_differ_and_the_weights_move(config_path, one_device):
    """Otherwise the comparison below would say nothing."""
    totals = [losses["Loss/classification_loss"] for losses in one_device[0]["losses"]]
    assert len(set(totals)) == STEPS
    biases = [name for name in one_device[1] if "ClassPredictor/bias" in name]
    assert biases
    for name in biases:  # they start at one value, the focal loss's prior
        assert np.ptp(one_device[1][name]) > 1e-4


@pytest.mark.parametrize(
    ("flags", "replicas"),
    [
        (["--cpus=2"], 2),
        (["--accumulate=2"], 1),
        (["--cpus=2", "--accumulate=2"], 2),
        (["--input_service=2"], 1),
        pytest.param(["--jit_compile"], 1, marks=pytest.mark.slow),
    ],
    ids=["replicas", "micro-batches", "both", "input service", "XLA"],
)
def test_the_parts_sum_to_the_whole(config_path, one_device, tmp_path, flags, replicas):
    _assert_same(_steps(config_path, tmp_path / "parts", *flags), one_device, replicas)


def test_two_workers_over_loopback_equal_one(config_path, one_device, tmp_path):
    workers = [f"127.0.0.1:{_free_port()}" for _ in range(2)]
    outputs = [tmp_path / "chief", tmp_path / "worker"]
    processes = [
        _start(
            config_path,
            output,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index, output in enumerate(outputs)
    ]
    for process, output in zip(processes, outputs, strict=True):
        _assert_same(_result(process, output), one_device, 2)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
