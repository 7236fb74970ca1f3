"""Deviations that follow from one choice, together: another data set is six fields of a config."""

import re
from collections.abc import Iterable
from typing import NamedTuple


class _Choice(NamedTuple):
    """A choice: its name, what it is, and (a regular expression) the paths that follow from it."""

    name: str
    what: str
    paths: str


_CHOICES = (
    _Choice(
        "another data set",
        "its classes, label map and records",
        r"\.num_classes$|label_map|input_path|num_examples|^(train|eval)_input_reader"
        r"|annotation_file$",
    ),
    _Choice(
        "another batch size or length of training",
        "the batch, the learning rate and the schedule that follows from them",
        r"train_config\.(batch_size|num_steps|optimizer)|batch_norm\.(decay|momentum)"
        r"|train_data\.global_batch_size|^trainer\.(train_steps|optimizer_config)|norm_momentum",
    ),
    _Choice(
        "another size of the network or its input",
        "the input, the backbone's width and depth, and the heads that go with them",
        r"image_resizer|input_size|filter_size_scale|m(in|ax)_level|num_convs"
        r"|depth_multiplier|min_depth|additional_layer_depth|num_filters|num_scales"
        r"|num_layers|_predictor\.depth$|_depth$|anchor_scale|anchor_generator",
    ),
    _Choice(
        "another start",
        "the checkpoint that training begins with",
        r"train_config\.(fine_tune_checkpoint|load_all_detection)|init_checkpoint",
    ),
)


def grouped(classes: Iterable[dict], scaling: dict | None) -> list[dict]:
    """The deviations by the choice that each follows from.

    Args:
      classes: "classes" of the report's deviations.
      scaling: the verdict's conditions.scaling: a rule that explains batch and schedule, or None.

    Returns:
      list of dicts: name, what, affects_ap (whether one of them can), operations (list of
      deviations), in the order of _CHOICES; then, a field each by class, those of no known choice,
      with `what` "".
    """
    of_choice: dict[str, dict] = {}
    others: list[dict] = []
    for group in classes:
        alone = []
        for operation in group["operations"]:
            chosen = next(
                (choice for choice in _CHOICES if re.search(choice.paths, operation["path"])), None
            )
            if chosen is None:
                alone.append(operation)
                continue
            name = chosen.name
            if scaling and name.startswith("another batch"):
                name = f"the batch, scaled by the {scaling['rule']} rule"
            row = of_choice.setdefault(
                chosen.name,
                {"name": name, "what": chosen.what, "affects_ap": False, "operations": []},
            )
            row["affects_ap"] |= group["affects_ap"]
            row["operations"].append(operation)
        if alone:
            others.append(
                {
                    "name": group["class"],
                    "what": "",
                    "affects_ap": group["affects_ap"],
                    "operations": alone,
                }
            )
    ordered = [of_choice[choice.name] for choice in _CHOICES if choice.name in of_choice]
    return sorted(ordered + others, key=lambda group: not group["affects_ap"])
