"""For the Hugging Face Hub: `.eval_results/*.yaml` and a model card.

The entries are those of huggingface_hub's `EvalResultEntry`: a value with the data set and task of
a benchmark on the Hub, where it was shown, and notes of how it was measured. From them, and from
the card's `model-index`, the Hub fills leaderboards: a result that is none of COCO's
(`PublishedResult.no_entry`) has neither, unless the publisher says that the benchmark is of the
images that were scored (`PublisherTerms.leaderboard`).
"""

import pathlib
import re

import jinja2
import yaml

from replicate import zoo
from replicate.errors import UserError
from replicate.publish.published_result import PublishedResult, PublisherTerms, figure, kind, kit
from replicate.run import write_text
from replicate.score import text

_TEMPLATES = pathlib.Path(__file__).resolve().parent
#: A name on the Hub: no part of it begins with a full stop or a stroke.
OWNER_AND_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def write(
    result: PublishedResult, folder: pathlib.Path, terms: PublisherTerms
) -> list[pathlib.Path]:
    """Writes README.md and, where the result is a leaderboard's, `.eval_results/coco.yaml`.

    Raises:
      UserError: no --dataset_id, or one that is not of the form owner/name; the entry of another
        result lies there and would be published with this one's card.
    """
    if not OWNER_AND_NAME.fullmatch(terms.dataset_id):
        raise UserError(
            f"--dataset_id={terms.dataset_id}: the data set of the benchmark on the Hugging Face "
            "Hub, as owner/name; the Hub shows a result under the benchmark that this names"
        )
    if folder.is_file():
        raise UserError(f"--output: {folder}: it is a file; of --format=hf a folder is written")
    results, card = folder / ".eval_results" / "coco.yaml", folder / "README.md"
    if _left_out(result, terms):
        if results.exists():
            raise UserError(
                f"{results}: an entry of an earlier time, and this result is none of a "
                f"leaderboard's ({result.no_entry}); remove it, or name another --output"
            )
        write_text(card, model_card(result, terms))
        return [card]
    entries = [entry(result, iou_type, terms) for iou_type in result.scores]
    write_text(results, yaml.safe_dump([e for e in entries if e], sort_keys=False, width=100))
    write_text(card, model_card(result, terms))
    return [results, card]


def _left_out(result: PublishedResult, terms: PublisherTerms) -> bool:
    return result.no_entry is not None and not terms.leaderboard


def entry(result: PublishedResult, iou_type: str, terms: PublisherTerms) -> dict | None:
    """One entry of a `.eval_results` file; None of an undefined figure."""
    points = result.points(iou_type)
    if points is None:
        return None
    task = terms.task_id if len(result.scores) == 1 else f"{terms.task_id}_{iou_type}"
    made = {
        "dataset": {"id": terms.dataset_id, "task_id": task},
        "value": round(points, 4),
        "notes": notes(result, iou_type),
    }
    if terms.source_url:
        source = {"url": terms.source_url, "name": terms.organization or kit()}
        made["source"] = source
    return made


def notes(result: PublishedResult, iou_type: str) -> str:
    """Figure, protocol and verdict in a line."""
    protocol = result.scores[iou_type]["protocol"]
    evaluators = " and ".join(
        f"{name} {version}" for name, version in protocol["evaluators"].items()
    )
    said = [
        f"{figure(iou_type)} in points over IoU {protocol['iou_thresholds'][0]:.2f} to "
        f"{protocol['iou_thresholds'][-1]:.2f}, {protocol['max_detections'][-1]} detections an "
        f"image, {result.images:,} images; {evaluators}",
        f"protocol {protocol['sha256']}",
    ]
    if result.verdict:
        said.append(result.headline)
    return "; ".join(said)


def model_card(result: PublishedResult, terms: PublisherTerms) -> str:
    """README.md: metadata, what was run, the verdict, the protocol, how to do it again."""
    name = terms.model_id or result.model
    results = [
        {
            "task": {"type": "object-detection"},
            "dataset": {"type": terms.dataset_id, "name": result.data},
            "metrics": [
                {"type": "coco_ap", "name": f"{figure(iou_type)}", "value": round(points, 4)}
            ],
        }
        for iou_type in result.scores
        if (points := result.points(iou_type)) is not None
    ]
    of_zoo = {"library_name": "tensorflow"} if result.trained else {}
    tags = ["coco"] * result.is_of_coco
    tags += ["tf2-detection-zoo"] * (result.trained and zoo.get(result.model) is not None)
    metadata: dict = of_zoo | {
        "pipeline_tag": "object-detection",
        "tags": ["object-detection", *tags],
        "datasets": [terms.dataset_id],
    }
    if not _left_out(result, terms):
        metadata["model-index"] = [{"name": name, "results": results}]
    if terms.license:
        metadata = {"license": terms.license} | metadata
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    first = next(iter(result.scores.values()))
    return environment.get_template("model_card.md.j2").render(
        metadata=yaml.safe_dump(metadata, sort_keys=False, width=100),
        result=result,
        left_out=_left_out(result, terms),
        name=name,
        figures=[
            (kind(iou_type), key, text.shown(value))
            for iou_type, score in result.scores.items()
            for key, value in score["metrics"].items()
        ],
        published=result.published(),
        protocol=first["protocol"],
        making=text.of_inference(first.get("inference")),
        kit=kit(),
    )
