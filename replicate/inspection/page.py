"""`write`: inspection.json and index.html."""

import os
import pathlib
from collections.abc import Mapping, Sequence

from replicate import environment
from replicate.errors import UserError
from replicate.inspection import answer, charts, dropped, pictures, suspects
from replicate.report import pages
from replicate.run import write_text

_STYLE = """
.box.object{stroke:#3ddc84;stroke-width:2}
.box.alone{stroke:#ff4fd8;stroke-width:2.4;stroke-dasharray:5 3}
.box.anchor{stroke-width:1}
.box.unsampled{stroke-opacity:.5;stroke-dasharray:3 2}
.box.negative{stroke:#fff;stroke-width:.7;stroke-opacity:.6;stroke-dasharray:2 2}
.level-0{stroke:#4db8ff}.level-1{stroke:#ff9a3d}.level-2{stroke:#b58cff}.level-3{stroke:#ffe14d}
.level-4{stroke:#2fd6c3}.level-5{stroke:#ff7b7b}.level-6{stroke:#c5e86c}.level-7{stroke:#cfd8e3}
.card .canvas img.masks{position:absolute;inset:0;height:100%}
.card .canvas .peak{fill:#ff4fd8;stroke:#000;stroke-width:.5}
.stages{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,165px),1fr));gap:.9rem}
.shape{white-space:nowrap}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.3rem;align-items:start}
.pair img{width:100%;height:auto}
@media (min-width:641px){.stages{grid-template-columns:repeat(auto-fill,minmax(210px,1fr))}}
.stages .card figcaption{font-size:.82rem}
.hide-names .tag,.hide-boxes .box.of-object,.hide-masks img.masks,.hide-anchors .card .anchor,
.hide-negatives .card .negative{display:none}
"""


def prepare(output: str | os.PathLike[str]) -> None:
    """Makes the folder for the page, before the work.

    Raises:
      UserError: it cannot be made, or not be written to.
    """
    try:
        pathlib.Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={output}: cannot be made: {error.strerror}") from None
    if not os.access(output, os.W_OK):
        raise UserError(f"--output={output}: may not be written to; name another folder")


def write(
    content: dict,
    images: Mapping[str, str],
    output: str | os.PathLike[str],
    command: Sequence[str],
) -> tuple[pathlib.Path, dict]:
    """Writes OUTPUT/inspection.json and OUTPUT/index.html.

    Args:
      content: `content.inspect`'s dict.
      images: its pictures, key -> data URI.
      output: folder.
      command: the words that made it.

    Returns:
      (path of index.html, the answer: `answer.answer`'s dict).
    """
    output = pathlib.Path(output)
    content = content | {
        "answer": answer.answer(content),
        "command": environment.without_secrets(" ".join(command)),
    }
    write_text(output / "inspection.json", pages.json_text(content))
    write_text(output / "index.html", html(content, images))
    return output / "index.html", content["answer"]


def html(content: dict, images: Mapping[str, str]) -> str:
    """The page of an inspection."""
    return pages.html(
        "inspection.html.j2",
        ["page.js", "values.js", "inspection.js"],
        pathlib.Path(__file__).resolve().parent / "templates",
        extra_style=_STYLE,
        content=content,
        plots=charts.of(content),
        pictures=images,
        tags=pictures.tags,
        exact=_exact,
        suspect_types=suspects.TYPES,
        dropped_reasons=dropped.REASONS,
        which=charts.which,
        top=charts.TOP,
    )


def _exact(value: float) -> str:
    """A bound of a tensor: whole numbers with commas, others with six figures; a real minus."""
    text = f"{value:,.0f}" if value == int(value) else f"{value:.6g}"
    return text.replace("-", "−")
