"""COCO JSON and images to sharded TFRecords: checked, resumable, the same bytes on every run."""

import dataclasses
import errno
import functools
import os
import pathlib
import shutil
import stat
import sys
from collections.abc import Callable, Collection

import tqdm

from tfrecords import (
    annotation_file,
    boxes,
    coco,
    features,
    journal,
    locks,
    manifest,
    mending,
    not_coco,
    pool,
    shards,
)
from tfrecords.errors import InputError

# How messages about an entry of the annotation file begin.
_OF_AN_ENTRY = ("annotation ", "image ")
_SHOWN = 3  # files named in one message
_RECORD_BYTES = 2048  # about what a record takes beside its image and masks
_MASK_BYTES = 800  # a mask's PNG, on the average of COCO


@dataclasses.dataclass
class Summary:
    """A finished conversion.

    Attributes:
      manifest: the manifest's content (`tfrecords.manifest`).
      manifest_path, ledger_path: where it and the ledger are.
      shard_paths: paths of the shards.
      reused: whether everything was there already.
    """

    manifest: dict
    manifest_path: str
    ledger_path: str
    shard_paths: list[str]
    reused: bool

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return (
            f"<conversion to {self.manifest_path}: {counts['images']} images, "
            f"{counts['annotations_written']} annotations>"
        )

    def __str__(self) -> str:
        source, counts = self.manifest["source"], self.manifest["counts"]
        keeps_empty = self.manifest["settings"]["keep_images_without_annotations"]
        lines = [
            f"images       {counts['images']} of {source['images']}, "
            f"{counts['images_without_annotations']} without annotations "
            f"({'kept' if keeps_empty else 'left out'})",
            f"annotations  {counts['annotations_written']} of {source['annotations']}, "
            f"crowd {counts['crowd']} of {source['crowd']}",
        ]
        for title, group in (("left out", "images_skipped"), ("dropped", "dropped")):
            for reason, number in counts[group].items():
                what = "image(s)" if group == "images_skipped" else "annotation(s)"
                lines.append(f"{title:<12} {number} {what}: {reason}")
        if counts["boxes_clipped"]:
            lines.append(f"clipped      {counts['boxes_clipped']} box(es)")
        for reading in source.get("readings", []):
            lines.append(f"read         {reading}")
        for note, number in counts["notes"].items():
            lines.append(f"note         {number} image(s): {note}")
        lines.append(f"shards       {len(self.shard_paths)}, listed in {self.manifest_path}")
        if counts["images_skipped"] or counts["dropped"] or source.get("readings"):
            lines.append(f"ledger       {self.ledger_path}")
        return "\n".join(lines)


def convert(
    annotations_file: str | os.PathLike,
    image_dir: str | os.PathLike,
    output_path: str | os.PathLike,
    num_shards: int,
    *,
    include_masks: bool = False,
    keypoints_file: str | os.PathLike | None = None,
    invalid_boxes: str = "skip",
    keep_images_without_annotations: bool = True,
    on_error: str = "stop",
    include_class_labels: bool = False,
    fix: Collection[str] = (),
    num_workers: int | None = None,
    progress: bool = True,
) -> Summary:
    """Converts a COCO dataset to OUTPUT_PATH-00000-of-0000N.tfrecord, a manifest and a ledger.

    Image number i of the file goes to shard i modulo `num_shards`, as in the API's converter. An
    interrupted conversion is continued by the same call, and only missing shards are made; a
    finished one is checked by its manifest (source and sizes) and left as it is.

    Args:
      annotations_file: COCO JSON (.json or .json.gz).
      image_dir: folder that the file names are relative to.
      output_path: prefix of all written files, such as "data/train2017".
      num_shards: number of shards.
      include_masks: whether records hold instance masks.
      keypoints_file: person_keypoints JSON; records then hold keypoints.
      invalid_boxes: "skip", "clip" or "error", see `boxes.corners`.
      keep_images_without_annotations: whether they become records (the API's do).
      on_error: "stop", or "skip" and list in the ledger, an image that is missing, unreadable or
        not as annotated, and an annotation that names an unknown image or category or lacks its
        mask.
      include_class_labels: whether records hold category ids beside the names, as TF-Vision's
        decoder wants them.
      fix: codes of `mending.FIXES`: what is mended in the annotation file first. The mended one is
        written beside the records, annotations-NAME.json; they are made of that.
      num_workers: processes (default: the cores this process may use). Bytes do not depend on it.
      progress: whether to show a progress bar.

    Raises:
      InputError: bad input, an output path that holds another conversion, or that another process
        is writing.
    """
    settings = features.FeatureSettings(
        include_masks=include_masks,
        include_keypoints=bool(keypoints_file),
        invalid_boxes=invalid_boxes,
        keep_images_without_annotations=keep_images_without_annotations,
        on_error=on_error,
        include_class_labels=include_class_labels,
    )
    output_path = os.fspath(output_path)
    _check_arguments(annotations_file, image_dir, output_path, num_shards, settings)
    with locks.held(output_path, "the conversion"):
        manifest.clean(output_path)
        if fix:
            mended = mended_path_of(output_path)
            mending.write(annotations_file, mended, fix, image_dir)
            annotations_file = mended
        return _convert(
            (annotations_file, image_dir, output_path, num_shards, keypoints_file),
            settings,
            num_workers,
            progress,
        )


