"""Recognition learns its training images by heart."""

import pytest

import tfrecords
from replicate.recognition import training
from replicate.recognition.request import RecognitionRequest


@pytest.mark.slow
def test_the_tiny_set_is_over_fitted(shared, tmp_path):
    tiny = shared / "coco" / "tiny"
    for split in ("train", "val"):
        annotations_file = tiny / "annotations" / f"instances_{split}2017.json"
        tfrecords.convert(
            str(annotations_file), str(tiny / f"{split}2017"), f"{tmp_path}/{split}", 2
        )
    tfrecords.write_label_map(str(annotations_file), f"{tmp_path}/label_map.pbtxt")
    request = RecognitionRequest(
        records=f"{tmp_path}/train-?????-of-?????.tfrecord",
        label_map=f"{tmp_path}/label_map.pbtxt",
        backbone="MobileNet",
        image_size=96,
        batch_size=16,
        num_epochs=50,
        batch_norm_momentum=0.9,
        flip=False,
    )
    settings = training.RecognitionSettings(
        val_records=f"{tmp_path}/val-?????-of-?????.tfrecord", evaluate_train=True
    )
    found = training.train(request, tmp_path / "run", settings, "")
    assert found["train"]["metrics"]["categories_counted"] == 80
    assert found["train"]["metrics"]["mean_AP"] > 0.9
    # Held-back images show that it is memory, not a fault in the metric.
    assert found["val"]["metrics"]["mean_AP"] < 0.5
