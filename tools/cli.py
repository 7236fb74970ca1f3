"""What every tool shares: flags parsed, a user's mistake told in one message, the exit status.

    from tools import cli            # tools/NAME.py, first lines put the project on sys.path
    if __name__ == "__main__":
        cli.run(main)

Exit status: 0 done; 1 a negative answer ("differs", "not replicated"); 2 a usage or input
error; 3 not comparable (tools that judge); 75 another machine failed, the same command again may
succeed; 128 + N stopped by signal N (130 Ctrl-C, 143 SIGTERM), what was done is kept.
"""

import logging
import os
import signal
import sys
import warnings

from absl import flags

from replicate import installation
from replicate.errors import Interrupted, Unavailable, UserError

DONE, NEGATIVE, ERROR, INTERRUPTED = 0, 1, 2, 128 + 2


def run(main, required=()):
    """Parses the flags, calls `main(positional_arguments)` and ends the process with its status.

    `main` returns an exit status (None means 0). `UserError` and `InputError` are printed as
    one message with status 2; any other exception is a defect of the kit and keeps its traceback.
    SIGTERM and SIGUSR1 leave `main` as an exception does, so that nothing temporary stays behind.

    Args:
      main: callable taking the list of positional arguments.
      required: names of flags without which the tool cannot start.
    """
    tool = os.path.basename(sys.argv[0])
    _quiet_libraries()
    help_text = (sys.modules["__main__"].__doc__ or "").strip()
    if any(argument in ("--help", "-help", "-h", "--helpfull") for argument in sys.argv[1:]):
        print(f"{help_text}\n\nflags of {tool}:\n{_flags_help()}")
        sys.exit(DONE)
    if "--version" in sys.argv[1:]:
        print(installation.version())
        sys.exit(DONE)
    try:
        positional = flags.FLAGS(sys.argv)[1:]
        missing = [name for name in required if not getattr(flags.FLAGS, name)]
        if missing:
            raise flags.Error("missing " + ", ".join(f"--{name}" for name in missing))
    except flags.Error as error:
        _fail(tool, f"{error}\n  see: python tools/{tool} --help")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        status = main(positional)
    except _told() as error:
        _fail(tool, str(error))
    except Interrupted as stop:
        print(f"{tool}: {stop}; the same command continues", file=sys.stderr)
        sys.exit(128 + stop.signal)
    except Unavailable as error:
        print(f"{tool}: {error}", file=sys.stderr, flush=True)
        os._exit(Unavailable.TRY_AGAIN)  # TensorFlow's own end would wait for the lost worker
    except KeyboardInterrupt:
        print(f"\n{tool}: interrupted; run the same command to continue", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    sys.exit(status or DONE)


def _told():
    """The errors that are a user's mistake. A tool that read no records has not imported theirs."""
    tfrecords_errors = sys.modules.get("tfrecords.errors")
    return (UserError, tfrecords_errors.InputError) if tfrecords_errors else (UserError,)


def _quiet_libraries():
    """Keeps TensorFlow's notices (deprecations, CPU features) out of the tools' output."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # a log file wants a line now and then
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(tf_keras|tensorflow|object_detection|google)\b.*")


def _flags_help():
    """The help of the flags that the tool itself defines (absl's own are left out)."""
    lines = []
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        default = f" (default: {flag.default_as_str})" if flag.default not in (None, [], "") else ""
        lines.append(f"  --{flag.name}: {flag.help}{default}")
    return "\n".join(lines)


def _fail(tool, message):
    print(f"{tool}: {message}", file=sys.stderr)
    sys.exit(ERROR)
