"""Each protocol done a second time, apart from the kit: pycocotools on changed files.

PLANTED: name of a protocol (with its value) -> function (Pycocotools) -> figures.
"""

import numpy as np

from tests.explain.conftest import mean

AT_MOST = 10**6


def _images(protocol, keep):
    ids = sorted(each["id"] for each in protocol.truth["images"] if keep(each["id"]))
    return protocol.figures(imgIds=ids)


def with_detections(protocol):
    having = {each["image_id"] for each in protocol.detections}
    return _images(protocol, having.__contains__)


def with_groundtruth(protocol):
    having = {each["image_id"] for each in protocol.truth["annotations"]}
    return _images(protocol, having.__contains__)


def score_cut(cut):
    def figures(protocol):
        protocol.detections = [each for each in protocol.detections if each["score"] >= cut]
        return protocol.figures()

    return figures


def max_dets(count):
    return lambda protocol: protocol.figures(maxDets=[1, 1, count])


def max_dets_of_image(count):
    def figures(protocol):
        kept, seen = [], {}
        for each in sorted(protocol.detections, key=lambda each: -each["score"]):
            seen[each["image_id"]] = seen.get(each["image_id"], 0) + 1
            if seen[each["image_id"]] <= count:
                kept.append(each)
        protocol.detections = kept
        return protocol.figures(maxDets=[1, 1, AT_MOST])

    return figures


def one_class(protocol):
    best = {}
    for each in protocol.detections:
        shape = each.get("segmentation", {}).get("counts") or tuple(each["bbox"])
        key = (each["image_id"], shape)
        if key not in best or each["score"] > best[key]["score"]:
            best[key] = each
    protocol.detections = [each for each in protocol.detections if each in best.values()]
    return protocol.figures()


def class_agnostic(protocol):
    return protocol.figures(useCats=0)


def crowd_as_object(protocol):
    for each in protocol.truth["annotations"]:
        each["iscrowd"] = 0
    return protocol.figures()


def crowd_removed(protocol):
    truth = protocol.truth
    truth["annotations"] = [each for each in truth["annotations"] if not each["iscrowd"]]
    return protocol.figures()


def area_of_box(protocol):
    for each in protocol.truth["annotations"]:
        each["area"] = each["bbox"][2] * each["bbox"][3]
    return protocol.figures()


def eleven_points(protocol):
    return protocol.figures(recThrs=np.linspace(0, 1, 11))


def area_under_curve(protocol):
    """As PASCAL VOC's devkit of 2010 sums it: rectangles under the envelope."""
    averages = []
    for true, count in _curves(protocol):
        recall = np.concatenate([[0], np.cumsum(true) / count, [1]])
        precision = np.cumsum(true) / np.arange(1, len(true) + 1)
        envelope = np.maximum.accumulate(np.concatenate([[0], precision, [0]])[::-1])[::-1]
        averages.append(float((np.diff(recall) * envelope[1:]).sum()))
    return _by_threshold(averages)


def trapezoid(reaching):
    """With the curves drawn as YOLOv5 or Ultralytics draw them, category by category."""

    def figures(protocol):
        averages = []
        for true, count in _curves(protocol):
            recall = np.cumsum(true) / count
            precision = np.cumsum(true) / np.arange(1, len(true) + 1)
            end = [1] if reaching or not len(true) else [recall[-1], 1]
            recall = np.concatenate([[0], recall, end])
            precision = np.concatenate([[1], precision, [0] * len(end)])
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.linspace(0, 1, 101)
            averages.append(np.trapezoid(np.interp(at, recall, envelope), at) if len(true) else 0)
        return _by_threshold(averages)

    return figures


def float32_recalls(protocol):
    # torch.linspace(0, 1, 101): up from 0 to the middle, down from 1; test_libraries.py holds it.
    step = np.float32(1) / np.float32(100)
    up = [float(step * np.float32(place)) for place in range(50)]
    down = [float(np.float32(1) - step * np.float32(place)) for place in range(51)]
    return protocol.figures(recThrs=np.array(up + down[::-1]))


