"""Figures of the input: classes, sizes, aspect ratios, objects an image, tensors."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from replicate.inspection.stream import Example

# COCO's: an area below 32^2 is small, from 96^2 on large (cocodataset.org/#detection-eval).
SMALL_PX, LARGE_PX = 32, 96
SIZES = ("small", "medium", "large")
_SIDE_EDGES_PX = 2.0 ** np.arange(1, 11.5, 0.5)
_ASPECT_EDGES = 2.0 ** np.arange(-3, 3.25, 0.25)


def size_of(areas_px: np.ndarray) -> np.ndarray:
    """[n] indices into SIZES of areas [n], by COCO's bounds."""
    return np.digitize(areas_px, [SMALL_PX**2, LARGE_PX**2])


def areas(boxes_yxyx_px: np.ndarray) -> np.ndarray:
    """[n] areas of boxes [n, 4]."""
    return np.prod(boxes_yxyx_px[:, 2:] - boxes_yxyx_px[:, :2], axis=1)


class Tally:
    """Adds up examples."""

    def __init__(self) -> None:
        self._recorded: list[_Recorded] = []
        self._trained: list[tuple[np.ndarray, np.ndarray]] = []
        self._tensors: dict[tuple[str, str], _Tensor] = {}

    @property
    def images(self) -> int:
        """How many have been added."""
        return len(self._trained)

    def add(self, example: "Example") -> None:
        """Counts one example."""
        self._recorded.append(_Recorded.of(example.decoded))
        self._trained.append((example.category_ids, example.boxes_yxyx_px))
        for part in ("features", "labels"):
            for name, array in getattr(example, part).items():
                self._tensors.setdefault((part, name), _Tensor()).add(array)

    def tensors(self, batch_size: int) -> list[dict]:
        """The tensors of a training batch: part, name, dtype, shapes, min and max of each."""
        return [
            {"part": part, "name": name} | tensor.content(batch_size)
            for (part, name), tensor in self._tensors.items()
        ]

    def classes(self, categories: Mapping[int, str]) -> list[dict]:
        """Every category with its counts, most objects first; objects of no category last."""
        recorded = np.concatenate([image.category_ids for image in self._recorded])
        crowd = np.concatenate([image.crowd for image in self._recorded])
        in_images = np.concatenate([np.unique(image.category_ids) for image in self._recorded])
        trained = np.concatenate([ids for ids, _ in self._trained])
        known = {**categories, -1: "(not in the label map)"}
        unnamed = set(recorded.tolist()) - set(known)
        rows: list[dict[str, Any]] = [
            {
                "id": int(category),
                "name": name,
                "objects": int((recorded == category).sum()),
                "crowd": int(crowd[recorded == category].sum()),
                "images": int((in_images == category).sum()),
                "as_trained": int((trained == category).sum()),
            }
            for category, name in [
                *known.items(),
                *((number, f"id {number}") for number in unnamed),
            ]
        ]
        rows = [row for row in rows if row["id"] > 0 or row["objects"]]
        total = max(1, sum(row["objects"] for row in rows))
        for row in rows:
            row["share"] = row["objects"] / total
        return sorted(rows, key=lambda row: (row["id"] < 0, -row["objects"], row["id"]))

    def objects(self) -> dict[str, int]:
        """Counts of objects on their way to the model."""
        recorded = np.concatenate([image.category_ids for image in self._recorded])
        trained = np.concatenate([ids for ids, _ in self._trained])
        return {
            "recorded": len(recorded),
            "crowd": int(sum(image.crowd.sum() for image in self._recorded)),
            "not_in_label_map": int((recorded < 0).sum()),
            "trained": len(trained),
            "trained_without_class": int((trained == 0).sum()),
        }

    def per_image(self) -> dict[str, list[int]]:
        """Objects of every image, as recorded and as trained."""
        return {
            "recorded": [len(image.category_ids) for image in self._recorded],
            "trained": [len(ids) for ids, _ in self._trained],
        }

    def sizes(self) -> dict:
        """Box sides, aspect ratios and shares of the sizes, as recorded and as trained.

        Returns:
          side_edges_px and aspect_edges (width over height) of the histograms, and for
          "recorded" (pixels of the original image) and "trained" (of the model's input): sides (of
          the square with the box's area), aspects, and shares by SIZES. What is recorded has its
          size from the annotation's area, as COCO's metrics have it.
        """
        recorded_px = np.concatenate([image.boxes_yxyx_px for image in self._recorded])
        recorded_areas = np.concatenate([image.areas_px for image in self._recorded])
        trained_px = np.concatenate([boxes for _, boxes in self._trained])
        return {
            "side_edges_px": _SIDE_EDGES_PX.tolist(),
            "aspect_edges": _ASPECT_EDGES.tolist(),
            "recorded": _shapes(recorded_px, recorded_areas),
            "trained": _shapes(trained_px, areas(trained_px)),
        }

    def images_hw(self) -> list[list[int]]:
        """[height, width] of the original images."""
        return [list(image.image_hw) for image in self._recorded]


