"""What is wrong with a false positive: TIDE's kinds (Bolya et al., arXiv 2008.08115, 2.2)."""

from collections.abc import Sequence

import numpy as np

#: TIDE's kinds of false positives, in the order in which its own code asks for them.
KINDS = ("Loc", "Cls", "Dupe", "Bkg", "Both")
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1


def kind_of(
    box_xywh_px: Sequence[float],
    category_id: int,
    truth_xywh_px: np.ndarray,
    truth_category_ids: np.ndarray,
) -> str:
    """The kind of one false positive.

    Args:
      box_xywh_px: of the detection: x, y, width, height.
      category_id: of the detection.
      truth_xywh_px: (M, 4) boxes of the image's objects, crowd regions left out.
      truth_category_ids: (M,) their categories.

    Returns:
      One of KINDS: badly placed, wrong category, duplicate, background, or wrong and badly placed.
    """
    if not len(truth_xywh_px):
        return "Bkg"
    ious = _ious(np.asarray(box_xywh_px, float), np.asarray(truth_xywh_px, float))
    same = truth_category_ids == category_id
    of_same = ious[same].max(initial=0.0)
    of_other = ious[~same].max(initial=0.0)
    if BACKGROUND_IOU <= of_same < FOREGROUND_IOU:
        return "Loc"
    if of_other >= FOREGROUND_IOU:
        return "Cls"
    if of_same >= FOREGROUND_IOU:
        return "Dupe"
    return "Bkg" if max(of_same, of_other) < BACKGROUND_IOU else "Both"


def _ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(M,) IoU of a box with others, all x, y, width, height in pixels."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=1)
    return overlap / np.maximum(box[2:].prod() + others[:, 2:].prod(axis=1) - overlap, 1e-9)
