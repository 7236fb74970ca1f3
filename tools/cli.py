"""What every tool shares: flags parsed, a mistake told in one message, the exit status.

    from tools import cli            # tools/NAME.py, first lines put the project on sys.path
    if __name__ == "__main__":
        cli.run(main)

Exit status: 0 done; 1 a negative answer ("differs", "not replicated"); 2 a usage or input
error, a path that cannot be read or written among them; 3 not comparable (tools that judge); 70 a
fault of the kit itself, its traceback in a log file that the message names; 75 another machine
failed, the same command again may succeed; 128 + N stopped by signal N (130 Ctrl-C, 143 SIGTERM),
what was done is kept.
"""

import difflib
import errno
import inspect
import logging
import os
import re
import signal
import sys
import types
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from absl import flags

from replicate import installation, stopping
from replicate.errors import Interrupted, Unavailable, UserError
from replicate.plain import Shown
from tfrecords.commands import as_called
from tfrecords.redaction import without_secrets
from tfrecords.whole_files import refuse_unwritable
from tools import overwriting

DONE, NEGATIVE, ERROR, CRASHED = 0, 1, 2, 70  # 70: sysexits.h's EX_SOFTWARE

# What a disk, a folder or a path may answer: the user's to mend, whichever line of code met it.
_OF_PATHS = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ETXTBSY),
    *(errno.EXDEV, errno.EBUSY, errno.ESTALE, errno.ENOLCK, errno.EMLINK),
}
_ADVICE = {
    errno.ENOSPC: "free some space there and run the same command to continue",
    errno.EDQUOT: "free some of the quota and run the same command to continue",
    errno.EFBIG: "a limit on file sizes (ulimit -f) or the file system forbids it",
    errno.EROFS: "name an output on a disk that can be written",
    errno.EACCES: "check the permissions of the file and of its folder",
    errno.EPERM: "check the permissions of the file and of its folder",
    errno.EISDIR: "a file is wanted",
    errno.EEXIST: "a file lies where a folder is wanted; name another path",
    errno.ENOTDIR: "a part of the path is a file where a folder is wanted",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EIO: "the disk fails; check it",
}
# TensorFlow words the system's errors itself.
_OF_TENSORFLOW = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "Permission denied": errno.EACCES,
    "Is a directory": errno.EISDIR,
    "Not a directory": errno.ENOTDIR,
}
# What the tools that make intervals say of --samples.
SAMPLES = "halves of the images, for intervals; 60 or more, 0 for none"
# Flags of the tools that name a file or folder to be written, tried before the work …
_OUTPUTS = ("output", "output_directory", "detections_output", "metrics_output", "html")
# … and further ones under which files are made.
_WRITTEN_BELOW = (
    *("run_dir", "model_dir", "output_path", "deviations", "task_file", "folder", "dest"),
    *("cache_dir", "tracker_dir", "pictures", "plots", "work", "work_dir", "native_dir"),
    "export_step",
)
# … of which these are folders: a run directory may be named by its config, too.
_FOLDERS = (
    *("run_dir", "model_dir", "output_directory", "folder", "dest", "cache_dir", "tracker_dir"),
    *("pictures", "plots", "work", "work_dir", "native_dir", "export_step"),
)
_NAMES_OF_A_RUN = ("pipeline.config", "params.yaml")
# "scheme:/": what a folder of this name would hide is an address, often with a password.
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")
# What absl says of a value of the wrong kind -> what is wanted.
_WANTED = {
    "Non-boolean argument": "true or false is wanted",
    "invalid literal for int": "a whole number is wanted",
    "could not convert string to float": "a number is wanted",
}
_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def run(
    main: Callable[[list[str]], int | None],
    required: Iterable[str] = (),
    elsewhere: Mapping[str, str] = types.MappingProxyType({}),
    folders: Collection[str] = (),
    in_place: str = "",
    always_folders: Collection[str] = (),
) -> NoReturn:
    """Parses the flags, calls `main(positional_arguments)` and ends the process with its status.

    `main` returns an exit status (None means 0). What the user can mend is printed as one message
    with status 2; any other exception is a fault of the kit, whose traceback goes to a log file.
    SIGINT, SIGTERM and SIGUSR1 leave `main` as an exception does, so that nothing temporary stays
    behind (`replicate.stopping`).

    Args:
      main: takes the positional arguments. Where its parameter is named `_`, it takes none, and
        a stray word is refused.
      required: names of flags without which the tool cannot start.
      elsewhere: flags that other tools have -> what to give here in their place.
      folders: flags of outputs that may be folders, as --output_directory may everywhere; a folder
        that another names is refused before the work.
      in_place: the flag of an input that an output may replace; another's would be lost.
      always_folders: flags of outputs that are folders, never files.
    """
    tool = os.path.basename(sys.argv[0])
    _quiet_libraries()
    _show_controls()
    help_text = (sys.modules["__main__"].__doc__ or "").strip()
    if any(argument in ("--help", "-help", "-h", "--helpfull") for argument in sys.argv[1:]):
        _answer(tool, f"{help_text}\n\nflags of {tool}:\n{_flags_help()}")
    if "--version" in sys.argv[1:]:
        _answer(tool, installation.version())
    try:
        positional = flags.FLAGS(sys.argv)[1:]
        takes_words = next(iter(inspect.signature(main).parameters)) != "_"
        strays = [word for word in positional if not takes_words or _of_a_switch(word)]
        if strays:
            raise flags.Error(unexpected(strays, _missing(required), required))
        _refuse_addresses(tool)
        missing = _missing(required)
        if missing:
            raise flags.Error("missing " + ", ".join(f"--{name}" for name in missing))
    except flags.Error as error:
        message = str(error)
        if isinstance(error, flags.UnrecognizedFlagError) and error.flagname in elsewhere:
            message = f"unknown flag --{error.flagname}: give it as {elsewhere[error.flagname]}"
        if isinstance(error, flags.IllegalFlagValueError):
            message = _of_a_value(message)
        _fail(tool, f"{message}\n  see: python tools/{tool} --help")
    _refuse_few_samples(tool)
    _try_folders(tool, (*_FOLDERS, *always_folders))
    _try_outputs(tool, (*folders, *always_folders))
    keys = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    wrong = overwriting.refusal(_OUTPUTS, positional, keys, in_place)
    if wrong:
        _fail(tool, wrong)
    try:
        stopping.at_work()
        try:
            status = main(positional)
            sys.stdout.flush()
        finally:
            stopping.at_end()
    except Interrupted as stop:
        print(f"{tool}: {stop}; the same command continues", file=sys.stderr)
        sys.exit(128 + stop.signal)
    except Unavailable as error:
        print(f"{tool}: {error}", file=sys.stderr, flush=True)
        os._exit(Unavailable.TRY_AGAIN)  # TensorFlow's own end would wait for the lost worker
    except BaseException as error:
        if stopping.asked() is not None or isinstance(error, KeyboardInterrupt):
            _stopped(tool, stopping.asked() or signal.SIGINT)  # whatever a library made of it
        _failed(tool, error)
    sys.exit(status or DONE)


