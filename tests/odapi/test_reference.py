"""Outputs and losses on this TensorFlow against the native one's, recorded elsewhere.

The record was made on TensorFlow 2.15.1 and another processor, so rounding differs in the last
bits even where the computation is the same. That reaches the numbers only through a choice: two
anchors of the Faster R-CNN have the same objectness to one part in float32's resolution, one on
each side of the cut to 300 proposals. So its first stage is compared as it is, its proposals as
a set in which only such ties may change places, and its second stage on the record's own
proposals.
"""

import zlib

import numpy as np
import pytest

from replicate import config, odapi
from replicate.parity import fixed
from tests.odapi import recording

RELATIVE = 1e-4
SAMPLED = 2000  # the reference keeps at most this many values of an array, the record fewer

SSD = "ssd_mobilenet_v2_320x320_coco17_tpu-8"
FASTER_RCNN = "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8"
CENTERNET = "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8"

# The balanced sampler of the RPN loss draws its anchors at random.
RANDOM = {"loss/Loss/RPNLoss/objectness_loss"}
# What depends on which proposals were kept and in which order.
BY_PROPOSAL = {
    "refined_box_encodings",
    "class_predictions_with_background",
    "proposal_boxes",
    "proposal_boxes_normalized",
    "final_anchors",
    "box_classifier_features",
    "post/raw_detection_boxes",
    "post/raw_detection_scores",
    "loss/Loss/BoxClassifierLoss/classification_loss",
}


def run(model, model_config):
    """Predictions, detections and losses of a model with fixed weights on the fixed image."""
    import tensorflow as tf

    # A training before, in this process, leaves Keras in its training phase.
    tf.keras.backend.set_learning_phase(False)
    inputs, true_shapes = model.preprocess(tf.constant(fixed.image(480, 640)))
    model.predict(inputs, true_shapes)
    fixed.fill_weights(model)
    predictions = model.predict(inputs, true_shapes)
    model.provide_groundtruth(**fixed.groundtruth(model_config))
    regularization = [float(loss) for loss in model.regularization_losses() or []]
    return {
        **fixed.flatten(predictions),
        **fixed.flatten(model.postprocess(predictions, true_shapes), "post/"),
        **fixed.flatten(model.loss(predictions, true_shapes), "loss/"),
        "loss/regularization": np.float64(sum(regularization)),
    }


def build(name):
    odapi.load()
    from object_detection.builders import model_builder

    model_config = config.template(name).model
    return model_builder.build(model_config, is_training=False), model_config


def compare(results, record, keys):
    """The keys whose values differ by more than `RELATIVE`, with the difference."""
    differences = {}
    for key in keys:
        values = np.asarray(results[key])
        if key + "#shape" in record:
            assert values.shape == tuple(record[key + "#shape"]), key
            values = values.reshape(-1)
        if values.size > SAMPLED:
            generator = np.random.default_rng(zlib.crc32(key.encode()))
            values = values[generator.choice(values.size, SAMPLED, replace=False)]
        values = recording.thinned(key, values)
        differences[key] = fixed.largest_relative_difference(values, record[key])
    return {key: value for key, value in differences.items() if value > RELATIVE}


def keys_of(record):
    return {key for key in record.files if not key.endswith("#shape")}


def recorded(name):
    return np.load(recording.RECORDED / f"{name}.npz")


@pytest.mark.parametrize("name", [SSD, FASTER_RCNN, CENTERNET])
def test_the_record_is_that_of_native_tensorflow(shared, name):
    reference = recording.outputs(shared / "reference" / f"{name}.npz")
    record = recorded(name)
    assert set(record.files) == set(reference)
    for key, values in reference.items():
        np.testing.assert_array_equal(record[key], values, err_msg=key)


@pytest.mark.parametrize("name", [SSD, CENTERNET])
def test_outputs_and_losses_equal_the_record(name):
    record = recorded(name)
    results = run(*build(name))
    assert compare(results, record, keys_of(record)) == {}


@pytest.fixture(scope="module")
def faster_rcnn():
    """(model, its config, its results, the record)"""
    model, model_config = build(FASTER_RCNN)
    record = recorded(FASTER_RCNN)
    return model, model_config, run(model, model_config), record


def test_faster_rcnn_first_stage_and_detections_equal_the_record(faster_rcnn):
    _, _, results, record = faster_rcnn
    assert compare(results, record, keys_of(record) - RANDOM - BY_PROPOSAL) == {}


def test_faster_rcnn_proposals_differ_only_by_ties_in_objectness(faster_rcnn):
    """Proposals of one run that the other has not kept, or has at another place, are anchors
    whose objectness is that of the proposal in their place to float32's resolution."""
    _, _, results, record = faster_rcnn
    ours, theirs = (source["proposal_boxes"].reshape(-1, 4) for source in (results, record))
    moved = np.abs(ours - theirs).max(axis=1) > RELATIVE * np.abs(theirs).max()
    assert moved.sum() <= 5
    objectness = _objectness_of(results, np.concatenate([ours[moved], theirs[moved]]))
    ours_objectness, theirs_objectness = np.split(objectness, 2)
    resolution = np.finfo(np.float32).eps  # of numbers just under 1, which these are
    np.testing.assert_allclose(ours_objectness, theirs_objectness, rtol=0, atol=4 * resolution)


def _objectness_of(results, proposals_yxyx_px):
    """The first stage's objectness of the anchors that were decoded to these proposals."""
    import tensorflow as tf
    from object_detection.box_coders import faster_rcnn_box_coder
    from object_detection.core import box_list

    coder = faster_rcnn_box_coder.FasterRcnnBoxCoder(scale_factors=[10.0, 10.0, 5.0, 5.0])
    anchors = box_list.BoxList(tf.constant(results["anchors"]))
    boxes = coder.decode(results["rpn_box_encodings"][0], anchors).get().numpy()
    boxes = np.clip(boxes, 0, [480, 640, 480, 640])
    distances = np.abs(proposals_yxyx_px[:, np.newaxis] - boxes).max(axis=2)
    assert distances.min(axis=1).max() < 0.01, "a proposal that no anchor was decoded to"
    logits = results["rpn_objectness_predictions_with_background"][0].astype(np.float64)
    objectness = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    return objectness[distances.argmin(axis=1)]


def test_faster_rcnn_second_stage_equals_the_record_on_its_proposals(faster_rcnn, monkeypatch):
    import tensorflow as tf

    model, model_config, _, record = faster_rcnn
    proposals = tf.constant(record["proposal_boxes_normalized"].reshape(1, -1, 4))
    own = model._proposal_postprocess

    def recorded(*args):
        _, num_proposals = own(*args)
        return proposals, num_proposals

    monkeypatch.setattr(model, "_proposal_postprocess", recorded)
    results = run(model, model_config)
    assert compare(results, record, keys_of(record) - RANDOM) == {}
