"""The kit's whole training step as one StableHLO module, for a machine without TensorFlow.

Forward pass, losses, gradients and optimizer are those of a run with XLA. A folder gets what
`run_step.py`, which needs JAX alone, executes:

  step.stablehlo   the module, as bytecode
  step.json        what its parameters and outputs are, TensorFlow's losses on this machine
  arrays.npz       the parameters before the first step: a batch, weights, momenta, the step
  batch_N.npz      the batches of the steps from 2 on
  expected.npz     the variables after the last step, by TensorFlow on this machine
"""

import dataclasses
import json
import pathlib
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.errors import UserError
from replicate.execution import Execution
from replicate.gpu_check import small
from tfrecords.whole_files import written_whole

if TYPE_CHECKING:
    from google.protobuf.message import Message

RUNNER = pathlib.Path(__file__).with_name("run_step.py")
# How a StableHLO text writes the types of tensors.
_SHORT = {
    **{"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64"},
    **{"int32": "i32", "int64": "i64", "uint8": "ui8", "bool": "i1", "uint64": "ui64"},
}
_SIGNATURE = re.compile(r"func\.func (?:public )?@main\((.*?)\) -> \((.*?)\) \{", re.DOTALL)
_TENSOR = re.compile(r"tensor<([^>]*)>")
_ALIAS = re.compile(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>")
_CUSTOM_CALL = re.compile(r"custom_call @(\w+)")


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
      losses: TensorFlow's on this machine, of each step.
      custom_calls: names of operations that the module leaves to the device's own library.
      module_bytes, arrays_bytes: sizes of the files.
    """

    losses: list[dict[str, float]]
    custom_calls: list[str]
    module_bytes: int
    arrays_bytes: int


def export(
    config: "Message", folder: pathlib.Path, *, precision: str = "float32", steps: int = 3
) -> Exported:
    """Writes the step of `config`, with fixed weights, into `folder`.

    Args:
      config: TrainEvalPipelineConfig whose records are there.
      folder: made where it is missing.
      precision: one of `train.precision.PRECISIONS` but float16, whose loss scaling branches on
        the host.
      steps: how many TensorFlow takes here, for JAX's to be held against.

    Raises:
      UserError: a model that XLA cannot compile, float16, or a module whose parameters could not
        be told apart.
    """
    import tensorflow as tf

    if precision == "float16":
        raise UserError("--export_step: float16 scales its loss on the host; take bfloat16")
    trainer = small.trainer_of(config, Execution(seed=3, precision=precision, jit_compile=True))
    replica: Any = trainer._replica
    replica.gradients = replica.gradients.python_function  # the whole step is compiled, not a part
    folder.mkdir(parents=True, exist_ok=True)
    batches = [trainer._input().next()[:2] for _ in range(steps)]
    whole = tf.function(
        trainer._one_step._update.python_function, jit_compile=True, autograph=False
    )
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batches[0])
    concrete = whole.get_concrete_function(*specs)
    ir = whole.experimental_get_compiler_ir(*batches[0])
    module = ir(stage="stablehlo_serialized", device_name="/device:CPU:0")
    text = ir(stage="stablehlo", device_name="/device:CPU:0")
    arguments, values, variables = _arguments(concrete, batches[0], trainer)
    parameters, updated = _places(text, arguments, len(concrete.structured_outputs))
    losses = [{name: float(value) for name, value in whole(*batch).items()} for batch in batches]
    after = {f"a{at:04d}": _bits(_read(variables[at])) for at in updated}
    described = {
        "precision": precision,
        "batch_size": config.train_config.batch_size,
        "arguments": arguments,
        "parameters": parameters,
        "losses_first": sorted(concrete.structured_outputs),
        "updated": updated,
        "losses": losses,
    }
    _write(folder / "step.stablehlo", module)
    _write(folder / "step.json", json.dumps(described).encode())
    _save(folder / "arrays.npz", {f"a{at:04d}": value for at, value in enumerate(values)})
    for number, batch in enumerate(batches[1:], 2):
        flat = tf.nest.flatten(batch)
        _save(folder / f"batch_{number}.npz", {f"a{at:04d}": _bits(t) for at, t in enumerate(flat)})
    _save(folder / "expected.npz", after)
    shutil.copyfile(RUNNER, folder / RUNNER.name)
    return Exported(
        losses,
        sorted(set(_CUSTOM_CALL.findall(text))),
        len(module),
        (folder / "arrays.npz").stat().st_size,
    )


def _arguments(concrete: Any, batch: Any, trainer: Any) -> tuple[list[dict], list, dict[int, Any]]:
    """The function's inputs in their order: ([{kind, name, dtype, shape}], values, {place of a
    variable: its resource}). Kinds: batch, weight (of the model), state (momenta, the step),
    constant."""
    import tensorflow as tf

    names = {
        variable.handle.ref(): variable.name
        for variable in [
            *trainer.model.variables,
            *trainer.optimizer.variables(),
            trainer.global_step,
        ]
        if hasattr(variable, "handle")
    }
    arguments: list[dict] = []
    values: list[np.ndarray] = []
    variables: dict[int, Any] = {}

    weights = {variable.handle.ref() for variable in trainer.model.variables}

    def add(kind: str, name: str, value: Any) -> None:
        array = np.asarray(value)
        arguments.append(
            {"kind": kind, "name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        )
        values.append(_bits(array))

    for tensor in tf.nest.flatten(batch):
        add("batch", "", tensor)
    for tensor in concrete.captured_inputs:
        if tensor.dtype == tf.resource:
            variables[len(arguments)] = tensor
            kind = "weight" if tensor.ref() in weights else "state"
            add(kind, names.get(tensor.ref(), ""), _read(tensor))
        else:
            add("constant", "", tensor)
    return arguments, values, variables


def _places(text: str, arguments: list[dict], num_losses: int) -> tuple[list[int], list[int]]:
    """Which argument each parameter of the module is, and which variable each further output.

    XLA leaves out arguments that the step does not need and keeps the others in their order; a
    variable that is written shares its memory with an output, as the module says.
    """
    signature = _SIGNATURE.search(text)
    if signature is None:
        raise UserError("--export_step: the module has no function main that can be read")
    inside, outside = (_TENSOR.findall(part) for part in signature.groups())
    have = [
        "x".join([*map(str, argument["shape"]), _SHORT[argument["dtype"]]])
        for argument in arguments
    ]
    parameters, at = [], 0
    for kind in inside:
        try:
            at = have.index(kind, at)
        except ValueError:
            raise UserError(
                f"--export_step: parameter {len(parameters)} of the module, {kind}, is none of the "
                "step's arguments"
            ) from None
        parameters.append(at)
        at += 1
    of_output = {int(output): int(parameter) for parameter, output in _ALIAS.findall(text)}
    updated = [parameters[of_output[at]] for at in range(num_losses, len(outside))]
    wrong = [
        at
        for at, kind in zip(updated, outside[num_losses:], strict=True)
        if have[at] != kind or arguments[at]["kind"] not in ("weight", "state")
    ]
    if wrong:
        raise UserError(f"--export_step: outputs of the module are not variables: {wrong}")
    return parameters, updated


def _read(resource: Any) -> np.ndarray:
    import tensorflow as tf

    kind = resource._handle_data.shape_and_type[0].dtype
    return tf.raw_ops.ReadVariableOp(resource=resource, dtype=tf.as_dtype(kind)).numpy()


def _bits(value: Any) -> np.ndarray:
    """bfloat16, which numpy does not store, as the same bits of uint16."""
    array = np.asarray(value)
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _write(path: pathlib.Path, content: bytes) -> None:
    with written_whole(path, "wb") as file:
        file.write(content)


def _save(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    with written_whole(path, "wb") as file:
        np.savez_compressed(file, **arrays)
