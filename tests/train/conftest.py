"""Training data on which a batch cut in parts gives what the whole batch gives."""

import json

import numpy as np
import PIL.Image
import pytest

import tfrecords
from replicate import config as configs

BOXES_XYWH_PX = [[4, 6, 30, 30], [40, 30, 16, 28]]


@pytest.fixture(scope="session")
def even_records(tmp_path_factory):
    """Two shards of eight images with the same boxes, other pixels and other classes.

    The API normalizes a replica's loss by the anchors matched there; with the same boxes
    everywhere a replica's share is the same, so the parts must sum to the whole.
    """
    folder = tmp_path_factory.mktemp("even")
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (folder / "images").mkdir()
    for number in range(1, 9):
        pixels = generator.integers(0, 256, (64, 64, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 64})
        annotations += [
            {
                "id": len(annotations) + at,
                "image_id": number,
                "category_id": int(generator.integers(1, 4)),
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for at, box in enumerate(BOXES_XYWH_PX, 1)
        ]
    categories = [{"id": index, "name": f"class {index}"} for index in (1, 2, 3)]
    file = folder / "annotations.json"
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    tfrecords.convert(str(file), str(folder / "images"), str(folder / "train"), 2, progress=False)
    tfrecords.write_label_map(str(file), str(folder / "label_map.pbtxt"))
    return folder


def small_ssd(records, **options):
    """The config of a small SSD over the records of a folder as `even_records` is."""
    return configs.render(
        "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
        overrides=[
            ("model.ssd.image_resizer.fixed_shape_resizer.height", "64"),
            ("model.ssd.image_resizer.fixed_shape_resizer.width", "64"),
            ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
            ("train_config.batch_size", "4"),
            ("train_config.num_steps", "6"),
        ],
        train_records=f"{records}/train-*.tfrecord",
        label_map=str(records / "label_map.pbtxt"),
        num_classes=3,
        fine_tune_checkpoint="",
        **options,
    )


@pytest.fixture(scope="session")
def even_config(even_records):
    """A small SSD over those records: batch norm frozen, no augmentation, no shuffling."""
    config = small_ssd(even_records)
    config.model.ssd.freeze_batchnorm = True
    del config.train_config.data_augmentation_options[:]
    config.train_input_reader.shuffle = False
    config.train_input_reader.num_readers = 2
    config.train_input_reader.read_block_length = 1  # from both shards in turn, as two workers read
    return config
