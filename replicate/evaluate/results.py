"""One checkpoint's detections into a file, and into their score, while they are made."""

import contextlib
import dataclasses
import gzip
import hashlib
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import msgspec

from replicate import engine, score
from tfrecords.whole_files import written_whole

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.evaluate.detections import Evaluation


def write(
    evaluation: "Evaluation", path: str | os.PathLike, *, scored: bool = True, progress: bool = True
) -> tuple[int, score.Result | None]:
    """Writes the detections of the restored checkpoint and scores them as they come.

    Args:
      evaluation: `detections.Evaluation` after `restore`.
      path: the COCO results file, `.json` or `.json.gz`; there when it is complete.
      scored: whether to score; the annotation file must have annotations.
      progress: whether to draw a progress bar.

    Returns:
      (number of detections, `score.Result` or None).

    Raises:
      UserError: an image that cannot be decoded, a detection that is no finite number.
    """
    stream = score.Stream(evaluation.annotations_file) if scored else None
    with _opened(path) as file:
        for of_image in evaluation.by_image(progress):
            if stream is not None:
                stream.add(
                    of_image.image_id,
                    of_image.category_ids,
                    of_image.boxes_xywh_px,
                    of_image.scores,
                )
            file.add(of_image.as_results())
    result = stream.result(str(path), file.sha256.hexdigest()) if stream is not None else None
    return file.count, result


def beside_boxes(
    config: "Message", annotations_file: str | os.PathLike, path: str | os.PathLike
) -> list[score.Result]:
    """Scores what detections hold beside boxes, where the annotation file has it too.

    Args:
      config: TrainEvalPipelineConfig or VisionConfig of the model, which tells whether it
        predicts masks or keypoints.
      annotations_file: COCO annotation JSON.
      path: the detections' COCO results file.

    Returns:
      list of `score.Result`: of masks ("segm"), of keypoints; empty for a model of boxes alone.

    Raises:
      EvaluatorsDisagree: the two evaluators' figures differ.
    """
    facts = engine.describe(config)
    predicted = {"segm": facts.predicts_masks, "keypoints": facts.predicts_keypoints}
    kinds = [kind for kind, predicts in predicted.items() if predicts]
    held = score.Groundtruth.read(annotations_file).figures() if kinds else ()
    return [score.score(annotations_file, path, iou_type=kind) for kind in kinds if kind in held]


@dataclasses.dataclass
class _ResultsFile:
    """A JSON list that grows.

    Attributes:
      stream: binary file.
      sha256: hash of what it holds so far, decompressed.
      count: detections so far.
    """

    stream: IO[bytes]
    sha256: Any = dataclasses.field(default_factory=hashlib.sha256)
    count: int = 0

    def write(self, content: bytes) -> None:
        self.stream.write(content)
        self.sha256.update(content)

    def add(self, results: list[dict]) -> None:
        if results:
            items = msgspec.json.encode(results)[1:-1]
            self.write(b",\n" + items if self.count else items)
            self.count += len(results)


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[_ResultsFile]:
    """A _ResultsFile that gets the name `path` at the end; the same detections, the same bytes."""
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(written_whole(path, "wb"))
        if str(path).endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
        file = _ResultsFile(stream)
        file.write(b"[")
        yield file
        file.write(b"]\n")