def mended_path_of(output_path: str) -> str:
    """Where a conversion with repairs leaves the mended annotation file."""
    return manifest.beside(output_path, "annotations", ".json")


def _convert(
    what: tuple,
    settings: features.FeatureSettings,
    num_workers: int | None,
    progress: bool,
) -> Summary:
    """`convert` under the lock of its output."""
    annotations_file, image_dir, output_path, num_shards, keypoints_file = what
    include_masks = settings.include_masks
    asked = {"num_shards": num_shards, "settings": dataclasses.asdict(settings)}
    before = manifest.read(output_path)
    redo = None
    if before is not None:
        hashes = {
            "sha256": _sha256(annotations_file),
            "keypoints_sha256": _sha256(keypoints_file) if keypoints_file else None,
        }
        _check_same_conversion(output_path, before, asked | hashes)
        redo = manifest.differing_shards(output_path, before)
        if not redo and manifest.ledger_is_whole(output_path, before):
            return summary_of(output_path, before, reused=True)

    source = coco.load(annotations_file, segmentations=include_masks, keypoints_file=keypoints_file)
    header = asked | {"sha256": source.sha256, "keypoints_sha256": source.keypoints_sha256}
    unknown = ledger_of_unknown(source, settings)
    work = _Work(source, image_dir, output_path, num_shards, settings, num_workers, progress)
    try:
        if redo is not None:
            assert before is not None  # whose shards they are
            _remake(output_path, before, redo, work, unknown)
            return summary_of(output_path, before, reused=False)
        progress_file = journal.ConversionJournal(output_path, header)
        try:
            todo = [index for index in range(num_shards) if index not in progress_file.done]
            work.write(todo, on_shard=progress_file.add)
            results = [progress_file.done[index] for index in range(num_shards)]
            made = manifest.assemble(
                source_entry(source, header, image_dir, keypoints_file),
                {"num_shards": num_shards} | header["settings"],
                results,
                unknown,
                source.num_crowd_unknown,
            )
            manifest.write_ledger(output_path, manifest.ledger_of(made, unknown, results))
            manifest.write(output_path, made)
            progress_file.remove()
        finally:
            progress_file.close()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{os.path.dirname(output_path) or '.'}: no space left; finished shards are kept. "
            "Free some space and run the same command to continue"
        ) from error
    return summary_of(output_path, made, reused=False)


