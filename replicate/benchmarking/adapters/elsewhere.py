"""A detector in a process of its own, under another Python where its libraries contradict ours.

Images and detections travel by file (`runner/serve.py` says how), so that nothing but NumPy need be
common. FILE.py:NAME is a function that makes a detector; a folder of the Transformers library's
`save_pretrained` is run by `runner/hugging_face.py`.
"""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.benchmarking import runner
from replicate.benchmarking.adapters.outputs import LABELS, check_numbers, ids_of
from replicate.benchmarking.model import (
    Deferred,
    FailedOnImage,
    Model,
    ModelDetections,
    cpu_name,
    sha256_of,
    sha256_of_files,
)
from replicate.benchmarking.names import ids_of_names
from replicate.errors import UserError
from tfrecords.whole_files import temporary_folder

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset

_RUNNER = pathlib.Path(runner.__file__).parent
_HUGGING_FACE = "hugging_face.py"


def is_transformers(path: pathlib.Path) -> bool:
    """Whether a folder is one of the Transformers library's `save_pretrained`."""
    return (path / "config.json").is_file() and (path / "preprocessor_config.json").is_file()


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    python: str | None = None,
    numbering: str | None = None,
    scores: str | None = None,
) -> Deferred:
    """A detector of a file or of a Transformers folder.

    Args:
      path: "FILE.py:NAME", NAME being a function of a dict that makes the detector; or a folder.
      dataset: Dataset; its categories give names and numbers their ids.
      python: the interpreter of the environment that has its libraries; default this one.
      numbering: what the detector's class_ids count, one of outputs.LABELS.
      scores: of a Transformers model of a type that is not known: "softmax" or "sigmoid".

    Raises:
      UserError: no such file, interpreter or numbering.
    """
    text = str(path)
    if numbering is not None and numbering not in LABELS:
        raise UserError(f"--numbering={numbering}; there are: {', '.join(LABELS)}")
    interpreter = python or sys.executable
    if shutil.which(interpreter) is None:
        raise UserError(f"--python={interpreter}: no such interpreter")
    options: dict[str, Any] = {}
    if pathlib.Path(text).is_dir():
        spec = f"{_RUNNER / _HUGGING_FACE}:Detector"
        options = {"folder": os.path.abspath(text)} | ({"scores": scores} if scores else {})
        content = [file for file in sorted(pathlib.Path(text).iterdir()) if file.is_file()]
        name = pathlib.Path(text).resolve().name
    else:
        file, _, function = text.rpartition(":")
        if not pathlib.Path(file).is_file():
            raise UserError(f"{text}: no such file; a detector is FILE.py:NAME")
        spec, content, name = f"{os.path.abspath(file)}:{function}", None, function
    identity = None  # what a user's file loads cannot be told from the file
    if content is not None:
        settings = [numbering, scores, _versions(interpreter)]
        identity = sha256_of("transformers", sha256_of_files(content), settings)
    return Deferred(
        name,
        identity,
        lambda: _model(_Process(interpreter, spec, options), name, dataset, numbering),
        decoder="pillow",
    )


def _model(process: "_Process", name: str, dataset: "Dataset", numbering: str | None) -> Model:
    def detections_of(outputs: list[tuple[dict, float]], image_hw: list) -> list[ModelDetections]:
        detections = []
        for index, (arrays, _) in enumerate(outputs):
            try:
                detections.append(of_arrays(arrays, dataset, numbering))
            except UserError as error:
                raise FailedOnImage(index, str(error)) from None
        return detections

    about = process.hello.get("about") or f"Python {process.hello.get('python')}"
    return Model(
        lambda batch: [process.detections(image, index) for index, image in enumerate(batch)],
        name=name,
        device=f"{cpu_name()}, {about}, in a process of its own",
        output_transform=detections_of,
        seconds_of=lambda outputs: sum(seconds for _, seconds in outputs),
    )


def _numbers(arrays: dict[str, np.ndarray], name: str) -> list[int]:
    """Whole numbers of the field `name`; a UserError where they are none."""
    values = np.asarray(arrays[name]).reshape(-1)
    try:
        numbers = values.astype(np.int64)
        whole = bool((numbers == values.astype(np.float64)).all())
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise UserError(
            f"the detector's {name} are no whole numbers ({values[:3].tolist()}); give names as "
            "class_names"
        )
    return numbers.tolist()


