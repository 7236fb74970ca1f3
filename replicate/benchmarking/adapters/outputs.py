"""What a detector's outputs mean, said by name: box layout, scores, numbering of the classes.

    boxes:xyxy_px,scores:softmax,labels:contiguous

Nothing here is guessed: a layout that is not said is an error, with the choices.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self

import numpy as np

from replicate.benchmarking.model import ModelDetections
from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset

#: COCO counts so many detections an image.
TOP = 100

_CORNERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "xyxy": lambda boxes: boxes,
    "yxyx": lambda boxes: boxes[:, [1, 0, 3, 2]],
    "xywh": lambda boxes: np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
    "cxcywh": lambda boxes: np.concatenate(
        [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1
    ),
}
#: In pixels of the image; in pixels of the model's input; as fractions of the input.
FRAMES = ("px", "input", "norm")
BOXES = tuple(f"{corners}_{frame}" for corners in _CORNERS for frame in FRAMES)
#: One of a detection; of each class as probabilities or logits; softmax has a class that is none.
SCORES = ("score", "probabilities", "sigmoid", "softmax", "softmax_background_first")
#: COCO's ids; 0, 1, 2 … of the file's categories by id; 1, 2, 3 …
LABELS = ("coco", "contiguous", "contiguous_from_one")


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The contract of a detector's outputs.

    Attributes:
      boxes, scores, labels: one of BOXES, SCORES, LABELS.
      names: dict "boxes", "scores", "labels" -> the output's own name. Scores of each class have no
        labels of their own: the class is the column.
      suppression_iou: where the detector leaves it to the caller, the IoU above which the lower of
        two boxes of one class is dropped.
    """

    boxes: str
    scores: str
    labels: str
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    suppression_iou: float | None = None

    @property
    def by_class(self) -> bool:
        """Whether there is a score for each class."""
        return self.scores != "score"

    @property
    def roles(self) -> tuple[str, ...]:
        """The outputs that are read."""
        return ("boxes", "scores") if self.by_class else ("boxes", "scores", "labels")

    def name_of(self, role: str) -> str:
        """The output's own name."""
        return self.names.get(role, role)

    @classmethod
    def parsed(cls, text: str) -> Self:
        """By "boxes:xyxy_px,scores:sigmoid,labels:coco"; "boxes=dets:cxcywh_norm" names an output.

        Raises:
          UserError: something is not said, or is none of the choices.
        """
        chosen: dict[str, str] = {}
        names: dict[str, str] = {}
        suppression = None
        choices = {"boxes": BOXES, "scores": SCORES, "labels": LABELS}
        for part in filter(None, (part.strip() for part in text.split(","))):
            role, colon, value = part.partition(":")
            role, _, name = role.partition("=")
            if role == "suppression" and colon:
                suppression = _fraction(value, part)
                continue
            if role not in choices or not colon:
                raise UserError(
                    f"--outputs: '{part}' is not boxes:…, scores:… or labels:…; {_offer()}"
                )
            if value not in choices[role]:
                raise UserError(f"--outputs: {role}:{value} is none of {', '.join(choices[role])}")
            chosen[role] = value
            if name:
                names[role] = name
        missing = [role for role in choices if role not in chosen]
        if missing:
            raise UserError(f"--outputs: {missing[0]} is not said; {_offer()}")
        return cls(**chosen, names=names, suppression_iou=suppression)

    def detections(
        self,
        outputs: Mapping[str, np.ndarray],
        to_image: "Callable[[np.ndarray], np.ndarray] | None",
        input_hw: tuple[int, int] | None,
        id_of: Mapping[int, int],
    ) -> ModelDetections:
        """The detections of one image, the best TOP by score.

        Args:
          outputs: dict role -> array of the image alone: boxes (N, 4); scores (N,) or (N, classes);
            labels (N,).
          to_image: function of boxes_xyxy of the input in px -> boxes_xyxy_px of the image; None
            where the boxes are of the image ("px").
          input_hw: the input's size, for "norm".
          id_of: dict class number -> category id; classes that are not in it are left out.

        Raises:
          UserError: shapes that do not go together.
        """
        boxes = np.asarray(outputs["boxes"], np.float64)
        scores = np.asarray(outputs["scores"], np.float64)
        if (
            boxes.shape != (len(scores), 4)
            or scores.ndim != 1 + self.by_class
            or (not self.by_class and np.shape(outputs["labels"]) != (len(scores),))
        ):
            shapes = ", ".join(f"{role} {list(np.shape(outputs[role]))}" for role in self.roles)
            raise UserError(
                f"the outputs of an image are {shapes}; expected are boxes [N, 4], scores "
                + ("[N, classes]" if self.by_class else "[N], labels [N]")
                + ". Is another output meant (boxes=NAME:…), or another kind of scores?"
            )
        corners, frame = self.boxes.rsplit("_", 1)
        boxes = _CORNERS[corners](boxes)
        if frame == "norm":
            height, width = input_hw or (1, 1)
            boxes = boxes * [width, height, width, height]
        if frame != "px" and to_image is not None:
            boxes = to_image(boxes)
        if self.by_class:
            scores = probabilities(scores, self.scores)
            self._check_columns(scores.shape[1], id_of)
            rows, columns = _best(boxes, scores, self.suppression_iou)
            boxes, labels, scores = boxes[rows], columns, scores[rows, columns]
        else:
            labels = self._whole(np.asarray(outputs["labels"]), id_of)
        known = np.array([label in id_of for label in labels.tolist()], bool)
        order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")][:TOP]
        boxes = boxes[order]
        return ModelDetections(
            np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1),
            scores[order],
            [id_of[label] for label in labels[order].tolist()],
        )

    def _check_columns(self, columns: int, id_of: Mapping[int, int]) -> None:
        """Raises UserError where a score of each class is not one of each category.

        By COCO's ids there may be columns of none; the other numberings count every category.
        """
        expected = len(id_of) + (self.labels == "contiguous_from_one")
        if self.labels != "coco" and columns != expected:
            raise UserError(
                f"scores of {columns} classes, where labels:{self.labels} over the {len(id_of)} "
                f"categories of the annotation file has {expected}. Say labels:coco where a column "
                "is COCO's own id, scores:softmax where the last class is none (…_background_first:"
                " the first); or is the output of another shape, [4 + classes, N] for yolo?"
            )

    def _whole(self, labels: np.ndarray, id_of: Mapping[int, int]) -> np.ndarray:
        """Labels as whole numbers.

        Raises:
          UserError: they are none, or none of this numbering.
        """
        if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
            raise UserError(
                f"labels such as {labels[:3].tolist()} are no class numbers; is another output "
                "meant (labels=NAME:…)?"
            )
        whole = labels.astype(int)
        check_numbers(whole.tolist(), self.labels, id_of)
        return whole


def probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    """(N, classes) probabilities of scores of a kind of SCORES; a class that is none is left out.

    With the background first its column stays, at zero, so that a column is still its class.
    """
    if kind == "probabilities":
        return scores
    if kind == "sigmoid":
        # By the sign, so that no exponential overflows.
        small = np.exp(-np.abs(scores))
        return np.where(scores >= 0, 1 / (1 + small), small / (1 + small))
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    values = shifted / shifted.sum(axis=1, keepdims=True)
    if kind == "softmax":
        return values[:, :-1]
    values[:, 0] = 0
    return values


def ids_of(numbering: str, dataset: "Dataset") -> dict[int, int]:
    """dict class number -> category id of the dataset.

    Args:
      numbering: one of LABELS.
      dataset: Dataset.
    """
    ids = sorted(dataset.groundtruth.categories)
    if numbering == "coco":
        return {id: id for id in ids}
    return dict(enumerate(ids, numbering == "contiguous_from_one"))


def check_numbers(numbers: Iterable[int], numbering: str, id_of: Mapping[int, int]) -> None:
    """Refuses class numbers that a numbering of every category does not have.

    COCO's own ids may be of categories that an annotation file leaves out.

    Args:
      numbers: class numbers.
      numbering: one of LABELS.
      id_of: dict class number -> category id, of `ids_of`.

    Raises:
      UserError: it is another numbering, or the classes are not the annotation file's.
    """
    outside = sorted(set(numbers) - set(id_of)) if numbering != "coco" else []
    if outside:
        raise UserError(
            f"a class number of {outside[-1]}, where {numbering} over the {len(id_of)} categories "
            f"of the annotation file goes from {min(id_of)} to {max(id_of)}. The numberings are "
            f"{', '.join(LABELS)}; of other classes than the file's, names tell"
        )


def _best(
    boxes: np.ndarray, scores: np.ndarray, suppression_iou: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of the best TOP over boxes × classes: a box may have several classes."""
    if suppression_iou is None:
        best = np.argsort(-scores, axis=None, kind="stable")[:TOP]
        rows, columns = np.unravel_index(best, scores.shape)
        return rows, columns
    places: list[tuple[int, int]] = []
    for column in range(scores.shape[1]):
        order = np.argsort(-scores[:, column], kind="stable")
        order = order[scores[order, column] > 0.001][:3000]
        places += [(row, column) for row in _suppressed(boxes, order, suppression_iou)]
    pairs = np.array(places, int).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _suppressed(boxes: np.ndarray, order: np.ndarray, iou: float) -> list[int]:
    """Those of `order`, best first, that overlap no better one above `iou`."""
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    survivors: list[int] = []
    while len(order) and len(survivors) < TOP:
        first, rest = order[0], order[1:]
        survivors.append(int(first))
        sides = np.minimum(boxes[first, 2:], boxes[rest, 2:]) - np.maximum(
            boxes[first, :2], boxes[rest, :2]
        )
        shared = np.prod(np.maximum(sides, 0), axis=1)
        union = areas[first] + areas[rest] - shared
        order = rest[shared <= iou * union]
    return survivors


def _fraction(value: str, part: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise UserError(f"--outputs: '{part}' is no IoU between 0 and 1")
    return number


def _offer() -> str:
    return (
        "say all three, like boxes:xyxy_px,scores:sigmoid,labels:coco. Boxes: "
        f"{', '.join(BOXES)} (px: of the image, input: of the model's input, norm: fractions of "
        f"it); scores: {', '.join(SCORES)}; labels: {', '.join(LABELS)}"
    )
