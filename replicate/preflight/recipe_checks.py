"""Reasons that the config tells, held against the recipe that made the published number."""

from collections.abc import Callable, Iterator
from typing import Any

from replicate import engine, reasons
from replicate.config import (
    Operation,
    build_rules,
    lint_rules,
    scaling,
    value_rules,
)
from replicate.config.diff import diff
from replicate.config.operations import show
from replicate.errors import UserError
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.result import CheckFinding, Note, PreflightProblem, breaks, differs, mind
from replicate.tfvision.render import RATES as VISION_RATES

# A rate a little off the linear rule is no cause of a lower plateau.
_RATE_TOLERANCE = 1.1
_DIFF = "python tools/diff_config.py MODEL {} names every difference"
_NAME_THE_MODEL = "name the zoo model (--model) and it is compared"
# A recipe's threshold is about 1e-8; what is cut above this is missed by AP.
_DEPLOYED_SCORE = 0.01
_COCO_DETECTIONS = 100
# Reasons whose fields another task has by what it is: config, batch, classes, length, images.
_OF_TASK = (3, 4, 7, 8, 17)
_RATES = ("learning_rate_base", "warmup_learning_rate", "learning_rate", "initial_learning_rate")


def drift(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """3: the config drifted from the one that made the number."""
    of_api = facts.engine == engine.ODAPI
    if of_api:
        yield from _errors(
            facts,
            lint_rules.feature_extractor,
            lint_rules.metrics,
            value_rules.ranges,
            value_rules.levels,
        )
    without_effect = list(build_rules.unread(facts.message)) if of_api else []
    for problem in without_effect:
        yield mind(f"{problem.path}: {problem.message}", "take it out")
    if facts.intent.freeze:
        yield differs(
            f"--freeze={facts.intent.freeze}: not in the recipe, asked for", "", meant=True
        )
    if facts.intent.restore and not facts.finetunes:
        yield differs(
            f"--restore={facts.intent.restore}: not in the recipe, asked for", "", meant=True
        )
    if facts.recipe is None:
        yield _without_recipe(facts)
        return
    drifted = facts.deviations_of(3)
    for operation in drifted:
        yield deviation(facts, operation)
    if not (drifted or without_effect or facts.intent.freeze or facts.intent.restore):
        yield Note(f"{facts.as_recipe} of {facts.intent.model}, apart from what is told elsewhere")


def batch_and_rate(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """4: the batch is another than published, with the published learning rate."""
    here = _peak_rate(facts.message)
    if isinstance(here, UserError) and facts.engine == engine.TFVISION:
        yield mind(f"not told: {here}")
        return
    if isinstance(here, UserError):
        yield breaks(str(here), "take the recipe's optimizer: python tools/render_config.py")
        return
    if not 0 < here < float("inf"):
        yield breaks(
            f"the peak learning rate is {here:g}, with which nothing is learnt",
            "set a rate above 0, such as the recipe's: python tools/render_config.py",
        )
        return
    batch = facts.described.batch_size
    micro = facts.intent.gradient_accumulation_steps
    if micro > 1:
        yield mind(
            f"{micro} micro-batches of {batch // micro}: batch norm sees a micro-batch, not the "
            "published arithmetic",
            "fewer micro-batches, or more devices",
        )
    if facts.published is None:
        yield mind(f"batch {batch} at peak rate {here:g}; nothing to compare with", _NAME_THE_MODEL)
        return
    published_batch = facts.published.batch_size
    published = _peak_rate(facts.recipe)
    if isinstance(published, UserError):
        yield mind(f"batch {batch} at peak rate {here:g}; of the recipe not told: {published}")
        return
    rest = [
        operation for operation in facts.deviations_of(4) if not _of_batch_or_rate(facts, operation)
    ]
    for operation in rest:
        yield deviation(facts, operation)
    if facts.finetunes:
        yield _rate_of_finetuning(facts, here, published * batch / published_batch)
        return
    if batch == published_batch and here == published:
        if not rest:
            yield Note(f"batch {batch} at peak rate {here:g}, as published")
        return
    linear = published * batch / published_batch
    seen = f"batch {batch} at peak rate {here:g}; published {published_batch} at {published:g}"
    if max(here / linear, linear / here) <= _RATE_TOLERANCE:
        yield mind(
            f"{seen}: scaled by the linear rule, which keeps the images' weight but is not the "
            "published run"
        )
        return
    meant = _rate_is_meant(facts)
    too_high = here > linear
    yield differs(
        f"{seen}, which is {max(here / linear, linear / here):.3g} times too "
        + ("high by the linear rule: NaN or a lower plateau" if too_high else "low by it"),
        f"the linear rule gives {linear:.3g}: {_scaled_flags(facts)}",
        meant,
    )


def _rate_of_finetuning(facts: LaunchFacts, here: float, linear: float) -> CheckFinding:
    """A rate far above the linear rule's is told; a lower one is a choice."""
    assert facts.published is not None
    batch = facts.described.batch_size
    of_recipe = f"the recipe's {facts.published.batch_size} at "
    of_recipe += f"{_peak_rate(facts.recipe):g}"
    seen = (
        f"batch {batch} at peak rate {here:g}; the linear rule gives {linear:.3g} from {of_recipe}"
    )
    if here <= linear * _RATE_TOLERANCE:
        return Note(seen)
    return mind(
        f"{seen}: {here / linear:.3g} times as much, which may give NaN or a lower plateau",
        f"if it does: {_scaled_flags(facts)}",
    )


def devices(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """5: batch_size is the global batch, not that of a GPU."""
    name = engine.BATCH[facts.engine].rpartition(".")[2]
    batch, replicas = facts.described.batch_size, facts.replicas
    micro = facts.intent.gradient_accumulation_steps
    of_each = f"{batch / (replicas * micro):g}"
    parts = f"{replicas} device{'s' * (replicas > 1)}" + f" × {micro} micro-batches" * (micro > 1)
    seen = f"global batch {batch}: {of_each} on each of {parts}"
    if replicas == micro == 1:
        seen = f"global batch {batch} on one device"
    published = facts.published.batch_size if facts.published is not None else None
    if replicas > 1 and published in (batch * replicas, batch / replicas):
        misread = "looks like the batch of one" if batch < published else "looks multiplied"
        yield differs(
            f"{seen}; {facts.of_recipe(published)} over all devices: {batch} {misread}",
            f"{name} is global: --set {engine.BATCH[facts.engine]}={published}",
        )
    elif batch % (replicas * micro):
        yield breaks(
            f"global batch {batch} does not divide among {parts}",
            f"a multiple of {replicas * micro}, such as "
            f"{max(1, round(batch / replicas / micro)) * replicas * micro}",
        )
    else:
        published_text = f"; {facts.of_recipe(published)}" if published is not None else ""
        yield Note(f"{seen} ({name} is global{published_text})")


def length(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """8: the schedule is shorter than published."""
    steps, batch = facts.num_steps, facts.described.batch_size
    num_steps = engine.STEPS[facts.engine]
    asked = facts.intent.num_steps is not None or facts.meant(num_steps)
    problems = engine.schedule_problems(facts.message)
    for problem in problems:
        if problem.level == lint_rules.ERROR:
            yield breaks(f"{problem.path}: {problem.message}", "python tools/lint_config.py")
        else:
            yield differs(
                problem.message,
                _schedule_of(facts, steps),
                asked or facts.meant(problem.path),
            )
    if facts.engine == engine.TFVISION:
        named = {num_steps, *(problem.path for problem in problems)}
        for operation in facts.deviations_of(8):
            if operation.path not in named:
                yield deviation(facts, operation)
    if facts.published is None:
        yield mind(f"{steps * batch:,} images; nothing to compare with", _NAME_THE_MODEL)
        return
    published = facts.published
    theirs, ours = published.num_steps * published.batch_size, steps * batch
    seen = f"{steps:,} steps of {batch} = {ours:,} images; {facts.of_recipe(f'{theirs:,}')}"
    needed = -(-theirs // batch)
    if ours < 0.99 * theirs:
        yield differs(
            f"{seen}: {ours / theirs:.1%} of them",
            f"{needed:,} steps at batch {batch}: {_schedule_of(facts, needed)}",
            asked,
        )
    elif ours > 1.01 * theirs:
        yield mind(f"{seen}: longer", f"{needed:,} steps see as many")
    elif not problems:
        yield Note(seen)


def _schedule_of(facts: LaunchFacts, steps: int) -> str:
    """The flag that makes training and schedule `steps` long."""
    if facts.intent.convert and steps == facts.num_steps and not facts.intent.rehearsal:
        return "--rehearsal shortens the schedule with --num_steps"
    return f"python tools/render_config.py --num_steps={steps} scales the schedule with the steps"


def averages(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """13: moving-average weights are evaluated, or not, unlike the recipe."""
    trained = facts.train.optimizer.use_moving_average
    evaluated = facts.message.eval_config.use_moving_averages
    contradicting = list(lint_rules.moving_averages(facts.message))
    for problem in contradicting:
        yield differs(
            f"{problem.path}: {problem.message}",
            "set train_config.optimizer.use_moving_average and "
            "eval_config.use_moving_averages alike, as the recipe has them",
            facts.meant(problem.path),
        )
    for operation in [] if contradicting else facts.deviations_of(13):
        yield deviation(facts, operation)
    compared = ", as in the recipe" if facts.recipe is not None else ""
    yield Note(
        f"{'kept' if trained else 'not kept'} in training, "
        f"{'evaluated' if evaluated else 'not evaluated'} in evaluation{compared}"
    )


def cut(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """14: threshold, suppression or number of detections set for deployment."""
    deviations = facts.deviations_of(14)
    for operation in deviations:
        yield deviation(facts, operation)
    post = _post_processing(facts.message)
    nms = getattr(post, "batch_non_max_suppression", None)
    if nms is None:
        if not deviations:
            yield Note("no suppression to be set (CenterNet)")
        return
    detections = nms.max_total_detections
    if not deviations and nms.score_threshold > _DEPLOYED_SCORE and facts.recipe is None:
        yield differs(
            f"score_threshold {nms.score_threshold:g} is one for deployment: AP counts what scores "
            "lower too",
            "the zoo's is about 1e-8",
            facts.meant("score_threshold"),
        )
    elif not deviations and detections < _COCO_DETECTIONS and facts.recipe is None:
        yield differs(
            f"{detections} detections an image; COCO's AP is over {_COCO_DETECTIONS}",
            f"max_total_detections: {_COCO_DETECTIONS}",
        )
    elif not deviations:
        yield Note(
            f"score threshold {nms.score_threshold:.2g}, IoU {nms.iou_threshold:.2g}, "
            f"{detections} detections" + (f", {facts.as_recipe}" * (facts.recipe is not None))
        )


def labelled(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """The deviations of the label map and the number of classes (part of 7)."""
    for operation in facts.deviations_of(7):
        yield deviation(facts, operation)


def of_records(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """The deviations of the training reader (part of 6)."""
    for operation in facts.deviations_of(6):
        yield deviation(facts, operation)


def start(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """The fine-tuning fields (part of 1)."""
    for problem in lint_rules.fine_tuning(facts.message):
        if problem.level == lint_rules.ERROR:
            yield breaks(f"{problem.path}: {problem.message}", "as the recipe has it")


def deviation(facts: LaunchFacts, operation: Operation) -> CheckFinding:
    """What a difference from the recipe is to the launch."""
    here = "not set" if operation.b is None else show(operation.b)
    there = "not set" if operation.a is None else show(operation.a)
    if facts.finetunes and reasons.of_path(operation.path).number in _OF_TASK:
        return Note(f"{operation.path} is {_short(here)}, in the recipe {_short(there)}")
    if facts.meant(operation.path):
        return differs(
            f"{operation.path} is {here}, {facts.of_recipe(there)}: asked for", "", meant=True
        )
    back = (
        f"--set {operation.path}={there}"
        if operation.a is not None and not str(operation.a).startswith("{")
        else _DIFF.format(engine.FILES[facts.engine])
    )
    why = f" ({operation.why})" if operation.why else ""
    return differs(
        f"{operation.path} is {_short(here)}, {facts.of_recipe(_short(there))}{why}",
        f"if it is not meant: {back}",
    )


def _without_recipe(facts: LaunchFacts) -> PreflightProblem:
    return mind(f"not compared: {facts.problems['recipe']}", _NAME_THE_MODEL)


def _errors(facts: LaunchFacts, *rules: Callable) -> Iterator[CheckFinding]:
    for rule in rules:
        for problem in rule(facts.message):
            if problem.level == lint_rules.ERROR:
                yield breaks(f"{problem.path}: {problem.message}", "python tools/lint_config.py")


def _peak_rate(config: Any) -> float | UserError:
    """The highest learning rate of the schedule, or the UserError that says why there is none."""
    try:
        _, marks, _ = engine.schedule(config, [0])
        rates, _, _ = engine.schedule(config, sorted({step for step, _ in marks}))
        return float(f"{max(rates):.6g}")
    except UserError as error:
        return error


def _of_batch_or_rate(facts: LaunchFacts, operation: Operation) -> bool:
    return operation.path == engine.BATCH[facts.engine] or "learning_rate" in operation.path


def _rate_is_meant(facts: LaunchFacts) -> bool:
    """Whether the user set a rate on purpose; the batch alone is the documented mistake."""
    names = {path.rpartition(".")[2] for path in facts.intent.asked_for}
    if facts.engine == engine.TFVISION:
        return not names.isdisjoint(VISION_RATES)
    return any("learning_rate" in name for name in names)


def _scaled_flags(facts: LaunchFacts) -> str:
    """The flags that scale the recipe to this batch, images seen kept; of a fine-tuning, which has
    a length of its own, those of the rates."""
    if facts.engine == engine.TFVISION:
        batch = f"--global_batch_size={facts.described.batch_size}"
        return f"python tools/render_config.py --model={facts.intent.model} {batch}"
    scaled = type(facts.recipe).FromString(facts.recipe.SerializeToString())
    scaling.scale_batch(scaled, facts.described.batch_size)
    return " ".join(
        f"--set {operation.path}={show(operation.b)}"
        for operation in diff(facts.recipe, scaled)
        if operation.path != "train_config.batch_size"
        and (not facts.finetunes or operation.path.rpartition(".")[2] in _RATES)
    )


def _post_processing(message: Any) -> Any:
    name = message.model.WhichOneof("model")
    if name == "ssd":
        return message.model.ssd.post_processing
    if name == "faster_rcnn":
        return message.model.faster_rcnn.second_stage_post_processing
    return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
