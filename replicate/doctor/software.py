"""Python, the packages, Keras, protobuf and the Object Detection API."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator

from replicate import installation
from replicate.doctor.finding import FAIL, OK, WARN, DoctorFinding

_OWN_END = "# --- what the packages above need"
_INSTALL = "`make venv`, or `pip install -r requirements.txt` in this environment"
_MOST = 4  # names in a list; the rest is counted


def findings(answers: dict[str, dict]) -> Iterator[DoctorFinding]:
    """The findings from what the processes of `asked` answered: dict question -> answer."""
    yield python()
    yield packages()
    if installation.namesake():
        yield namesake()
    yield tensorflow(answers["engine"])
    yield keras(answers["engine"], answers["plain_keras"])
    yield protobuf(answers["protobuf"])
    yield api()


def python() -> DoctorFinding:
    """Its version: TensorFlow 2.20's companions have wheels for two."""
    seen = f"{platform.python_version()} ({sys.executable})"
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return DoctorFinding("Python", OK, seen)
    return DoctorFinding(
        "Python",
        FAIL,
        seen,
        "use Python 3.11 or 3.12: `make PYTHON=/path/to/python3.11 venv`",
    )


def packages() -> DoctorFinding:
    """What is installed against the pins of requirements.txt."""
    if not installation.REQUIREMENTS.is_file():
        return DoctorFinding("Packages", WARN, "no requirements.txt to compare with", _INSTALL)
    own, _, others = installation.REQUIREMENTS.read_text(encoding="utf-8").partition(_OWN_END)
    missing: list[str] = []
    of_others: list[str] = []
    differing: list[str] = []
    for pins, absent in ((_pins(own), missing), (_pins(others), of_others)):
        for name, pin in pins.items():
            here = version(name)
            if here is None:
                absent.append(name)
            elif here != pin:
                differing.append(f"{name} {here} (pinned {pin})")
    if missing or of_others:
        return DoctorFinding(
            "Packages",
            FAIL if missing else WARN,
            f"missing: {_some(missing + of_others)}",
            _INSTALL,
        )
    if differing:
        return DoctorFinding(
            "Packages",
            WARN,
            f"other versions than the kit is tested with: {_some(differing)}",
            _INSTALL,
        )
    return DoctorFinding("Packages", OK, f"all {len(_pins(own)) + len(_pins(others))} as pinned")


def namesake() -> DoctorFinding:
    """PyPI's `replicate` beside the kit: both have one import name, and one hides the other."""
    return DoctorFinding(
        "Import name",
        FAIL,
        f"PyPI's replicate {installation.namesake()} (a client of another service) is installed "
        "too, and both are imported as `replicate`",
        "`pip uninstall replicate`, then install the kit again, or give each an environment",
    )


def tensorflow(engine: dict) -> DoctorFinding:
    """Whether TensorFlow and the API load as the kit's tools load them."""
    here = version("tensorflow")
    if _keras_3_first(engine):
        return DoctorFinding("TensorFlow", WARN, f"{here}; not loaded, see Keras")
    if "error" in engine:
        return DoctorFinding(
            "TensorFlow",
            FAIL,
            f"{here or 'not installed'}; the engine does not load: {engine['error']}",
            _remedy(engine["error"]),
        )
    built = (
        f"built for CUDA {engine['cuda']} and cuDNN {engine['cudnn']}"
        if engine["cuda_build"]
        else "built without CUDA"
    )
    return DoctorFinding("TensorFlow", OK, f"{engine['tensorflow']}, {built}")


def keras(engine: dict, plain: dict) -> DoctorFinding:
    """Keras as the kit's tools get it, and as a script of the user's gets it."""
    installed = version("tf-keras")
    if installed is None:
        return DoctorFinding("Keras", FAIL, "tf-keras (Keras 2) is not installed", _INSTALL)
    if "error" in engine:
        if _keras_3_first(engine):
            return DoctorFinding(
                "Keras",
                FAIL,
                "Keras 3 is active: something imports keras or tensorflow before the kit does",
                "find it (sitecustomize.py, a .pth file) and take it out, or "
                "`export TF_USE_LEGACY_KERAS=1`",
            )
        return DoctorFinding(
            "Keras", WARN, f"tf-keras {installed}; not seen at work, since the engine does not load"
        )
    if not engine["keras_is_2"]:
        return DoctorFinding(
            "Keras",
            FAIL,
            f"Keras {engine['keras']} is active in the kit's own processes; the API needs Keras 2",
            f"`export TF_USE_LEGACY_KERAS=1`; {_INSTALL}",
        )
    seen = f"2, through tf_keras {engine['keras']}, in the kit's tools"
    if plain.get("version", "2").startswith("2"):
        return DoctorFinding("Keras", OK, seen)
    return DoctorFinding(
        "Keras",
        WARN if _asks_for_keras_3() else OK,
        f"{seen}; Keras {plain['version']} in scripts that import tensorflow by themselves"
        + (", since TF_USE_LEGACY_KERAS is set to 0" if _asks_for_keras_3() else ""),
        "`export TF_USE_LEGACY_KERAS=1`, or call replicate.odapi.load() before `import tensorflow`"
        if _asks_for_keras_3()
        else "",
    )


def protobuf(answer: dict) -> DoctorFinding:
    """Runtime and backend."""
    if "error" in answer:
        return DoctorFinding("protobuf", FAIL, answer["error"], _INSTALL)
    seen = f"{answer['version']}, backend {answer['backend']}"
    if not answer["same"]:
        return DoctorFinding("protobuf", FAIL, f"{seen}: a config does not survive it", _INSTALL)
    if answer["backend"] == "python":
        return DoctorFinding(
            "protobuf",
            WARN,
            f"{seen}: slow, and not what the kit is tested with",
            "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, or install the wheel for this system",
        )
    return DoctorFinding("protobuf", OK, seen)


def api() -> DoctorFinding:
    """The Object Detection API's files against the release's."""
    from replicate.odapi import provenance

    release = provenance.release()
    name = f"{release['distribution']} {release['version']}"
    differences = provenance.differences()
    if not differences:
        return DoctorFinding(
            "Object Detection API",
            OK,
            f"unmodified: its {len(release['files'])} files equal the upstream release's, {name} "
            "(SHA-256)",
        )
    if differences == [(release["distribution"], "not installed")]:
        return DoctorFinding("Object Detection API", FAIL, "not installed", _INSTALL)
    differing = _some([f"{path} {what}" for path, what in differences])
    return DoctorFinding(
        "Object Detection API",
        FAIL,
        f"not equal to the upstream release, {name}: {differing}",
        f"`pip install --force-reinstall --no-deps {name.replace(' ', '==')}`; where "
        "PYTHONPATH leads to another copy, take it out",
    )


def _keras_3_first(engine: dict) -> bool:
    return "Keras 3" in engine.get("error", "")


def _asks_for_keras_3() -> bool:
    return os.environ.get("TF_USE_LEGACY_KERAS", "").strip().lower() in ("0", "false")


def _remedy(error: str) -> str:
    if "SIGILL" in error:
        return "this processor lacks AVX, which TensorFlow's wheels need; use another machine"
    if "VersionError" in error or "Descriptors cannot" in error:
        return f"protobuf is not the one TensorFlow was made with: {_INSTALL}"
    return _INSTALL


def _pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _some(names: list[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")
