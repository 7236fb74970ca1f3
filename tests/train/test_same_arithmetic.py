"""50 steps of ours and of the API's own training loop: the same losses, the same weights.

Both get the same initial checkpoint, the same batches and the same stream of random numbers for
what the step itself samples; everything else is each loop's own.
"""

import numpy as np
import pytest

from replicate import config as configs
from replicate import odapi
from replicate.execution import Execution

odapi.load()

import tensorflow as tf

import tfrecords
from replicate.demo import drawing
from replicate.train import checkpoints, input_stream, randomness
from replicate.train.trainer import Trainer

STEPS = 50
SEED = 5
_FIXED = "image_resizer.fixed_shape_resizer"
_KEEP = "image_resizer.keep_aspect_ratio_resizer"
MODELS = {
    "ssd": (
        "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
        {
            f"model.ssd.{_FIXED}.height": 96,
            f"model.ssd.{_FIXED}.width": 96,
            "model.ssd.feature_extractor.depth_multiplier": 0.35,
        },
    ),
    "faster_rcnn": (
        "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8",
        {
            f"model.faster_rcnn.{_KEEP}.min_dimension": 64,
            f"model.faster_rcnn.{_KEEP}.max_dimension": 64,
            "model.faster_rcnn.first_stage_max_proposals": 20,
            "model.faster_rcnn.second_stage_batch_size": 8,
        },
    ),
    "centernet": (
        "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8",
        {
            f"model.center_net.{_KEEP}.min_dimension": 64,
            f"model.center_net.{_KEEP}.max_dimension": 64,
        },
    ),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    annotations, images = drawing.draw(folder, train_images=16, val_images=1)["train"]
    tfrecords.convert(annotations, images, str(folder / "train"), 2, progress=False)
    tfrecords.write_label_map(annotations, str(folder / "label_map.pbtxt"))
    return folder


def _config(model, overrides, records):
    return configs.render(
        model,
        overrides=[(path, str(value)) for path, value in overrides.items()]
        + [("train_config.batch_size", "2"), ("train_config.num_steps", str(STEPS))],
        train_records=f"{records}/train-*.tfrecord",
        label_map=str(records / "label_map.pbtxt"),
        num_classes=3,
        fine_tune_checkpoint="",
    )


def _ours(config, initial, steps):
    """[{loss name: value} a step], final checkpoint of our trainer."""
    trainer = Trainer(config, Execution(seed=SEED))
    trainer.build_variables()
    trainer.checkpoint.write(str(initial))
    losses = [trainer.train(1)["losses"] for _ in range(steps)]
    return losses, trainer.checkpoint.write(str(initial.parent / "ours"))


def _theirs(config, config_path, initial, folder, steps, monkeypatch):
    """The same of the API's `train_loop`, its losses read from the events it writes."""
    from object_detection import model_lib_v2
    from tensorboard.backend.event_processing import event_accumulator

    # The loop restores the last checkpoint of its folder; it would save its own over a step 0.
    start = tf.train.load_checkpoint(str(initial))
    assert start.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE") == 0
    folder.mkdir()
    for part in initial.parent.glob(f"{initial.name}.*"):
        (folder / part.name.replace(initial.name, "ckpt-0")).write_bytes(part.read_bytes())
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-0"\n')
    config_path.write_text(configs.to_text(config))
    tf.keras.utils.set_random_seed(SEED)
    api_step = model_lib_v2.eager_train_step

    def step_with_our_numbers(*args, training_step, **kwargs):
        with randomness.drawn_from(randomness.of_step(SEED, training_step)):
            return api_step(*args, training_step=training_step, **kwargs)

    monkeypatch.setattr(model_lib_v2, "eager_train_step", step_with_our_numbers)
    with input_stream.built_by(input_stream.dataset_build(SEED, 0)):
        model_lib_v2.train_loop(
            str(config_path),
            str(folder),
            train_steps=steps,
            checkpoint_every_n=steps,
            num_steps_per_iteration=1,
            record_summaries=False,
        )
    events = event_accumulator.EventAccumulator(
        str(folder / "train"), size_guidance={event_accumulator.TENSORS: 0}
    )
    events.Reload()
    names = [tag for tag in events.Tags()["tensors"] if tag.startswith("Loss/")]
    by_step = {}
    for name in names:
        for event in events.Tensors(name):
            by_step.setdefault(event.step, {})[name] = float(tf.make_ndarray(event.tensor_proto))
    assert sorted(by_step) == list(range(1, steps + 1))
    return [by_step[step] for step in sorted(by_step)], tf.train.latest_checkpoint(str(folder))


def _variables(path):
    reader = tf.train.load_checkpoint(path)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith(("model/", "optimizer/")) and name.endswith("VARIABLE_VALUE")
    }


@pytest.mark.parametrize(
    ("family", "steps"),
    [
        ("ssd", 5),
        *(pytest.param(family, STEPS, marks=pytest.mark.slow) for family in MODELS),
    ],
)
@pytest.mark.timeout(1800)
def test_the_same_losses_and_the_same_weights(family, steps, records, tmp_path, monkeypatch):
    config = _config(*MODELS[family], records)
    initial = tmp_path / "initial"
    our_losses, our_end = _ours(config, initial, steps)
    their_losses, their_end = _theirs(
        config, tmp_path / "pipeline.config", initial, tmp_path / "theirs", steps, monkeypatch
    )
    for step, (ours, theirs) in enumerate(zip(our_losses, their_losses, strict=True), 1):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), (step, name)
    assert our_losses[0] != our_losses[-1]
    ours, theirs = _variables(our_end), _variables(their_end)
    # Ours has optimizer slots for variables that never get a gradient too.
    assert theirs.keys() <= ours.keys() and len(theirs) > 100
    assert all(".OPTIMIZER_SLOT" in name for name in ours.keys() - theirs.keys())
    for name in theirs:
        np.testing.assert_allclose(
            ours[name],
            theirs[name],
            rtol=1e-4,
            atol=1e-4 * np.abs(theirs[name]).max(),
            err_msg=name,
        )
    started = _variables(str(initial))
    moved = [name for name in started if not np.array_equal(started[name], ours[name])]
    assert len(moved) > 100, "training must have changed the weights"
    assert checkpoints.verify(their_end) is None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_faster_rcnn_that_crops_its_proposals_has_the_same_bits_when_it_is_run_again(
    records, tmp_path
):
    """The recipes for GPUs take proposals by crop_and_resize, those for TPUs by matmul."""
    _, overrides = MODELS["faster_rcnn"]
    config = _config("faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8", overrides, records)
    config.train_config.batch_size = 1  # its crops are all of one image, as threads share them
    resizer = config.model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension = resizer.max_dimension = 192
    config.model.faster_rcnn.first_stage_max_proposals = 64
    config.model.faster_rcnn.second_stage_batch_size = 32
    (losses, end), (losses_again, end_again) = (
        _ours(config, tmp_path / run / "initial", steps=6) for run in ("first", "again")
    )
    assert losses == losses_again
    weights, weights_again = _variables(end), _variables(end_again)
    assert weights.keys() == weights_again.keys() and len(weights) > 100
    for name in weights:
        assert np.array_equal(weights[name], weights_again[name]), name
