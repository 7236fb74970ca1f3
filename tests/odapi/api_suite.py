"""Runs the Object Detection API's own tests, which its package carries, under the layer.

    python -m tests.odapi.api_suite                    # all of them (make test-odapi)
    python -m tests.odapi.api_suite --slice            # a few minutes' worth
    python -m tests.odapi.api_suite box_coders core/losses_test.py
    python -m tests.odapi.api_suite --output=table.md

Prints a table by folder and each test that failed. `api_suite.json` lists the files that are
left out and the tests that are known to fail, each with its cause. Exit status: 0 all is as that
list says, 1 a test failed that it does not have, or passed that it has.
"""

import argparse
import collections
import fnmatch
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tqdm import tqdm

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
KNOWN = json.loads((HERE / "api_suite.json").read_text(encoding="utf-8"))
OUTCOMES = ("passed", "skipped", "failed")


def package():
    """The folder of the installed `object_detection`."""
    return pathlib.Path(importlib.util.find_spec("object_detection").submodule_search_locations[0])


def files(chosen=()):
    """Paths of test files below the package: all TF2 ones, or those under the `chosen` paths."""
    found = sorted(path.relative_to(package()).as_posix() for path in package().rglob("*_test.py"))
    left_out = KNOWN["left_out"]
    found = [path for path in found if not any(fnmatch.fnmatch(path, glob) for glob in left_out)]
    if chosen:
        found = [path for path in found if any(_is_under(path, choice) for choice in chosen)]
    return found


def _is_under(path, choice):
    return path == choice or path.startswith(choice.rstrip("/") + "/")


def run(paths):
    """Runs test files, a process for each folder.

    The scripts under dataset_tools define the same flags, so they have a process each.

    Returns:
      A dict from `path::class::test` to one of `OUTCOMES`; a file that could not be imported
      is `path` with `failed`.
    """
    groups = collections.defaultdict(list)
    for path in paths:
        folder = path.partition("/")[0]
        groups[path if folder == "dataset_tools" else folder].append(path)
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        progress = tqdm(groups.items(), desc="folders", unit="folder")
        for name, group in progress:
            progress.set_postfix_str(name)
            results.update(_run_process(group, pathlib.Path(scratch)))
    return results


def _run_process(group, scratch):
    output = scratch / "results.json"
    environment = dict(
        os.environ,
        API_SUITE_OUTPUT=str(output),
        API_SUITE_DATA=str(scratch / "object_detection"),
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="",
        # The tests are older than oneDNN's kernels in TensorFlow (default since 2.9). With them
        # a convolution whose result is empty fails (InceptionResnetV2Test.test_variable_count,
        # on TensorFlow 2.15 as well).
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(package())]
    command += ["-p", "tests.odapi.api_plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--import-mode=importlib", "--continue-on-collection-errors", "--timeout=1200"]
    command += ["-q", "--tb=short", *(str(package() / path) for path in group)]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    if not output.exists():
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    results = json.loads(output.read_text(encoding="utf-8"))
    output.unlink()
    if any(outcome == "failed" and not reason_of(test) for test, outcome in results.items()):
        print(done.stdout, file=sys.stderr)
    return results


def reason_of(test):
    """Why a test is known to fail, or None."""
    for glob, reason in KNOWN["fails"].items():
        if fnmatch.fnmatch(test, glob):
            return reason
    return None


def table(results):
    """Markdown lines: a row for each folder, then the failures with their causes."""
    counts = collections.defaultdict(collections.Counter)
    tested = collections.defaultdict(set)
    for test, outcome in results.items():
        path = test.partition("::")[0]
        folder = path.rpartition("/")[0].partition("/")[0] or "(top)"
        counts[folder][outcome] += 1
        tested[folder].add(path)
    lines = ["| folder | files | passed | skip themselves | failed |", "|---|---|---|---|---|"]
    for folder in sorted(counts):
        numbers = " | ".join(str(counts[folder][outcome]) for outcome in OUTCOMES)
        lines.append(f"| {folder} | {len(tested[folder])} | {numbers} |")
    sums = " | ".join(str(sum(c[outcome] for c in counts.values())) for outcome in OUTCOMES)
    lines += [f"| all | {sum(map(len, tested.values()))} | {sums} |", ""]
    causes = collections.defaultdict(list)
    for test, outcome in sorted(results.items()):
        if outcome == "failed":
            causes[reason_of(test) or "**not known: investigate**"].append(test)
    for reason, tests in causes.items():
        lines.append(f"- {reason}: {', '.join(f'`{test}`' for test in tests)}")
    return lines


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="folders or files below object_detection/")
    parser.add_argument("--slice", action="store_true", help="only the files of the slice")
    parser.add_argument("--output", help="also write the table to this Markdown file")
    arguments = parser.parse_args()
    paths = files(arguments.paths or (KNOWN["slice"] if arguments.slice else ()))
    if not paths:
        parser.error(f"no test files under {', '.join(arguments.paths)}")
    results = run(paths)
    lines = table(results)
    print("\n".join(lines))
    if arguments.output:
        pathlib.Path(arguments.output).write_text("\n".join(lines) + "\n", encoding="utf-8")
    unknown = [t for t, outcome in results.items() if outcome == "failed" and not reason_of(t)]
    mended = [t for t, outcome in results.items() if outcome == "passed" and reason_of(t)]
    for test in mended:
        print(f"passes now; take it out of api_suite.json: {test}", file=sys.stderr)
    return 1 if unknown or mended else 0


if __name__ == "__main__":
    sys.exit(main())
