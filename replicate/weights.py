"""Where the trained weights and the config are that a model is named by.

A run directory, the best checkpoint that it keeps (RUN/best), a released archive and its folder
have both; a zoo model's name stands for what tools/download.py fetched of it; a checkpoint has its
weights alone.
"""

import dataclasses
import os
import pathlib

from replicate import archive, best, checkpoint_files, zoo
from replicate.errors import UserError
from replicate.run import RunDir

# Where `tools/download.py zoo MODEL` puts what it fetches.
DOWNLOADED = pathlib.Path("data/zoo")
_CONFIG = "pipeline.config"
_OF_VISION = "params.yaml"  # of a TF-Vision model


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model's weights and config.

    Attributes:
      checkpoint: prefix of a checkpoint (…/ckpt-400), or a folder with checkpoints.
      config: path of the pipeline.config, or None where none is known.
    """

    checkpoint: str
    config: str | None


def of(source: str | os.PathLike) -> Weights:
    """The weights of a model.

    Args:
      source: a run directory, RUN/best where it keeps its best, a released archive (which is
        unpacked beside itself) or its folder, a pipeline.config in either, a zoo model's name that
        was downloaded, a checkpoint's prefix, or a folder with checkpoints.

    Raises:
      UserError: there are none; the message says where they would come from.
      tfrecords.errors.InputError: the archive cannot be unpacked.
    """
    place = pathlib.Path(place_of(source))
    if place.is_dir():
        return _in_folder(place)
    if os.path.isfile(f"{place}.index"):
        return Weights(str(place), None)
    if archive.is_archive(place):
        return _in_folder(archive.unpack(place))
    raise UserError(
        f"{source}: no checkpoint there; give the prefix of one (…/ckpt-400, without .index), "
        "a folder that holds one, a run directory or a released MODEL.tar.gz"
    )


def start_of(given: str) -> str:
    """What a training is to start from as a checkpoint's prefix.

    Args:
      given: a prefix, or one with ".index" behind it; else what `of` takes, of which it is the last
        checkpoint. What is not there at all stays as it is: who reads the config says so.

    Raises:
      UserError, tfrecords.errors.InputError: as `of`; or no checkpoint lies there.
    """
    if given.endswith(".index") and os.path.isfile(given):
        return given.removesuffix(".index")
    known = zoo.get(given) is not None and pathlib.Path(given).name == given
    if not given or os.path.isfile(f"{given}.index") or not (os.path.exists(given) or known):
        return given
    found = of(given).checkpoint
    if not os.path.isdir(found):
        return found
    steps = checkpoint_files.steps_of(found)
    if not steps:
        raise UserError(f"{given}: no checkpoint (ckpt-N.index) in {found}")
    return checkpoint_files.path_of(found, steps[-1])


def place_of(source: str | os.PathLike) -> str:
    """Where a model lies: the folder of its pipeline.config, of a zoo model what was downloaded.

    Args:
      source: as of `of`.

    Returns:
      a path; `source` where that is one already.

    Raises:
      UserError: a zoo model that is not here, or a config that lies with no model.
    """
    path = pathlib.Path(source)
    if path.is_file() and path.suffix == ".config":
        if path.name == _CONFIG and any(
            [*path.parent.glob("*.index"), *path.parent.glob("checkpoint*/*.index")]
        ):
            return str(path.parent)
        raise UserError(
            f"{source}: a config has no weights; give the run directory or the archive that it is "
            "of, or a checkpoint (…/ckpt-400)"
        )
    row = zoo.get(str(source)) if path.name == str(source) else None
    if path.exists() or row is None:
        return str(source)
    if not row.url:
        raise UserError(f"{source}: no weights of it were released, its config alone is public")
    folder = DOWNLOADED / row.archive
    if not folder.is_dir():
        raise UserError(
            f"{source}: its weights are not here ({folder}); fetch them: python tools/download.py "
            f"zoo {row.archive}"
        )
    return str(folder)


def _in_folder(folder: pathlib.Path) -> Weights:
    owner = best.run_of(folder)
    if owner is not None:
        return _best_of(RunDir.at(owner))
    run, config = RunDir.at(folder), folder / _CONFIG
    inner = next(
        (place for place in (run.checkpoints, folder / "checkpoint") if place.is_dir()), folder
    )
    if not config.is_file():
        config = folder / _OF_VISION
    return Weights(str(inner), str(config) if config.is_file() else None)


def _best_of(run: RunDir) -> Weights:
    checkpoint, config = best.checkpoint_of(run), run.pipeline_config
    if checkpoint is None:
        raise UserError(f"{run.best}: no checkpoint is kept there yet; none had a figure")
    return Weights(checkpoint, str(config) if config.is_file() else None)
