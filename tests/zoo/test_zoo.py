"""The registry against the published table."""

import csv

import pytest

from replicate import zoo
from replicate.errors import UserError


def test_every_published_row_with_its_figures(shared):
    with open(shared / "zoo/published.csv", newline="") as table:
        published = list(csv.DictReader(table))
    assert len(published) == 43
    assert [
        {
            "archive": row.archive,
            "display_name": row.display_name,
            "url": row.url,
            "speed_ms": row.speed_ms,
            "box_map": row.box_map,
            "mask_map": row.mask_map,
            "keypoint_map": row.keypoint_map,
            "outputs": "/".join(row.outputs),
            "config": row.template,
        }
        for row in zoo.rows()
    ] == [
        {
            **row,
            "config": row["config"] or None,
            **{
                key: float(row[key]) if row[key] else None
                for key in ("speed_ms", "box_map", "mask_map", "keypoint_map")
            },
        }
        for row in published
    ]


@pytest.mark.parametrize(
    "name, display_name",
    [
        ("ssd_mobilenet_v2_320x320_coco17_tpu-8", "SSD MobileNet v2 320x320"),
        ("ssd_mobilenet_v2_320x320_coco17_tpu-8.tar.gz", "SSD MobileNet v2 320x320"),
        ("ssd_mobilenet_v2_320x320_coco17_tpu-8.config", "SSD MobileNet v2 320x320"),
        # the archive's name and the training config's name differ
        ("efficientdet_d0_coco17_tpu-32", "EfficientDet D0 512x512"),
        ("ssd_efficientdet_d0_512x512_coco17_tpu-8", "EfficientDet D0 512x512"),
        ("efficientdet d0 512X512", "EfficientDet D0 512x512"),
        # two rows, one archive name: the newer one
        ("extremenet", "ExtremeNet"),
        ("ExtremeNet (deprecated)", "ExtremeNet (deprecated)"),
    ],
)
def test_find(name, display_name):
    assert zoo.find(name).display_name == display_name


def test_names_are_unambiguous():
    display_names = [row.display_name for row in zoo.rows()]
    assert len(set(display_names)) == len(display_names)
    templates = [row.template for row in zoo.rows() if row.template]
    assert len(set(templates)) == len(templates)


def test_unknown_name_lists_the_nearest():
    with pytest.raises(UserError) as raised:
        zoo.find("ssd_mobilenet_v2_fpnlite_320")
    assert "unknown zoo model 'ssd_mobilenet_v2_fpnlite_320'" in str(raised.value)
    assert "did you mean ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8?" in str(raised.value)