def _answer(tool: str, text: str) -> NoReturn:
    """Prints what was asked for in place of the work, and ends."""
    try:
        print(text, flush=True)
    except OSError as error:
        _failed(tool, error)
    sys.exit(DONE)


def _stopped(tool: str, number: int) -> NoReturn:
    """Ends after a signal that asked to stop."""
    how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    print(f"\n{tool}: {how}; run the same command to continue", file=sys.stderr)
    sys.exit(128 + number)


def _failed(tool: str, error: BaseException) -> NoReturn:
    """Ends after an exception: with a message where it is the user's to mend."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, UserError):
        _fail(tool, str(error))
    message = _of_a_path(error)
    if message is None:
        _crash(tool, error)
    _fail(tool, message)


def _of_a_value(message: str) -> str:
    """absl's message about a flag's value in the user's words."""
    given = message.removeprefix("flag ")
    for said, wanted in _WANTED.items():
        before, has_value, _ = given.partition(said)
        if has_value:
            value = before.rstrip("(' ")
            return f"{value} {wanted}"
    return given


def _refuse_addresses(tool: str) -> None:
    """Ends with ERROR where a path is wanted and an address is given, which would make folders of
    its parts. Beam writes to a bucket's (--output_path with --runner)."""
    beam = "runner" in flags.FLAGS and flags.FLAGS["runner"].value
    written = ("label_map",) if "output_path" in flags.FLAGS else ()  # others read it
    for name in (*_OUTPUTS, *_WRITTEN_BELOW, *written):
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not isinstance(path, str) or (name == "output_path" and beam):
            continue
        if _ADDRESS.match(path) or without_secrets(path) != path:  # one below a folder, too
            _fail(tool, f"--{name}: {path}: an address; a path on this machine is wanted")


