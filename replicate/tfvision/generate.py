"""Takes the experiments' defaults and field types out of the installed official package.

    python -m replicate.tfvision.generate

writes replicate/tfvision/experiments.json, from which configs are composed without TensorFlow:

    package      {name: version}
    missing      {experiment: why the package cannot build it}
    classes      {class: {"one_of", "fields": {field: type}, "defaults": {field: value}}}
    experiments  {factory: its config}

Of a class that is `one_of`, `type` names the field that counts. A value is a scalar, a list, or a
config: {"@": its class} and the fields that differ from that class's defaults. A type is
alternatives between bars: int, float, str, bool, none, list[…], config:CLASS, any.
"""

import importlib
import importlib.metadata
import json
import pathlib
import types
import typing
from typing import Any

from replicate import odapi
from tfrecords.whole_files import written_whole

PATH = pathlib.Path(__file__).with_name("experiments.json")
PACKAGE = "tf-models-official"
MODULES = {
    "official.vision.configs.retinanet": (
        *("retinanet_resnetfpn_coco", "retinanet_spinenet_coco", "retinanet_mobile_coco"),
    ),
    "official.vision.configs.maskrcnn": (
        *("fasterrcnn_resnetfpn_coco", "maskrcnn_resnetfpn_coco", "maskrcnn_spinenet_coco"),
        *("cascadercnn_spinenet_coco", "maskrcnn_mobilenet_coco"),
    ),
    "official.projects.maxvit.configs.rcnn": ("rcnn_maxvit_coco",),
    "official.projects.maxvit.configs.retinanet": ("retinanet_maxvit_coco",),
    "official.projects.centernet.configs.centernet": ("centernet_hourglass_coco",),
    "official.projects.detr.configs.detr": ("detr_coco",),
    "official.projects.qat.vision.configs.retinanet": ("retinanet_mobile_coco_qat",),
    "official.projects.deepmac_maskrcnn.configs.deep_mask_head_rcnn": (
        *("deep_mask_head_rcnn_resnetfpn_coco", "deep_mask_head_rcnn_spinenet_coco"),
    ),
    "official.projects.panoptic.configs.panoptic_maskrcnn": ("panoptic_fpn_coco",),
}


def generate() -> dict:
    """The content of experiments.json, from the installed package."""
    odapi.require_keras_2()
    from official.core import exp_factory

    classes: dict[str, dict] = {}
    experiments: dict[str, dict] = {}
    missing: dict[str, str] = {}
    for module, factories in MODULES.items():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing |= dict.fromkeys(factories, f"{module} does not import: {error}")
            continue
        for factory in factories:
            experiments[factory] = _config(exp_factory.get_exp_config(factory), classes)
    return {
        "package": {PACKAGE: importlib.metadata.version(PACKAGE)},
        "missing": missing,
        "classes": dict(sorted(classes.items())),
        "experiments": experiments,
    }


def write(path: pathlib.Path = PATH) -> None:
    """Writes experiments.json."""
    with written_whole(path) as file:
        json.dump(generate(), file, indent=1)
        file.write("\n")


def _config(config: Any, classes: dict[str, dict]) -> dict:
    name = _class(type(config), classes)
    defaults = _defaults(type(config))
    described = {
        field: _value(value, classes)
        for field, value in _fields(config).items()
        if field not in defaults or _plain(value) != _plain(defaults[field])
    }
    return {"@": name, **described}


def _class(cls: Any, classes: dict[str, dict]) -> str:
    """Registers a config class; its name."""
    name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("official.")
    if name not in classes:
        classes[name] = {}  # so that a class that holds itself ends
        from official.modeling.hyperparams import oneof

        annotations = cls._get_annotations()
        defaults = _defaults(cls)
        classes[name]["one_of"] = issubclass(cls, oneof.OneOfConfig)
        classes[name]["fields"] = {
            field: _type(annotations.get(field, Any), classes) for field in defaults
        }
        classes[name]["defaults"] = {
            field: _value(value, classes) for field, value in defaults.items()
        }
    return name


def _defaults(cls: type) -> dict[str, Any]:
    return _fields(cls())


def _fields(config: Any) -> dict[str, Any]:
    return {
        field: value
        for field, value in config.__dict__.items()
        if field not in config.RESERVED_ATTR
    }


def _value(value: Any, classes: dict[str, dict]) -> Any:
    if hasattr(value, "as_dict"):
        return _config(value, classes)
    if isinstance(value, (list, tuple)):
        return [_value(element, classes) for element in value]
    return value


def _plain(value: Any) -> Any:
    """A value that can be compared, its configs by class and content."""
    if hasattr(value, "as_dict"):
        return type(value), {field: _plain(inner) for field, inner in _fields(value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    return value


def _type(annotation: Any, classes: dict[str, dict]) -> str:
    """The annotation in a word: int, list[float], str|none, config:CLASS, any."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return "|".join(sorted({_type(argument, classes) for argument in arguments}))
    if annotation is type(None):
        return "none"
    if annotation in (int, float, str, bool):
        return annotation.__name__
    if isinstance(annotation, type) and hasattr(annotation, "as_dict"):
        return f"config:{_class(annotation, classes)}"
    if origin is not None and origin is not dict and arguments:
        inner = {_type(argument, classes) for argument in arguments if argument is not Ellipsis}
        return f"list[{'|'.join(sorted(inner))}]"
    return "any"


if __name__ == "__main__":
    write()
