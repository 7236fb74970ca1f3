"""All findings of this machine."""

import concurrent.futures
import os
from collections.abc import Collection

from tqdm import tqdm

from replicate.doctor import asked, hardware, machine, software
from replicate.doctor.finding import DoctorFinding, by_gravity

# TensorFlow's loader speaks at this level only.
_LOUD = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}
_ENVIRONMENTS = {"cuda_libraries": _LOUD}


def examine(folder: str | os.PathLike[str] = ".", progress: bool = True) -> list[DoctorFinding]:
    """Looks at Python, the packages, GPUs, their libraries and the machine.

    Args:
      folder: where runs go.
      progress: whether to show a progress bar.

    Returns:
      list of DoctorFinding, the gravest first.
    """
    answers = ask_all(asked.QUESTIONS, progress)
    return by_gravity(
        [
            *software.findings(answers),
            *hardware.findings(answers),
            *machine.findings(folder),
        ]
    )


def ask_all(questions: Collection[str], progress: bool = True) -> dict[str, dict]:
    """dict question -> answer, two processes at a time."""
    with (
        concurrent.futures.ThreadPoolExecutor(2) as pool,
        tqdm(total=len(questions), desc="doctor", unit="question", disable=not progress) as bar,
    ):
        asking = {
            question: pool.submit(asked.ask, question, environment=_ENVIRONMENTS.get(question))
            for question in questions
        }
        answers = {}
        for question, future in asking.items():
            answers[question] = future.result()
            bar.update()
    return answers
