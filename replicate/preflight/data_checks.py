"""Reasons that lie in the data: evaluation images, records, labels."""

import collections
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from replicate.config import lint_rules
from replicate.preflight import overlap, recipe_checks
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.result import CheckFinding, Note, breaks, differs, mind
from replicate.records import Records, not_named
from replicate.score.groundtruth import ids_sha256
from replicate.verdict import official
from tfrecords import boxes, coco, inverse, label_map
from tfrecords import manifest as manifests

# A conversion that leaves out more than this share of the annotations trains another set.
_DROPPED = 0.001
_VAL2017 = "evaluate on instances_val2017.json and val2017 (python tools/download.py coco)"
CONVERT = "convert again: python tools/create_coco_tf_record.py"
GIVE = "give --{0}_annotations and --{0}_images"


def evaluation_images(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """2: wrong evaluation images."""
    source = facts.val_source
    if source is None:
        yield from _images_by_records(facts)
    elif source.num_annotations == source.num_crowd:
        but = f" but {source.num_crowd:,} crowds" if source.num_crowd else ""
        yield breaks(
            f"{source.annotations_file}: {len(source.images):,} images, no annotations{but}: AP is "
            "undefined without groundtruth",
            "give --val_annotations with the objects of these images",
        )
    elif facts.row is None:
        yield Note(f"{len(source.images):,} images of {source.annotations_file}")
    else:
        yield from _against_val2017(source)
    yield from overlap.of_launch(facts)


def _against_val2017(source: coco.Source) -> Iterator[CheckFinding]:
    ids = sorted(image.id for image in source.images)
    seen = f"{len(ids):,} images, {source.num_annotations:,} annotations"
    first = pathlib.PurePath(source.images[0].file_name or "").name if ids else ""
    named = " (their files are val2014's)" if first.startswith("COCO_val2014") else ""
    if len(ids) != official.VAL2017.images:
        named = named or (" (as many as minival's)" if len(ids) in (8059, 8000) else "")
        yield differs(f"{seen}{named}; published on val2017's 5,000", _VAL2017)
    elif source.num_annotations != official.VAL2017.annotations:
        expected = official.VAL2017.annotations
        yield differs(f"{seen}{named}; instances_val2017.json has {expected:,}", _VAL2017)
    elif ids_sha256(ids[: official.FIRST]) != official.FIRST_SHA256:
        yield differs(f"{seen}{named}, but not val2017's: the ids differ", _VAL2017)
    elif source.num_crowd != official.VAL2017.crowds:
        crowds = official.VAL2017.crowds
        yield differs(
            f"{seen}{named}, {source.num_crowd:,} marked as crowds; instances_val2017.json marks "
            f"{crowds:,}",
            _VAL2017,
        )
    else:
        yield Note(f"{seen}: val2017")


def _images_by_records(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """The evaluation images as far as records tell, where there is no annotation file."""
    why = facts.problems["val_annotations"]
    if facts.intent.val_annotations:
        yield breaks(why, "mend the file, or download it again: python tools/download.py coco")
        return
    held = facts.val_records.manifest
    if held is None or facts.row is None:
        yield mind(f"not told: {why}", GIVE.format("val"))
        return
    count, annotations = held["source"]["images"], held["source"]["annotations"]
    seen = f"records of {count:,} images, {annotations:,} annotations"
    if (count, annotations) == (
        official.VAL2017.images,
        official.VAL2017.annotations,
    ):
        yield mind(f"{seen}, as many as val2017 has; ids not compared", GIVE.format("val"))
    else:
        yield differs(f"{seen}; published on val2017's 5,000", _VAL2017)


def training_images(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """17: trained on other or fewer images than train2017's."""
    source, held = facts.train_source, facts.train_records.manifest
    if source is not None:
        images, annotations = len(source.images), source.num_annotations
    elif held is not None:
        images, annotations = held["source"]["images"], held["source"]["annotations"]
    else:
        why = facts.problems.get("train_annotations", "no manifest of the records")
        yield mind(f"not told: {why}", GIVE.format("train"))
        return
    seen, split = f"{images:,} images, {annotations:,} annotations", official.TRAIN2017
    if not annotations:
        file = source.annotations_file if source is not None else facts.train_records.output_path
        yield breaks(
            f"{file}: {images:,} images, no annotations: no groundtruth to train on",
            "give --train_annotations with the objects of these images",
        )
    elif facts.row is None:
        yield Note(seen)
    elif (images, annotations) == (split.images, split.annotations):
        yield Note(f"{seen}, as many as {split.name} has")
    else:
        yield differs(
            f"{seen}; published on {split.name}'s {split.images:,} and {split.annotations:,}",
            f"train on instances_{split.name}.json (python tools/download.py coco)",
        )


def conversion(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """6: records lost in conversion."""
    yield from recipe_checks.of_records(facts)
    for split in ("train", "val"):
        held = getattr(facts, f"{split}_records")
        if held.damaged:
            yield breaks(held.damaged, "")
        elif facts.intent.convert and not held.paths:
            yield from _expected_records(facts, split)
        elif held.manifest is not None:
            yield from _manifest(facts, split, held, held.manifest)
        elif held.paths:
            yield from _unmanifested(facts, split, held)
        elif split == "train":
            yield mind("not told: there are no records yet", "see 16")


def _expected_records(facts: LaunchFacts, split: str) -> Iterator[CheckFinding]:
    """What the converter will make of the annotation file, by its own word on a sample."""
    source = getattr(facts, f"{split}_source")
    if source is None:
        yield breaks(
            f"{split}: {facts.problems[f'{split}_annotations']}", "mend the annotation file"
        )
        return
    lost = collections.Counter(reason for _, _, reason in source.unknown)
    for index in range(len(source.images)):
        image = source.image(index)
        for box in image.objects.boxes_xywh_px:
            corners, problem = boxes.corners(box, image.image_hw, "skip")
            lost[problem] += corners is None
    yield from _losses(
        split, lost, source.num_annotations, "the records are counted once they are made"
    )


def _manifest(
    facts: LaunchFacts, split: str, held: Records, manifest: dict
) -> Iterator[CheckFinding]:
    counts, source = manifest["counts"], manifest["source"]
    given = getattr(facts, f"{split}_source")
    if given is not None and source["sha256"] and given.sha256 != source["sha256"]:
        yield breaks(
            f"{split}: the records were made of another file ({source['annotations_file']}) than "
            f"{given.annotations_file}",
            CONVERT,
        )
        return
    if counts["crowd_dropped"]:
        yield differs(
            f"{split}: {counts['crowd_dropped']} of {source['crowd']} crowd annotations are not "
            "in the records: their regions count as background",
            _ledger(held),
        )
    lost = counts["dropped"] | {f"image: {k}": v for k, v in counts["images_skipped"].items()}
    yield from _losses(split, lost, source["annotations"], _ledger(held))


def _losses(split: str, lost: Mapping[str, int], total: int, where: str) -> Iterator[CheckFinding]:
    lost = {reason: number for reason, number in lost.items() if number}
    dropped = sum(lost.values())
    if not dropped:
        yield Note(f"{split}: all {total:,} annotations arrive")
        return
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in lost.items())
    seen = f"{split}: {dropped:,} of {total:,} annotations do not arrive ({reasons})"
    if dropped > _DROPPED * total:
        yield differs(seen, where)
    else:
        yield mind(seen, where)


def _unmanifested(facts: LaunchFacts, split: str, held: Records) -> Iterator[CheckFinding]:
    """Records of another converter: a sample of them against the annotation file."""
    source = getattr(facts, f"{split}_source")
    if source is None:
        yield mind(f"{split}: no manifest, and no annotation file to count", GIVE.format(split))
        return
    known = {image.id: index for index, image in enumerate(source.images)}
    ids = {name: category_id for category_id, name in source.categories.items()}
    sample = list(overlap.sample_records(held))
    for features in sample:
        try:
            image, annotations = inverse.image_of(features, ids)
        except (ValueError, LookupError) as error:
            yield differs(
                f"{split}: a record lacks what training reads, or has other labels: {error}",
                CONVERT,
            )
            return
        if image["id"] not in known:
            yield differs(f"{split}: image {image['id']} is not in the annotation file", CONVERT)
            return
        objects = source.image(known[image["id"]]).objects
        lost = _difference(objects, annotations)
        if lost:
            yield differs(f"{split}: image {image['id']} {lost}", CONVERT)
            return
    yield Note(f"{split}: {len(sample)} records hold what the annotation file says")


def _difference(objects: coco.Objects, annotations: list[dict]) -> str | None:
    """How a record differs from the annotations of its image, or None."""
    if len(annotations) != len(objects.ids):
        return f"has {len(annotations)} objects in its record, {len(objects.ids)} annotations"
    if sum(annotation["iscrowd"] for annotation in annotations) != sum(objects.crowd):
        return f"lost its crowd flags ({sum(objects.crowd)} in the annotation file)"
    areas = np.sort([annotation["area"] for annotation in annotations])
    if not np.allclose(areas, np.sort(objects.areas_px), rtol=1e-4):
        return "has areas that were computed again, not the annotation file's"
    return None


def labels(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """7: the label map or the class count is wrong."""
    yield from recipe_checks.labelled(facts)
    for problem in lint_rules.class_count(facts.message):
        yield breaks(f"{problem.path}: {problem.message}", "take the label map's number of ids")
    path = facts.message.train_input_reader.label_map_path
    if facts.labels is not None and label_map.has_byte_order_mark(path):
        yield breaks(
            f"{path} begins with a byte-order mark, which the API's parser does not take",
            f"sed -i '1s/^\\xEF\\xBB\\xBF//' {path}",
        )
    unused = set(facts.labels or {}) - set(facts.train_records.category_names())
    if unused and facts.train_records.category_names():
        first = (facts.labels or {})[min(unused)]
        yield mind(
            f"{len(unused)} labels, first {first!r}, are no category of the training records: the "
            "model has classes that nothing teaches",
            "take them out, or mind that the model never finds them",
        )
    num_classes = facts.facts.num_classes
    names = facts.labels
    if names is None and facts.intent.convert and facts.train_source is not None:
        names = facts.train_source.categories  # of which the label map will be written
    if names is None:
        path = facts.message.train_input_reader.label_map_path
        yield breaks(
            facts.problems.get("labels", f"no label map at '{path}'"),
            "write one: python tools/create_coco_tf_record.py writes it with the records",
        )
        return
    background = [f"{i} {name}" for i, name in names.items() if i < 1 or name == "background"]
    if background:
        yield breaks(
            f"the label map names the background ({background[0]}): ids start at 1, 0 is it",
            "take that item out",
        )
    sources = [s for s in (facts.train_source, facts.val_source) if s is not None]
    for source in sources:
        yield from _categories(names, source, num_classes)
    if facts.row is not None and sources:
        published = facts.published.num_classes if facts.published is not None else 0
        yield from coco_categories(sources[-1].categories, published)
    for split in ("train", "val"):
        yield from _record_labels(split, getattr(facts, f"{split}_records"), names)
    yield Note(f"{num_classes} classes, {len(names)} labels")


def _categories(
    names: dict[int, str], source: coco.Source, num_classes: int
) -> Iterator[CheckFinding]:
    """The label map against an annotation file, matched by name as evaluation does."""
    ids = {name: label for label, name in names.items()}
    lacking = [name for name in source.categories.values() if name not in ids]
    if lacking:
        yield breaks(
            f"{source.annotations_file}: {len(lacking)} of its {len(source.categories)} categories "
            f"are not in the label map, first {lacking[0]!r}",
            "one label map for training and evaluation, with every category",
        )
        return
    highest = max(source.categories.values(), key=lambda name: ids[name])
    if ids[highest] > num_classes:
        yield breaks(
            f"{highest!r} is label {ids[highest]}, but the model has {num_classes} classes",
            f"num_classes: {max(names)} (80 contiguous ids are not COCO's 90)",
        )


def coco_categories(categories: dict[int, str], num_classes: int) -> Iterator[CheckFinding]:
    """Categories against those of the published figure, of persons alone where it is one class."""
    expected = official.categories()
    if num_classes == 1:
        expected = {1: "person"}
    if categories == expected:
        return
    if sorted(categories.values()) == sorted(expected.values()):
        yield differs(
            f"COCO's names under other ids (1 to {max(categories)}, contiguous?): "
            "published with ids 1 to 90",
            "take COCO's own annotation files and ids",
        )
    else:
        yield differs(
            f"{len(categories)} categories; the published figure is over COCO's {len(expected)}",
            "take COCO's own annotation files",
        )


def _record_labels(split: str, held: Records, names: dict[int, str]) -> Iterator[CheckFinding]:
    """The records' own words for their objects against the label map.

    Where objects are named the API's decoder goes by the names, and takes what it does not find
    for background; else by the numbers, which must be the map's ids.
    """
    labels = {name: label for label, name in names.items()}
    lacking = [name for name in held.category_names().values() if name not in labels]
    for features in overlap.sample_records(held):
        texts = features.get("image/object/class/text", (None, ()))[1]
        if texts:
            in_records = {text.decode("utf-8", "replace") for text in texts}
            lacking += sorted(in_records - labels.keys() - set(lacking))
            continue
        numbers = features.get("image/object/class/label", (None, ()))[1]
        unknown = sorted(set(numbers) - set(names))
        if unknown:
            yield breaks(
                f"{split} records have label {unknown[0]}, which the label map does not"
                + (": off by one, 0 is the background" * (unknown[0] == 0)),
                CONVERT,
            )
            return
    if lacking:
        yield breaks(
            f"{split}: {not_named('the label map', lacking, labels)}",
            "the label map that was written with the records (--label_map of the converter)",
        )


def _ledger(held: Records) -> str:
    return f"see {manifests.ledger_path_of(held.output_path)}"
