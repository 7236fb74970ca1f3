"""What a conversion's manifest and its drop ledger look like.

    manifest-NAME.json, beside the shards NAME-?????-of-?????.tfrecord: a `ManifestFile`
    dropped-NAME.jsonl: the ledger, a `LedgerLine` a line

images + all of images_skipped is the source's number of images, annotations_written + all of
dropped that of annotations, crowd + crowd_dropped that of crowd annotations.
"""

from typing import Any, Literal, NotRequired, TypedDict

from tfrecords.json_shapes import Count, Needed, Sha256


class ManifestSource(TypedDict):
    """What was converted; `readings` says what of it was taken in another way than written.

    `parquet` has the files of a stream, which has no annotation file and no image folder; `sha256`
    is then of its records' hashes.
    """

    annotations_file: str | None
    sha256: Needed[Sha256]
    keypoints_file: str | None
    keypoints_sha256: Needed[Sha256 | None]
    image_dir: str | None
    parquet: NotRequired[list[str]]
    images: Needed[Count]
    annotations: Needed[Count]
    crowd: Needed[Count]
    categories: Needed[Count]
    category_names: NotRequired[dict[str, str]]
    image_ids_sha256: Sha256 | None
    readings: NotRequired[list[str]]


class ManifestSettings(TypedDict):
    num_shards: Needed[Count]
    include_masks: bool
    include_keypoints: bool
    include_class_labels: NotRequired[bool]
    invalid_boxes: Literal["skip", "clip", "error"]
    keep_images_without_annotations: bool
    on_error: Literal["skip", "stop"]


class Shard(TypedDict):
    name: Needed[str]
    sha256: Needed[Sha256]
    records: Needed[Count]
    bytes: Needed[Count]


class Counts(TypedDict):
    """What was written and what was not; `images_skipped`, `dropped` and `notes` by reason."""

    images: Needed[Count]
    images_without_annotations: Needed[Count]
    images_skipped: Needed[dict[str, Count]]
    annotations_written: Needed[Count]
    crowd: Needed[Count]
    crowd_dropped: Needed[Count]
    boxes_clipped: Needed[Count]
    dropped: Needed[dict[str, Count]]
    notes: Needed[dict[str, Count]]


class ManifestFile(TypedDict):
    """A conversion's manifest; its version is its `format`."""

    format: Literal[1]
    source: Needed[ManifestSource]
    settings: Needed[ManifestSettings]
    shards: Needed[list[Shard]]
    counts: Needed[Counts]
    ledger_sha256: NotRequired[Sha256]


class LedgerLine(TypedDict):
    """A line of the drop ledger: what was left out, and why.

    annotation_id is null where it is a whole image; image_id is null with the reason "read_as",
    which says what of the file was taken in another way than it is written (source.readings).
    """

    image_id: int | None
    annotation_id: int | None
    reason: str
    detail: NotRequired[Any]
