"""A config that the linter has nothing to say of."""

import pytest

from replicate import config

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.fixture
def complete(tmp_path):
    """A config without a finding: every path exists."""
    for name in ("train.tfrecord", "val.tfrecord", "ckpt-1.index"):
        (tmp_path / name).touch()
    labels = tmp_path / "label_map.pbtxt"
    labels.write_text("item { id: 1 name: 'a' }\nitem { id: 90 name: 'b' }\n")
    return config.render(
        FPNLITE,
        train_records=str(tmp_path / "train.tfrecord"),
        val_records=str(tmp_path / "val.tfrecord"),
        label_map=str(labels),
        fine_tune_checkpoint=str(tmp_path / "ckpt-1"),
    )
