"""The report's section on data: what was converted, what was dropped, how the classes balance."""


def of_run(material, scored):
    """The section as a dict: records (one a split) and val_class_balance.

    Args:
      material: reading.Material.
      scored: list of findings.Scored; the last one's groundtruth gives the class balance.
    """
    return {
        "records": [_records(split, each) for split, each in material.manifests.items()],
        "val_class_balance": _balance(scored[-1].result.per_category) if scored else None,
    }


def _records(split, manifest):
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
        "bytes": sum(each.get("bytes", 0) for each in shards),
    }


def _balance(per_category):
    total = sum(each["groundtruth"] for each in per_category)
    return [
        {
            "id": each["id"],
            "name": each["name"],
            "groundtruth": each["groundtruth"],
            "share": each["groundtruth"] / total if total else None,
        }
        for each in per_category
    ]
