"""What parity runs, in either environment: `python -m replicate.parity.runs JOB.json`.

A job is a JSON object: `run` names a function of this file, `layer` says whether the kit's
compatibility layer is loaded first (False in the native environment), the rest are the
function's arguments. Results go to a .npz of named arrays; the name's first part says what
kind of value it is (`predictions/`, `detections/`, `losses/`, `gradients/`, ...).
"""

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np

from replicate.parity import fixed

SEED = 20
STEP = 1000  # where in the learning-rate schedule the optimizer is looked at
COCO_KEYPOINTS = 17
IMAGE_HW = (480, 640)
AUGMENTED_HW = (240, 320)


def run_model(
    config_path: str,
    output: str,
    checkpoint: str,
    other_checkpoint: str | None = None,
    loader: str = "api",
) -> None:
    """One model with fixed weights: inference, losses, training gradients, optimizer, checkpoint.

    Args:
      config_path: a pipeline.config.
      output: .npz to write.
      checkpoint: prefix of two checkpoints to write: `-weights-1` has the fixed weights as a
        released archive has them, `-training-1` those after two updates, with the optimizer.
      other_checkpoint: the same prefix of the other environment. Both are restored into fresh
        models, and how far what they then hold is from what this environment's models hold,
        and what they detect, is given as `restored/...`.
      loader: who restores the weights to detect with: `api`, as the API's own tools do it, or
        `kit`, whose `replicate.evaluate.detector` it is.
    """
    import tensorflow as tf

    pipeline = _pipeline(config_path)
    message = pipeline["model"].SerializeToString(deterministic=True)
    results: dict[str, Any] = {"config/model": np.frombuffer(message, np.uint8)}
    inferring, inference = _inference(pipeline["model"])
    results.update(inference)
    tf.train.Checkpoint(model=inferring).save(f"{checkpoint}-weights")
    trained, training = _training(pipeline)
    results.update(training)
    tf.train.Checkpoint(**trained).save(f"{checkpoint}-training")
    if other_checkpoint:
        weights = f"{other_checkpoint}-weights-1"
        model, detections = (
            _kit_detects(config_path, weights)
            if loader == "kit"
            else _api_detects(pipeline["model"], weights)
        )
        results.update(fixed.flatten(detections, "restored/detections/"))
        results.update(_held("weights", model.variables, inferring.variables))
        del model, inferring
        results.update(_restored_training(pipeline, f"{other_checkpoint}-training-1", trained))
    np.savez(output, **results)


def run_model_in_float64(config_path: str, output: str) -> None:
    """What `run_model` says of inference, losses and gradients, from layers that compute in
    float64, where two environments round so nearly alike that no ReLU's sign, no order of scores
    and no sum that cancels depends on it. Decoding and losses are float32, as in mixed precision.
    """
    import tensorflow as tf

    tf.keras.mixed_precision.set_global_policy("float64")
    pipeline = _pipeline(config_path)
    _, results = _inference(pipeline["model"])
    _, _, training = _trained_step(pipeline["model"])
    np.savez(output, **results, **training)


def _pipeline(config_path: str) -> dict[str, Any]:
    from object_detection.utils import config_util

    return config_util.get_configs_from_pipeline_file(config_path)


