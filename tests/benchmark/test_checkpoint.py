"""A checkpoint and a run directory benchmarked: the detections of `replicate.evaluate`."""

import json

import pytest

from replicate import benchmark, config, odapi
from replicate.errors import UserError
from tests.benchmark.conftest import NAMES

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """A run directory with a small model of random weights."""
    odapi.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    folder = tmp_path_factory.mktemp("run")
    label_map = folder / "label_map.pbtxt"
    label_map.write_text(
        "".join(f"item {{ id: {id} name: '{name}' }}\n" for id, name in NAMES.items())
    )
    message = config.render(
        MODEL,
        overrides=[
            ("model.ssd.image_resizer.fixed_shape_resizer.height", "128"),
            ("model.ssd.image_resizer.fixed_shape_resizer.width", "128"),
            ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
        ],
        train_records="train.tfrecord",
        val_records="val.tfrecord",
        label_map=str(label_map),
        num_classes=max(NAMES),
        fine_tune_checkpoint="",
    )
    (folder / "pipeline.config").write_text(config.to_text(message))
    (folder / "spec.json").write_text(json.dumps({"format": 1}))
    model = model_builder.build(message.model, is_training=False)
    images, shapes = model.preprocess(tf.zeros([1, 128, 128, 3]))
    model.postprocess(model.predict(images, shapes), shapes)
    (folder / "checkpoints").mkdir()
    checkpoint = tf.train.Checkpoint(model=model)
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), 3)
    manager.save(checkpoint_number=7)
    return folder


def test_one_number_by_every_way(drawn, run_directory, tmp_path, monkeypatch):
    from replicate.benchmarking.adapters import checkpoint
    from replicate.evaluate import detections

    evaluation = detections.Evaluation(
        config.load(run_directory / "pipeline.config"), drawn.annotations_file, drawn.image_dir
    )
    expected, _ = evaluation.detect(run_directory / "checkpoints/ckpt-7", progress=False)
    # Random weights give detections everywhere, all of which must agree.
    assert len(expected) > 100
    kept = {"cache_dir": tmp_path / "cache", "progress": False, "batch_size": 4}
    of_run = benchmark(run_directory, drawn, **kept)
    assert not of_run.cached

    def ranked(results):
        return sorted((each["image_id"], each["category_id"], each["score"]) for each in results)

    found = of_run.detected.results
    assert [each[:2] for each in ranked(found)] == [each[:2] for each in ranked(expected)]
    assert [each[2] for each in ranked(found)] == pytest.approx(
        [each[2] for each in ranked(expected)], abs=1e-5
    )
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(expected))
    of_file = benchmark(path, drawn, cache_dir=None)
    assert of_run.metrics["bbox"] == pytest.approx(of_file.metrics["bbox"], abs=1e-6)
    assert of_run.speed["measured_batches"] == 2 and "TensorFlow" in of_run.speed["device"]

    # The same checkpoint by its own path is known, and nothing is built for it.
    monkeypatch.setattr(checkpoint, "_model", None)
    of_checkpoint = benchmark(
        run_directory / "checkpoints/ckpt-7",
        drawn,
        pipeline_config=run_directory / "pipeline.config",
        **kept,
    )
    assert of_checkpoint.cached and of_checkpoint.metrics == of_run.metrics


def test_checkpoint_needs_its_config(drawn, run_directory):
    with pytest.raises(UserError, match="a checkpoint needs its config"):
        benchmark(run_directory / "checkpoints/ckpt-7", drawn, cache_dir=None)


@pytest.mark.slow
def test_the_apis_own_export_gives_the_checkpoints_number(drawn, run_directory, tmp_path):
    """A SavedModel as the zoo's archives hold it, written by the API's exporter."""
    odapi.load()
    from object_detection import exporter_lib_v2

    message = config.load(run_directory / "pipeline.config")
    exporter_lib_v2.export_inference_graph(
        "image_tensor", message, str(run_directory / "checkpoints"), str(tmp_path / "exported")
    )
    of_run = benchmark(run_directory, drawn, cache_dir=None, progress=False)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(NAMES.get(id, f"no class {id}") for id in range(1, 8)))
    exported = benchmark(
        tmp_path / "exported", drawn, labels=labels, cache_dir=None, progress=False
    )
    assert exported.model["name"] == "exported"
    assert exported.metrics["bbox"] == pytest.approx(of_run.metrics["bbox"], abs=1e-6)

    def ranked(record):
        return sorted(
            (each["image_id"], each["category_id"], each["score"])
            for each in record.detected.results
        )

    assert [each[:2] for each in ranked(exported)] == [each[:2] for each in ranked(of_run)]
    assert [each[2] for each in ranked(exported)] == pytest.approx(
        [each[2] for each in ranked(of_run)], abs=1e-5
    )
