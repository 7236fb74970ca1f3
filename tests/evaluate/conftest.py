"""Small models of each family with made-up weights, and objects that they find."""

import json
import pathlib

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from replicate import config as configs
from replicate import odapi

odapi.load()

import tensorflow as tf

import tfrecords
from replicate.demo import drawing
from replicate.evaluate import detections
from replicate.evaluate.detector import Detector
from replicate.parity import fixed

STEP = 7
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
    "efficientdet": (
        "ssd_efficientdet_d0_512x512_coco17_tpu-8",
        {f"model.ssd.{_KEEP}.min_dimension": 256, f"model.ssd.{_KEEP}.max_dimension": 256},
    ),
    "faster_rcnn": (
        "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8",
        {
            f"model.faster_rcnn.{_KEEP}.min_dimension": 96,
            f"model.faster_rcnn.{_KEEP}.max_dimension": 96,
            "model.faster_rcnn.first_stage_max_proposals": 30,
            "model.faster_rcnn.second_stage_batch_size": 8,
        },
    ),
    "mask_rcnn": (
        "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
        {
            "model.faster_rcnn.image_resizer.fixed_shape_resizer.height": 128,
            "model.faster_rcnn.image_resizer.fixed_shape_resizer.width": 128,
            "model.faster_rcnn.first_stage_max_proposals": 20,
            "model.faster_rcnn.second_stage_batch_size": 8,
        },
    ),
    "centernet": (
        "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8",
        {
            f"model.center_net.{_KEEP}.min_dimension": 96,
            f"model.center_net.{_KEEP}.max_dimension": 96,
        },
    ),
}


class Case:
    """A folder with a model's config and checkpoint, images, annotations and records."""

    def __init__(self, folder, family, overrides=(), checkpoint=True):
        self.folder = pathlib.Path(folder)
        drawn_file, self.image_dir = drawing.draw(folder, train_images=1, val_images=7)["val"]
        drawn = json.loads(pathlib.Path(drawn_file).read_text())
        self.annotations_file = str(self.folder / "instances.json")
        pathlib.Path(self.annotations_file).write_text(json.dumps(drawn))
        tfrecords.write_label_map(self.annotations_file, str(self.folder / "label_map.pbtxt"))
        model, shrinking = MODELS[family]
        self.config = configs.render(
            model,
            overrides=[(path, str(value)) for path, value in shrinking.items()] + list(overrides),
            train_records=f"{folder}/val-*.tfrecord",
            val_records=f"{folder}/val-*.tfrecord",
            label_map=str(self.folder / "label_map.pbtxt"),
            num_classes=3,
            fine_tune_checkpoint="",
        )
        self.config_path = self.folder / "pipeline.config"
        self.config_path.write_text(configs.to_text(self.config))
        self.checkpoint_dir = self.folder / "checkpoints"
        if checkpoint:
            self.save(STEP)

    def save(self, step, directory=None):
        """A checkpoint of `step` with made-up weights, as the API's own loop would name things."""
        model = Detector(self.config).model
        fixed.fill_weights(model)
        for variable in model.trainable_variables:
            variable.assign(_tamed(variable) * (1 + step / 1000))
        checkpoint = tf.train.Checkpoint(model=model, step=tf.Variable(step, dtype=tf.int64))
        tf.train.CheckpointManager(
            checkpoint, str(directory or self.checkpoint_dir), 9, checkpoint_name="ckpt"
        ).save(checkpoint_number=step)

    def save_averages(self, step):
        """A checkpoint whose moving averages are made-up weights, and its own weights zeros.

        For a config that uses moving averages.
        """
        detector = Detector(self.config)
        optimizer = detector._averages
        fixed.fill_weights(detector.model)
        pairs = zip(optimizer._average_weights, optimizer._model_weights, strict=True)
        for average, weight in pairs:
            average.assign(weight)
            weight.assign(tf.zeros_like(weight))
        checkpoint = tf.train.Checkpoint(model=detector.model, optimizer=optimizer)
        tf.train.CheckpointManager(
            checkpoint, str(self.checkpoint_dir), 1, checkpoint_name="ckpt"
        ).save(checkpoint_number=step)

    def evaluation(self, **arguments):
        return detections.Evaluation(
            self.config, self.annotations_file, self.image_dir, **arguments
        )

    def make_objects(self):
        """Replaces the annotations by some of the model's own detections, moved a little.

        Every fifth is a crowd. Areas are those of the boxes, as the API's evaluator takes them.
        """
        evaluation = self.evaluation()
        evaluation.restore(str(self.checkpoint_dir))
        rng = np.random.default_rng(11)
        document = json.loads(pathlib.Path(self.annotations_file).read_text())
        height_width = {each["id"]: (each["height"], each["width"]) for each in document["images"]}
        objects = []
        for found in evaluation.by_image(progress=False):
            height, width = height_width[found.image_id]
            for index in rng.permutation(len(found.scores))[:12]:
                x, y, w, h = found.boxes_xywh_px[index].astype(float)
                x0, y0 = np.clip([x, y] + rng.normal(0, 0.04, 2) * [w, h], 0, [width, height])
                x1, y1 = np.clip(
                    [x + w, y + h] + rng.normal(0, 0.04, 2) * [w, h], 0, [width, height]
                )
                if x1 - x0 < 2 or y1 - y0 < 2:
                    continue
                if found.masks is not None and not coco_mask.area(found.masks[index]):
                    continue  # a conversion drops it, while the raw annotations keep it
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": found.image_id,
                        "category_id": found.category_ids[index],
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": int(len(objects) % 5 == 4),
                    }
                )
                if found.masks is not None:
                    objects[-1]["segmentation"] = found.masks[index]
        document["annotations"] = objects
        pathlib.Path(self.annotations_file).write_text(json.dumps(document))
        tfrecords.convert(
            self.annotations_file,
            self.image_dir,
            str(self.folder / "val"),
            1,
            include_masks="segmentation" in objects[0],
            progress=False,
        )
        return objects


def _tamed(variable):
    """Weights under which Faster R-CNN is not sure of itself, its masks are neither empty nor full
    and CenterNet's boxes have a size."""
    if "mask_head" in variable.name:
        return variable + 0.001 if "bias" in variable.name else variable
    if "mask_rcnn" in variable.name or "FirstStageBoxPredictor" in variable.name:
        return variable * 0.1
    is_head_of_two = variable.shape == [2] and variable.name.startswith("conv2d")
    return variable + 4 if is_head_of_two else variable


@pytest.fixture(scope="session")
def ssd(tmp_path_factory):
    """A Case of the SSD with objects that it finds."""
    case = Case(tmp_path_factory.mktemp("ssd"), "ssd")
    case.make_objects()
    return case
