"""Metrics and analyses as lines for a terminal."""

from typing import Any

from replicate.score.cut import ERROR
from replicate.score.detections import CUT_TOLERANCE

#: What each kind of evaluation holds against the groundtruth.
KINDS = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}

#: What an interval is of, see `over_images`.
OF = {
    "population": "on all images like these",
    "samples": "on other samples of as many images",
}


def of_metrics(evaluations: dict[str, dict[str, float | None]]) -> str:
    """The metrics of each evaluator, one a line.

    Args:
      evaluations: dict evaluator's name -> dict metric name -> value or None.
    """
    names = next(iter(evaluations.values()))
    lines = [f"{'':10}" + "".join(f"{name:>14}" for name in evaluations)]
    for name in names:
        lines.append(
            f"{name:10}"
            + "".join(f"{shown(metrics[name]):>14}" for metrics in evaluations.values())
        )
    return "\n".join(lines)


def of_scores(scores: list[dict]) -> str:
    """The metrics of one checkpoint: of its boxes, and of its masks or keypoints under their names.

    What else is to be known of the detections stands below each.

    Args:
      scores: list of dicts of `score.Result.to_json`.
    """
    tables = [
        "\n".join([of_metrics(score["evaluators"]), *(f"! {line}" for line in remarks(score))])
        for score in scores
    ]
    if len(tables) == 1:
        return tables[0]
    return "\n".join(
        f"{KINDS[score['iou_type']]}:\n{table}" for score, table in zip(scores, tables, strict=True)
    )


def _objects(count: int) -> str:
    return "1 object counts" if count == 1 else f"{count:,} objects count"


def cut_in_words(detections: dict) -> str:
    """ "a score of about 0.512 (0.498 or more, with an error of 1 %)" """
    threshold, lowest = detections["score_threshold"], detections.get("score_threshold_from")
    said = f"a score of about {threshold:.3g}"
    if lowest is None or f"{lowest:.3g}" == f"{threshold:.3g}":
        return said
    return said + f" ({max(lowest, 0):.3g} or more, with an error of {100 * ERROR:g} %)"


def remarks(score: dict, cuts: bool = True, published_cut: float = 0.0) -> list[str]:
    """What is to be known of the detections beside their metrics: a list of sentences.

    Where they were cut at a score, capped, or miss images, what `--fix` changed, what they may be.

    Args:
      score: dict of `score.Result.to_json`.
      cuts: whether a cut at a score and a cap are among them.
      published_cut: the score at which those of the published figure were cut: no such cut is told.
    """
    facts, sentences = score["detections"], []
    cut = facts["score_threshold"]
    if cuts and cut is not None and not (published_cut and cut <= published_cut + CUT_TOLERANCE):
        sentences.append(
            f"the detections look cut at {cut_in_words(facts)}: none "
            "scores lower, and images have places left; AP takes all scores"
        )
    cap, counted = facts["cap_per_image"], _COUNTED.get(score["iou_type"], 100)
    if cuts and cap is not None and cap < counted:
        sentences.append(
            f"the detections look capped at {cap} an image: many images have exactly as many, none "
            f"more; AP is over {counted}"
        )
    if facts.get("whole_pixels"):
        sentences.append(
            "all boxes lie on whole pixels: they were rounded or cut, which moves AP, most of all "
            "at high IoU and of small objects"
        )
    if facts.get("objects_in_images_without"):
        without, objects = facts["images_without"], facts["objects_in_images_without"]
        sentences.append(
            f"{without:,} of {score['annotations']['images']:,} images "
            f"{'has' if without == 1 else 'have'} no detections; "
            f"their {_objects(objects)} as missed"
        )
    for repair in score["repairs"]:
        count = (
            f" ({repair['changed']:,} of {repair['of']:,} detections)"
            if "changed" in repair
            else ""
        )
        sentences.append(
            f"--fix={repair['problem']} {repair['remedy']}{count}: {repair['message']}"
        )
    return sentences + score.get("notes", [])


def of_inference(inference: dict | None) -> str:
    """How detections were made, in a line; "" where that is not known.

    Args:
      inference: the "inference" of metrics.json or of a benchmark's record, or None.
    """
    how = inference or {}
    if not how.get("decoder"):
        return ""
    line = f"images decoded by {_DECODERS[how['decoder']]} {how['decoder_version']}"
    suppressed = _SUPPRESSIONS[how["suppression"]]
    asked = how.get("suppression_asked")
    if (asked, how["suppression"]) == ("kit", "api"):
        suppressed += ", to which the kit's is not equal for this config"
    compiled = "; the forward pass compiled by XLA" if how.get("jit_compile") else ""
    reduced = "; float32 in TensorFloat-32" if how.get("tf32") else ""
    return f"{line}; {suppressed}{compiled}{reduced}"


