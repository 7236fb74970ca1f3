"""Which fields of a pipeline.config the API's TensorFlow 2 code reads: from its source.

    python tests/odapi/fields_read.py

A field counts as read where its name stands as an attribute, or as a string, in a function that
TensorFlow 2 training, evaluation or export can reach. What TensorFlow 1 alone reaches is left out:
whole modules (TF1_MODULES) and functions (TF1_FUNCTIONS).
"""

import ast
import pathlib

#: The messages of a pipeline.config that are read by name; readers of data have their own tests.
TF1_MODULES = (
    *("legacy", "exporter.py", "exporter_lib_tf1", "export_tflite_ssd_graph", "tpu_exporters"),
    *("graph_rewriter_builder.py", "model_main.py", "model_tpu_main.py", "config_util.py"),
    *("export_inference_graph.py", "dataset_tools", "protos", "slim", "tf1"),
)
TF1_FUNCTIONS = {
    *("create_model_fn", "create_estimator_and_inputs", "create_train_and_eval_specs"),
    *("continuous_eval", "populate_experiment", "build_optimizers_tf_v1"),
}


#: Read without their names: the readers by config_util, which both TensorFlows use; an
#: augmentation's fields as keyword arguments of the preprocessor's function.
READ_OTHERWISE = ("train_input_reader", "eval_input_reader", "data_augmentation_options")


def names_read(folder):
    """Names of attributes and strings in the API's TensorFlow 2 code: a set.

    Args:
      folder: pathlib.Path of the package object_detection.
    """
    found = set()
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder).as_posix()
        if path.stem.endswith("_test") or any(part in inside for part in TF1_MODULES):
            continue
        _collect(ast.parse(path.read_text(encoding="utf-8")), found)
    return found


def _collect(node, found):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name in TF1_FUNCTIONS:
            continue
        if isinstance(child, ast.Attribute):
            found.add(child.attr)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            found.add(child.value)
        _collect(child, found)


def unread(descriptor, names, path="", above=()):
    """Paths of the fields below a message that `names` does not hold; not below an unread one."""
    for field in descriptor.fields:
        where = f"{path}.{field.name}" if path else field.name
        if field.name in READ_OTHERWISE:
            continue
        if field.name not in names:
            yield where
        elif field.message_type is not None and field.message_type not in above:
            yield from unread(field.message_type, names, where, (*above, descriptor))


def derived():
    """The paths, from the installed API."""
    import importlib.util

    from replicate.config import textproto

    folder = importlib.util.find_spec("object_detection").submodule_search_locations[0]
    names = names_read(pathlib.Path(folder))
    return list(unread(textproto.pipeline_class().DESCRIPTOR, names))


def main():
    print("\n".join(derived()))


if __name__ == "__main__":
    main()
