"""Near-duplicate images across two sets: what is in training and in validation both.

An image is told by a perceptual hash of 64 bits (Zauner, Implementation and Benchmarking of
Perceptual Image Hash Functions, 2010, section 3.2.1: the signs of the lowest frequencies of the
discrete cosine transform of its grey values at 32 × 32, about their median). Pairs within
MAX_DISTANCE bits are candidates; those whose grey values at 32 × 32 correlate as well are reported.
docs/inspection.md says what the two bounds were measured to let by.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
from PIL import Image
from tqdm import tqdm

from replicate.errors import UserError
from replicate.report import gallery

#: Of 64 bits; and the least correlation of the grey values.
MAX_DISTANCE, LEAST_CORRELATION = 10, 0.8
#: So many pairs are drawn, the nearest first.
MOST = 12
_SIDE, _LOW = 32, 8
_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_CHUNK = 512


@dataclasses.dataclass(frozen=True)
class HashedImages:
    """The images of a folder.

    Attributes:
      folder: where they lie.
      names: list of N paths, relative to it.
      hashes: (N,) uint64.
      grey: (N, 1024) float16, grey values of mean 0 and length 1; zeros of an image of one grey.
      unreadable: how many files were none.
    """

    folder: str
    names: list[str]
    hashes: np.ndarray
    grey: np.ndarray
    unreadable: int


def hashed(folder: str | os.PathLike[str]) -> HashedImages:
    """The images of a folder and of the folders in it.

    Raises:
      UserError: no such folder, or no image in it.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder}: no such folder of images")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in _ENDINGS)
    names, hashes, greys = [], [], []
    for path in tqdm(paths, desc=f"hash {root.name}", unit="image"):
        try:
            grey = _grey(path)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        names.append(str(path.relative_to(root)))
        hashes.append(phash(grey))
        greys.append(_normalized(grey).astype(np.float16))
    if not names:
        raise UserError(f"{folder}: no image in it can be read")
    return HashedImages(
        os.fspath(folder),
        names,
        np.array(hashes, np.uint64),
        np.stack(greys),
        len(paths) - len(names),
    )


def _grey(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        image.draft("L", (4 * _SIDE, 4 * _SIDE))
        small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def phash(grey: np.ndarray) -> int:
    """The perceptual hash of 64 bits of grey values [32, 32]."""
    low = scipy.fft.dctn(grey, norm="ortho")[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int(np.packbits(bits).view(">u8")[0])


def _normalized(grey: np.ndarray) -> np.ndarray:
    centred = grey.ravel() - grey.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-3 else np.zeros_like(centred)


def pairs(
    first: HashedImages,
    second: HashedImages,
    max_distance: int = MAX_DISTANCE,
    least_correlation: float = LEAST_CORRELATION,
) -> list[dict]:
    """The pairs of near-duplicates, nearest first.

    Returns:
      list of dicts: train, val (paths relative to their folders), distance (bits), correlation.
    """
    duplicates = [
        {
            "train": first.names[i],
            "val": second.names[j],
            "distance": int(distance),
            "correlation": round(float(correlation), 4),
        }
        for i, j, distance, correlation in _near(first, second, max_distance)
        if correlation >= least_correlation
    ]
    return sorted(
        duplicates, key=lambda pair: (pair["distance"], -pair["correlation"], pair["train"])
    )


def _near(
    first: HashedImages, second: HashedImages, max_distance: int
) -> Iterator[tuple[int, int, int, float]]:
    for start in range(0, len(first.hashes), _CHUNK):
        differing = first.hashes[start : start + _CHUNK, None] ^ second.hashes[None]
        distances = np.bitwise_count(differing)
        for row, column in np.argwhere(distances <= max_distance).tolist():
            i = start + row
            correlation = first.grey[i].astype(np.float32) @ second.grey[column].astype(np.float32)
            yield i, column, distances[row, column], correlation


def of(
    train_images: str | os.PathLike[str], val_images: str | os.PathLike[str]
) -> tuple[dict, dict[str, str]]:
    """Near-duplicates across two folders of images.

    Returns:
      (dict: train, val (folder, images and unreadable files of each), max_distance,
      least_correlation, pairs (how many), drawn (the MOST nearest, as `pairs` gives them);
      pictures: "train-" or "val-" and the path -> data URI).

    Raises:
      UserError: as `hashed`.
    """
    both = {"train": hashed(train_images), "val": hashed(val_images)}
    duplicates = pairs(both["train"], both["val"])
    section = {
        name: {
            "folder": hashed.folder,
            "images": len(hashed.names),
            "unreadable": hashed.unreadable,
        }
        for name, hashed in both.items()
    } | {
        "max_distance": MAX_DISTANCE,
        "least_correlation": LEAST_CORRELATION,
        "pairs": len(duplicates),
        "drawn": duplicates[:MOST],
    }
    return section, _pictures(duplicates[:MOST], both)


def _pictures(duplicates: Sequence[dict], both: dict[str, HashedImages]) -> dict[str, str]:
    pictures = {}
    for pair in duplicates:
        for name, hashed in both.items():
            path = pathlib.Path(hashed.folder) / pair[name]
            pictures[f"{name}-{pair[name]}"] = gallery.thumbnail(path)
    return pictures
