"""Instance masks as PNGs in the layout of the Penn-Fudan pedestrian set.

    PNGImages/NAME.png        the image (any extension is taken; the folder may have any name)
    PedMasks/NAME_mask.png    one channel; 0 is background, k the k-th instance

There is one category, and where instances overlap a pixel belongs to one of them alone. Boxes and
areas are the masks'; ids, categories and crowd flags are not in the format.
"""

import os
import pathlib

import msgspec
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tfrecords import coco, formats, masks
from tfrecords.errors import InputError
from tfrecords.formats import contract

_SUFFIX = "_mask.png"


def read(
    mask_dir: str | os.PathLike, image_dir: str | os.PathLike, category: str = "pedestrian"
) -> dict:
    """The annotations of MASK_DIR/*_mask.png.

    Args:
      mask_dir: the masks.
      image_dir: the images, found by name; each must be of its mask's size.
      category: the name of the one category.

    Returns:
      COCO content with RLE segmentations; images and annotations are numbered from 1 in the order
      of the names, an image's instances in the order of their numbers.

    Raises:
      InputError: no masks; a mask without image, of another size, or that is not one channel.
    """
    files = {path.stem: path for path in sorted(pathlib.Path(image_dir).glob("*"))}
    images: list[dict] = []
    annotations: list[dict] = []
    for path in sorted(pathlib.Path(mask_dir).glob("*" + _SUFFIX)):
        name = path.name.removesuffix(_SUFFIX)
        if name not in files:
            raise InputError(f"{path}: no image {name}.* in {image_dir}")
        numbers = _numbers(path)
        height, width = numbers.shape
        with (
            contract.converted(files[name], "not a readable image"),
            Image.open(files[name]) as image,
        ):
            if image.size != (width, height):
                raise InputError(
                    f"{files[name]} is {image.width}x{image.height}, its mask {path.name} "
                    f"{width}x{height} pixels"
                )
        image_id = len(images) + 1
        images.append(
            {"id": image_id, "file_name": files[name].name, "height": height, "width": width}
        )
        for number in np.unique(numbers[numbers > 0]):
            rle = coco_mask.encode(np.asfortranarray(numbers == number, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "bbox": coco_mask.toBbox(rle).tolist(),
                    "area": int(coco_mask.area(rle)),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
                }
            )
    if not images:
        raise InputError(f"{mask_dir}: holds no masks (*{_SUFFIX})")
    return contract.checked(formats.document(images, annotations, {1: category}), mask_dir)


def write(source: coco.Source, mask_dir: str | os.PathLike) -> dict[str, int]:
    """Writes MASK_DIR/NAME_mask.png for every image of a `coco.Source` with segmentations.

    An image's instances are numbered in the file's order. Small ones are drawn over large ones;
    crowds, which are no instances, are left out.

    Returns:
      dict of counts: images, annotations, skipped_crowd, and hidden, the instances without a
      pixel of their own.

    Raises:
      InputError: a segmentation is malformed, two images share a stem, or the folder exists.
    """
    counts = dict.fromkeys(("images", "annotations", "skipped_crowd", "hidden"), 0)
    with formats.new_folder(mask_dir) as partial:
        for index in range(len(source.images)):
            image = source.image(index)
            path = partial / (pathlib.PurePath(image.file_name).stem + _SUFFIX)
            if path.exists():
                raise InputError(f"two images are named {pathlib.PurePath(image.file_name).stem}")
            numbers, instances, crowds = _drawn(image)
            wide = np.uint16 if instances > 255 else np.uint8
            Image.fromarray(numbers.astype(wide)).save(path)
            visible = len(np.unique(numbers[numbers > 0]))
            counts["images"] += 1
            counts["annotations"] += visible
            counts["hidden"] += instances - visible
            counts["skipped_crowd"] += crowds
    return counts


def _numbers(path: pathlib.Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "I", "I;16", "1"):
                raise InputError(
                    f"{path}: mode {image.mode}; a mask has one channel of instance numbers"
                )
            return np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable PNG: {error}") from error


def _drawn(image: coco.SourceImage) -> tuple[np.ndarray, int, int]:
    """(instance numbers [H, W], instances, crowds) of a `coco.SourceImage`."""
    drawn: list[tuple[int, int, dict]] = []
    objects = image.objects
    assert objects.segmentations is not None
    for row, text in enumerate(objects.segmentations):
        if objects.crowd[row]:
            continue
        try:
            rle = masks.rle_of(msgspec.json.decode(text), image.image_hw)
        except (ValueError, msgspec.DecodeError) as error:
            raise InputError(
                f"annotation {objects.ids[row]} of {image.file_name}: {error}"
            ) from error
        drawn.append((int(coco_mask.area(rle)), len(drawn) + 1, rle))
    numbers = np.zeros(image.image_hw, np.int32)
    for _, number, rle in sorted(drawn, key=lambda item: (-item[0], item[1])):
        numbers[coco_mask.decode(rle) > 0] = number
    return numbers, len(drawn), sum(objects.crowd)
