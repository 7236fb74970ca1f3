"""The answer at the head of the page: is the input what the recipe had, and what to look at."""

from collections.abc import Iterator

from replicate.inspection import recipe_input

AS_PUBLISHED, DIFFERS, NOT_COMPARED = "AS PUBLISHED", "DIFFERS", "NOT COMPARED"


def answer(content: dict) -> dict:
    """The verdict on an inspection.

    Args:
      content: `content.inspect`'s dict.

    Returns:
      verdict (one of the three above), sentence, facts: list of dict of label, text, ok
      (True, False, None where neither).
    """
    compared = content["recipe"]
    verdict = (
        NOT_COMPARED
        if compared is None
        else AS_PUBLISHED
        if recipe_input.same(compared)
        else DIFFERS
    )
    return {"verdict": verdict, "sentence": _sentence(content), "facts": list(_facts(content))}


def _sentence(content: dict) -> str:
    compared = content["recipe"]
    if compared is None:
        return (
            "This is what the model would be trained on. No recipe was named, so it has not been "
            "compared with one."
        )
    differing = [row["what"] for row in compared["data"] if not row["same"]]
    parts = []
    if compared["settings"]:
        parts.append(_count(len(compared["settings"]), "setting") + " of the input")
    if differing:
        parts.append(f"the data ({' and '.join(differing)})")
    if not parts:
        return f"The input is that of the recipe {compared['recipe']}: settings and data agree."
    return (
        f"The input is not that of the recipe {compared['recipe']}: {' and '.join(parts)} differ."
    )


def _facts(content: dict) -> Iterator[dict]:
    compared = content["recipe"]
    if compared is not None:
        different = len(compared["settings"])
        yield _fact(
            "Settings of the input",
            "as in the recipe" if not different else f"{different} differ from the recipe",
            different == 0,
        )
        for row in compared["data"]:
            if not row["same"]:
                yield _fact("Data", f"{row['what']}: {row['ours']}; recipe {row['recipe']}", False)
    objects = content["objects"]
    unnamed, classless = objects["not_in_label_map"], objects["trained_without_class"]
    if unnamed or classless:
        text = f"{unnamed:,} objects have names that are not in the label map and are left out"
        if classless:
            most = content["model"]["num_classes"]
            text = f"{classless:,} objects have an id above num_classes ({most}): no class to learn"
        yield _fact("Labels", text, False)
    else:
        yield _fact("Labels", "every object has a class that the model knows", True)
    dropped = sum(content["source"]["dropped"].values())
    yield _fact(
        "From the record to the model",
        f"{objects['trained']:,} of {objects['recorded']:,} objects"
        + (f"; {dropped:,} more were not usable" if dropped else ""),
        None,
    )
    yield _targets_fact(content)


def _targets_fact(content: dict) -> dict:
    if content["anchors"]:
        rule, by_size = content["anchors"]["rule"], content["anchors"]["by_size"]
        without = by_size["all"]["without_anchor"]
        if without is None:
            return _fact("Anchors", "there is no object to match", False)
        text = f"{100 * without:.1f}% of the objects have none at IoU {rule['matched_threshold']:g}"
        small = by_size["small"]["without_anchor"]
        return _fact(
            "Anchors", text + (f" ({100 * small:.1f}% of the small)" if small else ""), None
        )
    recalled = content["heat_maps"]["by_size"]["all"]["recalled"]
    if recalled is None:
        return _fact("Heat maps", "there is no object to mark", False)
    return _fact(
        "Heat maps", f"{100 * recalled:.1f}% of the objects have a peak of their own", None
    )


def _fact(label: str, text: str, ok: bool | None) -> dict:
    return {"label": label, "text": text, "ok": ok}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