def of_categories(per_category: list[dict]) -> str:
    """AP of each category, best first."""
    ranked = sorted(
        per_category, key=lambda category: -(-1 if category["AP"] is None else category["AP"])
    )
    ranked = [category for category in ranked if category["groundtruth"] or category["detections"]]
    width = max((len(category["name"]) for category in ranked), default=8)
    lines = [f"{'category':{width}}      AP    AP50  objects  detections"]
    for category in ranked:
        lines.append(
            f"{category['name']:{width}}  {shown(category['AP']):>9} {shown(category['AP50']):>9}"
            f" {category['groundtruth']:>6} {category['detections']:>11}"
        )
    return "\n".join(lines)


def of_analysis(analysis: dict) -> str:
    """The gist of `analysis.analyse`."""
    lines = ["size         objects       AP        AR"]
    for size, metrics in analysis["by_size"].items():
        lines.append(
            f"{size:10} {metrics['groundtruth']:>9} "
            f"{shown(metrics['AP']):>9} {shown(metrics['AR']):>9}"
        )
    if "f1" in analysis:
        f1 = analysis["f1"]
        lines.append(
            f"\nF1 at IoU 0.5 is highest, {max(f1['f1']):.3f}, "
            f"for scores from {f1['best_threshold']:.2f}"
        )
        lines.append(f"calibration error (ECE) {analysis['calibration']['ece']:.3f}")
    if "tide" in analysis:
        tide = analysis["tide"]
        lines.append(f"\nAP50 {tide['ap_base']:.3f} would gain, without errors of (TIDE):")
        for name, what in _TIDE.items():
            lines.append(
                f"  {what:46} {tide['delta_ap'][name]:+.3f}  {tide['counts'][name]:>6} times"
            )
    if analysis.get("confusion", {}).get("most_confused"):
        lines.append("\nmost confused")
        for confused in analysis["confusion"]["most_confused"][:5]:
            lines.append(
                f"  {confused['groundtruth']} called {confused['called']}: {confused['count']}"
            )
    if "intervals" in analysis:
        lines.append(f"\n95 % intervals: {analysis['intervals_method']}")
        if not analysis["intervals"]:
            lines.append(f"  none: {_TOO_FEW}")
        for name, interval in analysis["intervals"].items():
            lines.append(
                f"  {name:8} {interval['low']:.4f} to {interval['high']:.4f}  {OF[interval['of']]}"
            )
    return "\n".join(lines)


def of_comparison(comparison: dict, baseline: Any) -> str:
    """The gist of `analysis.compare`."""
    lines = [f"against {baseline}"]
    if comparison["intervals_method"]:
        lines.append(f"95 % intervals: {comparison['intervals_method']}, paired")
        if not comparison["intervals"]:
            lines.append(f"  none: {_TOO_FEW}")
    for name, difference in comparison["differences"].items():
        line = f"  {name:8} {difference:+.4f}"
        if name in comparison["intervals"]:
            interval = comparison["intervals"][name]
            line += f"   95 %: {interval['low']:+.4f} to {interval['high']:+.4f}"
            line += f"   {_told_apart(interval)} {OF[interval['of']]}"
        lines.append(line)
    return "\n".join(lines)


_TOO_FEW = "fewer than 20 images tell nothing of how AP moves from image to image"


def _told_apart(interval: dict) -> str:
    """What an interval of a difference says of the two models on other images."""
    if interval["low"] > 0:
        return "better"
    return "worse" if interval["high"] < 0 else "not told apart"


def shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


# Detections an image that COCO's AP takes, where they are not 100.
_COUNTED = {"keypoints": 20}
_DECODERS = {"tensorflow": "TensorFlow", "pillow": "Pillow"}
_SUPPRESSIONS = {
    "kit": "the kit's suppression (--suppression=api runs the API's own)",
    "api": "the API's own suppression",
    "none": "a model without suppression",
    "model": "the suppression is the model's own",
}
_TIDE = {
    "Cls": "classification: right place, wrong category",
    "Loc": "localization: right category, IoU 0.1 to 0.5",
    "Both": "both wrong",
    "Dupe": "duplicate of a better detection",
    "Bkg": "background taken for an object",
    "Miss": "missed objects",
}