def _curves(protocol):
    """Of each IoU threshold and category: true or false by falling score, and the objects."""
    evaluation = protocol.evaluation()
    images = len(evaluation.params.imgIds)
    for threshold in range(10):
        for k in range(len(evaluation.params.catIds)):
            found = [each for each in evaluation.evalImgs[k * 4 * images :][:images] if each]
            count = sum((np.asarray(each["gtIgnore"]) == 0).sum() for each in found)
            if not count:
                continue
            scores = np.concatenate([each["dtScores"] for each in found])
            order = np.argsort(-scores, kind="mergesort")
            matched = np.concatenate([each["dtMatches"][threshold] for each in found])[order]
            ignored = np.concatenate([each["dtIgnore"][threshold] for each in found])[order]
            yield (matched > 0)[~ignored.astype(bool)], count


def _by_threshold(averages):
    averages = np.reshape(averages, (10, -1))
    return {"AP": float(averages.mean()), "AP50": float(averages[0].mean())}


def best_object_only(protocol):
    """Objects are taken away from a detection, but the one that it overlaps most."""
    from pycocotools import mask
    from pycocotools.cocoeval import COCOeval

    compute = COCOeval.computeIoU

    def best_alone(self, image_id, category_id):
        iou = compute(self, image_id, category_id)
        if len(iou):
            best = iou.argmax(axis=1)
            iou = np.where(np.arange(iou.shape[1]) == best[:, None], iou, 0)
        return iou

    assert mask  # pycocotools' overlaps are its own
    COCOeval.computeIoU = best_alone
    try:
        return protocol.figures()
    finally:
        COCOeval.computeIoU = compute


def inclusive(protocol):
    for each in (*protocol.truth["annotations"], *protocol.detections):
        x, y, width, height = each["bbox"]
        each["bbox"] = [x, y, width + 1, height + 1]
    figures = protocol.figures()
    del figures["APs"]  # sizes stay those of the boxes as they came
    return figures


