"""How the runs of a comparison stand: which can be compared at all, which is best, by how much."""

from collections.abc import Iterable

from replicate.errors import UserError
from replicate.report.participants import Participant
from replicate.score import over_images, scoring

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# So many of equal AP are named.
_NAMED = 4


def groups(participants: Iterable[Participant], first: str | None = None) -> list[dict]:
    """The runs by what they were evaluated on: only those of one group can be compared.

    Args:
      participants: list of Participant.
      first: key of the participant whose group stands first, or None.

    Returns:
      list of dicts: letter, text, runs (keys), best (key of the highest AP, or None).
    """
    by_data: dict[tuple, dict] = {}
    for participant in participants:
        on = participant.facts.get("evaluated_on")
        key = (on["annotations_sha256"], on["images"], on["iou_type"]) if on else ("none",)
        group = by_data.setdefault(key, {"text": in_words(on), "members": []})
        group["members"].append(participant)
    ordered = sorted(
        by_data.items(),
        key=lambda item: (
            all(member.key != first for member in item[1]["members"]),
            item[0] == ("none",),
        ),
    )
    return [
        {
            "letter": _LETTERS[number % len(_LETTERS)],
            "text": group["text"],
            "runs": [member.key for member in group["members"]],
            "best": _best(group["members"]),
        }
        for number, (_, group) in enumerate(ordered)
    ]


def in_words(on: dict | None) -> str:
    """What a run was evaluated on, in words."""
    if not on:
        return "not evaluated"
    kind = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}[on["iou_type"]]
    return f"{kind} on {on['images']:,} images of {on['file']}"


def _best(members: Iterable[Participant]) -> str | None:
    scored = [member for member in members if member.facts["metrics"].get("AP") is not None]
    best = max(scored, key=lambda member: member.facts["metrics"]["AP"], default=None)
    return best.key if best else None


def overall(
    together: dict[str, tuple[Participant, scoring.Result]], base: Participant, samples: int
) -> dict[str, dict]:
    """AP of each other run against the baseline, paired over the images.

    Returns:
      dict key -> {difference, low, high}: AP in -1..1; no interval (None) of fewer than 20 images.
    """
    of_base = together[base.key][1]
    differences = {}
    for key, (_, result) in together.items():
        if key == base.key:
            continue
        differences[key] = _difference(result, of_base, samples)
    return differences


def _difference(result: scoring.Result, of_base: scoring.Result, samples: int) -> dict:
    compared = over_images.compare(result, of_base, samples=samples)
    interval = compared["intervals"].get("AP") or {"low": None, "high": None}
    return {
        "difference": compared["differences"].get("AP"),
        "low": interval["low"],
        "high": interval["high"],
    }


def headline(
    of_groups: list[dict],
    names: dict[str, str],
    together: dict[str, tuple[Participant, scoring.Result]],
    samples: int,
    aps: dict[str, float | None],
) -> list[str]:
    """Which run is best on which images, by how much, and which runs can be compared: sentences.

    Only a run whose paired interval over the second leaves out zero is called best.

    Args:
      of_groups: of `groups`.
      names: dict key -> name of the run.
      together: the runs that were scored on the baseline's images, with their scores.
      samples: of the intervals.
      aps: dict key -> AP in 0..1, None where it was not evaluated.
    """
    said = []
    for group in of_groups:
        best, runs = group["best"], group["runs"]
        if best is None:
            continue
        lettered = f"{group['letter']}: " if len(of_groups) > 1 else ""
        if len(names) == 1:
            said.append(f"{names[best]}: AP {100 * (aps[best] or 0):.2f}, {group['text']}.")
            continue
        if len(runs) == 1:
            said.append(f"{lettered}{names[best]} alone was evaluated as it was: {group['text']}.")
            continue
        ordered = sorted(
            (key for key in runs if key != best and aps[key] is not None),
            key=lambda key: -(aps[key] or 0.0),
        )
        stands = _stands(best, ordered, names, together, samples, aps)
        said.append(f"{lettered}Of the {len(runs)} runs with {group['text']}, {stands}.")
    if len(of_groups) > 1:
        said.append(
            f"They were evaluated in {len(of_groups)} ways; a figure of one group tells nothing "
            "against one of another."
        )
    return said


def _stands(
    best: str,
    others: list[str],
    names: dict[str, str],
    together: dict[str, tuple[Participant, scoring.Result]],
    samples: int,
    aps: dict[str, float | None],
) -> str:
    """How the highest AP stands to the second, or to its equals. `others`: highest first."""
    ap = aps[best] or 0.0
    if not others:
        return f"{names[best]} alone has an AP"
    equals = [names[key] for key in (best, *others) if aps[key] == ap]
    if len(equals) > 1:
        shown = equals[:_NAMED] + [f"{len(equals) - _NAMED} more"] * (len(equals) > _NAMED)
        listed = f"{', '.join(shown[:-1])} and {shown[-1]}"
        highest = "" if len(equals) > len(others) else ", the highest"
        return f"{listed} have equal AP, {100 * ap:.2f}{highest}"
    second = others[0]
    by = f"{100 * (ap - (aps[second] or 0.0)):.2f} points of AP above {names[second]}"
    try:
        both = best in together and second in together
        difference = _difference(together[best][1], together[second][1], samples) if both else None
    except UserError:
        difference = None
    if difference is None or difference["low"] is None:
        return f"{names[best]} has the highest AP, {by}; no interval tells whether by chance"
    low, high = (f"{100 * difference[side]:+.2f}".replace("-", "−") for side in ("low", "high"))
    interval = f"(95 % interval {low} to {high}, paired)"
    if difference["low"] <= 0 <= difference["high"]:
        return f"{names[best]} has the highest AP, {by} {interval}, which chance alone can give"
    return f"{names[best]} is best, {by} {interval}"
