"""`write`: one result in one format."""

import os
import pathlib

from replicate.errors import UserError
from replicate.publish import croissant, every_eval, hub, published_result, small
from replicate.publish.hub import OWNER_AND_NAME
from replicate.publish.published_result import PublisherTerms
from tfrecords import redaction

_OF_RESULTS = {
    "hf": hub.write,
    "eee": every_eval.write,
    "badge": small.write_badge,
    "citation": small.write_citation,
}
FORMATS = (*_OF_RESULTS, "croissant")


def write(
    source: str | os.PathLike[str],
    format: str,
    output: str | os.PathLike[str],
    terms: PublisherTerms = PublisherTerms(),  # noqa: B008 (frozen)
) -> list[pathlib.Path]:
    """Writes a result for others to read.

    Args:
      source: a run directory or a record of tools/benchmark.py; for "croissant" a run directory
        or the folder of the records.
      format: one of FORMATS.
      output: a file; for "hf" a folder.
      terms: what the publisher says.

    Returns:
      the files that were written.

    Raises:
      UserError: an unknown format, a source without a result, or what the format wants to know
        besides.
    """
    if format not in FORMATS:
        raise UserError(f"--format={format}; there are: {', '.join(FORMATS)}")
    if terms.source_url and not terms.source_url.startswith(("https://", "http://")):
        raise UserError(f"--source_url={terms.source_url}: an address, https://… or http://…")
    if redaction.without_secrets(terms.source_url) != terms.source_url:
        raise UserError("--source_url: holds a password or token; name the address without it")
    if terms.model_id and not OWNER_AND_NAME.fullmatch(terms.model_id):
        raise UserError(f"--model_id={terms.model_id}: the model's id, as owner/name")
    if format == "croissant":
        return croissant.write(pathlib.Path(source), pathlib.Path(output), terms)
    return _OF_RESULTS[format](published_result.of(source), pathlib.Path(output), terms)


def why_no_entry(source: str | os.PathLike[str]) -> str | None:
    """Why "hf" writes no leaderboard's entry of a result by itself; None where it does."""
    return published_result.of(source).no_entry
