"""Every Eval Ever's JSON, schema 0.2.2, which lies here as its project released it (MIT)."""

import json
import os
import pathlib
import time
from typing import Any

from replicate import __version__
from replicate.errors import UserError
from replicate.publish.published_result import PublishedResult, PublisherTerms, figure, kind
from replicate.run import write_text
from replicate.score import METRICS
from replicate.score.over_images import METHOD
from replicate.score.text import OF

VERSION = "0.2.2"
SCHEMA = pathlib.Path(__file__).resolve().parent / f"every_eval_ever-{VERSION}.schema.json"
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
_LEVEL = 0.95


def write(
    result: PublishedResult, output: pathlib.Path, terms: PublisherTerms
) -> list[pathlib.Path]:
    """Writes the JSON file, once the schema has nothing against it.

    Raises:
      UserError: no organization, an unknown relationship, or nothing that has a value.
    """
    if not terms.organization:
        raise UserError("--organization: Every Eval Ever wants to know who publishes the result")
    if terms.relationship and terms.relationship not in RELATIONSHIPS:
        raise UserError(f"--relationship: one of {', '.join(RELATIONSHIPS)}")
    made = document(result, terms)
    if not made["evaluation_results"]:
        raise UserError("every metric is undefined; there is nothing to publish")
    wrong = violations(made)
    if wrong:
        raise UserError(f"not what schema {VERSION} wants: {wrong[0]}")
    write_text(output, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    return [output]


def violations(document: Any) -> list[str]:
    """What the schema has against a document: ["$.path: …"]."""
    import jsonschema

    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_bytes()))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def document(result: PublishedResult, terms: PublisherTerms) -> dict:
    """The document: each defined metric with its protocol and, where it can be told, interval."""
    now = str(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time()))
    owner = terms.organization.replace("/", "-")
    model_id = terms.model_id or f"{owner}/{result.model}"
    relationship = terms.relationship or ("first_party" if result.trained else "third_party")
    source = {
        "source_name": f"replicate-tf2-zoo, {result.name}",
        "source_type": "evaluation_run",
        "source_organization_name": terms.organization,
        "evaluator_relationship": relationship,
    }
    if terms.source_url:
        source["source_organization_url"] = terms.source_url
    details = {"checkpoint_sha256": result.checkpoint_sha256, "command": result.command}
    if result.verdict:
        details |= {"verdict": result.verdict["verdict"], "verdict_headline": result.headline}
    return {
        "schema_version": VERSION,
        "evaluation_id": f"coco/{model_id}/{now}",
        "retrieved_timestamp": now,
        "source_metadata": source,
        "eval_library": {
            "name": "replicate-tf2-zoo",
            "version": __version__,
            "additional_details": _versions(result),
        },
        "model_info": {
            "name": result.model,
            "id": model_id,
            "developer": terms.organization if result.trained else "unknown",
            "additional_details": {k: v for k, v in details.items() if v},
        },
        "evaluation_results": [
            metric for iou_type in result.scores for metric in _results(result, iou_type, terms)
        ],
    }


def _versions(result: PublishedResult) -> dict[str, str]:
    first = next(iter(result.scores.values()))
    return dict(first["protocol"]["evaluators"])


def _results(result: PublishedResult, iou_type: str, terms: PublisherTerms) -> list[dict]:
    score = result.scores[iou_type]
    protocol = score["protocol"]
    intervals = result.interval(iou_type, terms.samples)
    results = []
    for name in METRICS[iou_type]:
        value = score["metrics"][name]
        if value is None:
            continue  # undefined: nothing of its kind in the groundtruth
        scored: dict[str, Any] = {"score": value}
        if name in intervals:
            scored["uncertainty"] = _uncertainty(intervals[name], result.images)
        results.append(
            {
                "evaluation_result_id": f"{iou_type}/{name}",
                "evaluation_name": f"COCO {figure(iou_type)}"
                if name == "AP"
                else f"COCO {kind(iou_type)} {name}",
                "source_data": {
                    "dataset_name": pathlib.Path(result.annotations_file).stem,
                    "source_type": "other",
                    "additional_details": {
                        "images": str(result.images),
                        "image_ids_sha256": protocol["images"]["image_ids_sha256"],
                        "annotations_sha256": result.annotations_sha256,
                    },
                },
                "metric_config": {
                    "evaluation_description": f"COCO's {name} of {kind(iou_type)}",
                    "metric_id": f"coco.{iou_type}.{name.lower().replace('@', '_at_')}",
                    "metric_name": name,
                    "metric_kind": "average_precision" if name[:2] == "AP" else "average_recall",
                    "metric_unit": "proportion",
                    "metric_parameters": _parameters(protocol),
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0.0,
                    "max_score": 1.0,
                    "additional_details": _flat(protocol),
                },
                "score_details": scored,
            }
        )
    return results


def _parameters(protocol: dict) -> dict[str, Any]:
    """The numbers that a reader would filter by."""
    return {
        "iou_from": protocol["iou_thresholds"][0],
        "iou_to": protocol["iou_thresholds"][-1],
        "max_detections": protocol["max_detections"][-1],
        "score_threshold": protocol["detections"]["score_threshold"],
        "protocol_sha256": protocol["sha256"],
    }


def _flat(protocol: dict, prefix: str = "protocol") -> dict[str, str]:
    """The protocol as the schema's key-value pairs, all values strings."""
    flat = {}
    for name, value in protocol.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}.{name}")
        else:
            flat[f"{prefix}.{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _uncertainty(interval: dict, images: int) -> dict:
    method = f"{METHOD}; {OF[interval['of']]}"
    return {
        "standard_error": {"value": interval["standard_error"], "method": method},
        "confidence_interval": {
            "lower": interval["low"],
            "upper": interval["high"],
            "confidence_level": _LEVEL,
            "method": method,
        },
        "num_samples": images,
    }