def _build(model_config: Any, is_training: bool) -> tuple[Any, Any, Any]:
    """A model with its variables made and filled, its inputs and their true shapes."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(model_config, is_training=is_training)
    images = fixed.image(*IMAGE_HW)
    if is_training:  # another picture beside it, so that batch norm's statistics are not of one
        images = np.concatenate([images, 255 - fixed.image(*IMAGE_HW, frequency=3)])
    inputs, true_shapes = model.preprocess(tf.constant(images))
    model.provide_groundtruth(**_groundtruth(model_config, inputs))
    model.predict(inputs, true_shapes)
    fixed.fill_weights(model)
    return model, inputs, true_shapes


def _groundtruth(model_config: Any, inputs: Any) -> dict[str, list]:
    kind = getattr(model_config, model_config.WhichOneof("model"))
    masked = kind.DESCRIPTOR.name == "FasterRcnn" and kind.number_of_stages == 3
    keypoints = kind.DESCRIPTOR.name == "CenterNet" and kind.keypoint_estimation_task
    return fixed.groundtruth(
        model_config,
        batch_size=int(inputs.shape[0]),
        image_hw=tuple(inputs.shape[1:3]) if masked else None,
        keypoints=COCO_KEYPOINTS if keypoints else 0,
    )


def _inference(model_config: Any) -> tuple[Any, dict[str, Any]]:
    """(the model, what it gives for one image, with losses and their gradients)"""
    import tensorflow as tf

    tf.keras.backend.set_learning_phase(False)
    model, inputs, true_shapes = _build(model_config, is_training=False)
    predictions, results = _step(model, inputs, true_shapes, "inference")
    return model, {
        "preprocessing/inputs": inputs.numpy(),
        "preprocessing/true_shapes": true_shapes.numpy(),
        **fixed.flatten(predictions, "predictions/"),
        **fixed.flatten(model.postprocess(predictions, true_shapes), "detections/"),
        **results,
    }


def _training(pipeline: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(model and optimizer after two updates, the losses and gradients of one training step)

    The updates are made with drawn gradients, so that the optimizer is compared on equal terms.
    """
    model, variables, results = _trained_step(pipeline["model"])
    fixed.fill_weights(model)  # batch norm's averages have moved
    optimizer, learning_rate = _optimizer(pipeline["train_config"].optimizer, model)
    results["optimizer/learning_rate"] = np.asarray(learning_rate())
    _update(optimizer, variables)
    for name, variable in zip(_names(variables), variables, strict=True):
        results[f"optimizer/{name}"] = variable.numpy()
    return {"model": model, "optimizer": optimizer}, results


def _trained_step(model_config: Any) -> tuple[Any, list, dict[str, Any]]:
    """(a model, its trainable variables, the losses and gradients of one training step)"""
    import tensorflow as tf

    tf.keras.backend.set_learning_phase(True)
    model, inputs, true_shapes = _build(model_config, is_training=True)
    _, results = _step(model, inputs, true_shapes, "training")
    return model, model.trainable_variables, results


def _step(model: Any, inputs: Any, true_shapes: Any, mode: str) -> tuple[dict, dict[str, Any]]:
    """(predictions, the losses and the gradients of their sum)"""
    import tensorflow as tf

    tf.random.set_seed(SEED)
    with tf.GradientTape() as tape:
        predictions = as_float32(model.predict(inputs, true_shapes))
        losses = model.loss(predictions, true_shapes)
        regularization = model.regularization_losses()
        losses["regularization"] = tf.add_n(regularization) if regularization else tf.zeros(())
        total = tf.add_n(list(as_float32(losses).values()))
    variables = model.trainable_variables
    results = fixed.flatten(losses, f"losses_{mode}/")
    for name, gradient in zip(_names(variables), tape.gradient(total, variables), strict=True):
        if gradient is not None:
            results[f"gradients_{mode}/{name}"] = tf.convert_to_tensor(gradient).numpy()
    return predictions, results


def as_float32(predictions: Any) -> Any:
    """Nested tensors with their float64 ones cast, as the API's loop casts bfloat16 ones."""
    import tensorflow as tf

    def cast(tensor: Any) -> Any:
        return tf.cast(tensor, tf.float32) if tensor.dtype == tf.float64 else tensor

    return tf.nest.map_structure(cast, predictions)


def _names(variables: Sequence[Any]) -> list[str]:
    return [f"{index:04d} {variable.name}" for index, variable in enumerate(variables)]


def _update(optimizer: Any, variables: Sequence[Any]) -> None:
    import tensorflow as tf

    for update in range(2):
        drawn = [fixed.normal(f"{update}:{i}", v.shape) for i, v in enumerate(variables)]
        optimizer.apply_gradients(zip(map(tf.constant, drawn), variables, strict=True))


def _optimizer(config: Any, model: Any) -> tuple[Any, Callable[[], Any]]:
    """(the optimizer of a train_config, as the API's training loop makes it; its learning rate)"""
    import tensorflow as tf
    from object_detection.builders import optimizer_builder

    step = tf.Variable(STEP, dtype=tf.int64, trainable=False)
    optimizer, (learning_rate,) = optimizer_builder.build(config, global_step=step)
    if config.use_moving_average:
        optimizer.shadow_copy(model)
    return optimizer, learning_rate if callable(learning_rate) else lambda: learning_rate


