"""TF-Vision's checkpoints evaluated by the kit and by TF-Vision's own task and evaluator.

Weights are drawn at random once and given to both as a checkpoint; what they detect of drawn images
of 128 pixels has to be the same, and so has its score.
"""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from replicate import odapi

odapi.load()

import tensorflow as tf

import tfrecords
from replicate import engine, score
from replicate.demo import drawing
from replicate.errors import UserError
from replicate.evaluate import detections
from replicate.tfvision import official_task, render
from tests.conftest import PROJECT

SMALL = {
    "task.model.input_size": "[128, 128, 3]",
    "task.model.num_classes": "4",
    "task.model.detection_generator.pre_nms_score_threshold": "0.0",
    "task.validation_data.dtype": "float32",
    "task.validation_data.global_batch_size": "2",
    "task.validation_data.drop_remainder": "false",
}
MODELS = [
    pytest.param("retinanet_mobilenetv2_256", id="RetinaNet mobile"),
    pytest.param("retinanet_spinenet49_640", id="SpineNet", marks=pytest.mark.slow),
    pytest.param("retinanet_resnet50fpn_640_72epochs", id="R50-FPN", marks=pytest.mark.slow),
    pytest.param("maskrcnn_resnet50fpn_640", id="Mask R-CNN", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(annotation file, image folder, records' pattern) of six drawn images, whole batches."""
    folder = tmp_path_factory.mktemp("drawn")
    annotations, images = drawing.draw(folder, train_images=1, val_images=6)["val"]
    tfrecords.convert(
        *(annotations, images, str(folder / "records" / "val"), 1),
        include_masks=True,
        include_class_labels=True,
        progress=False,
    )
    return str(annotations), str(images), f"{folder}/records/val*"


def small(model, drawn):
    """The config of a published row, made small, over the drawn images."""
    annotations, _, records = drawn
    request = render.RenderRequest(
        overrides=list(SMALL.items()),
        annotations_file=annotations,
        val_records=records,
        init_checkpoint="",
    )
    return render.render(model, request)


def theirs(config, folder):
    """(checkpoint's prefix, COCO results, metrics) by TF-Vision's own task and evaluator."""
    from official.vision.evaluation import coco_utils

    params = official_task.experiment(config)
    task = official_task.task_of(params)
    model = task.build_model()
    task.build_metrics(training=False)
    batches = list(task.build_inputs(params.task.validation_data))
    task.validation_step(batches[0], model)  # makes the variables
    rng = np.random.default_rng(3)
    heads = [getattr(model, name, None) for name in ("head", "rpn_head", "detection_head")]
    for head in tf.nest.flatten([*heads, getattr(model, "mask_head", None)]):
        for variable in head.trainable_variables if head is not None else ():
            # Its first values are so small that every score is the bias's.
            noise = rng.normal(0, 0.02, variable.shape)
            variable.assign_add(tf.constant(noise, variable.dtype))
    prefix = tf.train.Checkpoint(model=model).write(str(folder / "ckpt-1"))
    task.coco_metric.reset_states()
    # As its evaluator runs it (`eval_tf_function`): traced, where TensorFlow folds a batch norm
    # into its convolution, which rounds otherwise than the two one after the other.
    traced = tf.function(lambda batch: task.validation_step(batch, model))
    for batch in batches:
        groundtruths, outputs = traced(batch)[task.coco_metric.name]
        task.coco_metric.update_state(groundtruths, outputs)
    results = coco_utils.convert_predictions_to_coco_annotations(
        {name: list(values) for name, values in task.coco_metric._predictions.items()}
    )
    return prefix, results, task.coco_metric.result()


def by_image(results):
    found = {}
    for each in results:
        if each["score"] > 0:
            found.setdefault(int(each["image_id"]), []).append(each)
    return found


def by_mask_area(annotations, found):
    """The box metrics as TF-Vision's evaluator has them of a model with masks: whether a box is
    small, medium or large is told by its mask's area (coco_utils.COCOWrapper.loadRes)."""
    groundtruth = COCO(annotations)
    detected = groundtruth.loadRes(copy.deepcopy(found))
    for each in detected.dataset["annotations"]:
        each["area"] = float(coco_mask.area(each["segmentation"]))
    evaluation = COCOeval(groundtruth, detected, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(score.METRICS["bbox"], map(float, evaluation.stats), strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_detections_are_those_of_its_own_evaluation(model, drawn, tmp_path):
    config = small(model, drawn)
    prefix, expected, metrics = theirs(config, tmp_path)
    annotations, images, _ = drawn
    found, restored = detections.Evaluation(config, annotations, images, batch_size=2).detect(
        prefix, progress=False
    )
    assert restored == prefix
    ours, others = by_image(found), by_image(expected)
    assert len(ours) == 6 and ours.keys() == others.keys()
    count = 0
    for image_id, mine in ours.items():
        theirs_here = others[image_id]
        assert len(mine) == len(theirs_here)
        for key in ("score", "category_id"):
            np.testing.assert_allclose(
                [each[key] for each in mine], [each[key] for each in theirs_here], rtol=1e-6
            )
        np.testing.assert_allclose(
            [each["bbox"] for each in mine],
            [each["bbox"] for each in theirs_here],
            rtol=1e-6,
            atol=1e-4,
        )
        if config.params.at("task.model.include_mask"):
            for a, b in zip(mine, theirs_here, strict=True):
                assert a["segmentation"]["counts"] == b["segmentation"]["counts"].decode()
        count += len(mine)
    assert count >= 100
    results = tmp_path / "ours.json"
    results.write_text(json.dumps(found))
    kinds = ("bbox", "segm") if config.params.at("task.model.include_mask") else ("bbox",)
    for kind in kinds:
        scored = score.score(annotations, str(results), iou_type=kind).metrics
        told = {name: value for name, value in scored.items() if value is not None}
        prefix_of = {"bbox": "", "segm": "mask_"}[kind]
        assert told["AR@100"] > 0
        if kinds == ("bbox", "segm") and kind == "bbox":
            assert told["AP"] == pytest.approx(float(metrics["AP"]), abs=1e-6)
            told = {name: by_mask_area(annotations, found)[name] for name in told}
        for name, value in told.items():
            official = float(metrics[prefix_of + name.replace("AR@", "ARmax")])
            assert value == pytest.approx(official, abs=1e-6), (kind, name)


def test_the_tool_scores_a_checkpoint(drawn, tmp_path):
    """tools/evaluate.py on a folder with params.yaml and a checkpoint; every image is scored."""
    config = small("retinanet_mobilenetv2_256", drawn)
    prefix, _, _ = theirs(config, tmp_path)
    (tmp_path / "params.yaml").write_text(render.text_of(config, ""))
    annotations, images, _ = drawn
    command = [sys.executable, PROJECT / "tools" / "evaluate.py", f"--checkpoint={tmp_path}"]
    command += [f"--annotations_file={annotations}", f"--image_dir={images}"]
    command += [f"--output={tmp_path}/found.json", f"--metrics_output={tmp_path}/metrics.json"]
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    expected = score.score(annotations, f"{tmp_path}/found.json")
    assert metrics["metrics"] == expected.metrics
    assert metrics["inference"]["suppression"] == "model"
    assert metrics["annotations"]["images"] == 6


def test_a_checkpoint_of_another_model_is_told(drawn, tmp_path):
    config = small("retinanet_mobilenetv2_256", drawn)
    prefix = tf.train.Checkpoint(model=tf.Module()).write(str(tmp_path / "ckpt-1"))
    with pytest.raises(UserError, match="does not hold this model's variables"):
        engine.detector(config).restore(prefix)


def test_what_the_kit_does_not_run_is_told():
    config = render.render("centernet_hourglass104_tpu_512", render.RenderRequest())
    with pytest.raises(UserError, match="is not run by the kit"):
        engine.detector(config)
