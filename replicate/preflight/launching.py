"""The first act of a launch: preflight, which a fail stops, and what a run keeps of it."""

import dataclasses
import platform
import sys
from collections.abc import Collection

from replicate import engine
from replicate.errors import UserError
from replicate.preflight.checks import check
from replicate.preflight.launch_facts import Intent, LaunchFacts
from replicate.preflight.result import CheckResult
from replicate.preflight.standby import Standby
from replicate.run import RunDir, read_json, write_json
from tfrecords import redaction

# What can be told anew once the records are made.
OF_RECORDS = (6, 7, 16)


# A config that is there already is trained as it is.
_WHERE_FLAGS_ARE = (
    ". --set and --fine_tune_checkpoint are flags of tools/render_config.py, which writes configs"
)


@dataclasses.dataclass(frozen=True)
class Terms:
    """On what terms a run is launched.

    Attributes:
      rehearsal: it is not meant to be the published experiment; differences from it are warnings.
      force: it goes on although a reason fails; the report says so.
      trial: two steps and two images are tried first.
      purpose: "replicate" or "finetune", see Intent.
    """

    rehearsal: bool = False
    force: bool = False
    trial: bool = True
    purpose: str = "replicate"


def gate(
    intent: Intent,
    terms: Terms,
    numbers: Collection[int] | None = None,
    waiting: Standby | None = None,
) -> list[str]:
    """Checks, tells, and lets the launch go on or stops it.

    A run that is complete, or that was tried here with this config before, is not tried again.

    Args:
      intent: Intent.
      terms: Terms.
      numbers: of the reasons to check (such as OF_RECORDS); None means all.
      waiting: Standby that may keep the trial's process for the training, or None.

    Returns:
      list of sentences: the fails that --force overrides, in this and earlier launches.

    Raises:
      UserError: a reason fails and `terms` do not force it. Nothing is written then.
    """
    intent = dataclasses.replace(intent, rehearsal=terms.rehearsal, purpose=terms.purpose)
    facts = LaunchFacts(intent)
    if facts.checkpoint_steps and facts.checkpoint_steps[-1] >= facts.num_steps:
        return forced_sentences(facts.run)
    config = redaction.without_secrets(engine.text(intent.message))
    before = facts.launched
    known = before.get("tried") and before["config"] == config and before["on"] == _machine()
    answer = check(intent, terms.trial and not known, numbers, waiting=waiting)
    if numbers is None or any(result.status != "pass" for result in answer.results):
        print(answer.page("preflight"), file=sys.stderr, flush=True)
    if answer.failed and not terms.force:
        raise UserError(_stopped(answer.failed, intent))
    forced = list(
        dict.fromkeys(
            [
                *before.get("forced", []),
                *(
                    f"reason {result.number} ({result.title}): {result.seen}"
                    for result in answer.failed
                ),
            ]
        )
    )
    if numbers is None:
        record = {
            "format": 1,
            "results": [result.to_json() for result in answer.results],
            "forecast": answer.forecast.to_json() if "steps" in answer.trial else None,
            "tried": bool(known or "steps" in answer.trial),
            "on": _machine(),
            "rehearsal": terms.rehearsal,
            "purpose": terms.purpose,
            "config": config,
        }
        if known:
            record["forecast"] = before["forecast"]
    else:
        again = {result.number: result.to_json() for result in answer.results}
        record = before | {
            "results": [again.get(result["number"], result) for result in before.get("results", [])]
        }
    write_json(facts.run.preflight, record | {"forced": forced})
    return forced


def forced_sentences(run: RunDir) -> list[str]:
    """What --force overrode in the launches of a run directory (RunDir): list of sentences."""
    return read_json(run.preflight).get("forced", []) if run.preflight.is_file() else []


_OTHER_PURPOSES = (
    "--rehearsal if this is not meant to be the published experiment, --purpose=finetune if it "
    "trains on data of its own; "
)


def _stopped(failed: list[CheckResult], intent: Intent) -> str:
    numbers = ", ".join(str(result.number) for result in failed)
    several = len(failed) > 1
    return (
        f"preflight: reason{'s' * several} {numbers} fail{'s' * (not several)}; nothing was "
        "launched. Mend what is named above; "
        + _OTHER_PURPOSES * (intent.purpose == "replicate")
        + "--force to launch all the same, which the report will say"
        + _WHERE_FLAGS_ARE * (not intent.convert and any("--" in result.fix for result in failed))
    )


def _machine() -> list[str]:
    """What a trial's times and memory hold for."""
    from replicate import devices

    return [platform.machine(), *(gpu.name for gpu in devices.visible(devices.gpus()))]
