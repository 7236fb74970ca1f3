"""The documented reasons that can be told before the first step, each with what tells it."""

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable

from replicate import engine, reasons
from replicate.errors import UserError
from replicate.preflight import (
    data_checks,
    evaluators,
    file_checks,
    forecast,
    machine,
    recipe_checks,
    result,
    starting,
    vision_checks,
)
from replicate.preflight import trial as trials
from replicate.preflight.launch_facts import Intent, LaunchFacts
from replicate.preflight.result import FAIL, CheckFinding, CheckResult, PreflightProblem
from replicate.preflight.standby import Standby


@dataclasses.dataclass(frozen=True)
class PreflightCheck:
    """How a documented reason is told.

    Attributes:
      reason: reasons.Reason.
      before: functions of the LaunchFacts that yield Notes and Problems.
      after: functions of (LaunchFacts, the trial's dict, Forecast) that add to them.
      vision: what is asked in place of `before` of a TF-Vision config; None asks the same.
    """

    reason: reasons.Reason
    before: tuple[Callable[[LaunchFacts], Iterable[CheckFinding]], ...]
    after: tuple[Callable[[LaunchFacts, dict, forecast.Forecast], Iterable[CheckFinding]], ...] = ()
    vision: tuple[Callable[[LaunchFacts], Iterable[CheckFinding]], ...] | None = None

    def first(self, facts: LaunchFacts) -> list[CheckFinding]:
        """What can be told before anything is tried."""
        of_vision = self.vision is not None and facts.engine == engine.TFVISION
        asked = (self.vision or ()) if of_vision else self.before
        return [finding for function in asked for finding in function(facts)]

    @property
    def number(self) -> int:
        return self.reason.number


CHECKS = (
    PreflightCheck(
        reasons.START,
        (starting.checkpoint,),
        (starting.matched,),
        vision=(vision_checks.starting_checkpoint,),
    ),
    PreflightCheck(reasons.IMAGES, (data_checks.evaluation_images,)),
    PreflightCheck(reasons.DRIFT, (recipe_checks.drift,)),
    PreflightCheck(reasons.RATE, (recipe_checks.batch_and_rate,)),
    PreflightCheck(reasons.DEVICES, (recipe_checks.devices,)),
    PreflightCheck(reasons.RECORDS, (data_checks.conversion,)),
    PreflightCheck(reasons.LABELS, (data_checks.labels,), vision=(vision_checks.labels,)),
    PreflightCheck(reasons.SCHEDULE, (recipe_checks.length,)),
    PreflightCheck(reasons.RESUME, (starting.resume,), (starting.resumed,)),
    PreflightCheck(reasons.GPU, (machine.gpus, machine.executed), (machine.ran_on,)),
    PreflightCheck(reasons.LIBRARIES, (machine.libraries,)),
    PreflightCheck(reasons.MEMORY, (machine.buffers,), (machine.memory_needed,)),
    PreflightCheck(reasons.AVERAGES, (recipe_checks.averages,), vision=(vision_checks.averages,)),
    PreflightCheck(reasons.CUT, (recipe_checks.cut,), vision=(vision_checks.cut,)),
    PreflightCheck(reasons.EVALUATORS, (evaluators.agreement,), (evaluators.of_trial,)),
    PreflightCheck(reasons.FILES, (file_checks.whole,), (file_checks.room,)),
    PreflightCheck(reasons.TRAINING_IMAGES, (data_checks.training_images,)),
)


@dataclasses.dataclass(frozen=True)
class Preflight:
    """The answer.

    Attributes:
      results: list of result.CheckResult, in the order of the reasons.
      forecast: forecast.Forecast.
      trial: the trial's dict; {} where there was none.
      took: seconds of the "checks", of the "trial", and of what that spent on "tracing", by which
        building the model and the first step are meant too.
    """

    results: list[CheckResult]
    forecast: forecast.Forecast
    trial: dict
    took: dict

    @property
    def failed(self) -> list[CheckResult]:
        """The results that fail."""
        return [result for result in self.results if result.status == FAIL]

    def to_json(self) -> dict:
        """The answer as plain data; the forecast is None where no step was tried."""
        return {
            "results": [result.to_json() for result in self.results],
            "forecast": self.forecast.to_json() if "steps" in self.trial else None,
            "took": self.took,
        }

    def page(self, head: str) -> str:
        """The answer as text."""
        return result.page(self.results, head, f"{self.forecast.text()}\n{self._took()}".strip())

    def _took(self) -> str:
        trial = f", the trial {self.took['trial']:.0f} s" if self.took["trial"] else ""
        tracing = f", {self.took['tracing']:.0f} s of it tracing" if self.took["tracing"] else ""
        return f"The checks took {self.took['checks']:.0f} s{trial}{tracing}."


def check(
    intent: Intent,
    trial: bool = True,
    numbers: Collection[int] | None = None,
    progress: bool = True,
    waiting: Standby | None = None,
) -> Preflight:
    """Checks every reason that can be told before the first step.

    Args:
      intent: launch_facts.Intent.
      trial: whether to train two steps and evaluate two images; without, checkpoints alone are
        tried. Nothing is tried where something must be mended first.
      numbers: of the reasons to check; None means all.
      progress: whether to show the trial's progress bar.
      waiting: Standby that may keep the trial's process for the training, or None.

    Returns:
      Preflight.

    Raises:
      UserError: a config that names no model, or a batch of no images.
    """
    started = time.monotonic()
    facts = LaunchFacts(intent)
    if not facts.described.batch_size:
        raise UserError(
            f"{engine.BATCH[facts.engine]} is 0; it is the number of images a step over all "
            "devices, 1 or more"
        )
    chosen = [check for check in CHECKS if numbers is None or check.number in numbers]
    findings_of = {check: check.first(facts) for check in chosen}
    tried, took = {}, {"trial": 0.0}
    if numbers is None and trials.wanted(facts, trial):
        if any(_hard(finding) for findings in findings_of.values() for finding in findings):
            tried = {"stage": "none", "error": "not run: mend what fails first"}
        else:
            begun = time.monotonic()
            tried = trials.run(facts, steps=trial, progress=progress, waiting=waiting)
            took["trial"] = time.monotonic() - begun
    foreseen = forecast.of(facts, tried)
    for check in chosen if numbers is None else ():
        for function in check.after:
            findings_of[check] += function(facts, tried, foreseen)
    results = [
        result.of(
            check.number, check.reason.title, findings_of[check], intent.rehearsal, intent.purpose
        )
        for check in chosen
    ]
    took |= {
        "checks": time.monotonic() - started - took["trial"],
        "tracing": _tracing_seconds(tried),
    }
    return Preflight(results, foreseen, tried, took)


def _tracing_seconds(tried: dict) -> float:
    """Of the trial: what training and evaluation each do once, before they get going."""
    steps, evaluation = tried.get("steps", {}), tried.get("evaluation", {})
    return steps.get("seconds_to_first_step", 0.0) + evaluation.get("tracing_seconds", 0.0)


def _hard(finding: CheckFinding) -> bool:
    return isinstance(finding, PreflightProblem) and finding.status == FAIL and not finding.differs