def _shapes(boxes_yxyx_px: np.ndarray, areas_px: np.ndarray) -> dict:
    height, width = (boxes_yxyx_px[:, 2:] - boxes_yxyx_px[:, :2]).T
    sides = np.sqrt(np.maximum(height * width, 0))
    aspects = width / np.maximum(height, 1e-6)
    sizes = np.bincount(size_of(areas_px), minlength=3)
    return {
        "sides": _histogram(sides, _SIDE_EDGES_PX),
        "median_side_px": float(np.median(sides)) if len(sides) else None,
        "aspects": _histogram(aspects, _ASPECT_EDGES),
        "median_aspect": float(np.median(aspects)) if len(aspects) else None,
        "shares": dict(zip(SIZES, (sizes / max(1, sizes.sum())).tolist(), strict=True)),
        "objects": len(sides),
    }


def _histogram(values: np.ndarray, edges: np.ndarray) -> list[int]:
    """Counts by bin; what lies beyond the edges is in the first and last."""
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], 0))
    return np.histogram(inside, edges)[0].tolist()


@dataclasses.dataclass(frozen=True)
class _Recorded:
    """What a record says of its image; boxes in pixels of it."""

    image_hw: tuple[int, int]
    category_ids: np.ndarray
    boxes_yxyx_px: np.ndarray
    areas_px: np.ndarray
    crowd: np.ndarray

    @classmethod
    def of(cls, decoded: dict[str, Any]) -> "_Recorded":
        height, width = decoded["image"].shape[:2]
        boxes = decoded["groundtruth_boxes"] * np.array([height, width, height, width], np.float32)
        count = len(boxes)
        noted = decoded.get("groundtruth_area", np.zeros(0))
        crowd = decoded.get("groundtruth_is_crowd", np.zeros(0))
        return cls(
            image_hw=(int(height), int(width)),
            category_ids=decoded["groundtruth_classes"].astype(int),
            boxes_yxyx_px=boxes,
            # Records without areas have none, or zeros.
            areas_px=noted if len(noted) == count and noted.all() else areas(boxes),
            crowd=crowd.astype(int) if len(crowd) == count else np.zeros(count, int),
        )


class _Tensor:
    """A tensor's shapes and range over the examples seen."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf
        self._shapes: list[tuple[int, ...]] = []

    def add(self, array: np.ndarray) -> None:
        self._dtype = array.dtype
        if array.shape[1:] not in self._shapes:
            self._shapes.append(array.shape[1:])
        if array.size and array.dtype.kind not in "SUO":
            values = array.astype(np.float32)
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))

    def content(self, batch_size: int) -> dict:
        numeric = np.isfinite(self._low)
        return {
            "dtype": str(self._dtype),
            "shapes": [[batch_size, *shape] for shape in self._shapes],
            "min": self._low if numeric else None,
            "max": self._high if numeric else None,
        }
