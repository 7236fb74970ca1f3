"""What an inspection found, as one dict: inspection.json, from which the page is made."""

import dataclasses
import glob
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from replicate import config as configs
from replicate import odapi
from replicate.inspection import (
    counting,
    dropped,
    matching,
    pictures,
    recipe_input,
    sources,
    stream,
    tracing,
)
from replicate.inspection.targets import AnchorTargets, HeatMapTargets
from replicate.train import input_stream

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MAX_DRAWN_ANCHORS = 250


@dataclasses.dataclass(frozen=True)
class InspectionSettings:
    """What is looked at, and what it is compared with.

    Attributes:
      config_path: as given, for the page.
      step: global step whose batch is looked at first; 0 is a run's first.
      seed: of the run.
      draw: how many examples are drawn.
      recipe: what to compare the input with (a zoo model's name, a config); "" for what the config
        says of itself.
    """

    config_path: str
    step: int = 0
    seed: int = 0
    draw: int = 6
    recipe: str = ""


def inspect(
    config: "Message", request: sources.InspectionRequest, settings: InspectionSettings
) -> tuple[dict, dict[str, str]]:
    """Looks into the input of a config.

    Args:
      config: TrainEvalPipelineConfig.
      request: which images.
      settings: what of them.

    Returns:
      (the content, pictures: key -> data URI).

    Raises:
      UserError, InputError: see `sources.opened`, `stream.examples`, `tracing.LossTargets`.
    """
    with sources.opened(config, request) as source:
        return _Inspection(source, request, settings).done()


