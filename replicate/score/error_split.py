"""What AP50 would gain without errors of each kind: TIDE (Bolya et al., arXiv 2008.08115).

The arithmetic is hotcoco's, on what the paper calls errors: false positives, and groundtruth that
is missed. Two libraries disagree with that in two cases, and with each other:

- A crowd region is no groundtruth to be found, and a detection that it takes in is ignored by COCO,
  so neither a true nor a false positive. hotcoco holds false positives against crowd regions too
  ("localization" of what has nothing to be located), tidecv counts the ignored detections among
  the errors. Here both are left out before the split.
- A category with detections and no groundtruth has no AP: pycocotools leaves it out of the mean,
  and so does hotcoco; tidecv takes it in as 0 (dbolya/tide, issue 28), though its author means its
  mAP to be pycocotools' (issue 14). The base here is pycocotools' AP50.
"""

from typing import TYPE_CHECKING

import numpy as np

from replicate.score.evaluators import matched_by_hotcoco

if TYPE_CHECKING:
    from replicate.score.scoring import Result


def error_split(result: "Result") -> dict:
    """AP50 and what it would gain if errors of one kind alone were mended.

    Args:
      result: Result of `score`, of boxes or masks, with hotcoco among its evaluators.

    Returns:
      dict: ap_base (AP50 as COCO has it), delta_ap (kind -> gain, in 0..1), counts (kind -> times),
      pos_thr and bg_thr, the IoUs of a match and of background.
    """
    handle = result.evaluations["hotcoco"].handle
    truth = result.groundtruth
    if not truth.annotation_crowd[np.isin(truth.annotation_image_ids, result.image_ids)].any():
        return handle.tide_errors()
    judged = handle.image_diagnostics()["dt_status"]
    # hotcoco numbers detections from 1 in the order they were given; an ignored one has no status.
    keep = np.array([i + 1 in judged for i in range(len(result.detections))], bool)
    dataset = truth.as_coco()
    dataset["annotations"] = [
        annotation for annotation in dataset["annotations"] if not annotation.get("iscrowd")
    ]
    return matched_by_hotcoco(
        dataset, result.detections.select(keep), result.image_ids
    ).tide_errors()
