"""Changes of which the outcome is known beforehand: whether the measurement showed it."""

from collections.abc import Iterable

from replicate.score.over_images import FEWEST_IMAGES

#: Points of AP that a change with the control "large" must cost: ten times what matters.
LARGE = 1.0


def held(row: dict, images: int) -> bool | None:
    """Whether a control came out as it must; None for a change that is no control.

    Args:
      row: of `changes` of explain/model.json.
      images: how many images were evaluated.
    """
    if row["control"] is None:
        return None
    if row["control"] == "none":
        return row["identical"]
    return _is_large(row) and not _may_be_chance(row, images)


def remarks(rows: Iterable[dict], images: int) -> list[str]:
    """What follows where controls did not come out as they must, in sentences.

    Args:
      rows: `changes` of explain/model.json.
      images: how many images were evaluated.
    """
    return [_of(row, images) for row in rows if held(row, images) is False]


def _of(row: dict, images: int) -> str:
    name = f"control {row['step']}, {row['value']}"
    moved = "leaves AP undefined"
    if row["delta_ap"] is not None:
        moved = f"moves AP by {row['delta_ap']:+.2f} points" + _span(row["interval"], images)
    if row["control"] == "none":
        return (
            f"{name}: must change nothing, and its detections differ; it {moved}: this model does "
            "not repeat itself, and changes of that size may be nothing"
        )
    if row["pixel_difference"] == 0:
        return f"{name}: leaves this model's input as it is, so it controls nothing here"
    these = f"these {images:,} images" if images != 1 else "this one image"
    if not _is_large(row):
        return (
            f"{name}: must cost {LARGE:g} point or more and {moved}: {these}, or this model, "
            "cannot tell what a change costs"
        )
    few = "are too few" if images != 1 else "is too little"
    return f"{name}: {moved}: {these} {few} to tell even that from chance"


def _is_large(row: dict) -> bool:
    return row["delta_ap"] is not None and row["delta_ap"] <= -LARGE


def _may_be_chance(row: dict, images: int) -> bool:
    interval = row["interval"]
    return images < FEWEST_IMAGES if interval is None else interval[1] >= 0


def _span(interval: list[float] | None, images: int) -> str:
    if interval is None and images < FEWEST_IMAGES:
        return f" (fewer than {FEWEST_IMAGES} images have no interval)"
    if interval is None:
        return " (no interval was measured)"
    return f" (95 % over images {interval[0]:+.2f} to {interval[1]:+.2f})"