def _refuse_few_samples(tool: str) -> None:
    """Ends with ERROR where intervals are asked of fewer resamples than they can stand on."""
    if "samples" not in flags.FLAGS:
        return
    flag = flags.FLAGS["samples"]
    if flag.value == flag.default:
        return
    from replicate.score.over_images import refuse_few_samples

    try:
        refuse_few_samples(flag.value)
    except UserError as error:
        _fail(tool, f"--{error}")


def _try_folders(tool: str, names: Iterable[str]) -> None:
    """Ends with ERROR where a folder is wanted and a file lies there, or on the way to it."""
    for name in names:
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not isinstance(path, str) or not path or os.path.basename(path) in _NAMES_OF_A_RUN:
            continue
        there = os.path.abspath(path)
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        if os.path.isdir(there):
            continue
        what = "it is" if there == os.path.abspath(path) else f"{there} is"
        _fail(
            tool,
            f"--{name}: {path}: {what} a file; a folder is wanted, one that is there or a new name",
        )


def _try_outputs(tool: str, folders: Collection[str]) -> None:
    """Ends with ERROR where what the tool will write at its end cannot be written."""
    for name in _OUTPUTS:
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if path:
            if name not in (*folders, "output_directory") and os.path.isdir(path):
                _fail(tool, f"--{name}: {path}: it is a folder; a file is wanted")
            try:
                refuse_unwritable(path)
            except OSError as error:
                _fail(tool, f"--{name}: {_of_a_path(error) or error}")


def _missing(required: Iterable[str]) -> list[str]:
    return [name for name in required if not getattr(flags.FLAGS, name)]


def unexpected(
    words: Sequence[str], missing: Sequence[str] = (), required: Iterable[str] = ()
) -> str:
    """The message about words that the tool does not take, with what was probably meant: where one
    required flag is `missing` and there is one word, that flag; of a path that is there, those of
    the `required` flags that name what is read."""
    lines = [f"unexpected: {' '.join(words)}"]
    for word in words:
        meant = _meant(word)
        if meant is None and len(words) == len(missing) == 1:
            meant = f"--{missing[0]}={word}"
        if meant is None and os.path.exists(word):
            inputs = [f"--{name}" for name in missing if _reads(name)]
            inputs = inputs or [f"--{name}" for name in required if _reads(name)]
            if len(inputs) > 1:
                lines.append(f"a file is given with its flag: {', '.join(inputs)}")
            meant = f"{inputs[0]}={word}" if len(inputs) == 1 else None
        if meant:
            lines.append(f"did you mean {meant}?")
    return "\n  ".join(lines)


def _reads(name: str) -> bool:
    """Whether a flag may name a file or folder that is read."""
    written = name in (*_OUTPUTS, *_WRITTEN_BELOW)
    return not written and flags.FLAGS[name].flag_type() in ("string", "multi string")


def _of_a_switch(word: str) -> bool:
    """Whether a word was meant as the value of the switch before it."""
    if word.lower() not in _YES_OR_NO or word not in sys.argv[2:]:
        return False
    name = sys.argv[sys.argv.index(word, 2) - 1]
    known = _flag(name)
    return known is not None and bool(known.boolean)


def _flag(argument: str) -> Any:
    """The absl flag that an argument such as "--set" is, or None."""
    name = argument.lstrip("-")
    if argument.startswith("-") and name in flags.FLAGS:
        return flags.FLAGS[name]
    return None


