"""From what a user has (a path, a module, a callable) to a `Model` that can be benchmarked.

Every adapter is a function `of(given, dataset, **options)` in a module of its own, imported only
when it is needed: TensorFlow, LiteRT and PyTorch stay out of each other's way.
"""

import dataclasses
import importlib
import inspect
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from replicate import decoders, weights
from replicate.benchmarking.model import Deferred, Model
from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


# Of these kinds the pixels are no choice: the API's own input is what its models are fed by, and
# so `tools/evaluate.py` feeds them.
_FED_AS_EVALUATED = ("checkpoint", "saved_model")
_KINDS = {
    "checkpoint": "a checkpoint or run directory",
    "saved_model": "a zoo archive or SavedModel",
    "frozen_graph": "a frozen graph",
    "tflite": "a .tflite file",
    "onnx": "an .onnx file",
    "elsewhere": "a detector FILE.py:NAME or Transformers folder",
    "torchvision": "a PyTorch module",
    "detections_file": "a file of detections",
}
_CALLABLE_OPTIONS = ("numbering",)
# Of options that one might expect of every kind.
_WHY = {"tf32": "; what another library, or a process of its own, computes in is set there"}
HOOKS = ("input_transform", "collate", "to_device", "output_transform")


def of(
    model: Any,
    *,
    dataset: "Dataset",
    identity: str | None = None,
    decoder: str | None = None,
    **options: Any,
) -> Any:
    """The adapter for `model`.

    Args:
      model: a `Model`; a PyTorch module; any other callable on a batch; or a path: a run
        directory, a checkpoint (with the option pipeline_config), a folder with a SavedModel or
        a zoo archive (a folder or .tar.gz), a .tflite or .onnx file, a frozen graph (.pb), a
        detections file, a folder of the Transformers library, or FILE.py:NAME, a detector that
        runs in a process of its own.
      dataset: Dataset; its categories give class indices their ids.
      identity: text that changes when the detections would; overrides the adapter's own.
      decoder: what makes the pixels, one of `decoders.NAMES`; None takes the adapter's: for a
        .tflite file TensorFlow's, as its family is trained and evaluated with; for others Pillow's.
      **options: hooks (HOOKS), which take the place of the adapter's own, and options of the
        adapter.

    Returns:
      an object with `name`, `identity` and `detect(dataset, batch_size=, progress=)`.

    Raises:
      UserError: nothing here can run it, or an option that it does not have.
    """
    hooks = {name: options.pop(name) for name in HOOKS if name in options}
    kind = "callable"
    if isinstance(model, Model):
        adapted = _without_options(model, options)
    elif isinstance(model, (str, os.PathLike)):
        model = weights.place_of(model)
        kind = _kind_of_path(pathlib.Path(model))
        adapted = _called(kind, model, dataset, options)
    elif _is_torch(model):
        adapted = _called("torchvision", model, dataset, options)
    elif callable(model):
        adapted = _of_callable(model, dataset, options)
    else:
        raise UserError(
            f"model: a {type(model).__name__} is neither a path nor a callable on a batch"
        )
    adapted = _decoding(adapted, kind, decoder)
    if hooks and isinstance(adapted, Deferred):
        adapted = adapted.build()
    if hooks and not isinstance(adapted, Model):
        raise UserError(f"{model}: there is nothing to hook {', '.join(hooks)} into")
    if hooks:
        # What a hook does is not in the model's own hash.
        adapted = dataclasses.replace(adapted, **hooks, identity=identity)
    elif identity is not None:
        adapted = dataclasses.replace(adapted, identity=identity)
    return adapted


def _of_callable(model: Any, dataset: "Dataset", options: dict[str, Any]) -> Model:
    """A callable on a batch; what it gives as sv.Detections is converted."""
    from replicate.benchmarking.adapters import supervision

    numbering = options.pop("numbering", None)
    _check_options("callable", options, _CALLABLE_OPTIONS)
    name = getattr(model, "__name__", type(model).__name__)
    return Model(
        model,
        name=name,
        output_transform=lambda outputs, _: supervision.converted(outputs, dataset, numbering),
    )


