"""Croissant 1.1 (mlcommons.org/croissant/1.1) for a data set of TFRecords.

Croissant has no way to say how a field is read out of a tf.train.Example; the files, their hashes,
the splits and the features are described, and what a feature is called in a record is its name.
"""

import json
import pathlib
from typing import Any

from replicate import engine, records
from replicate.errors import UserError
from replicate.publish.published_result import PublisherTerms
from replicate.run import RunDir, read_json, write_text
from tfrecords import manifest as manifests

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_TFRECORD = "application/x-tfrecord"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
            *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
            *("subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "sc": "https://schema.org/",
}
# The features of `tfrecords.features`: type, whether one a box, what it is.
_FEATURES = {
    "image/encoded": ("sc:ImageObject", False, "the image file's bytes, JPEG or PNG"),
    "image/format": ("sc:Text", False, "jpeg or png"),
    "image/height": ("cr:Int64", False, "height in px"),
    "image/width": ("cr:Int64", False, "width in px"),
    "image/filename": ("sc:Text", False, "file name in the annotation file"),
    "image/source_id": ("sc:Text", False, "image id in the annotation file"),
    "image/key/sha256": ("sc:Text", False, "SHA-256 of image/encoded"),
    "image/object/bbox/xmin": ("cr:Float32", True, "left, as a share of the width"),
    "image/object/bbox/xmax": ("cr:Float32", True, "right, as a share of the width"),
    "image/object/bbox/ymin": ("cr:Float32", True, "top, as a share of the height"),
    "image/object/bbox/ymax": ("cr:Float32", True, "bottom, as a share of the height"),
    "image/object/class/text": ("sc:Text", True, "category names"),
    "image/object/is_crowd": ("cr:Int64", True, "1 of a crowd region"),
    "image/object/area": ("cr:Float32", True, "the annotation's own area in px²"),
}
_OPTIONAL = {
    "include_masks": {
        "image/object/mask": ("sc:ImageObject", True, "PNG masks of the image's size"),
    },
    "include_class_labels": {
        "image/object/class/label": ("cr:Int64", True, "category ids"),
    },
    "include_keypoints": {
        "image/object/keypoint/x": ("cr:Float32", True, "as a share of the width"),
        "image/object/keypoint/y": ("cr:Float32", True, "as a share of the height"),
        "image/object/keypoint/num": ("cr:Int64", True, "labelled keypoints of each box"),
        "image/object/keypoint/visibility": ("cr:Int64", True, "COCO's 0, 1, 2"),
        "image/object/keypoint/text": ("sc:Text", True, "keypoint names"),
    },
}


def write(source: pathlib.Path, output: pathlib.Path, terms: PublisherTerms) -> list[pathlib.Path]:
    """Writes the JSON-LD of the records of a run, or of the manifests in a folder.

    Raises:
      UserError: no license named, or not by an address; no manifest.
    """
    if not terms.license:
        raise UserError(
            "--license: the data set's, as an address (COCO's annotations: "
            "https://creativecommons.org/licenses/by/4.0/; its images have Flickr's terms)"
        )
    if not terms.license.startswith(("https://", "http://")):
        raise UserError(
            f"--license={terms.license}: Croissant names a licence by its address, such as "
            "https://spdx.org/licenses/CC-BY-4.0.html"
        )
    by_split = _manifests(source)
    write_text(output, json.dumps(document(source, by_split, terms), indent=2) + "\n")
    return [output]


def _manifests(source: pathlib.Path) -> dict[str, dict]:
    """Split -> manifest, of a run directory (its own records, or its config's) or a folder."""
    if (source / "spec.json").is_file():
        run = RunDir.existing(source)
        by_split = {name: read_json(path) for name, path in manifests.in_folder(run.data).items()}
        if not by_split:
            held = records.of_config(engine.of_run(run.config))
            by_split = {
                name: split_records.manifest
                for name, split_records in held.items()
                if split_records.manifest
            }
    else:
        by_split = {name: read_json(path) for name, path in manifests.in_folder(source).items()}
    if not by_split:
        raise UserError(
            f"{source}: no manifest of TFRecords in it; give a run directory, or the folder that "
            "tools/create_coco_tf_record.py wrote into"
        )
    return by_split


def document(source: pathlib.Path, by_split: dict[str, dict], terms: PublisherTerms) -> dict:
    """The JSON-LD.

    Args:
      source: what the data set is named after.
      found: dict split -> manifest.
    """
    files, sets = [], []
    for split, manifest in by_split.items():
        for shard in manifest["shards"]:
            files.append(
                {
                    "@type": "cr:FileObject",
                    "@id": shard["name"],
                    "name": shard["name"],
                    "description": f"{shard['records']} records of {split}",
                    "contentUrl": shard["name"],
                    "contentSize": f"{shard['bytes']} B",
                    "encodingFormat": _TFRECORD,
                    "sha256": shard["sha256"],
                }
            )
        sets.append(
            {
                "@type": "cr:FileSet",
                "@id": split,
                "name": split,
                "description": f"the shards of {split}",
                "containedIn": [{"@id": shard["name"]} for shard in manifest["shards"]],
                "encodingFormat": _TFRECORD,
                "includes": f"{split}-*.tfrecord",
            }
        )
    hashes = ", ".join(
        f"{split}: {manifest['source']['sha256']}" for split, manifest in by_split.items()
    )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{source.resolve().name} TFRecords",
        "description": "Images with COCO annotations as TFRecords of tf.train.Example, made by "
        f"replicate-tf2-zoo. SHA-256 of the annotation files: {hashes}",
        "license": terms.license,
        "url": terms.source_url or "https://cocodataset.org",
        "version": "1.0.0",
        "citeAs": "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
        **(
            {"creator": {"@type": "Organization", "name": terms.organization}}
            if terms.organization
            else {}
        ),
        "distribution": [*files, *sets],
        "recordSet": [
            _splits(by_split),
            *[_examples(split, manifest) for split, manifest in by_split.items()],
        ],
    }


def _splits(by_split: dict[str, dict]) -> dict:
    columns = {"name": "sc:Text", "images": "cr:Int64", "annotations": "cr:Int64"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "the splits, with what arrived in their records",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"splits/{name}",
                "name": name,
                "description": f"{name} of the split",
                "dataType": data_type,
            }
            for name, data_type in columns.items()
        ],
        "data": [
            {
                "splits/name": split,
                "splits/images": manifest["counts"]["images"],
                "splits/annotations": manifest["counts"]["annotations_written"],
            }
            for split, manifest in by_split.items()
        ],
    }


def _examples(split: str, manifest: dict) -> dict:
    features = dict(_FEATURES)
    for setting, more in _OPTIONAL.items():
        if manifest["settings"].get(setting):
            features |= more
    return {
        "@type": "cr:RecordSet",
        "@id": f"{split}_examples",
        "name": f"{split}_examples",
        "description": f"a record an image of {split}; the fields are named as in the records",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{split}_examples/{name}",
                "name": name,
                "description": described,
                "dataType": data_type,
                **({"isArray": True, "arrayShape": "-1"} if an_object else {}),
                "source": {"fileSet": {"@id": split}, "extract": {"fileProperty": "content"}},
            }
            for name, (data_type, an_object, described) in features.items()
        ],
    }
