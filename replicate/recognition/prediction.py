"""What a trained recogniser sees in image files."""

import pathlib

import numpy as np
from tqdm import tqdm

from replicate.errors import UserError
from replicate.recognition import records
from replicate.recognition.engine import tf


def top(recognizer, paths, count):
    """The categories that score highest in each image.

    Args:
      recognizer: Recognizer.
      paths: image files, JPEG or PNG.
      count: how many categories an image.

    Returns:
      list of dicts: image (the path), categories (list of {"id", "name", "score"}, best first).

    Raises:
      UserError: a file that is missing or no JPEG or PNG.
    """
    classes = recognizer.classes
    found = []
    for path in tqdm(paths, desc="recognise", unit="image", disable=len(paths) < 10):
        scores = recognizer.scores(_image(path, recognizer.image_size)[None]).numpy()[0]
        best = np.argsort(-scores, kind="stable")[:count]
        found.append(
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
    return found


def _image(path, image_size):
    try:
        return records.image_of(pathlib.Path(path).read_bytes(), image_size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (tf.errors.InvalidArgumentError, ValueError):
        raise UserError(f"{path}: not an image that TensorFlow decodes (JPEG, PNG)") from None
