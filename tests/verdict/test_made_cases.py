"""A hundred made cases over other models and numbers: none is answered wrongly with confidence.

Each has a known truth: what the runs' AP is drawn around, and what was changed. Wrong with
confidence is: an honest run called NOT REPLICATED, a run that lost the margin or more called
REPLICATED or NEAR, an evaluation of something else judged at all, a change not among the
conditions, or a first cause that is not the change.
"""

import copy

import numpy as np
import pytest

from replicate import config, verdict, zoo
from replicate.verdict import tolerance
from tests.verdict import made

MODELS = [row for row in zoo.rows() if row.template and row.box_map and not row.keypoint_map]
CASES = 100
SIGMA = (0.10, 0.31)  # of the published series


def _published(row, rng):
    """The figure that the truth lies around: the table's, or the header's where it has another."""
    header = row.header_figure("box")
    points = [row.box_map, *([header.points] if header else [])]
    return float(rng.choice(points))


def _honest(row, rng):
    return {}, {"conditions": "as published"}


def _scaled(row, rng):
    batch = config.read(row.template).train_config.batch_size
    factor = float(rng.choice([0.25, 0.5, 2.0]))
    return {"batch": max(1, int(batch * factor))}, {"conditions": "scaled"}


def _batch_slip(row, rng):
    batch = max(1, config.read(row.template).train_config.batch_size // 4)
    return (
        {"overrides": [("train_config.batch_size", str(batch))]},
        {"conditions": "changed", "loss": True, "causes": {4, 8}},
    )


def _short(row, rng):
    steps = config.read(row.template).train_config.num_steps
    part = int(steps * rng.uniform(0.02, 0.3))
    return {"step": part}, {"conditions": "changed", "loss": True, "causes": {8}}


def _few_images(row, rng):
    share = rng.uniform(0.01, 0.3)
    train = (int(118_287 * share), int(860_001 * share), int(10_052 * share))
    return {"train": train}, {"conditions": "changed", "loss": True, "causes": {17}}


def _no_start(row, rng):
    return {"start": (4, 220)}, {"conditions": "changed", "loss": True, "causes": {1}}


def _nan(row, rng):
    losses = (2.0, float("nan"))
    return {"losses": losses}, {"conditions": "as published", "loss": True, "causes": {24}}


def _speed(row, rng):
    fields = ["train_input_reader.shuffle_buffer_size", "eval_input_reader[0].num_parallel_batches"]
    return (
        {"overrides": [(str(rng.choice(fields)), str(rng.integers(2, 99)))]},
        {"conditions": "as published"},
    )


def _another_set(row, rng):
    changes = [
        {"annotations__images": int(rng.integers(100, 4_999))},
        {"annotations__annotations": int(rng.integers(30_000, 36_780))},
        {"annotations__crowd_annotations": int(rng.integers(0, 445))},
        {"annotations__box_areas": 36_781},
        {"annotations__first_ids_sha256": "9" * 64},
        {"detections__score_threshold": float(rng.uniform(0.05, 0.6))},
        {"detections__cap_per_image": int(rng.integers(5, 60))},
        {"agree": False},
    ]
    change = changes[int(rng.integers(len(changes)))]
    return {"changes": change}, {"verdict": "NOT COMPARABLE"}


KINDS = (
    *(_honest, _scaled, _batch_slip, _short, _few_images, _no_start, _nan, _speed, _another_set),
)


def case(number):
    """(row, how the runs were made, their AP, the truth) of one case."""
    rng = np.random.default_rng([2024, number])
    row = MODELS[int(rng.integers(len(MODELS)))]
    how, truth = KINDS[number % len(KINDS)](row, rng)
    sigma = rng.uniform(*SIGMA)
    centre = _published(row, rng) + rng.normal(0, sigma)
    if truth.get("loss"):
        centre -= rng.uniform(2.5, 8.0)
    seeds = int(rng.choice([1, 1, 1, 3, 5]))
    return row, how, (centre + rng.normal(0, sigma, seeds)).tolist(), truth


@pytest.fixture(scope="module", params=range(CASES))
def answered(request, tmp_path_factory):
    row, how, points, truth = case(request.param)
    how = copy.deepcopy(how)
    changes = how.pop("changes", {})
    folder = tmp_path_factory.mktemp("case")
    runs = []
    for seed, ap in enumerate(points):
        scores = [made.metrics(ap, **changes)]
        runs.append(
            made.run_directory(
                folder / str(seed), row.template, ap, seed=seed, scores=scores, **how
            )
        )
    return verdict.of_runs(runs), truth


def test_none_is_answered_wrongly_with_confidence(answered):
    answer, truth = answered
    if "verdict" in truth:
        assert answer.verdict == truth["verdict"]
        return
    assert answer.verdict != "NOT COMPARABLE"
    assert answer.conditions.answer == truth["conditions"]
    if not truth.get("loss"):
        assert answer.verdict != "NOT REPLICATED", answer.text()
        return
    assert answer.verdict in ("NOT REPLICATED", "INCONCLUSIVE"), answer.text()
    shown = [each["number"] for each in answer.likely_causes if each["evidence"]]
    assert set(shown[: len(truth["causes"])]) == truth["causes"], answer.text()


def test_the_cases_are_of_many_models_and_kinds():
    cases = [case(number) for number in range(CASES)]
    assert len({row.archive for row, *_ in cases}) > 15
    assert {len(points) for _, _, points, _ in cases} == {1, 3, 5}
    assert tolerance.of_kind("training").near < 2.5  # the least loss of a case
