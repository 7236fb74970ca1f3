"""What a training loss is given as targets: matched anchors, or CenterNet's heat maps."""

import dataclasses

import numpy as np

POSITIVE, NEGATIVE, IGNORED = "positive", "negative", "ignored"
ROLES = (POSITIVE, NEGATIVE, IGNORED)


@dataclasses.dataclass(frozen=True)
class Level:
    """A feature map with its anchors.

    Attributes:
      feature_map_hw: cells.
      anchors: how many the generator makes.
      outside: how many of them leave the image and are taken out of training.
    """

    feature_map_hw: tuple[int, ...]
    anchors: int
    outside: int


@dataclasses.dataclass(frozen=True)
class AnchorTargets:
    """What an anchor-based loss is given for a batch of B images with A anchors each.

    Attributes:
      anchors_yxyx_px: [A, 4], pixels of the model's input; without those outside.
      level_of: [A], indices into `levels`.
      match: [B, A] int: the object an anchor is matched with, -1 negative, -2 ignored.
      counted: [B, A] bool: the anchors that the loss counts, after any sampling.
      best_iou: B arrays [number of objects]: of the best anchor, any threshold aside.
      objects_yxyx_px: B arrays [number of objects, 4].
    """

    levels: list[Level]
    anchors_yxyx_px: np.ndarray
    level_of: np.ndarray
    match: np.ndarray
    counted: np.ndarray
    best_iou: list[np.ndarray]
    objects_yxyx_px: list[np.ndarray]

    def counts(self, sampled: bool = False) -> np.ndarray:
        """[B, levels, 3] anchors by role, in the order of ROLES; `sampled`: after sampling."""
        roles = np.stack([self.match >= 0, self.match == -1, self.match == -2], axis=-1)
        if sampled:
            roles &= self.counted[..., None]
        return np.stack(
            [roles[:, self.level_of == level].sum(axis=1) for level in range(len(self.levels))],
            axis=1,
        )

    def assigned(self, image: int) -> np.ndarray:
        """[number of objects] bool: which objects of an image have an anchor of their own."""
        return np.isin(np.arange(len(self.best_iou[image])), self.match[image])


@dataclasses.dataclass(frozen=True)
class HeatMapTargets:
    """What CenterNet's loss is given for a batch of B images.

    Attributes:
      stride: pixels of the model's input a cell.
      heat: [B, height, width], the largest target of any class.
      cells: role -> [B]: (cell, class) pairs that are a peak (target 1), in a Gaussian (the
        penalty of a false peak is reduced), or background; padding is left out.
      peaks_yxc: B arrays [number of objects, 3]: cell and class of each object's peak.
      radius: B arrays [number of objects]: of each object's Gaussian, cells.
      objects_yxyx_px: B arrays [number of objects, 4].
    """

    stride: int
    heat: np.ndarray
    cells: dict[str, np.ndarray]
    peaks_yxc: list[np.ndarray]
    radius: list[np.ndarray]
    objects_yxyx_px: list[np.ndarray]

    def assigned(self, image: int) -> np.ndarray:
        """[number of objects] bool: objects with a peak of their own.

        Of several whose peaks fall on the same cell and class, the first.
        """
        peaks = self.peaks_yxc[image]
        _, first = np.unique(peaks, axis=0, return_index=True)
        return np.isin(np.arange(len(peaks)), first)
