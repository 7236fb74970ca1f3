"""The files of TF2 checkpoints: `FOLDER/ckpt-<step>.index` and `.data-…`; imports no TensorFlow."""

import hashlib
import os
import pathlib

from replicate.errors import UserError


def steps_of(directory: str | os.PathLike[str]) -> list[int]:
    """The steps of the complete checkpoints in `directory`, ascending."""
    return sorted(
        step_of(index.stem)
        for index in pathlib.Path(directory).glob("ckpt-*.index")
        if index.stem.removeprefix("ckpt-").isdigit()
    )


def step_of(path: str | os.PathLike[str]) -> int:
    """The step in a checkpoint's name."""
    return int(str(path).rsplit("-", 1)[1])


def path_of(directory: str | os.PathLike[str], step: int) -> str:
    """The checkpoint's prefix, as TensorFlow takes it."""
    return str(pathlib.Path(directory) / f"ckpt-{step}")


def refuse_fewer(run_dir: str | os.PathLike[str], done: int, num_steps: int) -> None:
    """Raises UserError where a run has trained more steps than it is asked for."""
    if done > num_steps:
        raise UserError(
            f"{run_dir} has trained {done} steps, more than the {num_steps} that are asked for; "
            "nothing was changed. Ask for more steps, or name another run directory"
        )


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 over a checkpoint's files, in their names' order."""
    digest = hashlib.sha256()
    for part in sorted(pathlib.Path(path).parent.glob(f"{pathlib.Path(path).name}.*")):
        digest.update(part.read_bytes())
    return digest.hexdigest()