def of_arrays(
    arrays: dict[str, np.ndarray], dataset: "Dataset", numbering: str | None = None
) -> ModelDetections:
    """A detector's arrays (runner/serve.py's FIELDS) as ModelDetections.

    Raises:
      UserError: a field is missing, or its classes cannot be told.
    """
    has_boxes = [name for name in ("boxes_xywh_px", "boxes_xyxy_px") if name in arrays]
    if len(has_boxes) != 1 or "scores" not in arrays:
        raise UserError(
            f"the detector gave {', '.join(arrays) or 'nothing'}; expected scores and one of "
            "boxes_xyxy_px and boxes_xywh_px"
        )
    boxes = np.asarray(arrays[has_boxes[0]], np.float64).reshape(-1, 4)
    if has_boxes[0] == "boxes_xyxy_px":
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    scores = np.asarray(arrays["scores"], np.float64).reshape(-1)
    if "category_ids" in arrays:
        ids: list[int | None] = list(_numbers(arrays, "category_ids"))
    elif "class_ids" in arrays and numbering is not None:
        by_number = ids_of(numbering, dataset)
        numbers = _numbers(arrays, "class_ids")
        check_numbers(numbers, numbering, by_number)
        ids = [by_number.get(number) for number in numbers]
    elif "class_names" in arrays:
        of_names = [str(name) for name in arrays["class_names"].tolist()]
        by_name = ids_of_names(of_names, dataset)
        ids = [by_name.get(name) for name in of_names]
    elif len(boxes):
        raise UserError(
            "the detector gave neither category_ids nor class_names; of class_ids say what they "
            f"count: --numbering={'|'.join(LABELS)}"
        )
    else:
        ids = []
    if not len(ids) == len(boxes) == len(scores):
        raise UserError(
            f"the detector gave {len(boxes)} boxes, {len(scores)} scores and {len(ids)} classes"
        )
    known = [index for index, id in enumerate(ids) if id is not None]
    return ModelDetections(boxes[known], scores[known], [ids[index] for index in known])


class _Process:
    """The other Python with its detector, for as long as this object is used."""

    def __init__(self, interpreter: str, spec: str, options: dict[str, Any]) -> None:
        self._folder = temporary_folder("replicate-images-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        own = ("TF_USE_LEGACY_KERAS", "PYTHONPATH", "PYTHONHOME")
        environment = {name: value for name, value in os.environ.items() if name not in own}
        self._said: collections.deque[str] = collections.deque(maxlen=12)
        self._process = subprocess.Popen(
            [interpreter, str(_RUNNER / "serve.py"), spec, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
        self.close = weakref.finalize(self, _end, self._process)
        self._listener = threading.Thread(
            target=_listen, args=(self._process.stderr, self._said), daemon=True
        )
        self._listener.start()
        self._spec = spec
        self.hello = self._answer()
        if "error" in self.hello:
            self.close()
            raise UserError(f"{spec}: {_failure(self.hello)}")

    def detections(self, image: np.ndarray, index: int) -> tuple[dict[str, np.ndarray], float]:
        """(arrays by their names, seconds that the detector took) of one image.

        Raises:
          FailedOnImage: the detector raised; `index` is the image's in its batch.
          UserError: the process ended.
        """
        path = self._folder / "image.npy"
        np.save(path, image)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # told by the answer that does not come
        answer = self._answer()
        if "error" in answer:
            raise FailedOnImage(index, f"the detector {self._spec} failed: {_failure(answer)}")
        with np.load(answer["path"], allow_pickle=False) as arrays:
            return dict(arrays), float(answer["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._listener.join(5)
            said = "\n  ".join(self._said) or "nothing"
            raise UserError(
                f"the detector's own process ended with status {status}; it said:\n  {said}"
            )
        return json.loads(line)


def _end(process: subprocess.Popen) -> None:
    """Ends the process: its input is closed, and it goes."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listen(stderr: Iterable[str], lines: collections.deque[str]) -> None:
    for line in stderr:
        lines.append(line.rstrip())


def _failure(answer: dict[str, Any]) -> str:
    """A failure of the user's code in a line, its traceback in a file."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="replicate-detector-", suffix=".log", delete=False
    ) as log:
        log.write(answer["traceback"])
    return f"{answer['error']}; its traceback is in {log.name}"


def _versions(interpreter: str) -> str:
    """The versions of the libraries that decide a Transformers model's detections."""
    asks = (
        "import importlib.metadata as m, sys; print(sys.version.split()[0], "
        "*(m.version(n) for n in ('transformers', 'torch')))"
    )
    done = subprocess.run([interpreter, "-c", asks], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"{interpreter}: has no transformers and torch; name with --python the interpreter of "
            "an environment that has (pip install -r requirements-transformers.txt)"
        )
    return done.stdout.strip()
