"""Pythons of other environments, which have the libraries that the kit's own does without."""

import os
import pathlib
import shutil

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent


def python_with(libraries, folder):
    """Path of the Python of build/FOLDER, or of the one that REPLICATE_FOLDER_PYTHON names.

    Where there is none the test is skipped; one that is named has to be there.

    Args:
      libraries: what it has, in words, for the reason of the skip.
      folder: below build/.
    """
    variable = f"REPLICATE_{folder.upper()}_PYTHON"
    named = os.environ.get(variable)
    python = shutil.which(named or PROJECT / "build" / folder / "bin" / "python")
    if python is None:
        assert named is None, f"{variable}={named}: no such interpreter"
        pytest.skip(f"no Python with {libraries}: make build/{folder}/.installed")
    return python
