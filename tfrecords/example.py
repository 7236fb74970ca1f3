"""tf.train.Example messages without TensorFlow: its three message types, built from descriptors.

The descriptors restate the field numbers of tensorflow/core/example/{example,feature}.proto,
which are frozen by every record ever written. They live in a pool of their own, so TensorFlow can
be imported beside them. Bytes are deterministic: map entries are sorted by name.
"""

import functools
from collections.abc import Mapping, Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "bytes_list": ("BytesList", _Field.TYPE_BYTES),
    "float_list": ("FloatList", _Field.TYPE_FLOAT),
    "int64_list": ("Int64List", _Field.TYPE_INT64),
}


def encode(features: Mapping[str, tuple[str, Sequence]]) -> bytes:
    """Serializes an Example.

    Args:
      features: dict of feature name to ("bytes_list" | "float_list" | "int64_list", values).
        Floats are rounded to float32, as protobuf does.

    Returns:
      bytes, the same for the same features whatever their order in the dict.
    """
    example = _example_class()()
    entries = example.features.feature
    for name, (kind, values) in features.items():
        holder = getattr(entries[name], kind)
        holder.SetInParent()  # an empty list still says its type
        holder.value.extend(values)
    return example.SerializeToString(deterministic=True)


def decode(serialized: bytes) -> dict[str, tuple[str, list]]:
    """The inverse of `encode`: dict of feature name to (kind, list of values).

    Raises:
      ValueError: the bytes are not an Example.
    """
    example = _example_class()()
    try:
        example.ParseFromString(serialized)
    except Exception as error:  # protobuf's DecodeError, whose module differs between backends
        raise ValueError(f"not a tf.train.Example: {error}") from error
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return features


@functools.cache
def _example_class() -> type:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfrecords/example.proto", package="tensorflow", syntax="proto3"
    )
    for name, kind in _KINDS.values():
        _add_field(file.message_type.add(name=name), "value", 1, kind, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (field, (name, _)) in enumerate(_KINDS.items(), start=1):
        _add_field(feature, field, number, name).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, _Field.TYPE_STRING)
    _add_field(entry, "value", 2, "Feature")
    _add_field(features, "feature", 1, "Features.FeatureEntry", repeated=True)
    _add_field(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _add_field(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: int | str,
    repeated: bool = False,
) -> descriptor_pb2.FieldDescriptorProto:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if isinstance(kind, str):
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".tensorflow.{kind}"
    else:
        field.type = kind
    return field
