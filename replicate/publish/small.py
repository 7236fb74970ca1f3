"""A badge (SVG) and a citation in a line."""

import pathlib
from xml.sax.saxutils import escape

from replicate.publish.material import Material, PublisherTerms, kit
from replicate.run import write_text

_GREY = "#555"
# By the verdict: reached, not reached, neither.
_COLOURS = {True: "#2b7a2b", False: "#b03030", None: "#5a5a8a"}
_CHARACTER_PX, _PADDING_PX, _HEIGHT_PX = 6.6, 8, 20


def write_badge(
    material: Material, output: pathlib.Path, terms: PublisherTerms
) -> list[pathlib.Path]:
    """Writes the badge."""
    write_text(output, badge(material))
    return [output]


def write_citation(
    material: Material, output: pathlib.Path, terms: PublisherTerms
) -> list[pathlib.Path]:
    """Writes the citation."""
    write_text(output, citation(material) + "\n")
    return [output]


def badge(material: Material) -> str:
    """The SVG: the first figure, and beside it the verdict, in its colour."""
    left = material.figure_text(next(iter(material.scores)))
    decided = material.verdict["verdict"] if material.verdict else f"{material.images:,} images"
    reached = material.verdict["reached"] if material.verdict else None
    widths = [len(each) * _CHARACTER_PX + 2 * _PADDING_PX for each in (left, decided)]
    whole = sum(widths)
    title = escape(f"{material.model}: {left}, {material.headline}")
    texts = "".join(
        f'<text x="{x:.1f}" y="14" text-anchor="middle">{escape(each)}</text>'
        for x, each in ((widths[0] / 2, left), (widths[0] + widths[1] / 2, decided))
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


def citation(material: Material) -> str:
    """One line that names the figure, its images, the verdict, the protocol and the kit."""
    figures = ", ".join(material.figure_text(iou_type) for iou_type in material.scores)
    first = next(iter(material.scores.values()))
    step = f", step {material.step}" if material.step is not None else ""
    decided = f"; {material.headline}" if material.verdict else ""
    return (
        f"{material.model}{step}: {figures} on {material.images:,} images{decided}; protocol "
        f"{first['protocol']['sha256'][:16]}, annotations {material.annotations_sha256[:16]} "
        f"({kit()})"
    )