def _meant(word: str) -> str | None:
    """The flag that a stray word was probably part of, or None."""
    arguments = sys.argv[1:]
    at = arguments.index(word) if word in arguments else 0
    before = arguments[at - 1] if at else ""
    name = before.lstrip("-")
    registered = flags.FLAGS
    option = arguments[at - 2] if at > 1 else ""
    known = _flag(option)
    if known is not None and "=VALUE" in (known.help or ""):
        return f"{option}={before}={word}"
    if before.startswith("-") and name.removeprefix("no") in registered:
        if word.lower() in _YES_OR_NO:
            switched = _YES_OR_NO[word.lower()] != name.startswith("no")
            return f"--{name.removeprefix('no')}" if switched else f"--no{name.removeprefix('no')}"
        if name in registered and registered[name].boolean:
            return None  # a switch, and a word that has nothing to do with it
    name, equals, value = word.lstrip("-").partition("=")
    known = [flag for flag in registered if not flag.startswith("no")]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"--{close[0]}{equals}{value}" if close else None


def _of_a_path(error: BaseException) -> str | None:
    """The message about a path that cannot be read or written, or about an input that is too deep
    or too large for this machine; None for any other exception."""
    if isinstance(error, RecursionError):
        return "an input is nested too deeply to be read"
    if isinstance(error, MemoryError):
        return f"not enough memory for this input ({error or 'none left'})"
    if isinstance(error, OSError) and (error.errno in _OF_PATHS or error.filename is not None):
        number, what = error.errno, error.strerror or str(error)
        path = error.filename if error.filename2 is None else error.filename2
        path = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    else:
        tensorflow = sys.modules.get("tensorflow")
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
            return None
        words = next((text for text in _OF_TENSORFLOW if text in error.message), None)
        if words is None:
            return None
        what = words
        number, path = _OF_TENSORFLOW[what], error.message.split(";")[0].strip()
    advice = None if number is None else _ADVICE.get(number)
    where = f"{path}: " if path else ""
    return f"{where}{what}" + (f"; {advice}" if advice else "")


def _crash(tool: str, error: BaseException) -> NoReturn:
    """Ends with CRASHED: one message, and the traceback where it can be sent from."""
    import platform
    import shlex
    import tempfile
    import time
    import traceback

    text = "\n".join(
        [
            f"{time.strftime('%Y-%m-%d %H:%M:%S')} Python {platform.python_version()}",
            shlex.join(["python", f"tools/{tool}", *sys.argv[1:]]),
            "".join(traceback.format_exception(error)),
        ]
    )
    text = _message(text)
    name = f"{os.path.splitext(tool)[0]}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    log = os.path.join(tempfile.gettempdir(), name)
    try:
        with open(log, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        log = "the lines above"
    first = (str(error).strip().splitlines() or [""])[0]
    print(
        f"{tool}: a fault of the kit, not of yours: {type(error).__name__}: {first}\n"
        f"  please report it with {log}; what was finished before is kept",
        file=sys.stderr,
    )
    sys.exit(CRASHED)


def _show_controls() -> None:
    """Names from files reach the terminal as text, whatever they hold; messages hold no secrets,
    and commands in them are such as the user can type."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Shown):
            setattr(sys, name, Shown(stream, _message if name == "stderr" else as_called))


def _message(text: str) -> str:
    return as_called(without_secrets(text))


def _quiet_libraries() -> None:
    """Keeps TensorFlow's notices (deprecations, CPU features) out of the tools' output."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # a log file wants a line now and then
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(tf_keras|tensorflow|object_detection|google)\b.*")


def _flags_help() -> str:
    """The help of the flags that the tool itself defines (absl's own are left out)."""
    lines = []
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        default = f" (default: {flag.default_as_str})" if flag.default not in (None, [], "") else ""
        lines.append(f"  --{flag.name}: {flag.help}{default}")
    return "\n".join(lines)


def _fail(tool: str, message: str) -> NoReturn:
    print(f"{tool}: {message}", file=sys.stderr)
    sys.exit(ERROR)
