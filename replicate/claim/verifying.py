"""A claim checked again, from the bundle, the kit and the user's own annotation file alone."""

import dataclasses
import json
import math
import os
import pathlib
import reprlib
from collections.abc import Iterator
from typing import Any

from replicate import __version__, score
from replicate.claim import contents
from replicate.errors import UserError
from replicate.report import writing
from replicate.run import RunDir, read_json
from replicate.score import protocol, text
from replicate.score.scoring import AGREEMENT
from tfrecords.whole_files import in_temporary_folder

# Of a run's facts: where it lies, and whether this machine remembers the official file.
_OF_THE_MACHINE = ("run", "official")
# Of a verdict, what its words are about.
_FIGURES = ("verdict", "reached", "achieved", "published", "seeds", "figures")
# Of what differs, as much as a line has room for.
_SHORTLY = reprlib.Repr()
_SHORTLY.maxstring = _SHORTLY.maxother = 80


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
      claim_sha256: of the list of contents, which stands for the whole bundle.
      claim: the dict of claim.json; empty where that is not readable.
      checked: what was compared and is as claimed: sentences.
      differences: what is not, each beginning with the name of the file.
      notes: what else is to be known: sentences.
    """

    claim_sha256: str
    claim: dict
    checked: list[str]
    differences: list[str]
    notes: list[str]

    def text(self) -> str:
        """The answer as lines for a terminal."""
        lines = [f"ok       {line}" for line in self.checked]
        lines += [f"!        {line}" for line in self.notes]
        lines += [f"DIFFERS  {line}" for line in self.differences]
        if self.differences:
            return "\n".join([*lines, f"not verified: {len(self.differences)} differ"])
        run = " ".join(self.claim["run"].split())  # a name of two lines could write one of its own
        lines += ["", f"verified: {run}, step {self.claim['step']}"]
        lines += [f"  {' '.join(self.claim['headline'].split())}"]
        for iou_type, metrics in self.claim["metrics"].items():
            lines.append(f"  {text.KINDS[iou_type]}: AP {text.shown(metrics['AP'])}")
        return "\n".join([*lines, f"  claim.json has SHA-256 {self.claim_sha256}"])


def verify(path: str | os.PathLike[str], annotations_file: str | os.PathLike[str]) -> Verification:
    """Compares every hash of a bundle, and recomputes its metrics and its verdict.

    Args:
      path: the bundle.
      annotations_file: the verifier's own copy of the groundtruth.

    Raises:
      UserError: no archive, or no annotation file.
    """
    members = contents.unpack(path)
    listed = members.pop(contents.CLAIM, b"")
    claim = contents.claim_of(listed) if listed else "not in the archive"
    if isinstance(claim, str):
        return Verification(contents.sha256(listed), {}, [], [f"{contents.CLAIM}: {claim}"], [])
    verification = Verification(contents.sha256(listed), claim, [], [], [])
    if claim["kit"] != __version__:
        verification.notes.append(
            f"made by version {claim['kit']} of the kit, this is {__version__}"
        )
    verification.differences.extend(_hashes(claim, members))
    if not verification.differences:
        verification.checked.append(
            f"{len(members)} files have the hashes that {contents.CLAIM} lists"
        )
        with in_temporary_folder("claim-") as folder:
            _unpacked(members, folder)
            _recomputed_or_told(folder, annotations_file, verification)
    return verification


def _hashes(claim: dict, members: dict[str, bytes]) -> Iterator[str]:
    for name in sorted(set(claim["files"]) | set(members)):
        if name not in members:
            yield f"{name}: not in the archive"
        elif name not in claim["files"]:
            yield f"{name}: not listed in {contents.CLAIM}"
        elif contents.sha256(members[name]) != claim["files"][name]:
            yield f"{name}: not the file that was bundled, its SHA-256 is another"


def _unpacked(members: dict[str, bytes], folder: pathlib.Path) -> None:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _recomputed_or_told(
    folder: pathlib.Path, annotations_file: str | os.PathLike[str], verification: Verification
) -> None:
    """`_recomputed`; what cannot be read or scored of the unpacked files is a difference."""
    groundtruth = score.Groundtruth.read(annotations_file)  # the verifier's own: its faults raise
    ids = score.ids_sha256(groundtruth.image_hw)
    if ids != verification.claim["annotations"]["image_ids_sha256"]:
        verification.differences.append(
            f"{annotations_file}: is not the groundtruth that was claimed: it has "
            f"{len(groundtruth.image_hw):,} images, and not those "
            f"{verification.claim['annotations']['images']:,}"
        )
        return
    try:
        _recomputed(RunDir.at(folder / "run"), annotations_file, verification)
    except UserError as error:
        reason = str(error).splitlines()[0].replace(f"{folder}/", "")
        verification.differences.append(f"cannot be checked to its end: {reason}")


def _recomputed(
    run: RunDir, annotations_file: str | os.PathLike[str], verification: Verification
) -> None:
    """Adds what the files, which are as they were bundled, say against each other."""
    claim, step = verification.claim, verification.claim["step"]
    verification.differences.extend(_not_as_promised(run))
    if verification.differences:
        return
    scores = run.scores_at(step)
    if {score["iou_type"]: score["metrics"] for score in scores} != claim["metrics"]:
        verification.differences.append(
            f"{contents.CLAIM}: its metrics are not those of metrics.json"
        )
    for claimed in scores:
        _scored_again(run, claimed, annotations_file, verification)
    _judged_again(run, verification)
    _reported(run, verification)


def _not_as_promised(run: RunDir) -> Iterator[str]:
    """Files that are not what their contracts say."""
    for path in sorted(run.root.rglob("*.json")):
        for wrong in contents.violations(path)[:1]:
            yield f"{path.relative_to(run.root.parent).as_posix()}: {wrong}"


def _scored_again(
    run: RunDir, claimed: dict, annotations_file: str | os.PathLike[str], verification: Verification
) -> None:
    """The detections scored against the verifier's annotations, beside the claimed score."""
    name = f"run/evals/{verification.claim['step']}/metrics.json"
    kind = text.KINDS[claimed["iou_type"]]
    asked = list(claimed["evaluators"])
    try:
        result = score.score(
            annotations_file,
            run.eval_at(verification.claim["step"]) / "detections.json.gz",
            iou_type=claimed["iou_type"],
            evaluator="both" if len(asked) > 1 else asked[0],
            fix=[repair["problem"] for repair in claimed["repairs"]],
        )
    except score.EvaluatorsDisagree as error:
        verification.differences.append(f"{name}: of {kind}, here {str(error).splitlines()[0]}")
        return
    again = result.to_json(claimed.get("inference"))
    differing = protocol.differences(claimed["protocol"], again["protocol"])
    versions = [field for field in differing if field.startswith("evaluators.")]
    for field in versions:
        verification.notes.append(f"{name}: {field} was another version; the figures are compared")
    for field in [field for field in differing if field not in versions]:
        of_groundtruth = field.startswith("images.")
        whose = f"{annotations_file} is not the groundtruth that was claimed" * of_groundtruth
        verification.differences.append(
            f"{name}: protocol.{field} of {kind} is another; {whose}".rstrip("; ")
        )
    if again["annotations"]["sha256"] != claimed["annotations"]["sha256"]:
        verification.notes.append(
            f"{annotations_file}: another file than the one that was claimed (SHA-256), with the "
            "same images and annotations"
            if not differing
            else f"{annotations_file}: another file than the one that was claimed (SHA-256)"
        )
    moved = _moved(claimed["metrics"], again["metrics"], "metrics")
    moved += _moved(claimed["evaluators"], again["evaluators"], "evaluators")
    moved += _moved(claimed["per_category"], again["per_category"], "per_category")
    of_detections = dict(again["detections"], file=claimed["detections"]["file"])
    if "score_threshold_from" not in claimed["detections"]:  # an older kit's
        of_detections.pop("score_threshold_from")
    moved += _moved(claimed["detections"], of_detections, "detections")
    for field in moved[:5]:
        verification.differences.append(f"{name}: of {kind}, {field}")
    if not moved and not differing:
        ap = text.shown(again["metrics"]["AP"])
        verification.checked.append(
            f"{len(again['metrics'])} metrics of {kind} recomputed from {len(result.detections):,} "
            f"detections: AP {ap}"
        )


