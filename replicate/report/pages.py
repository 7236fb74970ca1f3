"""Pages from data: the templates, how figures are written in them, and one file out of many."""

import base64
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import jinja2
import markupsafe

from replicate.plain import plain as controls_shown
from replicate.report import plots
from tfrecords.commands import as_called

_TEMPLATES = pathlib.Path(__file__).resolve().parent / "templates"
# Characters of a command beyond which its flags stand one a line.
_LINE = 88
_WASH = ":root{--wash:color-mix(in srgb,var(--ink) 5%,var(--surface))}"


def html(
    template: str,
    scripts: Iterable[str],
    templates: pathlib.Path | None = None,
    extra_style: str = "",
    **context: Any,
) -> str:
    """A self-contained HTML page.

    Args:
      template: its name in `templates`, or in this room's own.
      scripts: names of the scripts it runs, in order; each in either folder.
      templates: the folder of the room that fills the page; None is this room's own.
      extra_style: CSS after the pages' own.
      **context: what the template says.
    """
    environment = _environment(templates)
    script = "\n".join(_loader(templates).get_source(environment, name)[0] for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (
        plots.css() + _WASH + (_TEMPLATES / "page.css").read_text(encoding="utf-8") + extra_style
    )
    page = environment.get_template(template).render(
        style=markupsafe.Markup(style),
        script=markupsafe.Markup(script),
        # The page's own script and no other: nothing that slipped in could run.
        script_source=markupsafe.Markup(f"'sha256-{digest}'"),
        **context,
    )
    return controls_shown(as_called(page))


def markdown(template: str, **context: Any) -> str:
    """A Markdown page; values from outside pass through the filter `md`."""
    text = _environment().get_template(template).render(**context)
    # A heading, and the first row of a table, start a paragraph.
    text = re.sub(r"\n(?=#+ |\*\*|\| \| \|\n)", "\n\n", text)
    return controls_shown(as_called(re.sub(r"\n{3,}", "\n\n", text)))


@functools.cache
def _loader(templates: pathlib.Path | None) -> jinja2.FileSystemLoader:
    return jinja2.FileSystemLoader([templates, _TEMPLATES] if templates else [_TEMPLATES])


@functools.cache
def _environment(templates: pathlib.Path | None = None) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=_loader(templates),
        trim_blocks=True,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    )
    environment.filters |= {
        "percent": percent,
        "fixed": fixed,
        "signed": signed,
        "count": count,
        "plain": plain,
        "scalar": scalar,
        "md": escape_markdown,
        "soft": soft,
        "config_value": config_value,
        "shell": shell,
        "words": words,
        "max0": lambda values: max(values, default=0),
    }
    return environment


def percent(value: float | None, digits: int = 1) -> str:
    """0.2217 as "22.2"; "" for None."""
    return "" if value is None else f"{100 * value:.{digits}f}"


def fixed(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    """With its sign, a real minus for a negative one."""
    if value is None:
        return ""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def count(value: int | None) -> str:
    """A whole number with commas."""
    return "" if value is None else f"{value:,}"


def plain(value: float) -> str:
    return f"{value:g}"


def scalar(value: Any) -> str:
    """A value of JSON for reading."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {scalar(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(scalar(item) for item in value) or "none"
    return str(value)


def config_value(value: Any) -> str:
    """A value of a pipeline.config; "not set" for None."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else '""'


def soft(text: object) -> markupsafe.Markup:
    """Text whose paths and names may break after a dot, a slash or an underscore; numbers not."""
    pieces = re.split(r"(?<=[/_])(?=\w)|(?<=\.)(?=[^\W\d])", as_called(str(text)))
    return markupsafe.Markup("<wbr>").join(pieces)


def shell(commands: str) -> str:
    """Commands of a shell for reading: long ones go on over lines, a flag each."""
    lines = (
        line if len(line) <= _LINE else line.replace(" --", " \\\n    --")
        for line in commands.splitlines()
    )
    return "\n".join(lines)


def words(commands: str) -> markupsafe.Markup:
    """`shell`, each word in an element of its own, so that a line does not break within a flag."""
    pieces = re.split(r"(\s+)", shell(as_called(commands)))
    return markupsafe.Markup("").join(
        piece if not piece.strip() else markupsafe.Markup("<span>{}</span>").format(piece)
        for piece in pieces
    )


def escape_markdown(value: object) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    text = re.sub(r"([\\`*_{}\[\]|#])", r"\\\1", as_called(str(value)))
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def json_text(value: Any) -> str:
    """report.json: a NaN, which JSON does not have, is an error here."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
