"""A run's claim into one file."""

import os

from replicate import __version__, installation, verdict
from replicate.claim import contents, verifying
from replicate.errors import UserError
from replicate.publish import places
from replicate.report import damaged, next_steps, sources
from replicate.run import RunDir, read_json
from tfrecords import checked_json, redaction


def bundle(run_dir: str | os.PathLike[str], output: str | os.PathLike[str]) -> str:
    """Writes the bundle of a run's last evaluation.

    Args:
      run_dir: a run directory that has been evaluated, judged and reported.
      output: the .tar.gz to write. The same run gives the same bytes.

    Returns:
      the SHA-256 of the bundle's list of contents (claim.json), which stands for all of it.

    Raises:
      UserError: something of it is not there, is of another evaluation, or holds what lets someone
        in (a password or token).
    """
    run = RunDir.existing(run_dir)
    steps = run.evaluated_steps()
    if not steps:
        raise UserError(
            f"{run.root}: nothing to claim, no complete evaluation in it; "
            f"python tools/evaluate.py --model_dir={run.root} makes one"
        )
    for entry in damaged.of_run(run):
        raise UserError(f"{run.root / entry['file']}: {entry['why']}")
    _refuse_incomplete(run)
    _refuse_another_verdict(run, steps[-1])
    files = contents.of_run(run, steps[-1])
    for path in files.values():
        if path.suffix == ".json" and (wrong := contents.violations(path)):
            raise UserError(
                f"{path}: not what this version of the kit promises of it ({wrong[0]}), so nobody "
                "could verify the claim; the command that made the file writes it anew"
            )
    members = {name: path.read_bytes() for name, path in files.items()}
    members[contents.LOCK] = installation.REQUIREMENTS.read_bytes()
    _refuse_secrets(members)
    metrics, decided = read_json(run.eval_at(steps[-1]) / "metrics.json"), read_json(run.verdict)
    if "protocol" not in metrics:
        raise UserError(
            f"{run.eval_at(steps[-1])}: scored by a kit that did not write the protocol; remove "
            "its metrics.json, and "
            f"python tools/evaluate.py --model_dir={run.root} scores it again"
        )
    annotations = metrics["annotations"]
    claim = {
        "kit": __version__,
        "run": run.root.resolve().name,
        "step": steps[-1],
        "verdict": decided["verdict"],
        "headline": decided["headline"],
        "metrics": {score["iou_type"]: score["metrics"] for score in run.scores_at(steps[-1])},
        "protocol_sha256": metrics["protocol"]["sha256"],
        "annotations": {
            name: annotations[name]
            for name in ("sha256", "images", "image_ids_sha256", "annotations", "content")
        },
        "files": {name: contents.sha256(content) for name, content in sorted(members.items())},
    }
    listed = contents.text_of(claim)
    contents.pack({contents.CLAIM: listed} | dict(sorted(members.items())), output)
    return contents.sha256(listed)


def folders_named(path: str | os.PathLike[str]) -> list[str]:
    """The folders of this machine that the files of a bundle name, the outermost of each.

    A claim is made of the run's own files as they are, so what they say of places is in it.
    """
    texts = (
        content.decode("utf-8", "replace").replace("\\", " ")
        for name, content in contents.unpack(path).items()
        if not name.endswith(".gz")
    )
    found = {os.path.dirname(place) for text in texts for place in places.found(text)}
    return sorted(
        folder for folder in found if not any(folder.startswith(f"{other}/") for other in found)
    )


def _refuse_incomplete(run: RunDir) -> None:
    """Raises UserError where verdict or report are missing, or are not of what lies there now."""
    if not run.verdict.is_file():
        raise UserError(
            f"{run.verdict}: no such file; python tools/verdict.py {run.root} "
            f"--output={run.verdict} judges the run"
        )
    report, again = run.report / "report.json", f"python tools/report.py --run_dir={run.root}"
    if not report.is_file():
        raise UserError(f"{report}: no such file; {again} writes the report")
    then, now = read_json(report).get("sources"), sources.fingerprint(run)
    if then is None:
        raise UserError(
            f"{report}: of an older kit, which did not say what it was made of; {again} writes "
            "it anew"
        )
    of_run = [name for name in now if (run.root / name).is_file()]
    changed = [name for name in of_run if then.get(name) != now[name]]
    if changed:
        raise UserError(f"{report}: older than {changed[0]}; {again} writes it anew")
    gone = [name for name in then if name not in now and not (run.root / name).exists()]
    if gone:
        raise UserError(
            f"{run.root / gone[0]}: gone since the report was made of it, so the run's verdict is "
            f"of something else; put it back, or judge and report the run anew: python "
            f"tools/verdict.py {run.root} --output={run.verdict}, {again}"
        )


def _refuse_another_verdict(run: RunDir, step: int) -> None:
    """Raises UserError where verdict.json is not what the run's files give now."""
    decided = read_json(run.verdict)
    again = next_steps.judge_again(run)
    scores = run.scores_at(step)
    other = verdict.of_another(decided, [{"step": step} | score for score in scores])
    if other:
        raise UserError(f"{run.verdict}: {other}, which is claimed; {again} judges that one")
    if verdict.reference_kind(decided) in ("zoo", "figures") and all(
        len(seeds) == 1 for seeds in decided["seeds"].values()
    ):
        moved = verifying.judged_otherwise(run, decided)
        if moved:
            raise UserError(
                f"{run.verdict}: decided anew it differs ({moved[0]}), so nobody could verify the "
                f"claim. Judge the run again: {again}, then python tools/report.py "
                f"--run_dir={run.root}"
            )


def _refuse_secrets(members: dict[str, bytes]) -> None:
    for name, content in members.items():
        if name.endswith(".gz") or name == contents.LOCK:
            continue
        text = content.decode("utf-8", "replace")
        if redaction.without_secrets(text) != text:
            raise UserError(
                f"{name.removeprefix('run/')}: holds what lets someone in (a password or token in "
                "an address); a claim is for others to read. Take it out of the file, and with it "
                f'the "{checked_json.KEY}"'
            )