def _judged_again(run: RunDir, verification: Verification) -> None:
    from replicate import verdict

    claimed = read_json(run.verdict)
    if (claimed["verdict"], claimed["headline"]) != (
        verification.claim["verdict"],
        verification.claim["headline"],
    ):
        verification.differences.append(
            f"{contents.CLAIM}: its verdict is not that of verdict.json"
        )
    if verdict.reference_kind(claimed) in ("runs", "metrics"):
        for score in run.scores_at(run.evaluated_steps()[-1]):
            name, ap = verdict.FIGURES[score["iou_type"]][0], score["metrics"]["AP"]
            said = claimed["seeds"].get(name)
            if said is not None and ap is not None and 100 * ap not in said:
                verification.differences.append(
                    f"run/verdict.json: decided of {name} {said}, its metrics.json has {100 * ap}"
                )
        verification.notes.append(
            f"its verdict is against {claimed['reference']['name']}, which is not in the bundle: "
            "it was not decided again"
        )
        return
    try:
        moved = judged_otherwise(run, claimed)
    except UserError as error:
        verification.differences.append(f"run/verdict.json: cannot be decided again: {error}")
        return
    for difference in moved[:5]:
        verification.differences.append(f"run/verdict.json: {difference}")
    if not moved:
        verification.checked.append(f"the verdict decided again: {claimed['verdict']}")
    elif not any(difference.startswith(_FIGURES) for difference in moved):
        verification.notes.append(
            "run/verdict.json: decided again, its figures are the same and its words not, as of "
            "another version of the kit; who made the claim can judge the run again (python "
            "tools/verdict.py RUN --output=RUN/verdict.json), report and bundle it"
        )


