"""Where the files lie that a config names, when it is read from another folder than it was made in.

A path in a config is one of the working directory of the training. Read later and elsewhere, a
relative one is still one from some folder above the config's own, and what `tools/replicate.py`
made of a run's data lies in the run itself.
"""

import glob
import os
import pathlib

# A run's own records and label map.
_DATA = "data"


def placed(named: str, beside: str | os.PathLike | None) -> str:
    """A file that a config names, or a pattern of files, as it is found from here.

    Looked for as it stands; if it is relative, from the config's folder and those above it; and by
    its name in the config's folder and its data/.

    Args:
      named: path or pattern.
      beside: the config's folder; None looks for it as it stands alone.

    Returns:
      the first of these that matches a file; `named` where none does.
    """
    if not named or beside is None:
        return named
    folder = pathlib.Path(beside).resolve()
    candidates = [named]
    if not os.path.isabs(named):
        candidates += [str(above / named) for above in (folder, *folder.parents)]
    name = os.path.basename(named)
    candidates += [str(folder / _DATA / name), str(folder / name)]
    return next((path for path in candidates if glob.glob(path)), named)
