"""TF-Vision's step on two devices, from the input service, in bfloat16: against one, and its own.

Each run is a process of its own (`tests.tfvision.steps`), because TensorFlow's devices are set
before anything else.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

import tfrecords
from replicate import engine
from replicate.demo import drawing, recipe
from replicate.tfvision import render
from tests.tools.running import PROJECT

STEPS = 3
SMALL = recipe.VISION_OVERRIDES | {
    "task.model.input_size": [96, 96, 3],
    "task.model.decoder.fpn.num_filters": 32,
    "task.model.head.num_filters": 32,
    "task.model.num_classes": 4,
    "task.train_data.global_batch_size": 4,
    "task.train_data.shuffle_buffer_size": 8,
    "trainer.optimizer_config.warmup.linear.warmup_steps": 2,
}
#: An image is seen the same way each time.
PLAIN = {
    "task.train_data.parser.aug_rand_hflip": False,
    "task.train_data.parser.aug_scale_min": 1.0,
    "task.train_data.parser.aug_scale_max": 1.0,
}
slow = pytest.mark.slow


def written(folder, images, more=()):
    """The path of a small config and its drawn records, of so many images."""
    annotations, image_dir = drawing.draw(folder, train_images=images, val_images=1)["train"]
    tfrecords.convert(
        *(annotations, image_dir, str(folder / "records" / "train"), 1),
        include_class_labels=True,
        progress=False,
    )
    return config(folder, more)


def config(folder, more=()):
    overrides = [(path, str(value)) for path, value in (SMALL | dict(more)).items()]
    request = render.RenderRequest(
        overrides=overrides, train_records=f"{folder}/records/train-*", init_checkpoint=""
    )
    path = folder / "params.yaml"
    path.write_text(engine.text(render.render(recipe.VISION_MODEL, request)))
    return path


@pytest.fixture(scope="module")
def same_image(tmp_path_factory):
    return written(tmp_path_factory.mktemp("same"), 1, PLAIN)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return written(tmp_path_factory.mktemp("images"), 12)


def run(path, name, *flags, steps=STEPS, precision="float32"):
    """(what a process tells of its steps, {variable: value} at their end)."""
    import tensorflow as tf

    output = path.parent / name
    command = [sys.executable, "-m", "tests.tfvision.steps", path, output]
    command += [f"--initial={path.parent / f'initial-{precision}'}", f"--precision={precision}"]
    command += [f"--steps={steps}", *flags]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    reader = tf.train.load_checkpoint(str(output))
    values = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE") and not name.startswith("save_counter")
    }
    return json.loads(output.with_suffix(".json").read_text()), values


def assert_same(found, expected, rel):
    for ours, theirs in zip(found[0]["losses"], expected[0]["losses"], strict=True):
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=rel), name
    assert found[1].keys() == expected[1].keys() and len(found[1]) > 100
    for name, value in expected[1].items():
        scale = np.abs(value).max() if value.size else 0
        np.testing.assert_allclose(
            *(found[1][name], value), rtol=rel, atol=rel * scale, err_msg=name
        )


@pytest.fixture(scope="module")
def one_device(images):
    return run(images, "one")


@pytest.fixture(scope="module")
def two_devices(images, one_device):
    return run(images, "two", "--cpus=2")


@slow
def test_each_device_has_the_step_of_its_half(same_image):
    """Where every example is one image, a device of two has the batch of one device of two images:
    its losses (TF-Vision divides by a device's objects and one), statistics and gradients."""
    two = run(same_image, "two", "--cpus=2")
    half = config(same_image.parent, PLAIN | {"task.train_data.global_batch_size": 2})
    one = run(half, "one")
    assert (one[0]["replicas"], two[0]["replicas"]) == (1, 2)
    assert one[0]["losses"][0] != one[0]["losses"][-1]
    assert_same(two, one, rel=1e-5)


@slow
@pytest.mark.timeout(1800)
def test_two_devices_are_as_tf_visions_own_trainer_on_two(images, two_devices):
    own = run(images, "own", "--by=official", "--cpus=2")
    assert own[0]["replicas"] == two_devices[0]["replicas"] == 2
    assert_same(two_devices, own, rel=1e-6)


@slow
@pytest.mark.timeout(1800)
def test_two_devices_go_on_to_the_same_bits(images, two_devices):
    run(images, "begun", "--cpus=2", steps=1)
    flags = ("--cpus=2", f"--resume={images.parent / 'begun'}")
    again = run(images, "again", *flags, steps=STEPS - 1)
    assert again[0]["losses"] == two_devices[0]["losses"][1:]
    for name, value in two_devices[1].items():
        np.testing.assert_array_equal(again[1][name], value, err_msg=name)


@slow
@pytest.mark.timeout(1800)
def test_the_input_service_gives_the_same_batches(images, one_device):
    served = run(images, "served", "--input_service=2")
    assert served[0]["losses"] == one_device[0]["losses"]


@slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 2e-2), ("float16", 5e-3)])
def test_a_low_precision_is_as_tf_visions_own(images, one_device, precision, near):
    ours = run(images, precision, precision=precision)
    own = run(images, f"own-{precision}", "--by=official", precision=precision)
    assert_same(ours, own, rel=1e-6)
    name = "Loss/total_loss"
    in_float32 = [losses[name] for losses in one_device[0]["losses"]]
    in_low = [losses[name] for losses in ours[0]["losses"]]
    assert in_low != in_float32, "it was computed in another format"
    assert in_low == pytest.approx(in_float32, rel=near)