def judged_otherwise(run: RunDir, written: dict) -> list[str]:
    """In what a kept verdict against the zoo or against figures differs from one decided now.

    Raises:
      UserError: it cannot be decided.
    """
    from replicate import verdict

    asked, kind = verdict.Asked.remembered(written), written["tolerance"]["kind"]
    decided = verdict.of_runs([run], kind=kind, reference=asked)
    again = json.loads(json.dumps(decided.to_json()))
    return _moved(_of_any_machine(written), _of_any_machine(again), "")


def _of_any_machine(verdict: dict) -> dict:
    """A verdict without what follows from where it was decided."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: stripped(inner) for k, inner in value.items() if k not in _OF_THE_MACHINE}
        return [stripped(inner) for inner in value] if isinstance(value, list) else value

    return stripped({name: inner for name, inner in verdict.items() if name != "notes"})


def _reported(run: RunDir, verification: Verification) -> None:
    """The report against the files that it says it was made of."""
    report = read_json(run.report / "report.json")
    page = run.report / "report.md"
    if page.is_file() and page.read_text(encoding="utf-8") != writing.markdown_of(report):
        said = "run/report/report.md: not what report.json gives"
        if verification.claim["kit"] == __version__:
            verification.differences.append(said)
        else:
            verification.notes.append(f"{said} in this version of the kit; do not go by it")
    moved = [
        name
        for name, digest in report["sources"].items()
        if (run.root / name).is_file() and contents.sha256((run.root / name).read_bytes()) != digest
    ]
    for name in moved:
        verification.differences.append(f"run/report/report.json: made of another {name}")
    said = report["verdict"] and report["verdict"]["verdict"]
    if said != verification.claim["verdict"]:
        verification.differences.append(f"run/report/report.json: its verdict is {said}")
    if not moved:
        verification.checked.append("report.json was made of these files, report.md of report.json")


def _moved(claimed: Any, again: Any, path: str) -> list[str]:
    """Where two values differ, numbers by more than 1e-12: "metrics.AP is 0.5, claimed was 0.6".

    A field that the claim lacks (an older kit had none) and that says no is no difference.
    """
    if isinstance(claimed, dict) and isinstance(again, dict):
        names = dict.fromkeys([*claimed, *(name for name in again if again[name] is not False)])
        dot = "." if path else ""
        return [
            line
            for name in names
            for line in _moved(claimed.get(name), again.get(name), f"{path}{dot}{name}")
        ]
    if isinstance(claimed, list) and isinstance(again, list) and len(claimed) == len(again):
        return [
            line
            for index, (mine, theirs) in enumerate(zip(claimed, again, strict=True))
            for line in _moved(mine, theirs, f"{path}[{index}]")
        ]
    if isinstance(claimed, list) and isinstance(again, list):
        of_both = [
            (what, [_named(entry) for entry in entries if entry not in others])
            for what, entries, others in (("new", again, claimed), ("gone", claimed, again))
        ]
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in of_both if names)
        return [f"{path} has {len(again)} entries, claimed were {len(claimed)} ({told})"]
    numbers = all(isinstance(side, int | float) for side in (claimed, again))
    if numbers and math.isclose(claimed, again, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
        return []
    if claimed == again:
        return []
    return [f"{path} is {_SHORTLY.repr(again)}, claimed was {_SHORTLY.repr(claimed)}"]


def _named(entry: Any) -> str:
    """An entry of a list in short: of an object its first text, such as a cause's."""
    texts = entry.values() if isinstance(entry, dict) else ()
    return _SHORTLY.repr(next((text for text in texts if isinstance(text, str)), entry))
