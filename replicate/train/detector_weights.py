"""A detector's weights but for what depends on its classes: what --restore=all_but_class_heads is.

The API's `fine_tune_checkpoint_type: "detection"` loads an SSD's feature extractor and no more, and
"full" refuses another number of classes. Here every variable of the model that the checkpoint
holds at the same place in the object graph, with the same shape, takes its value from there; the
class heads, which are of other classes, keep their first values, even where as many would fit.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from replicate import odapi
from replicate.errors import UserError
from replicate.execution import ALL_BUT_CLASS_HEADS

if TYPE_CHECKING:
    from google.protobuf.message import Message

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclasses.dataclass(frozen=True)
class RestoredVariables:
    """The names of a model's variables, by what became of them.

    Attributes:
      restored: have the checkpoint's values.
      fresh: class heads, which keep their first values.
      missed: the others, which the checkpoint does not hold or in another shape.
    """

    restored: tuple[str, ...]
    fresh: tuple[str, ...]
    missed: tuple[str, ...]


def restore(model: Any, model_config: "Message", path: str) -> RestoredVariables:
    """Gives a model, whose variables exist, a detector's weights but for the class heads.

    Args:
      model: the API's DetectionModel.
      model_config: what it was built from, the DetectionModel message.
      path: prefix of an object-based checkpoint that holds a "model", as the kit's own, the API's
        training and its released models do.

    Raises:
      UserError: the checkpoint holds no model.
    """
    reader = tf.train.load_checkpoint(path)
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH))
    roots = [child.node_id for child in graph.nodes[0].children if child.local_name == "model"]
    if not roots:
        raise UserError(
            f"{path}: holds no detector ('model'); --restore={ALL_BUT_CLASS_HEADS} takes the "
            "checkpoint of one, fine_tune_checkpoint_type: classification a classifier's"
        )

    def held_by(node: int) -> dict[str, int]:
        return {child.local_name: child.node_id for child in graph.nodes[node].children}

    values = {
        id(variable): attribute.checkpoint_key
        for variable, node in _together(model, roots[0], held_by)
        for attribute in graph.nodes[node].attributes
        if attribute.name == "VARIABLE_VALUE"
    }
    heads = {id(variable) for variable in class_heads(model, model_config)}
    names: dict[str, list[str]] = {"restored": [], "fresh": [], "missed": []}
    for variable in weights(model):
        what = "fresh" if id(variable) in heads else "missed"
        if what == "missed" and id(variable) in values:
            value = reader.get_tensor(values[id(variable)])
            if value.shape == tuple(variable.shape):
                variable.assign(tf.cast(value, variable.dtype))
                what = "restored"
        names[what].append(variable.name)
    return RestoredVariables(**{what: tuple(variables) for what, variables in names.items()})


def weights(module: Any) -> list[tf.Variable]:
    """The variables of a model or a part of one but the step of training.

    The API hangs that onto the model (`training_step`), so that it is in checkpoints of the model.
    """
    return [variable for variable in module.variables if variable.dtype.is_floating]


def class_heads(model: Any, model_config: "Message") -> list[tf.Variable]:
    """The variables of a model whose shape follows from the number of its classes.

    No list of names: the API builds the same model for one class more, its prediction is traced
    and never run, and those are the variables that come out in another shape.

    Args:
      model, model_config: as of `restore`.
    """
    larger = copy.deepcopy(model_config)
    getattr(larger, larger.WhichOneof("model")).num_classes += 1
    other = odapi.build_model(larger, is_training=False)

    # Traced, not run: that makes the variables. (In a graph of its own, Keras would make the
    # model's classes those of its first version, the other models' too.)
    @tf.function
    def predict() -> None:
        other.predict(*other.preprocess(tf.zeros([1, 64, 64, 3])))

    predict.get_concrete_function()
    return [
        variable
        for variable, twin in _together(model, other, tf.train.TrackableView.children)
        if isinstance(twin, tf.Variable) and twin.shape != variable.shape
    ]


def _together(
    model: Any, other: Any, children: Callable[[Any], dict[str, Any]]
) -> Iterator[tuple[tf.Variable, Any]]:
    """Each variable below `model` with what lies at the same place below `other`.

    That is how TensorFlow matches an object with a checkpoint: by the names of the edges.

    Args:
      children: of `other` and what lies below it, by their names.
    """
    pending, seen = [(model, other)], set()
    while pending:
        one, two = pending.pop()
        if (key := (id(one), two if isinstance(two, int) else id(two))) in seen:
            continue
        seen.add(key)
        if isinstance(one, tf.Variable):
            yield one, two
            continue
        below = children(two)
        pending += [
            (child, below[name])
            for name, child in tf.train.TrackableView.children(one).items()
            if name in below
        ]
