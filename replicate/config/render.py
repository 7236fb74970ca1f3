"""Renders a complete `pipeline.config` for a zoo model with the user's own paths and changes."""

from replicate.config import paths, sources
from replicate.config.facts import architecture_message
from replicate.errors import UserError


def render(
    model,
    *,
    overrides=(),
    train_records=None,
    val_records=None,
    label_map=None,
    num_classes=None,
    fine_tune_checkpoint=None,
):
    """The config of `model` with the given changes.

    Args:
      model: a zoo model's name, a `pipeline.config` file, a released archive or its folder, or a
        run directory.
      overrides: (path, value) pairs, both text, set last and in this order; see
        `paths.set_field`.
      train_records, val_records: record path or pattern of training and of evaluation, or a list.
      label_map: path of the label map, for training and evaluation.
      num_classes: number of classes; must be that of the label map.
      fine_tune_checkpoint: checkpoint that training starts from; "" for random weights.

    Returns:
      A complete `TrainEvalPipelineConfig`. What differs from the zoo is `deviations(model, it)`.

    Raises:
      UserError: an unknown model, or an override that does not fit.
    """
    message = sources.read(model)
    if train_records is not None:
        _set_records(message.train_input_reader, train_records)
    if val_records is not None:
        _set_records(_eval_reader(message), val_records)
    if label_map is not None:
        message.train_input_reader.label_map_path = label_map
        for reader in message.eval_input_reader or [_eval_reader(message)]:
            reader.label_map_path = label_map
    if num_classes is not None:
        architecture_message(message).num_classes = num_classes
    if fine_tune_checkpoint is not None:
        message.train_config.fine_tune_checkpoint = fine_tune_checkpoint
    for path, value in overrides:
        paths.set_field(message, path, value)
    return message


def parse_override(text):
    """`PATH=VALUE` as the pair that `render` takes.

    Raises:
      UserError: there is no `=`.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set {text}: write --set PATH=VALUE, e.g. train_config.num_steps=1000")
    return path.strip(), value


def _set_records(reader, records):
    inputs = reader.tf_record_input_reader
    inputs.ClearField("input_path")
    inputs.input_path.extend([records] if isinstance(records, str) else records)


def _eval_reader(message):
    """The reader of the evaluation images; one is made where the config has none."""
    if len(message.eval_input_reader) > 1:
        raise UserError(
            f"the config has {len(message.eval_input_reader)} evaluation readers; say which with "
            "--set eval_input_reader[0].tf_record_input_reader.input_path=…"
        )
    return (
        message.eval_input_reader[0]
        if message.eval_input_reader
        else (message.eval_input_reader.add())
    )