def _kit_detects(config_path: str, prefix: str) -> tuple[Any, dict]:
    """(the kit's model with the weights of a checkpoint, what it detects)"""
    from replicate import config
    from replicate.evaluate import detector

    loader = detector.Detector(config.read(config_path))
    loader.restore(prefix)
    image, true_shape = loader.preprocess(fixed.image(*IMAGE_HW)[0])
    return loader.model, loader(image[np.newaxis], true_shape[np.newaxis])


def _api_detects(model_config: Any, prefix: str) -> tuple[Any, dict]:
    """(a fresh model with the weights of a checkpoint, what it detects)"""
    import tensorflow as tf

    tf.keras.backend.set_learning_phase(False)
    model, inputs, true_shapes = _build(model_config, is_training=False)
    _forget(model.variables)
    status = tf.train.Checkpoint(model=model).restore(prefix)
    status.assert_existing_objects_matched()
    return model, model.postprocess(model.predict(inputs, true_shapes), true_shapes)


def _restored_training(
    pipeline: dict[str, Any], prefix: str, trained: dict[str, Any]
) -> dict[str, np.ndarray]:
    """How far a fresh model and optimizer with a checkpoint's values are from the trained ones."""
    import tensorflow as tf

    tf.keras.backend.set_learning_phase(True)
    model, _, _ = _build(pipeline["model"], is_training=True)
    optimizer, _ = _optimizer(pipeline["train_config"].optimizer, model)
    _update(optimizer, model.trainable_variables)  # makes its slots
    _forget([*model.variables, *optimizer.variables()])
    status = tf.train.Checkpoint(model=model, optimizer=optimizer).restore(prefix)
    status.assert_existing_objects_matched()
    return {
        **_held("model", model.variables, trained["model"].variables),
        **_held("optimizer", optimizer.variables(), trained["optimizer"].variables()),
    }


def _forget(variables: Sequence[Any]) -> None:
    for variable in variables:
        variable.assign(variable * 0)


def _held(part: str, restored: Sequence[Any], own: Sequence[Any]) -> dict[str, np.ndarray]:
    """The relative difference of each restored variable from its own counterpart."""
    return {
        f"restored/{part}/{name}": np.asarray(
            fixed.largest_relative_difference(one.numpy(), other.numpy())
        )
        for name, one, other in zip(_names(own), restored, own, strict=True)
    }


def run_augmentation(config_path: str, output: str, seeds: int) -> None:
    """Each augmentation step of a pipeline.config, `seeds` times, on the fixed image and boxes."""
    import tensorflow as tf
    from object_detection.builders import preprocessor_builder
    from object_detection.core import preprocessor
    from object_detection.core import standard_fields as fields

    names = fields.InputDataFields
    points_yx_norm, visible = fixed.keypoints_yx_norm(COCO_KEYPOINTS)
    results: dict[str, Any] = {}
    for index, step in enumerate(_pipeline(config_path)["train_config"].data_augmentation_options):
        function, arguments = preprocessor_builder.build(step)
        kind = step.WhichOneof("preprocessing_step")
        with_keypoints = kind != "random_crop_image" and (
            kind != "random_horizontal_flip" or bool(arguments["keypoint_flip_permutation"])
        )
        arguments_by_function = preprocessor.get_default_func_arg_map(
            include_label_weights=True,
            include_instance_masks=True,
            include_keypoints=with_keypoints,
            include_keypoint_visibilities=with_keypoints,
        )
        for seed in range(seeds):
            tensors = {
                names.image: tf.constant(fixed.image(*AUGMENTED_HW)),
                names.groundtruth_boxes: tf.constant(fixed.GROUNDTRUTH_BOXES_YXYX_NORM),
                names.groundtruth_classes: tf.constant(fixed.GROUNDTRUTH_CLASSES, tf.int64) + 1,
                names.groundtruth_weights: tf.ones(len(fixed.GROUNDTRUTH_CLASSES)),
                names.groundtruth_instance_masks: tf.constant(fixed.masks(*AUGMENTED_HW)),
                names.groundtruth_keypoints: tf.constant(points_yx_norm),
                names.groundtruth_keypoint_visibilities: tf.constant(visible),
            }
            with _seeded(preprocessor.tf, seed):
                augmented = _in_graph(
                    preprocessor.preprocess,
                    tensors,
                    [(function, arguments)],
                    arguments_by_function,
                )
            results.update(fixed.flatten(augmented, f"{kind}/{index:02d}/{seed}/"))
    np.savez(output, **results)