def _decoding(adapted: Any, kind: str, decoder: str | None) -> Any:
    """The adapter with another decoder, where there is a choice.

    Raises:
      UserError: there is none, or no such decoder.
    """
    if decoder is None or decoder == adapted.decoder:
        return adapted
    decoders.check(decoder)
    if kind in _FED_AS_EVALUATED:
        raise UserError(
            f"decoder '{decoder}': a {kind.replace('_', ' ')} is fed as tools/evaluate.py feeds it "
            f"and as it was trained, with the pixels of {adapted.decoder}'s decoder; there is no "
            "choice (a .tflite file, a callable or a PyTorch module has one)"
        )
    if adapted.decoder is None:
        raise UserError(
            f"decoder '{decoder}': these detections come from a file, nothing is decoded"
        )
    return dataclasses.replace(adapted, decoder=decoder)


def _kind_of_path(path: pathlib.Path) -> str:
    if _is_function(path):
        return "elsewhere"
    if not path.exists() and not pathlib.Path(f"{path}.index").is_file():
        raise UserError(f"{path}: no such file or folder")
    name = path.name.lower()
    if name.endswith((".json", ".json.gz")):
        return "detections_file"
    if name.endswith(".tflite"):
        return "tflite"
    if name.endswith(".onnx"):
        return "onnx"
    if name.endswith((".tar.gz", ".tgz")):
        return "saved_model"
    if any(
        (path / name_in_it).is_file()
        for name_in_it in ("saved_model.pb", "saved_model/saved_model.pb")
    ):
        return "saved_model"
    if name.endswith(".pb"):
        return "frozen_graph"
    if (path / "config.json").is_file() and (path / "preprocessor_config.json").is_file():
        return "elsewhere"
    if path.is_dir() or not path.exists():
        return "checkpoint"
    raise UserError(
        f"{path}: not a model that can be benchmarked; give a run directory, a checkpoint (…/ckpt-0"
        " with --pipeline_config), a zoo archive (.tar.gz or its folder), a SavedModel folder, a "
        ".tflite, .onnx or frozen .pb file, a Transformers folder, a detector FILE.py:NAME or "
        "detections (.json, .json.gz)"
    )


def _is_function(path: pathlib.Path) -> bool:
    """Whether it is FILE.py:NAME."""
    file, colon, name = str(path).rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def _called(kind: str, model: Any, dataset: "Dataset", options: dict[str, Any]) -> Any:
    build = _adapter(kind)
    _check_options(kind, options, _options_of(kind))
    return build(model, dataset, **options)


def _adapter(kind: str) -> Any:
    return importlib.import_module(f"replicate.benchmarking.adapters.{kind}").of


def _options_of(kind: str) -> list[str]:
    return list(inspect.signature(_adapter(kind)).parameters)[2:]


def _without_options(model: Any, options: dict[str, Any]) -> Any:
    _check_options("callable", options, [])
    return model


def _check_options(kind: str, options: dict[str, Any], known: Sequence[str]) -> None:
    """Refuses an option that this kind of model lacks, and names the kinds that have it."""
    for name in options:
        if name in known:
            continue
        having = [words for other, words in _KINDS.items() if name in _options_of(other)]
        having += ["a callable"] if name in _CALLABLE_OPTIONS else []
        if having:
            raise UserError(
                f"{name}: {_KINDS.get(kind, 'a callable')} has no such option, it is one of "
                f"{', of '.join(having)}{_WHY.get(name, '')}"
            )
        raise UserError(
            f"{name}: no kind of model has such an option; {_KINDS.get(kind, 'a callable')} has "
            f"{', '.join((*HOOKS, *known))}"
        )


def _is_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)
