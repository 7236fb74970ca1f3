"""The top of a run's page: was the figure reached, how sure is that, and what to change next."""

import re
import shlex
from collections.abc import Iterator

from replicate.report import command_context, next_steps
from replicate.report.run_files import RunFiles
from replicate.verdict import NO_REFERENCE, reference_kind

TRAIN2017_IMAGES = 118_287
# At most so many commands: the first ones are the likeliest.
_MOST = 6
_SETUP_OK = {"as published": True, "scaled": True, "changed": False}


def of_run(content: dict, files: RunFiles) -> dict:
    """The answers at the top of the page.

    Args:
      content: the report's dict with verdict, metrics, schedule and command.
      files: RunFiles.

    Returns:
      dict: reached (sentence), runs ("one run" or how many seeds), interval (sentence or None),
      rehearsal (True where the run was launched as one) and next (list of {why, command}, with
      choose, word -> meaning, where the command has words that the user must choose).
    """
    return {
        "reached": _reached(content),
        "runs": _runs(content),
        "interval": _interval(content),
        "rehearsal": bool((files.preflight or {}).get("rehearsal")),
        "next": list(_next(content, files)),
    }


def _reached(content: dict) -> str:
    verdict = content["verdict"]
    if verdict is None:
        return "Figure reached? Not decided: there is no verdict"
    if verdict["verdict"] == NO_REFERENCE:
        return "No reference was named, so that nothing is judged"
    if reference_kind(verdict) != "zoo":
        return _reference_reached(verdict)
    return {
        "REPLICATED": "Figure reached: yes",
        "NEAR": "Figure reached: nearly",
        "NOT REPLICATED": "Figure reached: no",
        "INCONCLUSIVE": "Figure reached? This cannot tell",
        "NOT COMPARABLE": "Figure reached? It cannot be held against this run",
    }[verdict["verdict"]]


def _reference_reached(verdict: dict) -> str:
    """The same of a reference of the user's own, which is named with the margin."""
    margin = verdict["tolerance"]["replicated"]
    within = f" within ±{margin:.2f} points" if margin else ""
    said = {
        "REPLICATED": f"yes{within}",
        "NEAR": "nearly",
        "NOT REPLICATED": "no",
        "INCONCLUSIVE": "this cannot tell",
        "NOT COMPARABLE": "it cannot be held against this run",
    }[verdict["verdict"]]
    return f"Reference reached ({verdict['reference']['name']}): {said}"


def _runs(content: dict) -> str:
    figures = (content["verdict"] or {}).get("figures", [])
    seeds = max((len(figure["seeds"]) for figure in figures), default=0)
    return "one run" if seeds < 2 else f"{seeds} seeds"


def _interval(content: dict) -> str | None:
    """How far AP would move on other images, where that was computed."""
    interval = ((content["analysis"] or {}).get("intervals") or {}).get("AP")
    if interval is None or "of_another" in (
        content["verdict"] or {}
    ):  # it would stand beside that one
        return None
    return f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f}"


def trained_on(content: dict, of_zoo: bool = True) -> dict:
    """The fact "Trained on": images, their share of train2017 where the zoo's figure is the
    reference, images seen."""
    plan, verdict = content["schedule"], content["verdict"]
    facts = (verdict or {}).get("facts") or []
    images = ((facts[0].get("training") or {}) if facts else {}).get("images")
    if images is None:
        split = (records for records in content["data"]["records"] if records["split"] == "train")
        images = next((records["images"] for records in split), None)
    images_seen = plan["images_seen"] if plan else None
    if images is None and images_seen is None:
        return {"label": "Trained on", "text": "no log of a training in the run", "ok": None}
    said = []
    if images is not None:
        share = f" ({_share(images / TRAIN2017_IMAGES)} of train2017's {TRAIN2017_IMAGES:,})"
        said.append(f"{images:,} images{share if of_zoo else ''}")
    if images_seen is not None:
        said.append(
            f"{images_seen:,} images seen: {plan['steps_run']:,} of {plan['num_steps']:,} planned "
            f"steps at batch {plan['batch_size']:,}"
        )
    published = facts[0].get("published_images_seen") if facts and of_zoo else None
    if images_seen is not None and published:
        said.append(f"the published recipe sees {published:,}")
    ok = None
    if images is not None and images_seen is not None and published:
        ok = images == TRAIN2017_IMAGES and images_seen == published
    return {"label": "Trained on", "text": "; ".join(said), "ok": ok}


def _share(share: float) -> str:
    return "all" if share == 1 else f"{100 * share:.3g} %"