@contextlib.contextmanager
def _seeded(tf1: Any, seed: int) -> Iterator[None]:
    """Gives each random operation the next of a row of seeds. One that TensorFlow derives by
    itself would depend on how many operations its version has put into the graph before."""
    seeds = itertools.count(1000 * (seed + 1))

    def seeded(function: Callable) -> Callable:
        return lambda *args, **kwargs: function(*args, **{**kwargs, "seed": next(seeds)})

    tf1.set_random_seed(SEED)
    with contextlib.ExitStack() as patches:
        for module, name in (
            (tf1, "random_uniform"),
            (tf1.image, "sample_distorted_bounding_box"),
        ):
            patch = mock.patch.object(module, name, seeded(getattr(module, name)))
            patches.enter_context(patch)
        yield


def _in_graph(function: Callable, *arguments: Any) -> Any:
    """Calls a function in a graph, as in an input pipeline; some steps work in no other way."""
    import tensorflow as tf

    return tf.function(lambda: function(*arguments))()


def run_input(config_path: str, output: str, images: int) -> None:
    """The first `images` examples of the config's evaluation input, decoded and resized.

    tf_slim, which decodes them, looks for names that TensorFlow had moved before 2.15 already,
    so this one run needs a shim in the native environment too.
    """
    from replicate.odapi import shims

    shims.control_flow_names()
    from object_detection import inputs

    pipeline = _pipeline(config_path)
    dataset = inputs.eval_input(
        pipeline["eval_config"], pipeline["eval_input_configs"][0], pipeline["model"]
    )
    results: dict[str, Any] = {}
    for index, (features, labels) in enumerate(dataset.take(images)):
        for part, tensors in (("features", features), ("labels", labels)):
            for name, array in fixed.flatten(tensors, f"{part}/").items():
                if array.dtype.kind in "biuf":
                    results[f"{name}/{index}"] = array
    np.savez(output, **results)


def run_write_examples(output: str, images: int) -> None:
    """A TFRecord file with fixed pictures as JPEG, their boxes and PNG masks."""
    import tensorflow as tf

    def feature(kind: str, values: Any) -> Any:
        return tf.train.Feature(**{f"{kind}_list": {"value": values}})

    ymin, xmin, ymax, xmax = zip(*fixed.GROUNDTRUTH_BOXES_YXYX_NORM, strict=True)
    with tf.io.TFRecordWriter(output) as writer:
        for index in range(images):
            height, width = 480 - 40 * index, 640 - 90 * index
            picture = fixed.image(height, width, frequency=1 + index)[0].astype(np.uint8)
            masks = fixed.masks(height, width)[..., np.newaxis].astype(np.uint8)
            features = {
                "image/encoded": ("bytes", [tf.io.encode_jpeg(picture).numpy()]),
                "image/format": ("bytes", [b"jpeg"]),
                "image/height": ("int64", [height]),
                "image/width": ("int64", [width]),
                "image/source_id": ("bytes", [str(index).encode()]),
                "image/object/bbox/ymin": ("float", ymin),
                "image/object/bbox/xmin": ("float", xmin),
                "image/object/bbox/ymax": ("float", ymax),
                "image/object/bbox/xmax": ("float", xmax),
                "image/object/class/label": ("int64", [c + 1 for c in fixed.GROUNDTRUTH_CLASSES]),
                "image/object/is_crowd": ("int64", [0, 0, 1]),
                "image/object/area": ("float", masks.sum(axis=(1, 2, 3), dtype=np.float32)),
                "image/object/mask": ("bytes", [tf.io.encode_png(m).numpy() for m in masks]),
            }
            protos = {name: feature(*value) for name, value in features.items()}
            example = tf.train.Example(features={"feature": protos})
            writer.write(example.SerializeToString())


def main(job_path: str) -> None:
    """Runs the job of a file."""
    with open(job_path, encoding="utf-8") as job_file:
        job = json.load(job_file)
    runs = (run_model, run_model_in_float64, run_augmentation, run_input, run_write_examples)
    run = {function.__name__: function for function in runs}[job.pop("run")]
    if job.pop("layer"):
        from replicate import odapi

        odapi.load()
    run(**job)


if __name__ == "__main__":
    main(sys.argv[1])
