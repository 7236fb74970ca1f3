"""What a trained recogniser sees in image files."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from replicate.errors import UserError
from replicate.recognition import records
from replicate.recognition.engine import tf
from replicate.recognition.model import Recognizer


def top(recognizer: Recognizer, paths: Sequence[str | os.PathLike[str]], count: int) -> list[dict]:
    """The categories that score highest in each image.

    Args:
      recognizer: with its weights.
      paths: image files, JPEG or PNG.
      count: how many categories an image.

    Returns:
      Of each file: image (the path), categories (id, name, score of each, best first).

    Raises:
      UserError: a file that is missing or no JPEG or PNG.
    """
    classes = recognizer.classes
    recognised = []
    for path in tqdm(paths, desc="recognise", unit="image", disable=len(paths) < 10):
        scores = recognizer.scores(_image(path, recognizer.image_size)[None]).numpy()[0]
        best = np.argsort(-scores, kind="stable")[:count]
        recognised.append(
            {
                "image": str(path),
                "categories": [
                    {
                        "id": classes[index].id,
                        "name": classes[index].name,
                        "score": float(scores[index]),
                    }
                    for index in best
                ],
            }
        )
    return recognised


def _image(path: str | os.PathLike[str], image_size: int) -> tf.Tensor:
    try:
        return records.image_of(pathlib.Path(path).read_bytes(), image_size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (tf.errors.InvalidArgumentError, ValueError):
        raise UserError(f"{path}: not an image that TensorFlow decodes (JPEG, PNG)") from None
