"""labels.txt: a class name a line, by class index, as TFLite's and ONNX's users have it."""

FILE = "labels.txt"
# What the API's own label files put where COCO's ids leave a gap.
NO_CLASS = "???"


def of_config(config) -> list[str] | None:
    """The class names of a config's label map by class index (id less one).

    Returns:
      a list with NO_CLASS where no id is; None where the label map cannot be read here.
    """
    from tfrecords import label_map
    from tfrecords.errors import InputError

    try:
        by_id = label_map.read(config.train_input_reader.label_map_path)
    except InputError:
        return None
    return [by_id.get(index + 1, NO_CLASS) for index in range(max(by_id))]
