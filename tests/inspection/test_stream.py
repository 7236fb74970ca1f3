"""The examples that are looked at are those that a run is fed; the stages lead to them."""

import itertools

import numpy as np
import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.inspection import stream
from replicate.train import input_stream
from tests.inspection import making

SEED, BATCH = 7, 2
MASKS = {
    "train_input_reader.load_instance_masks": "true",
    "train_input_reader.mask_type": "PNG_MASKS",
}
CROPS = {"train_config.data_augmentation_options[1].random_crop_image.min_area": 0.1}


def _config(family, records, overrides=()):
    return making.config(family, overrides, **making.paths(records))


@pytest.mark.parametrize(
    "family, overrides, step", [("ssd", MASKS, 8), ("centernet", {}, 0), ("faster_rcnn", {}, 3)]
)
def test_the_batch_of_a_step(family, overrides, step, records):
    """Of 12 records, step 8's batch of two is in the second epoch."""
    config = _config(family, records, overrides)
    model = odapi.build_model(config.model, is_training=True)
    first = step * BATCH
    batches = input_stream.train_dataset(config, model, seed=SEED, first_example=first)
    fed = next(batches.take(1).as_numpy_iterator())
    found = list(stream.examples(config, model, seed=SEED, first_example=first, count=BATCH))
    assert [example.number for example in found] == [first, first + 1]
    for part, ours in zip(fed, ("features", "labels"), strict=True):
        stacked = [getattr(example, ours) for example in found]
        assert part.keys() == stacked[0].keys()
        for name, array in part.items():
            np.testing.assert_array_equal(np.concatenate([each[name] for each in stacked]), array)


@pytest.mark.parametrize("family, overrides", [("ssd", MASKS | CROPS), ("centernet", {})])
def test_the_last_stage_is_what_is_resized(family, overrides, records):
    config = _config(family, records, overrides)
    model = odapi.build_model(config.model, is_training=True)
    place = {"seed": SEED, "first_example": 4, "count": 4}
    lost = changed = 0
    for example, stages in zip(
        stream.examples(config, model, **place), stream.stages(config, **place), strict=True
    ):
        last = stages[-1]
        assert len(stages) == 1 + len(config.train_config.data_augmentation_options)
        np.testing.assert_array_equal(stages[0].image, example.decoded["image"])
        image, shape = model.preprocess(tf.constant(last.image[None]))
        np.testing.assert_array_equal(image, example.features["image"])
        np.testing.assert_array_equal(shape, example.features["true_image_shape"])
        np.testing.assert_array_equal(last.category_ids, example.category_ids)
        true_hw = np.tile(example.features["true_image_shape"][0, :2], 2)
        np.testing.assert_allclose(
            last.boxes_yxyx_norm * true_hw, example.boxes_yxyx_px, rtol=1e-4, atol=1e-3
        )
        for stage in stages:
            assert (stage.category_ids == stages[0].category_ids[stage.origin]).all()
            if overrides:
                assert stage.masks.shape == (len(stage.category_ids), *stage.image.shape[:2])
        lost += len(stages[0].category_ids) - len(last.category_ids)
        changed += any(
            not np.array_equal(before.image, after.image)
            for before, after in itertools.pairwise(stages)
            if before.image.shape == after.image.shape
        )
    assert lost > 0, "a crop must have dropped an object, or following them shows nothing"
    assert changed > 0


def test_names_and_settings_of_the_augmentation(records):
    flip, crop = stream.augmentations(_config("ssd", records))
    assert flip == ("random_horizontal_flip", "")
    assert crop[0] == "random_crop_image"
    assert "min_aspect_ratio: 0.75 max_aspect_ratio: 3" in crop[1]