class _Inspection:
    """One pass over the examples."""

    def __init__(
        self,
        source: sources.StreamSource,
        request: sources.InspectionRequest,
        settings: InspectionSettings,
    ) -> None:
        self._source, self._settings = source, settings
        self._config = stream.as_trained(source.config)
        self._model = odapi.build_model(self._config.model, is_training=True)
        self._normalization = pictures.Normalization(self._model)
        self._targets = tracing.LossTargets(self._config, self._model, settings.seed)
        self._tally = counting.Tally()
        self._matching = _tally_of_targets(self._config, self._model)
        self._pictures: dict[str, str] = {}
        self._drawn: list[dict] = []
        reader = self._config.train_input_reader.tf_record_input_reader
        self._place = {
            "seed": settings.seed,
            "first_example": settings.step * self._config.train_config.batch_size,
        }
        self._count = min(request.max_images, input_stream.count_records(_files(reader.input_path)))

    def done(self) -> tuple[dict, dict[str, str]]:
        """(content, pictures)."""
        draw = min(self._settings.draw, self._count)
        stages = stream.stages(self._config, count=draw, **self._place)
        examples = stream.examples(self._config, self._model, count=self._count, **self._place)
        for example in tqdm(examples, total=self._count, desc="look", unit="image"):
            targets = self._targets.of(example.features, example.labels, step=example.number)
            self._tally.add(example)
            self._matching.add(targets)
            if len(self._drawn) < draw:
                self._draw(example, next(stages), targets)
        return self._content(), self._pictures

    # ---- drawing

    def _draw(
        self,
        example: stream.Example,
        stages: list[stream.AugmentedExample],
        targets: AnchorTargets | HeatMapTargets,
    ) -> None:
        key = f"example-{len(self._drawn)}"
        image = self._normalization.undone(example.features["image"][0])
        self._pictures[key] = pictures.data_uri(image)
        masks = example.labels.get("groundtruth_instance_masks")
        if masks is not None:
            self._pictures[f"{key}-masks"] = pictures.masks_uri(masks[0, : example.num_objects])
        crowd = _crowd_of(stages[-1], example)
        of_targets = self._anchors_of(targets, image, key)
        alone = of_targets.pop("alone")
        kinds = [
            "crowd" if crowd is not None and crowd[row] else "alone" if alone[row] else "object"
            for row in range(example.num_objects)
        ]
        self._drawn.append(
            {
                "key": key,
                "number": example.number,
                "source_id": _text(example.decoded["source_id"]),
                "filename": _text(example.decoded["filename"]),
                "image_hw": list(map(int, example.image_hw)),
                "true_image_hw": example.features["true_image_shape"][0, :2].tolist(),
                "crowd_known": crowd is not None,
                "objects": pictures.boxes(
                    example.boxes_yxyx_px, kinds, map(self._name, example.category_ids)
                ),
                **of_targets,
                "stages": [
                    self._drawn_stage(number, stages, f"{key}-stage-{number}")
                    for number in range(len(stages))
                ],
            }
        )

    def _anchors_of(
        self, targets: AnchorTargets | HeatMapTargets, image: np.ndarray, key: str
    ) -> dict[str, Any]:
        """What a drawn example has besides its objects: anchors, or a heat map."""
        if not isinstance(targets, AnchorTargets):
            self._pictures[f"{key}-heat"] = pictures.heat_uri(image, targets.heat[0])
            peaks = (targets.peaks_yxc[0][:, :2] + 0.5) * targets.stride
            return {"alone": ~targets.assigned(0), "peaks_yx_px": peaks.round(1).tolist()}
        threshold = self._rule["matched_threshold"] or 0
        positive = np.flatnonzero(targets.match[0] >= 0)
        negative = np.flatnonzero((targets.match[0] == -1) & targets.counted[0])
        sampled = self._rule["sampling"] is not None
        return {
            "alone": targets.best_iou[0] < threshold,
            "positive_anchors": len(positive),
            "anchors": self._drawn_anchors(targets, _thinned(positive)),
            "negatives": self._drawn_anchors(targets, _thinned(negative)) if sampled else [],
        }

    def _drawn_anchors(self, targets: AnchorTargets, anchors: np.ndarray) -> list[dict]:
        kinds = [
            f"level-{targets.level_of[anchor] % 8}"
            + ("" if targets.counted[0, anchor] else " unsampled")
            for anchor in anchors
        ]
        return pictures.boxes(targets.anchors_yxyx_px[anchors], kinds, [""] * len(anchors))

    def _drawn_stage(
        self, number: int, stages: Sequence[stream.AugmentedExample], key: str
    ) -> dict:
        stage, before = stages[number], stages[max(0, number - 1)]
        self._pictures[key] = pictures.data_uri(stage.image)
        self._pictures[f"{key}-masks"] = pictures.masks_uri(stage.masks)
        height, width = stage.image.shape[:2]
        scale = np.array([height, width, height, width], np.float32)
        names = [self._name(category) for category in stage.category_ids]
        return {
            "key": key,
            "image_hw": [height, width],
            "objects": pictures.boxes(
                stage.boxes_yxyx_norm * scale, ["object"] * len(names), names
            ),
            "changed": number == 0 or _differ(stage, before),
            "lost": len(before.category_ids) - len(stage.category_ids),
        }

    def _name(self, category_id: Any) -> str:
        category_id = int(category_id)
        return self._source.categories.get(category_id, f"id {category_id}" if category_id else "?")

    # ---- content

    @property
    def _rule(self) -> dict:
        return self._matching.rule

    def _content(self) -> dict:
        config, settings, source = self._config, self._settings, self._source
        facts = configs.facts(config)
        compared_with = _recipe(settings)
        content: dict[str, Any] = {
            "config": settings.config_path,
            "model": {
                "family": facts.architecture,
                "feature_extractor": facts.feature_extractor,
                "num_classes": facts.num_classes,
                "batch_size": facts.batch_size,
                "max_number_of_boxes": config.train_input_reader.max_number_of_boxes,
                "loads_masks": config.train_input_reader.load_instance_masks,
            },
            "source": {
                "kind": source.kind,
                "paths": source.paths,
                "images": source.images,
                "categories": len(source.categories),
                "dropped": source.dropped,
                "how": source.how,
            },
            "stream": {
                **self._place,
                "step": settings.step,
                "images": self._tally.images,
                "original_hw": self._tally.images_hw(),
            },
            "normalization": {
                "affine": self._normalization.affine,
                "black": self._normalization.low,
                "white": self._normalization.high,
                "swaps_channels": self._normalization.swaps_channels,
            },
            "tensors": self._tally.tensors(facts.batch_size),
            "objects": self._tally.objects(),
            "classes": self._tally.classes(source.categories),
            "sizes": self._tally.sizes(),
            "objects_per_image": self._tally.per_image(),
            "anchors": None,
            "heat_maps": None,
            "augmentation": [
                {"name": name, "settings": text} for name, text in stream.augmentations(config)
            ],
            "examples": self._drawn,
            # The config as given: as_trained may change use_bfloat16 for this machine.
            "recipe": recipe_input.compare(source.config, source, compared_with)
            if compared_with
            else None,
            "dropped_boxes": None,
            "not_checked": self._not_checked(compared_with),
        }
        content["dropped_boxes"], why = self._dropped()
        if why:
            content["not_checked"].append({"what": "boxes that conversion dropped", "why": why})
        content[self._matching.part] = self._matching.content()
        return content

    def _dropped(self) -> tuple[dict | None, str]:
        """Boxes that conversion dropped, of the images looked at or of the records; why not."""
        source = self._source
        if source.kind == sources.COCO_SOURCE:
            section, pictures = dropped.of(source.ledger, source.paths[0], source.image_dir)
            why = ""
        elif source.kind == sources.RECORDS:
            section, pictures, why = dropped.of_records(source.config)
        else:
            return None, "Parquet is read as a stream; what is left out is counted, not drawn"
        self._pictures |= {f"dropped-{key}": picture for key, picture in pictures.items()}
        return section or None, why

    def _not_checked(self, compared_with: str | None) -> list[dict[str, str]]:
        rows = []
        if not compared_with:
            rows.append(
                ("the recipe", "the config is not known to be of a zoo model; give --recipe=MODEL")
            )
        if self._config.model.HasField("faster_rcnn"):
            rows.append(
                (
                    "the second stage's sample of proposals",
                    "which proposals there are depends on the weights",
                )
            )
        if (self._rule.get("sampling") or {}).get("kind") == "hard examples":
            rows.append(
                (
                    "hard examples as trained weights choose them",
                    "those shown are of a network that has not been trained",
                )
            )
        if any(not drawn["crowd_known"] for drawn in self._drawn):
            rows.append(
                ("which boxes are crowd", "an augmentation does not let objects be followed")
            )
        return [{"what": what, "why": why} for what, why in rows]


