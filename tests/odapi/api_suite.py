"""Runs the Object Detection API's own tests, which its package carries, under the layer.

    python -m tests.odapi.api_suite                    # all of them (make test-odapi)
    python -m tests.odapi.api_suite --slice            # a few minutes' worth
    python -m tests.odapi.api_suite box_coders core/losses_test.py
    python -m tests.odapi.api_suite --kept=DIR         # goes on after an interruption

Prints a table by folder, each test that failed and each file that was left out. `api_suite.json`
lists by name, under their cause, the files that are left out and the tests known to fail.

Exit status: 0 all is as that list says, 1 a test failed that it does not have, or passed that it
has.
"""

import argparse
import collections
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from tqdm import tqdm

from replicate.run import read_json, write_text

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
KNOWN = json.loads((HERE / "api_suite.json").read_text(encoding="utf-8"))
#: The cause of each file that is left out, and of each test that is known to fail.
LEFT_OUT, FAILS = (
    {name: cause for cause, names in KNOWN[key].items() for name in names}
    for key in ("left_out", "fails")
)
OUTCOMES = ("passed", "skipped", "failed")
#: What a kept result depends on.
SOURCES = (
    *(HERE / name for name in ("api_data.py", "api_plugin.py", "api_suite.py")),
    *sorted((PROJECT / "replicate" / "odapi").glob("*.py")),
)
PACKAGES = ("tensorflow", "tf-keras", "numpy", "tf-models-research-object-detection")


def package():
    """The folder of the installed `object_detection`."""
    return pathlib.Path(importlib.util.find_spec("object_detection").submodule_search_locations[0])


def files(chosen=()):
    """Paths of test files below the package: all TF2 ones, or those under the `chosen` paths."""
    found = sorted(path.relative_to(package()).as_posix() for path in package().rglob("*_test.py"))
    found = [path for path in found if path not in LEFT_OUT]
    if chosen:
        found = [path for path in found if any(_is_under(path, choice) for choice in chosen)]
    return found


def _is_under(path, choice):
    return path == choice or path.startswith(choice.rstrip("/") + "/")


def run(paths, folder):
    """Runs test files in one process; scripts under dataset_tools, which define the same flags,
    in one each.

    Args:
      paths: test files below the package.
      folder: where each file's results are kept; those that are there already, from the same
        code and packages, are taken as they are.

    Returns:
      A dict from `path::class::test` to one of `OUTCOMES`; a file that could not be imported
      is `path` with `failed`.
    """
    kept = pathlib.Path(folder).resolve() / _digest()
    kept.mkdir(parents=True, exist_ok=True)
    groups = collections.defaultdict(list)
    for path in paths:
        if not _results(kept, path).exists():
            groups[path if path.startswith("dataset_tools/") else ""].append(path)
    left = sum(map(len, groups.values()))
    with tqdm(total=len(paths), initial=len(paths) - left, desc="files", unit="file") as progress:
        for group in groups.values():
            _run_process(group, kept, progress)
    return {
        test: outcome for path in paths for test, outcome in read_json(_results(kept, path)).items()
    }


def _digest():
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES))
    digest.update(repr([importlib.metadata.version(name) for name in PACKAGES]).encode())
    return digest.hexdigest()[:12]


def _results(kept, path):
    return kept / f"{path}.json"


def _run_process(group, kept, progress):
    environment = dict(
        os.environ,
        API_SUITE_KEPT=str(kept),
        API_SUITE_FILES=json.dumps(group),
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="",
        # The tests are older than oneDNN's kernels in TensorFlow (default since 2.9). With them
        # a convolution whose result is empty fails (InceptionResnetV2Test.test_variable_count,
        # on TensorFlow 2.15 as well).
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(package())]
    command += ["-p", "tests.odapi.api_plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--import-mode=importlib", "--continue-on-collection-errors"]
    command += ["--timeout=3600", "--timeout-method=signal", "-q", "--tb=short"]
    command += [str(package() / path) for path in group]
    log_path = kept / "pytest.log"
    with log_path.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        with _ended(process):
            before = progress.n
            while process.poll() is None:
                _show(progress, before, group, kept)
                time.sleep(1)
            _show(progress, before, group, kept)
    missing = [path for path in group if not _results(kept, path).exists()]
    failed = [
        test
        for path in set(group).difference(missing)
        for test, outcome in read_json(_results(kept, path)).items()
        if outcome == "failed" and test not in FAILS
    ]
    if failed or missing:
        print(log_path.read_text(encoding="utf-8"), file=sys.stderr)
    if missing:
        raise RuntimeError(f"pytest ended with {process.returncode} in or before {missing[0]}")


@contextlib.contextmanager
def _ended(process):
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _show(progress, before, group, kept):
    left = [path for path in group if not _results(kept, path).exists()]
    progress.set_postfix_str(left[0] if left else "")
    progress.update(before + len(group) - len(left) - progress.n)


def table(results):
    """Markdown lines: a row for each folder, then failures and what was left out, by cause."""
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
            causes[FAILS.get(test, "**not known: investigate**")].append(test)
    lines += ["Failed:", "", *_by_cause(causes), "", "Left out:", "", *_by_cause(KNOWN["left_out"])]
    return lines


def _by_cause(causes):
    for cause, names in causes.items():
        yield f"- {cause}: {', '.join(f'`{name}`' for name in names)}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="folders or files below object_detection/")
    parser.add_argument("--slice", action="store_true", help="only the files of the slice")
    parser.add_argument("--kept", help="keep each file's results here, and go on from them")
    parser.add_argument("--output", help="also write the table to this Markdown file")
    arguments = parser.parse_args()
    paths = files(arguments.paths or (KNOWN["slice"] if arguments.slice else ()))
    if not paths:
        parser.error(f"no test files under {', '.join(arguments.paths)}")
    with contextlib.ExitStack() as cleanup:
        folder = arguments.kept or cleanup.enter_context(tempfile.TemporaryDirectory())
        results = run(paths, folder)
    lines = table(results)
    print("\n".join(lines))
    if arguments.output:
        write_text(arguments.output, "\n".join(lines) + "\n")
    unknown = [test for test, ended in results.items() if ended == "failed" and test not in FAILS]
    mended = [test for test, ended in results.items() if ended == "passed" and test in FAILS]
    for test in mended:
        print(f"passes now; take it out of api_suite.json: {test}", file=sys.stderr)
    return 1 if unknown or mended else 0


if __name__ == "__main__":
    sys.exit(main())
