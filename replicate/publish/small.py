"""A badge (SVG) and a citation in a line."""

import pathlib
from xml.sax.saxutils import escape

from replicate.publish.published_result import PublishedResult, PublisherTerms, kit
from replicate.run import write_text

_GREY = "#555"
# By the verdict: reached, not reached, neither.
_COLOURS = {True: "#2b7a2b", False: "#b03030", None: "#5a5a8a"}
_CHARACTER_PX, _PADDING_PX, _HEIGHT_PX = 6.6, 8, 20


def write_badge(
    result: PublishedResult, output: pathlib.Path, terms: PublisherTerms
) -> list[pathlib.Path]:
    """Writes the badge."""
    write_text(output, badge(result))
    return [output]


def write_citation(
    result: PublishedResult, output: pathlib.Path, terms: PublisherTerms
) -> list[pathlib.Path]:
    """Writes the citation."""
    write_text(output, citation(result) + "\n")
    return [output]


def badge(result: PublishedResult) -> str:
    """The SVG: the first figure, and beside it the verdict, in its colour."""
    left = result.figure_text(next(iter(result.scores)))
    decided = result.verdict["verdict"] if result.verdict else f"{result.images:,} images"
    reached = result.verdict["reached"] if result.verdict else None
    widths = [len(text) * _CHARACTER_PX + 2 * _PADDING_PX for text in (left, decided)]
    whole = sum(widths)
    title = escape(f"{result.model}: {left}, {result.headline}")
    texts = "".join(
        f'<text x="{x:.1f}" y="14" text-anchor="middle">{escape(text)}</text>'
        for x, text in ((widths[0] / 2, left), (widths[0] + widths[1] / 2, decided))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole:.1f}" height="{_HEIGHT_PX}" '
        f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}"><title>{title}</title>'
        f'<rect width="{widths[0]:.1f}" height="{_HEIGHT_PX}" fill="{_GREY}"/>'
        f'<rect x="{widths[0]:.1f}" width="{widths[1]:.1f}" height="{_HEIGHT_PX}" '
        f'fill="{_COLOURS[reached]}"/>'
        '<g fill="#fff" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11">'
        f"{texts}</g></svg>\n"
    )


def citation(result: PublishedResult) -> str:
    """One line that names the figure, its images, the verdict, the protocol and the kit."""
    figures = ", ".join(result.figure_text(iou_type) for iou_type in result.scores)
    first = next(iter(result.scores.values()))
    step = f", step {result.step}" if result.step is not None else ""
    decided = f"; {result.headline}" if result.verdict else ""
    return (
        f"{result.model}{step}: {figures} on {result.images:,} images{decided}; protocol "
        f"{first['protocol']['sha256'][:16]}, annotations {result.annotations_sha256[:16]} "
        f"({kit()})"
    )