def setup(content: dict) -> dict:
    """The fact "Setup": the recipe's own, scaled by a rule, or changed."""
    verdict, deviations = content["verdict"], content["deviations"]
    answer = verdict["conditions"]["answer"] if verdict else None
    counts = ", ".join(
        f"{len(group['operations'])} of {group['class']}"
        for group in (deviations or {"classes": []})["classes"]
        if group["affects_ap"]
    )
    if verdict and reference_kind(verdict) != "zoo":
        return _own_setup(verdict, deviations, counts)
    if answer == "as published" or (answer is None and deviations and not counts):
        text, ok = "identical to the published recipe in all that affects AP", True
    elif answer == "scaled":
        scaling = verdict["conditions"]["scaling"]
        text = (
            f"scaled by the {scaling['rule']} rule: batch {scaling['batch']:,} for "
            f"{scaling['published_batch']:,}"
        )
        ok = scaling["established"]
    elif deviations is None:
        text, ok = "not compared with the published config", None
    else:
        number = deviations["affecting"]
        text = f"changed in {number} setting{'s' * (number != 1)} that affect AP ({counts})"
        if not counts:
            text = "config as published; changed in what it was trained on or from"
        ok = False
    return {"label": "Setup", "text": text, "ok": ok}


def _own_setup(verdict: dict, deviations: dict | None, counts: str) -> dict:
    """The same where the zoo's figure is no reference: beside the run's own, else the recipe."""
    if verdict["reference"]["kind"] == "runs":
        ok = {"as the reference": True, "changed": False}.get(verdict["conditions"]["answer"])
        return {"label": "Setup", "text": verdict["conditions"]["sentence"], "ok": ok}
    text = "the recipe it starts from is not known"
    if deviations is not None:
        text = f"the recipe it starts from, changed in what affects AP: {counts}"
        text = text if counts else "that of the recipe it starts from"
    return {"label": "Setup", "text": text, "ok": None}


def _next(content: dict, files: RunFiles) -> Iterator[dict]:
    """What to change next: commands, the likeliest cause's first."""
    run = command_context.of_run(files, content["model"]["name"], content)
    verdict = content["verdict"]
    if not content["metrics"]:
        command = shlex.join(["python", "tools/evaluate.py", f"--model_dir={run.root}"])
        yield _step("score the last checkpoint", [command])
        return
    if verdict is None:
        yield _step(f"judge the run: {files.why_no_verdict}", [next_steps.judged(run)])
        return
    if any(each["file"].startswith("evals/") for each in content["damaged"]):
        command = shlex.join(["python", "tools/evaluate.py", f"--model_dir={run.root}"])
        yield _step("make the damaged evaluation anew, where its checkpoint still is", [command])
        return
    if "of_another" in verdict:
        why = "judge the evaluation that this page shows; the verdict is of another"
        yield _step(why, [next_steps.judge_again(files.run)])
        return
    if reference_kind(verdict) != "zoo":
        yield from _next_of_own(verdict, run, _runs(content))
        return
    decided = verdict["verdict"]
    if decided in ("REPLICATED", "NEAR", "INCONCLUSIVE") and _runs(content) == "one run":
        why = (
            "one run says little of the spread; train two more seeds, each into a directory of its "
            "own, and judge the three together"
        )
        yield _step(why, next_steps.seeds(run))
    if decided == "REPLICATED":
        yield _step("how far its AP would move on other images", [next_steps.score_samples(run)])
        return
    steps: dict[str, dict] = {}
    for cause in verdict["likely_causes"]:
        if cause["likelihood"] == "not ruled out" and len(steps) >= 3:
            continue
        step = _step(cause["cause"], next_steps.commands_for(cause["number"], run))
        if step["command"] in steps:  # one command for both
            steps[step["command"]]["why"] += f"; {cause['cause']}"
        elif len(steps) < _MOST:
            steps[step["command"]] = step
    yield from steps.values()


def _next_of_own(verdict: dict, run: command_context.CommandContext, runs: str) -> Iterator[dict]:
    """The same where the reference is the user's own, or missing."""
    reference = verdict["reference"]
    if reference["kind"] == "none":
        why = "hold it against an earlier run or a metrics.json"
        yield _step(why, [next_steps.judged(run, "--reference=EARLIER_RUN")])
    elif verdict["verdict"] == "INCONCLUSIVE" or runs == "one run":
        given = [f"--reference={','.join(reference['given'])}"]
        given += [f"--reference_on={reference['on']}"] if reference["on"] else []
        given += [f"--margin={reference['margin']:g}"] if reference["margin"] else []
        why = (
            "one run says little of the spread; train two more seeds, each into a directory of its "
            "own, and judge the three together"
        )
        yield _step(why, next_steps.seeds(run, *given))


def _step(why: str, commands: list[str]) -> dict:
    """A command, or several a line each; the words in it that the user chooses, if any."""
    command = "\n".join(commands)
    words = {
        word: meaning
        for word, meaning in command_context.PLACEHOLDERS.items()
        if re.search(rf"(?<![\w/]){word}(?!\w)", command)
    }
    return {"why": why, "command": command} | ({"choose": words} if words else {})