def _recipe(settings: InspectionSettings) -> str | None:
    """What the input is compared with, or None where that is not known."""
    return settings.recipe or configs.recipe_of(settings.config_path).model


def _tally_of_targets(config: "Message", model: Any) -> Any:
    if config.model.HasField("center_net"):
        parameters = config.model.center_net.object_center_params
        return matching.HeatMapTally({"min_box_overlap_iou": parameters.min_box_overlap_iou})
    return matching.AnchorTally(matching.rule_of(config, model))


def _files(patterns: Iterable[str]) -> list[str]:
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def _crowd_of(stage: stream.AugmentedExample, example: stream.Example) -> np.ndarray | None:
    """[num_objects] crowd flags of a batch's objects; None where they cannot be followed.

    The API cuts boxes out of the batch but not their crowd flags, so the batch's own do not belong
    to its boxes once a crop has dropped one.
    """
    crowd = example.decoded.get("groundtruth_is_crowd")
    if stage.origin is None or crowd is None or len(stage.origin) < example.num_objects:
        return None
    return crowd[stage.origin[: example.num_objects]]


def _differ(stage: stream.AugmentedExample, before: stream.AugmentedExample) -> bool:
    return stage.image.shape != before.image.shape or bool(
        np.abs(stage.image - before.image).max() > 0.5
    )


def _thinned(indices: np.ndarray) -> np.ndarray:
    step = max(1, -(-len(indices) // _MAX_DRAWN_ANCHORS))
    return indices[::step]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
