"""Figures of the targets: anchors by role and level, heat maps, the best possible recall."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.inspection import counting
from replicate.inspection.targets import ROLES, AnchorTargets, HeatMapTargets, Level

if TYPE_CHECKING:
    from google.protobuf.message import Message

_IOU_THRESHOLDS = np.round(np.arange(0.0, 1.001, 0.05), 2)


class AnchorTally:
    """Adds up AnchorTargets.

    Args:
      rule: of the matching, see `rule_of`.
    """

    part = "anchors"

    def __init__(self, rule: dict) -> None:
        self.rule = rule
        self._before: list[np.ndarray] = []
        self._after: list[np.ndarray] = []
        self._levels: dict[tuple[Level, ...], int] = {}
        self._areas: list[np.ndarray] = []
        self._best_iou: list[np.ndarray] = []
        self._assigned: list[np.ndarray] = []

    def add(self, targets: AnchorTargets) -> None:
        """Counts the targets of a batch."""
        for image in range(len(targets.best_iou)):
            self._areas.append(counting.areas(targets.objects_yxyx_px[image]))
            self._best_iou.append(targets.best_iou[image])
            self._assigned.append(targets.assigned(image))
        # Where inputs differ in size, so do their feature maps: figures are by level's number.
        self._levels.setdefault(tuple(targets.levels), 0)
        self._levels[tuple(targets.levels)] += 1
        self._before.extend(targets.counts())
        self._after.extend(targets.counts(sampled=True))

    def content(self) -> dict:
        """rule, levels (means an image), per_image, objects by size, recall over IoU."""
        before, after = np.stack(self._before), np.stack(self._after)
        levels = max(self._levels, key=lambda levels: self._levels[levels])
        areas, best_iou, assigned = map(
            np.concatenate, (self._areas, self._best_iou, self._assigned)
        )
        return {
            "rule": self.rule,
            "images": len(before),
            "input_sizes": len(self._levels),
            "levels": [
                {
                    "feature_map_hw": list(level.feature_map_hw),
                    "anchors": level.anchors,
                    "outside": level.outside,
                    "matched": _by_role(before[:, number].mean(axis=0)),
                    "in_loss": _by_role(after[:, number].mean(axis=0)),
                }
                for number, level in enumerate(levels)
            ],
            "per_image": {
                "matched": _by_role(before.sum(axis=1).T.tolist()),
                "in_loss": _by_role(after.sum(axis=1).T.tolist()),
            },
            "by_size": _by_size(
                areas,
                {
                    "without_anchor": best_iou < (self.rule["matched_threshold"] or 0),
                    "recalled": assigned,
                },
            ),
            "recall": {
                "iou": _IOU_THRESHOLDS.tolist(),
                **{
                    size: [_share(best_iou[which] >= iou) for iou in _IOU_THRESHOLDS]
                    for size, which in _size_masks(areas).items()
                },
            },
        }


class HeatMapTally:
    """Adds up HeatMapTargets.

    Args:
      rule: min_box_overlap_iou alone.
    """

    part = "heat_maps"

    def __init__(self, rule: dict) -> None:
        self.rule = rule
        self._cells: dict[str, list[int]] = {"peak": [], "gaussian": [], "background": []}
        self._areas: list[np.ndarray] = []
        self._radius: list[np.ndarray] = []
        self._assigned: list[np.ndarray] = []

    def add(self, targets: HeatMapTargets) -> None:
        """Counts the targets of a batch."""
        self._stride, self._map_hw = targets.stride, targets.heat.shape[1:]
        for role, counts in targets.cells.items():
            self._cells[role].extend(counts.tolist())
        for image, boxes in enumerate(targets.objects_yxyx_px):
            self._areas.append(counting.areas(boxes))
            self._radius.append(targets.radius[image])
            self._assigned.append(targets.assigned(image))

    def content(self) -> dict:
        """rule, stride, map_hw, cells by role an image, radius, objects by size."""
        areas, radius, assigned = map(np.concatenate, (self._areas, self._radius, self._assigned))
        return {
            "rule": self.rule,
            "images": len(self._cells["peak"]),
            "stride": self._stride,
            "map_hw": list(self._map_hw),
            "per_image": self._cells,
            "radius_cells": np.bincount(radius).tolist() if len(radius) else [],
            "by_size": _by_size(areas, {"recalled": assigned}),
        }


def rule_of(config: "Message", model: Any) -> dict:
    """How the loss of a TrainEvalPipelineConfig and its DetectionModel chooses its anchors.

    matched_threshold and unmatched_threshold (IoU; None where the matcher has none), forced (every
    object gets its best anchor), outside ("pruned", "clipped" or "kept": anchors that leave the
    image), sampling (None, or dict of kind, and what it is told).
    """
    if config.model.HasField("faster_rcnn"):
        matcher = model._proposal_target_assigner._matcher
        first_stage = config.model.faster_rcnn
        sampling: dict | None = {
            "kind": "first stage",
            "size": model._first_stage_minibatch_size,
            "positive_fraction": first_stage.first_stage_positive_balance_fraction,
        }
        outside = "clipped" if model.clip_anchors_to_image else "pruned"
    else:
        matcher, sampling, outside = model._target_assigner._matcher, None, "kept"
        loss = config.model.ssd.loss
        if model._random_example_sampler:
            fraction = loss.random_example_sampler.positive_sample_fraction
            sampling = {"kind": "random sampler", "positive_fraction": fraction}
        elif model._hard_example_miner:
            miner = loss.hard_example_miner
            sampling = {
                "kind": "hard examples",
                "size": miner.num_hard_examples,
                "negatives_per_positive": miner.max_negatives_per_positive,
            }
    return {
        "matched_threshold": getattr(matcher, "_matched_threshold", None),
        "unmatched_threshold": getattr(matcher, "_unmatched_threshold", None),
        "forced": bool(getattr(matcher, "_force_match_for_each_row", False)),
        "outside": outside,
        "sampling": sampling,
    }


def _by_role(values: Any) -> dict:
    return dict(zip(ROLES, np.asarray(values).tolist(), strict=True))


def _size_masks(areas: np.ndarray) -> dict[str, np.ndarray]:
    sizes = counting.size_of(areas)
    masks = {"all": np.ones(len(areas), bool)}
    return masks | {name: sizes == number for number, name in enumerate(counting.SIZES)}


def _by_size(areas: np.ndarray, flags: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """{size or "all": {"objects": count, each flag: share of them, None without any}}."""
    return {
        size: {"objects": int(which.sum())}
        | {name: _share(flag[which]) for name, flag in flags.items()}
        for size, which in _size_masks(areas).items()
    }


def _share(flags: np.ndarray) -> float | None:
    return float(np.mean(flags)) if len(flags) else None
