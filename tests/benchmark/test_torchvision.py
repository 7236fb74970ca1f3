"""A PyTorch module of torchvision's convention; skipped where PyTorch is not installed."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is optional: requirements-torch.txt")

from replicate import benchmark
from replicate.errors import UserError
from tests.benchmark.conftest import COLOURS, find_colours


class Colours(torch.nn.Module):
    """Finds rectangles by colour; the colours are its weights."""

    def __init__(self, masks=False):
        super().__init__()
        self.register_buffer("colours", torch.tensor(list(COLOURS.values())) / 255)
        self.labels = list(COLOURS)
        self.masks = masks

    def forward(self, images):
        assert not self.training
        return [self._of_image(image) for image in images]

    def _of_image(self, image):
        found = {"boxes": [], "labels": [], "scores": [], "masks": []}
        for label, colour in zip(self.labels, self.colours, strict=True):
            mask = ((image - colour[:, None, None]).abs() < 1e-3).all(dim=0)
            y, x = torch.nonzero(mask, as_tuple=True)
            x1, y1, x2, y2 = x.min(), y.min(), x.max() + 1, y.max() + 1
            found["boxes"].append(torch.stack([x1, y1, x2, y2]).float())
            found["labels"].append(label)
            found["scores"].append(1 - 1 / float((x2 - x1) * (y2 - y1)))
            found["masks"].append(mask[None].float())
        output = {
            "boxes": torch.stack(found["boxes"]),
            "labels": torch.tensor(found["labels"]),
            "scores": torch.tensor(found["scores"], dtype=torch.float64),
        }
        return output | ({"masks": torch.stack(found["masks"])} if self.masks else {})


def test_module_callable_and_file_give_one_number(drawn, tmp_path):
    module = benchmark(Colours(), drawn, cache_dir=None, progress=False)
    by_callable = benchmark(
        lambda batch: [find_colours(image) for image in batch],
        drawn,
        cache_dir=None,
        progress=False,
    )
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(module.detected.results))
    by_file = benchmark(path, drawn, cache_dir=None)
    assert module.metrics == by_callable.metrics == by_file.metrics
    assert 0.5 < module.metrics["bbox"]["AP"] < 1
    assert module.model["name"] == "Colours"
    assert module.speed["device"].startswith("CPU") or torch.cuda.is_available()


def test_batches_of_images_of_different_sizes(drawn):
    one = benchmark(Colours(), drawn, cache_dir=None, progress=False)
    four = benchmark(Colours(), drawn, batch_size=4, cache_dir=None, progress=False)
    assert one.metrics == four.metrics and four.speed["batch_size"] == 4


def test_masks(drawn):
    record = benchmark(Colours(masks=True), drawn, cache_dir=None, progress=False)
    first = record.detected.results[0]
    height, width = first["segmentation"]["size"]
    assert (height, width) == (120, 160)
    from pycocotools import mask

    assert mask.toBbox(first["segmentation"]).tolist() == first["bbox"]


def test_kept_by_its_weights(drawn, tmp_path):
    kept = {"cache_dir": tmp_path / "cache", "progress": False}
    assert not benchmark(Colours(), drawn, **kept).cached
    assert benchmark(Colours(), drawn, **kept).cached
    changed = Colours()
    changed.colours[0] += 1e-6
    assert not benchmark(changed, drawn, **kept).cached


def test_labels_of_its_own(drawn):
    module = Colours()
    module.labels = [0, 1, 2]
    record = benchmark(
        module, drawn, category_ids=dict(enumerate(COLOURS)), cache_dir=None, progress=False
    )
    expected = benchmark(Colours(), drawn, cache_dir=None, progress=False)
    assert record.metrics == expected.metrics


def test_another_convention_is_named(drawn):
    class Other(torch.nn.Module):
        def forward(self, images):
            return [{"pred_boxes": torch.zeros(0, 4), "scores": torch.zeros(0)}]

    with pytest.raises(UserError, match="no 'boxes' .it has pred_boxes, scores.*output_transform"):
        benchmark(Other(), drawn, cache_dir=None, progress=False)


def test_an_image_without_detections(drawn):
    class Blind(torch.nn.Module):
        def forward(self, images):
            return [
                {
                    "boxes": torch.zeros(0, 4),
                    "labels": torch.zeros(0, dtype=torch.int64),
                    "scores": torch.zeros(0),
                }
                for _ in images
            ]

    record = benchmark(Blind(), drawn, cache_dir=None, progress=False)
    assert record.metrics["bbox"]["AP"] == 0 and record.detected.results == []
    assert np.isfinite(record.speed["images_per_second"])
