"""The manifest and the drop ledger of a conversion."""

from typing import Any, Literal, NotRequired, TypedDict

from replicate.contracts.common import Count, Sha256


class Source(TypedDict):
    annotations_file: str
    sha256: Sha256
    keypoints_file: str | None
    keypoints_sha256: Sha256 | None
    image_dir: str
    images: Count
    annotations: Count
    crowd: Count
    categories: Count
    category_names: NotRequired[dict[str, str]]
    image_ids_sha256: Sha256 | None
    readings: NotRequired[list[str]]


class Settings(TypedDict):
    num_shards: Count
    include_masks: bool
    include_keypoints: bool
    include_class_labels: NotRequired[bool]
    invalid_boxes: Literal["skip", "clip", "error"]
    keep_images_without_annotations: bool
    on_error: Literal["skip", "stop"]


class Shard(TypedDict):
    name: str
    sha256: Sha256
    records: Count
    bytes: Count


class Counts(TypedDict):
    images: Count
    images_without_annotations: Count
    images_skipped: dict[str, Count]
    annotations_written: Count
    crowd: Count
    crowd_dropped: Count
    boxes_clipped: Count
    dropped: dict[str, Count]
    notes: dict[str, Count]


class ManifestFile(TypedDict):
    """A conversion's manifest; its version is its `format`."""

    format: Literal[1]
    source: Source
    settings: Settings
    shards: list[Shard]
    counts: Counts
    ledger_sha256: NotRequired[Sha256 | None]


class LedgerLine(TypedDict):
    """A line of the drop ledger."""

    image_id: int | None
    annotation_id: int | None
    reason: str
    detail: NotRequired[Any]