def _corners(change):
    def figures(protocol):
        sizes = {each["id"]: (each["width"], each["height"]) for each in protocol.truth["images"]}
        for each in protocol.detections:
            x, y, width, height = each["bbox"]
            x1, y1, x2, y2 = change(x, y, x + width, y + height, *sizes[each["image_id"]])
            each["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        return protocol.figures()

    return figures


def corners_as_size(protocol):
    for each in protocol.detections:
        x, y, width, height = each["bbox"]
        each["bbox"] = [x, y, x + width, y + height]
    return protocol.figures()


def _letterboxed(side, centred=False):
    def change(x1, y1, x2, y2, width, height):
        longest = max(width, height)
        left, top = ((longest - width) / 2, (longest - height) / 2) if centred else (0, 0)
        times = side / longest
        return (x1 + left) * times, (y1 + top) * times, (x2 + left) * times, (y2 + top) * times

    return _corners(change)


def empty_categories_zero(protocol):
    evaluation = protocol.evaluation()
    precision = np.maximum(evaluation.eval["precision"][:, :, :, 0, -1], 0)
    recall = np.maximum(evaluation.eval["recall"][:, :, 0, -1], 0)
    return {"AP": mean(precision), "AP50": mean(precision[0]), "AR@100": mean(recall)}


def micro_average(protocol):
    """All categories' matches in one list, and the precision of that at 101 recalls."""
    evaluation = protocol.evaluation()
    per_range = len(evaluation.params.imgIds)
    found = [
        each
        for k in range(len(evaluation.params.catIds))
        for each in evaluation.evalImgs[k * 4 * per_range :][:per_range]
        if each
    ]
    count = sum((np.asarray(each["gtIgnore"]) == 0).sum() for each in found)
    scores = np.concatenate([each["dtScores"] for each in found])
    images = np.repeat([e["image_id"] for e in found], [len(e["dtScores"]) for e in found])
    # Of equal scores, images in order, and then the order of the file.
    numbers = np.concatenate([each["dtIds"] for each in found])
    order = np.lexsort((numbers, images, -scores))
    averages = []
    for threshold in range(10):
        matched = np.concatenate([each["dtMatches"][threshold] for each in found])[order]
        ignored = np.concatenate([each["dtIgnore"][threshold] for each in found])[order]
        true = (matched > 0)[~ignored.astype(bool)]
        precision = np.cumsum(true) / np.arange(1, len(true) + 1)
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        at = np.searchsorted(np.cumsum(true) / count, np.linspace(0, 1, 101))
        averages.append(envelope[np.minimum(at, len(true))].mean())
    return {"AP": float(np.mean(averages)), "AP50": float(averages[0])}


def contiguous(first):
    def figures(protocol):
        ids = sorted(each["id"] for each in protocol.truth["categories"])
        for each in protocol.detections:
            each["category_id"] = ids.index(each["category_id"]) + first
        return protocol.figures()

    return figures


PLANTED = {
    "images_with_detections": with_detections,
    "images_with_groundtruth": with_groundtruth,
    **{
        f"score_cut={cut:g}": score_cut(cut)
        for cut in (0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    },
    "max_dets=1": max_dets(1),
    "max_dets=10": max_dets(10),
    "max_dets=300": max_dets(300),
    "max_dets=no limit": max_dets(AT_MOST),
    **{f"max_dets_of_image={n}": max_dets_of_image(n) for n in (1, 10, 100, 300)},
    "one_class_per_box": one_class,
    "class_agnostic": class_agnostic,
    "crowd_as_object": crowd_as_object,
    "crowd_removed": crowd_removed,
    "area_of_box": area_of_box,
    "area_under_curve": area_under_curve,
    "eleven_points": eleven_points,
    "trapezoid=to recall 1": trapezoid(reaching=True),
    "trapezoid=to the last recall": trapezoid(reaching=False),
    "float32_recalls": float32_recalls,
    "best_object_only": best_object_only,
    "empty_categories_zero": empty_categories_zero,
    "micro_average": micro_average,
    "contiguous_ids=from 1": contiguous(1),
    "contiguous_ids=from 0": contiguous(0),
}
OF_BOXES = {
    "inclusive_pixels": inclusive,
    "rounded_boxes=nearest": _corners(lambda *a: np.rint(a[:4]).tolist()),
    "rounded_boxes=truncated": _corners(lambda *a: np.trunc(a[:4]).tolist()),
    "clipped_boxes": _corners(
        lambda x1, y1, x2, y2, w, h: np.clip([x1, y1, x2, y2], 0, [w, h, w, h]).tolist()
    ),
    "corners_as_size": corners_as_size,
    "scale_not_undone=fractions of the padded image": _corners(
        lambda x1, y1, x2, y2, w, h: (
            x1 * w / max(w, h),
            y1 * h / max(w, h),
            x2 * w / max(w, h),
            y2 * h / max(w, h),
        )
    ),
    "scale_not_undone=fractions of the centred image": _corners(
        lambda x1, y1, x2, y2, w, h: tuple(
            (value + (max(w, h) - side) / 2) * side / max(w, h)
            for value, side in ((x1, w), (y1, h), (x2, w), (y2, h))
        )
    ),
    "scale_not_undone=stretched to 640": _corners(
        lambda x1, y1, x2, y2, w, h: (x1 * 640 / w, y1 * 640 / h, x2 * 640 / w, y2 * 640 / h)
    ),
    "scale_not_undone=letterboxed to 640": _letterboxed(640),
    "scale_not_undone=letterboxed to 512": _letterboxed(512),
    "scale_not_undone=letterboxed to 640, centred": _letterboxed(640, centred=True),
}
