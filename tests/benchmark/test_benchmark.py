"""`replicate.benchmark`: one model by every way in gives one number."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from replicate import benchmark
from replicate.benchmarking import Model, ModelDetections, pictures
from replicate.errors import UserError
from replicate.score import score
from tests.benchmark.conftest import COLOURS, find_colours


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "cache"


def by_hand(dataset):
    """The same detector without the benchmark: the number that all ways must give."""
    from PIL import Image

    results = []
    for image_id, path in dataset.images:
        found = find_colours(np.asarray(Image.open(path)))
        results += [
            {"image_id": image_id, "category_id": int(c), "bbox": b.tolist(), "score": float(s)}
            for b, s, c in zip(found.boxes_xywh_px, found.scores, found.category_ids, strict=True)
        ]
    return results


def test_callable_file_and_hooks_give_one_number(drawn, colour_detector, kept, tmp_path):
    results = by_hand(drawn)
    expected = score(drawn.annotations_file, results).metrics
    assert 0.5 < expected["AP"] < 1

    through_callable = benchmark(colour_detector, drawn, cache_dir=None, progress=False)
    assert through_callable.metrics["bbox"] == expected
    assert through_callable.detected.results == results

    path = tmp_path / "detections.json"
    path.write_text(json.dumps(results))
    through_file = benchmark(path, drawn, cache_dir=kept)
    assert through_file.metrics["bbox"] == expected
    assert through_file.speed is None

    # Another input and output: float RGB turned over, boxes as corners in fractions.
    def call(batch):
        assert isinstance(batch, tuple) and all(each.dtype == np.float32 for each in batch)
        return [find_colours((255 * each[::-1]).round().astype(np.uint8)) for each in batch]

    def to_corners(outputs, image_hw):
        assert all(len(hw) == 2 for hw in image_hw)
        return [
            {
                "boxes_xywh_px": each.boxes_xywh_px,
                "scores": each.scores,
                "category_ids": each.category_ids,
            }
            for each in outputs
        ]

    moved = []
    through_hooks = benchmark(
        call,
        drawn,
        input_transform=lambda image: (image[::-1] / 255).astype(np.float32),
        collate=tuple,
        to_device=lambda batch: moved.append(len(batch)) or batch,
        output_transform=to_corners,
        batch_size=4,
        cache_dir=None,
        progress=False,
    )
    assert through_hooks.metrics["bbox"] == expected
    # Warm-up on the first batch three times, then the two batches of six images.
    assert moved == [4, 4, 4, 4, 2]


@pytest.mark.parametrize("batch_size, batches", [(1, 6), (4, 2), (100, 1)])
def test_batches_and_speed(drawn, colour_detector, batch_size, batches):
    record = benchmark(
        colour_detector, drawn, batch_size=batch_size, cache_dir=None, progress=False
    )
    assert colour_detector.calls == batches + 3
    speed = record.speed
    assert speed["measured_batches"] == batches and speed["warmup_batches"] == 3
    assert 0 < speed["latency_ms"]["median"] <= speed["latency_ms"]["p90"] * 1.5
    assert speed["images_per_second"] > 0 and speed["device"].startswith("CPU: ")
    assert speed["batch_size"] == batch_size


def test_results_are_kept_by_content(drawn, colour_detector, kept, tmp_path):
    def run(**options):
        before = colour_detector.calls
        record = benchmark(colour_detector, drawn, cache_dir=kept, progress=False, **options)
        assert record.cached == (colour_detector.calls == before)
        return record

    first = run(identity="colours v1")
    again = run(identity="colours v1")
    assert (first.cached, again.cached) == (False, True)
    assert again.to_json() == first.to_json()
    # Another model, other settings or no identity: run again.
    assert not run(identity="colours v2").cached
    assert not run(identity="colours v1", batch_size=2).cached
    assert not run().cached
    # Another image in the place of one: other data.
    folder = tmp_path / "copy"
    folder.mkdir()
    for _, path in drawn.images:
        (folder / path.name).write_bytes(path.read_bytes())
    copy = (drawn.annotations_file, str(folder))
    same = benchmark(colour_detector, copy, identity="colours v1", cache_dir=kept, progress=False)
    assert same.cached
    (folder / "1.png").write_bytes((folder / "4.png").read_bytes())
    other = benchmark(colour_detector, copy, identity="colours v1", cache_dir=kept, progress=False)
    assert not other.cached and other.metrics != first.metrics


def test_masks_and_keypoints(drawn, tmp_path):
    """Box and mask scores from one run; the masks of rectangles are their boxes."""
    truth = json.loads(pathlib.Path(drawn.annotations_file).read_text())
    for each in truth["annotations"]:
        x, y, w, h = each["bbox"]
        each["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(truth))

    def detect(batch):
        found = []
        for image in batch:
            one = find_colours(image)
            masks = [(image == COLOURS[id]).all(axis=2) for id in one.category_ids]
            found.append(
                ModelDetections(
                    one.boxes_xywh_px, one.scores, one.category_ids, masks=np.array(masks)
                )
            )
        return found

    record = benchmark(
        detect,
        (str(path), drawn.image_dir),
        iou_types=("bbox", "segm"),
        cache_dir=None,
        progress=False,
    )
    assert record.metrics["segm"]["AP"] == pytest.approx(record.metrics["bbox"]["AP"], abs=0.02)
    assert record.detected.results[0]["segmentation"]["size"] == [120, 160]


def test_record_is_small_and_whole(drawn, colour_detector, tmp_path):
    record = benchmark(
        colour_detector,
        drawn,
        name="ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
        paper_results={"AP50": 36.0},
        cache_dir=None,
        progress=False,
    )
    path = tmp_path / "record.json"
    record.write(path)
    written = json.loads(path.read_text())
    assert path.stat().st_size < 10_000
    assert written["metrics"]["bbox"]["AP"] == record.metrics["bbox"]["AP"]
    assert written["evaluators"]["agree"] is True
    assert len(written["dataset"]["images_sha256"]) == 64
    assert written["speed"]["images_per_second"] > 0
    compared = {(each["metric"], each["published"]) for each in written["published"]}
    assert compared == {("box AP", 22.2), ("AP50", 36.0)}
    assert all(each["verdict"] == "NOT COMPARABLE" for each in written["published"])
    assert "evaluated on 6 images" in record.text()


def nothing(batch):
    return []


@pytest.mark.parametrize(
    "model, options, message",
    [
        (nothing, {}, "detections for 0 images of a batch of 1"),
        (lambda batch: [None], {}, "gave NoneType for an image"),
        (lambda batch: [{"boxes": [], "scores": []}], {}, "keys boxes, scores; expected boxes_xy"),
        (
            lambda batch: [ModelDetections(np.zeros((2, 4)), np.zeros(1), np.zeros(2))],
            {},
            "image 1: the model gave 2 boxes, 1 scores and 2 category ids",
        ),
        (
            lambda batch: [
                ModelDetections(np.zeros((1, 3)), np.ones(1), np.ones(1, int)) for _ in batch
            ],
            {},
            r"image \d+: boxes_xywh_px of shape \(1, 3\); \(N, 4\) is wanted",
        ),
        (lambda batch: None, {}, "the model gave NoneType for a batch"),
        (17, {}, "a int is neither a path nor a callable"),
        ("no/such/model", {}, "no/such/model: no such file or folder"),
        (nothing, {"labels": "x"}, "labels: a callable has no such option, it is one of"),
        (nothing, {"name": "retinanet_resnet50"}, "did you mean retinanet_resnet50_fpn"),
        (nothing, {"arxiv": "2401.00001"}, "no published results of arXiv 2401.00001"),
        (
            nothing,
            {"paper_results": {"box ap": 22.2}},
            "unknown metric 'box ap'; did you mean 'box AP'",
        ),
        (nothing, {"paper_results": {"mAP": 22.2}}, "unknown metric 'mAP'"),
        (nothing, {"paper_results": {"box AP": 0.222}}, "0.222 is no figure in points"),
    ],
)
def test_mistakes_are_named(drawn, model, options, message):
    with pytest.raises(UserError, match=message):
        benchmark(model, drawn, cache_dir=None, progress=False, **options)


def test_images_that_are_not_there(drawn, tmp_path, colour_detector):
    with pytest.raises(UserError, match="needs the images: name their folder, --image_dir"):
        benchmark(colour_detector, (drawn.annotations_file, None), cache_dir=None)
    with pytest.raises(UserError, match="no such image folder"):
        benchmark(colour_detector, (drawn.annotations_file, str(tmp_path / "none")))
    with pytest.raises(UserError, match="6 of 6 images .* the first 1.png"):
        benchmark(colour_detector, (drawn.annotations_file, str(tmp_path)))
    for _, path in drawn.images:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "4.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="4.png: cannot be decoded"):
        benchmark(
            colour_detector,
            (drawn.annotations_file, str(tmp_path)),
            cache_dir=None,
            progress=False,
        )


def test_a_model_with_its_own_hooks(drawn):
    model = Model(
        lambda batch: [find_colours(image) for image in batch], name="colours", max_batch=2
    )
    record = benchmark(model, drawn, batch_size=5, cache_dir=None, progress=False)
    assert record.speed["batch_size"] == 2 and record.model["name"] == "colours"


def test_pictures(drawn, tmp_path):
    from PIL import Image

    sheet = pictures.draw(drawn, by_hand(drawn), tmp_path / "pictures", count=4)
    assert len(list((tmp_path / "pictures").glob("*.jpg"))) == 5
    with Image.open(sheet) as picture:
        assert picture.size == (4 * 360, 360)


def test_importing_the_package_is_cheap():
    """Neither an evaluator nor a framework is loaded before something is benchmarked."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, replicate; replicate.benchmark; "
            "print([m for m in ('tensorflow', 'torch', 'pycocotools', 'matplotlib', "
            "'ai_edge_litert') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
