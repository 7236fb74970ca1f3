"""LiteRT's suppression category by category loses a category on several threads; the kit knows.

When a LiteRT no longer does, `lost` says something that is not so, and this fails.
"""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from replicate import odapi
from replicate.export import postprocess

odapi.load()

import tensorflow as tf

BOXES = 100


def _operator(num_classes, regular, folder):
    """A TFLite model of the operator alone, as the API's builder has it made."""
    attributes = {
        "max_detections": f"i: {BOXES}",
        "max_classes_per_detection": "i: 1",
        "use_regular_nms": f"b: {str(regular).lower()}",
        "nms_score_threshold": "f: 0.1",
        "nms_iou_threshold": "f: 0.6",
        "num_classes": f"i: {num_classes}",
    } | {f"{side}_scale": f"f: {10 if side in 'xy' else 5}.0" for side in "xyhw"}
    signature = 'name: "TFLite_Detection_PostProcess" ' + " ".join(
        f'attr {{ key: "{name}" value {{ {value} }} }}' for name, value in attributes.items()
    )
    at = np.linspace(0.05, 0.95, BOXES)
    anchors = np.stack([at, at, np.full(BOXES, 0.002), np.full(BOXES, 0.002)], axis=1)

    @tf.function(experimental_implements=signature)
    def suppressed(boxes, scores, anchors):
        return tuple(tf.constant(0.0, name=name) for name in ("boxes", "classes", "scores", "n"))

    class Alone(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([1, BOXES, 4]),
                tf.TensorSpec([1, BOXES, num_classes + 1]),
            ]
        )
        def detect(self, boxes, scores):
            anchors_of_it = tf.constant(anchors, tf.float32)
            return suppressed(tf.identity(boxes), tf.identity(scores), anchors_of_it)[::-1]

    module = Alone()
    tf.saved_model.save(module, str(folder), signatures=module.detect.get_concrete_function())
    return tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()


def _survivors(content, num_classes, threads):
    """The class indices that are found where each box has one class at 0.5."""
    scores = np.zeros((1, BOXES, num_classes + 1), np.float32)
    scores[0, np.arange(BOXES), 1 + np.arange(BOXES) % num_classes] = 0.5
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        is_scores = entry["shape"][-1] == num_classes + 1
        given = scores if is_scores else np.zeros((1, BOXES, 4), np.float32)
        interpreter.set_tensor(entry["index"], given)
    interpreter.invoke()
    outputs = interpreter.get_signature_runner().get_output_details()
    count = int(interpreter.get_tensor(outputs["output_0"]["index"])[0])
    classes = interpreter.get_tensor(outputs["output_2"]["index"])[0, :count]
    return {int(index) for index in classes}


@pytest.mark.parametrize("num_classes", [3, 7, 90])
def test_what_is_lost_is_known(num_classes, tmp_path):
    content = _operator(num_classes, True, tmp_path)
    options = postprocess.options_of(content)
    assert options["use_regular_nms"] and options["num_classes"] == num_classes
    for threads in (1, 2, 3, 4, 7, 8):
        missing = set(range(num_classes)) - _survivors(content, num_classes, threads)
        told = postprocess.lost(options, threads)
        assert missing == ({threads} if told else set()), (threads, told)
        assert told is None or f"class index {threads} " in told


def test_the_fast_suppression_loses_none(tmp_path):
    content = _operator(7, False, tmp_path)
    assert postprocess.lost(postprocess.options_of(content), 2) is None
    assert _survivors(content, 7, 2) == set(range(7))


def test_a_model_without_the_operator():
    doubled = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([1, 2])])
    concrete = [doubled.get_concrete_function()]
    content = tf.lite.TFLiteConverter.from_concrete_functions(concrete, tf.Module()).convert()
    assert postprocess.options_of(content) is None
    assert postprocess.lost(None, 2) is None
