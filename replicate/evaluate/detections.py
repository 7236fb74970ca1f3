"""Detections of a whole annotation file, in the COCO results format."""

import itertools

import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask
from tqdm import tqdm

from replicate.errors import UserError
from replicate.evaluate import categories, images
from replicate.evaluate.detector import Detector


class Evaluation:
    """One model and one annotation file; each checkpoint given to `detect` is run over it.

    Args:
      config: TrainEvalPipelineConfig; its eval_input_reader names the label map.
      annotations_file: COCO annotation JSON; its images are detected, all of them.
      image_dir: the folder of their files.
      batch_size: images a forward pass; 1 is taken where the resizer gives varying sizes.

    Raises:
      UserError: an image that is missing, a label map that does not cover the categories.
    """

    def __init__(self, config, annotations_file, image_dir, *, batch_size=8):
        self._images, category_names = images.of(annotations_file, image_dir)
        num_classes = getattr(config.model, config.model.WhichOneof("model")).num_classes
        self._category_ids = categories.category_ids(
            _label_map_path(config), category_names, num_classes
        )
        self._detector = Detector(config)
        self._batch_size = 1 if self._detector.static_shape is None else batch_size

    def detect(self, checkpoint, progress=True):
        """The detections of a checkpoint.

        Args:
          checkpoint: prefix of a TF2 checkpoint, or a folder with one.
          progress: whether to draw a progress bar.

        Returns:
          (list of detections, prefix of the checkpoint): dicts with image_id, category_id, bbox
          (xywh, pixels of the original image), score, and segmentation (RLE) or keypoints (x, y,
          visibility, flat) where the model has them.

        Raises:
          UserError: a checkpoint that is not this model's, an image that cannot be decoded.
        """
        self._detector.restore(checkpoint)
        results = []
        description = f"evaluate {self._detector.checkpoint.rsplit('/', 1)[-1]}"
        with tqdm(
            total=len(self._images), desc=description, unit="image", disable=not progress
        ) as bar:
            remaining = iter(self._images)
            for batch in _batches(self._detector, self._images, self._batch_size):
                output = {name: value.numpy() for name, value in batch.items()}
                for row, image in enumerate(itertools.islice(remaining, self._batch_size)):
                    one = {name: value[row] for name, value in output.items()}
                    results += of_image(image.id, one.pop("image_hw"), one, self._category_ids)
                    bar.update()
        return results, self._detector.checkpoint


def _label_map_path(config):
    if not config.eval_input_reader or not config.eval_input_reader[0].label_map_path:
        raise UserError("eval_input_reader.label_map_path is not set; name the model's label map")
    return config.eval_input_reader[0].label_map_path


def _batches(detector, to_detect, batch_size):
    """Detections batch by batch; the last batch is filled up with its last image."""
    paths = [image.path for image in to_detect]
    paths += paths[-1:] * (-len(paths) % batch_size)

    def prepare(path):
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        resized, true_shape = detector.preprocess(image)
        return resized, true_shape, tf.shape(image)[:2]

    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    iterator = iter(dataset)
    for start in range(0, len(paths), batch_size):
        try:
            resized, true_shapes, image_hw = next(iterator)
        except tf.errors.InvalidArgumentError as error:
            raise UserError(_name_unreadable(to_detect[start:], error)) from None
        yield detector(resized, true_shapes) | {"image_hw": image_hw}


def _name_unreadable(candidates, error):
    """Which image it was: tf.data tells only that one could not be decoded."""
    for image in candidates:
        try:
            tf.io.decode_image(tf.io.read_file(image.path), channels=3, expand_animations=False)
        except tf.errors.OpError as decode_error:
            return (
                f"{image.path} (image id {image.id}): cannot be decoded "
                f"({decode_error.message.strip()}); replace the file or take the image out of the "
                "annotation file"
            )
    return f"evaluation input: {error.message}"


def of_image(image_id, image_hw, output, category_ids):
    """One image's detections as COCO results.

    The scale to pixels is done in float32, as the API's own COCO evaluator does it.

    Args:
      image_id: the annotation file's id.
      image_hw: int [2], the image's size in pixels.
      output: the API's postprocessed detections of the image, numpy, without batch dimension.
      category_ids: list from `categories.category_ids`.

    Returns:
      list of dicts; detections of a class that the file does not have are left out, since no
      groundtruth could match them.
    """
    count = int(output["num_detections"])
    height, width = (int(size) for size in image_hw)
    scale = np.array([height, width, height, width], np.float32)
    boxes_yxyx_px = output["detection_boxes"][:count].astype(np.float32) * scale
    boxes_xywh_px = np.stack(
        [
            boxes_yxyx_px[:, 1],
            boxes_yxyx_px[:, 0],
            boxes_yxyx_px[:, 3] - boxes_yxyx_px[:, 1],
            boxes_yxyx_px[:, 2] - boxes_yxyx_px[:, 0],
        ],
        axis=1,
    )
    masks = _masks(output, count, height, width)
    keypoints = _keypoints(output, count, height, width)
    results = []
    for index in range(count):
        category_id = category_ids[int(output["detection_classes"][index])]
        if category_id is None:
            continue
        detection = {
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [float(value) for value in boxes_xywh_px[index]],
            "score": float(output["detection_scores"][index]),
        }
        if masks is not None:
            detection["segmentation"] = masks[index]
        if keypoints is not None:
            detection["keypoints"] = keypoints[index]
        results.append(detection)
    return results


def _masks(output, count, height, width):
    """Box-relative masks pasted into the image, cut at 0.5 as the API's evaluation does; RLE."""
    if "detection_masks" not in output or not count:
        return None
    from object_detection.utils import ops

    pasted = ops.reframe_box_masks_to_image_masks(
        tf.constant(output["detection_masks"][:count]),
        tf.constant(output["detection_boxes"][:count]),
        height,
        width,
    ).numpy()
    encoded = [coco_mask.encode(np.asfortranarray(mask > 0.5, np.uint8)) for mask in pasted]
    return [{"size": each["size"], "counts": each["counts"].decode()} for each in encoded]


def _keypoints(output, count, height, width):
    """COCO's flat x, y, visibility (always 1) in pixels."""
    if "detection_keypoints" not in output or not count:
        return None
    scale = np.array([height, width], np.float32)
    keypoints_yx_px = output["detection_keypoints"][:count].astype(np.float32) * scale
    return [
        [float(value) for y, x in keypoints for value in (x, y, 1)] for keypoints in keypoints_yx_px
    ]