@dataclasses.dataclass
class _Work:
    """What all shards of a conversion share."""

    source: coco.Source
    image_dir: str | os.PathLike
    output_path: str
    num_shards: int
    settings: features.FeatureSettings
    num_workers: int | None
    progress: bool

    def write(
        self,
        indices: list[int],
        on_shard: Callable[[int, shards.WrittenShard], None],
        *,
        ledger_alone: bool = False,
    ) -> None:
        """Writes the shards of these indices, or does so for their part of the ledger alone."""
        images = [
            position
            for index in indices
            for position in range(index, len(self.source.images), self.num_shards)
        ]
        self._check_files(images, room=not ledger_alone)
        workers = pool.num_workers_for(self.num_workers, len(indices), len(images))
        with tqdm.tqdm(
            total=len(self.source.images),
            initial=len(self.source.images) - len(images),
            unit="image",
            desc=os.path.basename(self.output_path),
            disable=not self.progress,
        ) as bar:
            tasks = (
                (
                    index,
                    task_of(
                        self.source,
                        index,
                        self.num_shards,
                        self.output_path,
                        self.image_dir,
                        self.settings,
                    ),
                )
                for index in indices
            )
            write = shards.write
            if ledger_alone:
                write = functools.partial(write, open_shard=shards.nowhere)
            try:
                pool.run(write, tasks, workers, bar.update, on_shard)
            except InputError as error:
                if not str(error).startswith(_OF_AN_ENTRY):
                    raise
                raise InputError(f"{self.source.annotations_file}: {error}") from None

    def _check_files(self, images: list[int], room: bool) -> None:
        """Before the work starts: is every image there, and (if asked) room for the records?"""
        needed, missing = 0, []
        for position in images:
            entry = self.source.images[position]
            path = os.path.join(self.image_dir, entry.known_file_name)
            try:
                status = os.stat(path)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError
                needed += status.st_size + _RECORD_BYTES
            except OSError:
                missing.append(f"{path} (image {entry.id})")
            if self.settings.include_masks:
                needed += _MASK_BYTES * self.source.num_annotations_of(position)
        if missing and self.settings.on_error == "stop":
            shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
            raise InputError(
                f"{len(missing)} of {len(self.source.images)} images are missing: {shown}. "
                "Is --image_dir right? --on_error=skip leaves them out and lists them in the ledger"
                + self._elsewhere()
            )
        folder = os.path.dirname(self.output_path) or "."
        free = shutil.disk_usage(folder).free
        if room and needed > free:
            raise InputError(
                f"{folder}: {free / 1e9:.1f} GB free, the records need about "
                f"{needed / 1e9:.1f} GB. Free some space, or choose another --output_path"
            )

    def _elsewhere(self) -> str:
        """What to do where the first image lies in the folder under another path."""
        name = self.source.images[0].file_name or ""
        base = name.partition("?")[0].replace("\\", "/").rpartition("/")[2]
        folder = pathlib.Path(self.image_dir)
        if not base or not folder.is_dir():
            return ""
        if base != name and (folder / base).is_file():
            there = f"{base} itself"
        else:
            folded = (path.name for path in sorted(folder.iterdir()) if path.is_file())
            there = next((name for name in folded if name.casefold() == base.casefold()), "")
        if not there:
            return ""
        return f". {there} is there: " + not_coco.offer(
            "file_names", "looks names up in the image folder by their last part"
        )


def task_of(
    source: coco.Source,
    index: int,
    num_shards: int,
    output_path: str,
    image_dir: str | os.PathLike,
    settings: features.FeatureSettings,
) -> shards.Task:
    """The `shards.Task` of shard `index`: every image whose position is index modulo num_shards."""
    return shards.Task(
        path=shards.path_of(output_path, index, num_shards),
        images=[source.image(i) for i in range(index, len(source.images), num_shards)],
        image_dir=os.fspath(image_dir),
        categories=source.categories,
        settings=settings,
    )


