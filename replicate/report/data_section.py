"""The report's section on data: what was converted, what was dropped, how the classes balance."""

from replicate import annotations
from replicate.errors import UserError
from replicate.report.findings import Scored
from replicate.report.run_files import RunFiles


def of_run(files: RunFiles, scored: list[Scored]) -> dict:
    """The section as a dict: records (one a split) and class_balance.

    Args:
      files: RunFiles.
      scored: list of findings.Scored; the last one's groundtruth gives the classes' names.
    """
    return {
        "records": [_records(split, manifest) for split, manifest in files.manifests.items()],
        "class_balance": _balance(files, scored[-1].result.per_category) if scored else None,
    }


def _records(split: str, manifest: dict) -> dict:
    """What a manifest of tfrecords/ says, without the list of its shards."""
    source, counts = manifest.get("source", {}), manifest.get("counts", {})
    shards = manifest.get("shards", [])
    dropped, skipped = counts.get("dropped", {}), counts.get("images_skipped", {})
    return {
        "split": split,
        "annotations_file": source.get("annotations_file"),
        "annotations_sha256": source.get("sha256"),
        "source_images": source.get("images"),
        "images": counts.get("images"),
        "images_without_annotations": counts.get("images_without_annotations"),
        "images_skipped": sum(skipped.values()),
        "images_skipped_by_reason": skipped,
        "source_annotations": source.get("annotations"),
        "annotations": counts.get("annotations_written"),
        "dropped": sum(dropped.values()),
        "dropped_by_reason": dropped,
        "crowd": counts.get("crowd"),
        "crowd_dropped": counts.get("crowd_dropped"),
        "boxes_clipped": counts.get("boxes_clipped"),
        "notes": counts.get("notes", {}),
        "shards": len(shards),
        "bytes": sum(shard.get("bytes", 0) for shard in shards),
    }


def _balance(files: RunFiles, per_category: list[dict]) -> list[dict]:
    """Objects (no crowds) by category in the evaluated images and in the training set.

    Returns:
      list of dicts: id, name, val, val_share, train, train_share; the last two None where the
      training annotations are not at hand.
    """
    train = _train_counts(files)
    in_val = sum(category["groundtruth"] for category in per_category)
    in_train = sum(train.values()) if train is not None else None
    return [
        {
            "id": category["id"],
            "name": category["name"],
            "val": category["groundtruth"],
            "val_share": category["groundtruth"] / in_val if in_val else None,
            "train": train.get(category["id"], 0) if train is not None else None,
            "train_share": train.get(category["id"], 0) / in_train if train and in_train else None,
        }
        for category in per_category
    ]


def _train_counts(files: RunFiles) -> dict[int, int] | None:
    """dict category id -> objects of the training set, or None."""
    source = files.manifests.get("train", {}).get("source", {})
    path, sha256 = source.get("annotations_file"), source.get("sha256")
    known = annotations.facts_of(files.run, sha256)
    if known is not None:
        return known.objects
    try:
        if not path:
            raise UserError("no manifest names the training annotations")
        facts = annotations.facts(files.run, path)
        if facts.sha256 != sha256:
            raise UserError(f"{path} has changed since it was converted")
    except UserError as error:
        files.cannot_say("class balance of the training set", str(error))
        return None
    return facts.objects
