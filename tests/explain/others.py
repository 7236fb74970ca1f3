"""Other libraries' evaluators on COCO files; run by a Python that has them.

python others.py LIBRARY ANNOTATIONS DETECTIONS    # prints metrics as JSON
"""

import json
import sys


def torchmetrics(truth, detections):
    """Targets of boxes and labels alone, as most training loops give them."""
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(box_format="xywh", iou_type="bbox")

    def columns(records, scored):
        found = {
            "boxes": torch.tensor([e["bbox"] for e in records], dtype=torch.float64).reshape(-1, 4),
            "labels": torch.tensor([e["category_id"] for e in records], dtype=torch.int64),
        }
        if scored:
            found["scores"] = torch.tensor([e["score"] for e in records], dtype=torch.float64)
        return found

    for _, objects, found in _by_image(truth, detections):
        metric.update([columns(found, True)], [columns(objects, False)])
    values = metric.compute()
    names = {"AP": "map", "AP50": "map_50", "AP75": "map_75", "AR@100": "mar_100"}
    names |= {f"AP{size[0]}": f"map_{size}" for size in ("small", "medium", "large")}
    return {name: float(values[key]) for name, key in names.items()}


def supervision(truth, detections):
    """Targets without iscrowd, one sv.Detections an image."""
    import numpy as np
    import supervision as sv
    from supervision.metrics import MeanAveragePrecision

    metric = MeanAveragePrecision()

    def columns(records, scored):
        boxes = np.array([e["bbox"] for e in records], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return sv.Detections(
            xyxy=boxes,
            class_id=np.array([e["category_id"] for e in records], int),
            confidence=np.array([e["score"] for e in records], float) if scored else None,
        )

    for _, objects, found in _by_image(truth, detections):
        metric.update([columns(found, True)], [columns(objects, False)])
    result = metric.compute()
    return {"AP": float(result.map50_95), "AP50": float(result.map50), "AP75": float(result.map75)}


def ultralytics(truth, detections):
    """Its own matching and AP on labels as its converter writes them, without crowds."""
    import numpy as np
    import torch
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import ap_per_class, box_iou

    matcher = BaseValidator.__new__(BaseValidator)
    matcher.iouv = torch.linspace(0.5, 0.95, 10)
    matched, scores, classes, targets = [], [], [], []
    for _, objects, found in _by_image(truth, detections):
        objects = [each for each in objects if not each["iscrowd"]]
        found = sorted(found, key=lambda each: -each["score"])[:300]
        targets += [each["category_id"] for each in objects]
        if not found:
            continue
        corners = []
        for records in (objects, found):
            boxes = torch.tensor([e["bbox"] for e in records], dtype=torch.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            corners.append(boxes)
        called = torch.tensor([each["category_id"] for each in found])
        true = torch.tensor([each["category_id"] for each in objects])
        if objects:
            iou = box_iou(*corners)
            matched.append(matcher.match_predictions(called, true, iou).numpy())
        else:
            matched.append(np.zeros((len(found), 10), bool))
        scores += [each["score"] for each in found]
        classes += called.tolist()
    average = ap_per_class(
        np.concatenate(matched), np.array(scores), np.array(classes), np.array(targets)
    )[5]
    return {"AP": float(average.mean()), "AP50": float(average[:, 0].mean())}


def _without_torchvisions_kernels():
    """torchvision built for another PyTorch imports where its operators are at least declared.

    Nothing here calls them: its box conversions are Python.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_declared"] = declared  # it lives as long as this does
        for name in [each for each in sys.modules if each.startswith("torchvision")]:
            del sys.modules[name]


def _by_image(truth, detections):
    for image in truth["images"]:
        yield (
            image["id"],
            [each for each in truth["annotations"] if each["image_id"] == image["id"]],
            [each for each in detections if each["image_id"] == image["id"]],
        )


if __name__ == "__main__":
    library, annotations, results = sys.argv[1:]
    with open(annotations) as stream:
        truth = json.load(stream)
    with open(results) as stream:
        detections = json.load(stream)
    if library != "supervision":
        _without_torchvisions_kernels()
    print(json.dumps(globals()[library](truth, detections)))
