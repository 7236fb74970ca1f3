"""Small changes of a config's model, optimizer and augmentation; and the API's own answer to them.

The API builds what it is asked for, and lazily: SSD and Faster R-CNN extractors are made with the
first image. Those that are made at once (EfficientDet's, CenterNet's) are made once a template.
"""

import contextlib
import functools

from google.protobuf.descriptor import FieldDescriptor

from replicate.odapi import building

_MESSAGES = ("model", "train_config")
# Not of the model's building: what is read from disk, counted, or free text.
_LEFT = {
    *("fine_tune_checkpoint", "fine_tune_checkpoint_type", "fine_tune_checkpoint_version"),
    *("keypoint_label_map_path", "num_classes", "class_agnostic", "freeze_variables"),
    *("update_trainable_variables", "task_name", "keypoint_class_name"),
}
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_WHOLES = (
    *(FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_INT64),
    *(FieldDescriptor.TYPE_UINT64,),
)


def fields(message, path=""):
    """(message that holds it, descriptor, path) of every set scalar field."""
    for descriptor, value in message.ListFields():
        where = f"{path}.{descriptor.name}" if path else descriptor.name
        if not path and descriptor.name not in _MESSAGES or descriptor.name in _LEFT:
            continue
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            continue
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for index, each in enumerate(value if descriptor.is_repeated else [value]):
                place = f"{where}[{index}]" if descriptor.is_repeated else where
                yield from fields(each, place)
        else:
            yield message, descriptor, where


def mutate(message, generator):
    """Changes one field in place; (path, value before, value now)."""
    holder, descriptor, path = generator.choice(sorted(fields(message), key=lambda f: f[2]))
    before = getattr(holder, descriptor.name)
    if descriptor.is_repeated:
        before = list(before)
        kind = generator.choice(["drop", "double", "change"])
        now = before[:-1] if kind == "drop" else before + before[-1:]
        if kind == "change":
            now = [_other(descriptor, before[0], generator), *before[1:]]
        holder.ClearField(descriptor.name)
        getattr(holder, descriptor.name).extend(now)
        return path, before, now
    now = _other(descriptor, before, generator)
    setattr(holder, descriptor.name, now)
    return path, before, now


def _other(descriptor, value, generator):
    if descriptor.type in _FLOATS:
        return generator.choice([0.0, 1.5, -0.5, value * 2, value / 2, value + 1])
    if descriptor.type in _WHOLES:
        signed = descriptor.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)
        choices = [0, 1, value + 1, value * 2, max(0, value - 1), value + 7]
        return generator.choice(choices + [-1] * signed)
    if descriptor.type == FieldDescriptor.TYPE_BOOL:
        return not value
    if descriptor.type == FieldDescriptor.TYPE_ENUM:
        return generator.choice([each.number for each in descriptor.enum_type.values])
    return value + generator.choice(["", "x"])


def refusal(message):
    """What the API says where it does not build model, optimizer and augmentation, or None."""
    from object_detection.builders import model_builder

    with _extractors_made_once(model_builder):
        return building.refusal(message)


_made = {}


@contextlib.contextmanager
def _extractors_made_once(model_builder):
    names = ("_build_ssd_feature_extractor", "_build_center_net_feature_extractor")
    before = {name: getattr(model_builder, name) for name in names}
    for name, build in before.items():
        setattr(model_builder, name, functools.partial(_once, name, build))
    try:
        yield
    finally:
        for name, build in before.items():
            setattr(model_builder, name, build)


def _once(name, build, feature_extractor_config, *arguments, **options):
    slow = name.startswith("_build_center") or "efficientnet" in feature_extractor_config.type
    if not slow:
        return build(feature_extractor_config, *arguments, **options)
    key = name, feature_extractor_config.SerializeToString(), str(sorted(options.items()))
    if key not in _made:
        if len(_made) > 2:
            _made.clear()
        _made[key] = build(feature_extractor_config, *arguments, **options)
    return _made[key]
