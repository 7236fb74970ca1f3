"""What an export's folder says of the models in it."""

import os
import pathlib
from typing import Any

from replicate.errors import UserError
from replicate.export.forms import FORMS
from replicate.export.ladder import RECORD
from replicate.run import read_json


def forms_in(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    """The forms in an export's folder: {name: path}, in the order of FORMS.

    Raises:
      UserError: no export.json in it, or one that names no form.
    """
    record = pathlib.Path(folder) / RECORD
    if not record.is_file():
        raise UserError(f"{folder}: no {RECORD} in it; tools/export.py makes such a folder")
    return {name: record.parent / form["path"] for name, form in _forms(record).items()}


def contract_of(path: str | os.PathLike) -> dict[str, Any] | None:
    """What export.json says of a form, by the form's path; None where it lies beside none."""
    path = pathlib.Path(path)
    record = path.parent / RECORD
    if not record.is_file():
        return None
    return next((form for form in _forms(record).values() if form["path"] == path.name), None)


def _forms(record: pathlib.Path) -> dict[str, dict[str, Any]]:
    content = read_json(record)
    forms = content.get("forms") if isinstance(content, dict) else None
    if not isinstance(forms, dict) or not all(
        isinstance(form, dict) and isinstance(form.get("path"), str) for form in forms.values()
    ):
        raise UserError(f"{record}: not a record of tools/export.py (no forms with a path in it)")
    return {name: forms[name] for name in FORMS if name in forms}
