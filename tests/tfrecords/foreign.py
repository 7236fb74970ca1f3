"""What makes a COCO file one of another tool's, and its conversion."""

import tfrecords


def convert(path, images, tmp_path, **options):
    return tfrecords.convert(path, images, tmp_path / "set", 1, progress=False, **options)


def centres(box):
    x, y, width, height = box
    return [x + width / 2, y + height / 2, width, height]


def edit_boxes(change):
    def edit(document):
        for annotation in document["annotations"]:
            annotation["bbox"] = change(annotation["bbox"])

    return edit


def to_ids(name):
    return lambda document: [
        entry.update({field: name(entry[field])})
        for key, fields in (("images", ["id"]), ("annotations", ["id", "image_id"]))
        for entry in document[key]
        for field in fields
    ]


def all_of(name, **changes):
    """Changes every entry of a list; a value that is a function is of the entry."""

    def edit(document):
        for entry in document[name]:
            entry.update({k: v(entry) if callable(v) else v for k, v in changes.items()})

    return edit


def first_of(listed, /, **changes):
    return lambda document: document[listed][0].update(changes)


def as_fractions_y_first(annotation):
    x, y, width, height = annotation["bbox"]
    return [y / 120, x / 160, (y + height) / 120, (x + width) / 160]


def renumbered(document, name, field, change):
    for entry in document[name]:
        entry["id"] = change(entry["id"])
    for annotation in document["annotations"]:
        annotation[field] = change(annotation[field])
