"""TensorFloat-32: what is set, and when a machine is said to compute in it."""

import os

import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.train import distribution, input_service, precision


@pytest.mark.parametrize("tf32", [False, True])
def test_tensorfloat_is_switched(tf32):
    try:
        precision.activate("float32", tf32=tf32)
        assert tf.config.experimental.tensor_float_32_execution_enabled() == tf32
    finally:
        precision.activate("float32")
    assert tf.config.experimental.tensor_float_32_execution_enabled(), "TensorFlow's default"


@pytest.mark.parametrize(
    ("capabilities", "override", "computes"),
    [
        ([], None, False),
        ([(8, 0)], None, True),
        ([(9, 0), (9, 0)], None, True),
        ([(7, 5)], None, False),
        ([(9, 0), (7, 0)], None, False),
        ([(9, 0)], "0", False),
    ],
)
def test_gpus_of_capability_8_compute_in_it(capabilities, override, computes, monkeypatch):
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(capabilities))
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda capability: {"compute_capability": capability},
    )
    assert precision.has_tf32() == computes


def test_gpus_take_memory_as_they_need_it(monkeypatch):
    grown = []
    monkeypatch.delenv("TF_GPU_THREAD_MODE", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append((gpu, on))
    )
    distribution.prepare()
    assert grown == [("first", True), ("second", True)]
    assert os.environ["TF_GPU_THREAD_MODE"] == "gpu_private"


@pytest.mark.parametrize(
    ("address", "here"),
    [("localhost:7000", True), ("127.0.0.1:7000", True), ("node-7.cluster:7000", False)],
)
def test_batches_are_made_small_for_a_network_alone(address, here):
    assert input_service._is_here(address) == here
