"""Results of an evaluation, kept under the hash of what decides them."""

import os
import pathlib

from replicate.benchmarking.model import Detected
from replicate.run import read_json, write_json


def default_folder() -> pathlib.Path:
    """$REPLICATE_CACHE, or replicate/ in the user's cache folder."""
    chosen = os.environ.get("REPLICATE_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "replicate"


class Cache:
    """Detections and scores by content.

    Args:
      folder: where they are kept; None keeps nothing.
    """

    def __init__(self, folder: str | os.PathLike | None) -> None:
        self._folder = None if folder is None else pathlib.Path(folder)

    def detections(self, key: str | None) -> Detected | None:
        """The Detected kept under `key`, or None."""
        folder = self._at(key)
        if folder is None or not (folder / "made.json").is_file():
            return None
        made = read_json(folder / "made.json")
        return Detected(str(folder / "detections.json.gz"), made["speed"], made["inference"])

    def keep_detections(self, key: str | None, detected: Detected) -> None:
        folder = self._at(key)
        if folder is not None:
            # made.json last: it says that the entry is whole.
            write_json(folder / "detections.json.gz", detected.as_list())
            made = {"speed": detected.speed, "inference": detected.inference}
            write_json(folder / "made.json", made)

    def score(self, key: str | None, settings_key: str) -> dict | None:
        """The metrics kept for the detections of `key`, or None."""
        folder = self._at(key)
        path = folder and folder / f"score-{settings_key[:16]}.json"
        return read_json(path) if path and path.is_file() else None

    def keep_score(self, key: str | None, settings_key: str, metrics: dict) -> None:
        folder = self._at(key)
        if folder is not None:
            write_json(folder / f"score-{settings_key[:16]}.json", metrics)

    def _at(self, key: str | None) -> pathlib.Path | None:
        if self._folder is None or key is None:
            return None
        return self._folder / key