def _check_arguments(
    annotations_file: str | os.PathLike,
    image_dir: str | os.PathLike,
    output_path: str,
    num_shards: int,
    settings: features.FeatureSettings,
) -> None:
    if not os.path.isfile(annotations_file):
        raise InputError(f"{annotations_file}: no such annotation file")
    if not os.path.isdir(image_dir):
        raise InputError(f"{image_dir}: no such image folder")
    if not isinstance(num_shards, int) or not 1 <= num_shards <= 99_999:
        raise InputError(f"{num_shards!r} shards: a whole number, 1 to 99999, can be named")
    if settings.invalid_boxes not in boxes.POLICIES:
        raise InputError(f"invalid_boxes={settings.invalid_boxes!r}: one of {boxes.POLICIES}")
    if settings.on_error not in ("stop", "skip"):
        raise InputError(f"on_error={settings.on_error!r}: 'stop' or 'skip'")
    folder, name = os.path.split(output_path)
    if not name:
        raise InputError(f"{output_path}: is a folder; add the records' name, as in data/train2017")
    try:
        os.makedirs(folder or ".", exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from error


def _sha256(path: str | os.PathLike) -> str:
    try:
        return annotation_file.sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _absolute(path: str | os.PathLike) -> str:
    """The path from the root; addresses (gs://…) stay as they are."""
    return os.fspath(path) if "://" in os.fspath(path) else os.path.abspath(path)


def _check_same_conversion(output_path: str, before: dict, header: dict) -> None:
    held = {
        "num_shards": before["settings"]["num_shards"],
        "sha256": before["source"]["sha256"],
        "keypoints_sha256": before["source"]["keypoints_sha256"],
        "settings": {
            key: value for key, value in manifest.settings_of(before).items() if key != "num_shards"
        },
    }
    if held == header:
        return
    old, new = held | held.pop("settings"), header | header["settings"]
    changes = [f"{key} {old.get(key)} there, {new[key]} now" for key in old if new[key] != old[key]]
    raise InputError(
        f"{manifest.path_of(output_path)}: holds a finished conversion of other input or "
        f"settings ({'; '.join(changes)}). Name another output_path, or remove that one's files"
    )


def ledger_of_unknown(source: coco.Source, settings: features.FeatureSettings) -> list[dict]:
    """Ledger entries of the annotations that belong to no image or category.

    Raises:
      InputError: there are any, with on_error="stop".
    """
    if source.unknown and settings.on_error == "stop":
        shown = "; ".join(
            f"annotation {annotation_id} (image {image_id}): {reason.replace('_', ' ')}"
            for annotation_id, image_id, reason in source.unknown[:_SHOWN]
        )
        raise InputError(
            f"{source.annotations_file}: {len(source.unknown)} annotation(s) name an image or "
            f"category that the file does not have: {shown}. --on_error=skip leaves them out and "
            "lists them in the ledger"
        )
    return [
        {"image_id": image_id, "annotation_id": annotation_id, "reason": reason}
        for annotation_id, image_id, reason in source.unknown
    ]


def _remake(
    output_path: str, before: dict, redo: list[int], work: _Work, unknown: list[dict]
) -> None:
    """Makes again what a finished conversion has lost: shards, the ledger."""
    results: dict[int, shards.WrittenShard] = {}

    def remade(index: int, result: shards.WrittenShard) -> None:
        _check_remade(before, index, result)
        results[index] = result

    work.write(redo, remade)
    if manifest.ledger_is_whole(output_path, before):
        return
    print(
        f"{manifest.ledger_path_of(output_path)}: missing or changed; the images are looked at "
        "again to write it",
        file=sys.stderr,
    )
    rest = [index for index in range(work.num_shards) if index not in results]
    work.write(rest, remade, ledger_alone=True)
    in_order = [results[index] for index in range(work.num_shards)]
    manifest.write_ledger(output_path, manifest.ledger_of(before, unknown, in_order))


def _check_remade(before: dict, index: int, result: shards.WrittenShard) -> None:
    if result.manifest_entry != before["shards"][index]:
        raise InputError(
            f"{result.name}: made again, it differs from the manifest: images have changed since. "
            "Remove the records and their manifest, and convert anew"
        )


def source_entry(
    source: coco.Source,
    header: dict,
    image_dir: str | os.PathLike,
    keypoints_file: str | os.PathLike | None,
) -> dict:
    """What a manifest says of its source."""
    return {
        "annotations_file": _absolute(source.annotations_file),
        "sha256": header["sha256"],
        "keypoints_file": keypoints_file and _absolute(keypoints_file),
        "keypoints_sha256": header["keypoints_sha256"],
        "image_dir": _absolute(image_dir),
        "images": len(source.images),
        "annotations": source.num_annotations,
        "crowd": source.num_crowd,
        "categories": len(source.categories),
        "category_names": {str(id_): name for id_, name in source.categories.items()},
        "image_ids_sha256": annotation_file.ids_sha256(image.id for image in source.images),
        "readings": source.readings,
    }


def summary_of(output_path: str, made: dict, reused: bool) -> Summary:
    """`Summary` of a manifest."""
    folder = os.path.dirname(output_path)
    return Summary(
        manifest=made,
        manifest_path=manifest.path_of(output_path),
        ledger_path=manifest.ledger_path_of(output_path),
        shard_paths=[os.path.join(folder, shard["name"]) for shard in made["shards"]],
        reused=reused,
    )
