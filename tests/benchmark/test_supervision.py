"""Detections of the supervision library, by each numbering, give the recorded detections' AP."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from replicate import benchmark
from replicate.benchmarking import Dataset
from replicate.errors import UserError
from tests.benchmark.conftest import NAMES
from tests.benchmark.replaying import IDS, corners_of, images_of, replay, run


def _supervision(found, class_ids, names=None):
    supervision = pytest.importorskip(
        "supervision", reason="optional: requirements-supervision.txt"
    )
    return supervision.Detections(
        xyxy=corners_of(found),
        confidence=found.scores,
        class_id=np.array(class_ids),
        data={} if names is None else {"class_name": np.array(names)},
    )


@pytest.mark.parametrize("numbering", ["contiguous", "contiguous_from_one", "coco", None])
def test_hand_built_sv_detections(drawn, recorded, numbering):
    found, metrics = recorded

    def convert(one):
        places = [IDS.index(id) for id in one.category_ids]
        class_ids = {"coco": one.category_ids, "contiguous_from_one": np.array(places) + 1}
        names = [NAMES[id].upper() for id in one.category_ids] if numbering is None else None
        return _supervision(one, class_ids.get(numbering, places), names)

    options = {"numbering": numbering} if numbering else {}
    record = run(replay(drawn, found, convert), drawn, **options)
    assert record.metrics["bbox"] == metrics


def test_masks_of_sv_detections(drawn, recorded, tmp_path):
    """Mask AP of masks as sv.Detections has them equals that of the same masks as COCO's RLE."""
    supervision = pytest.importorskip(
        "supervision", reason="optional: requirements-supervision.txt"
    )
    rng = np.random.default_rng(4)
    document = json.loads(pathlib.Path(drawn.annotations_file).read_text())
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    dataset = Dataset(str(path), drawn.image_dir)

    def masks(one, image):
        """Of each box an ellipse in it, so that the mask's AP is not the box's."""
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
        x, y, w, h = (side[:, None, None] for side in one.boxes_xywh_px.T)
        shrink = rng.uniform(0.4, 1.2, (len(x), 1, 1))
        off = ((columns - x - w / 2) / (w * shrink)) ** 2 + ((rows - y - h / 2) / (h * shrink)) ** 2
        return off <= 0.5

    of_images = [
        masks(one, image) for one, image in zip(recorded[0], images_of(drawn), strict=True)
    ]
    results, replies = [], []
    for (image_id, _), one, of_one in zip(drawn.images, recorded[0], of_images, strict=True):
        for result, mask in zip(one.as_results(image_id), of_one, strict=True):
            encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            encoded["counts"] = encoded["counts"].decode()
            results.append(result | {"segmentation": encoded})
        replies.append(
            supervision.Detections(
                xyxy=corners_of(one),
                confidence=one.scores,
                class_id=np.array(one.category_ids),
                mask=of_one,
            )
        )
    (tmp_path / "detections.json").write_text(json.dumps(results))
    kinds = {"iou_types": ("bbox", "segm")}
    expected = benchmark(str(tmp_path / "detections.json"), dataset, cache_dir=None, **kinds)
    known = {image.tobytes(): reply for image, reply in zip(images_of(drawn), replies, strict=True)}
    record = run(
        lambda batch: [known[image.tobytes()] for image in batch],
        dataset,
        numbering="coco",
        **kinds,
    )
    assert record.metrics == expected.metrics
    assert 0.02 < record.metrics["segm"]["AP"] != record.metrics["bbox"]["AP"]


def test_sv_detections_that_do_not_say_what_they_count(drawn, recorded):
    convert = replay(drawn, recorded[0], lambda one: _supervision(one, one.category_ids))
    with pytest.raises(UserError, match="counts differently in every framework"):
        run(convert, drawn)
    with pytest.raises(UserError, match="a class number of 7, where contiguous over the 3"):
        run(convert, drawn, numbering="contiguous")
    without = replay(
        drawn,
        recorded[0],
        lambda one: dataclasses.replace(_supervision(one, one.category_ids), confidence=None),
    )
    with pytest.raises(UserError, match="without confidence"):
        run(without, drawn, numbering="coco")
