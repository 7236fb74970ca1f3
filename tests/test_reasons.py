"""The catalogue of documented reasons: each once, and the documents say the same."""

import pathlib
import re

import pytest

from replicate import config, engine, preflight, reasons
from replicate.tfvision import configs, experiments

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"


def test_numbers_are_those_of_preflight_and_each_is_there_once():
    numbers = [each.number for each in reasons.ALL]
    assert numbers == list(range(1, len(reasons.ALL) + 1))
    assert [each.reason for each in preflight.CHECKS] == list(reasons.ALL[:17])
    assert len({each.title for each in reasons.ALL}) == len(reasons.ALL)


@pytest.mark.parametrize("reason", reasons.ALL, ids=lambda reason: reason.title)
def test_a_reason_says_how_it_is_settled_and_mended(reason):
    assert reason.check and reason.mend and reason.sources
    assert (reason.effect == reasons.NOT_MEASURED) == (reason.points is None)
    assert bool(reason.sign) == (reason.number <= 17)


def test_preflights_page_cites_the_catalogues_sources():
    """Every issue number in the page's table is one of the reason's own, and none is left out."""
    text = (DOCS / "preflight.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|[^|]*\|$", text, re.M))
    for check in preflight.CHECKS:
        in_page = set(re.findall(r"\d{2,}", rows[str(check.number)]))
        in_catalogue = set(
            re.findall(
                r"(?<!\d)\d{2,5}(?!\d)", re.sub(r"\([^)]*\)", "", " ".join(check.reason.sources))
            )
        )
        if check.reason is reasons.IMAGES:  # its other half, training images, is reason 26
            in_catalogue |= {"922"}
        if check.reason is reasons.RATE:
            in_catalogue -= {"300"}
        assert in_page == in_catalogue, check.reason.title


def test_preflights_page_names_fields_of_either_engine():
    """Each field is in a config of its engine, and a difference in it is that reason's."""
    text = (DOCS / "preflight.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|([^|]*)\|([^|]*)\|$", text, re.M)
    assert len(rows) > 5
    message = config.template("ssd_mobilenet_v2_320x320_coco17_tpu-8")
    params = configs.read("retinanet_mobilenetv2_256").params
    for number, of_api, of_vision in rows:
        fields = [re.findall(r"`([\w.]+)`", cell) for cell in (of_api, of_vision)]
        assert all(fields)
        for path in (each for cell in fields for each in cell):
            assert reasons.of_path(path).number == int(number), path
        for path in fields[0]:
            descriptor = message.DESCRIPTOR
            for name in path.split("."):
                field = descriptor.fields_by_name[name]
                descriptor = field.message_type
        for path in fields[1]:
            above, _, last = path.rpartition(".")
            assert last in params.at(above), path


@pytest.mark.parametrize(
    "path, reason",
    [
        ("train_config.fine_tune_checkpoint_type", reasons.START),
        ("train_config.batch_size", reasons.RATE),
        ("train_config.num_steps", reasons.SCHEDULE),
        ("train_config.optimizer.use_moving_average", reasons.AVERAGES),
        ("eval_config.use_moving_averages", reasons.AVERAGES),
        ("model.ssd.num_classes", reasons.LABELS),
        ("model.ssd.post_processing.batch_non_max_suppression.score_threshold", reasons.CUT),
        ("eval_input_reader[0].sample_1_of_n_examples", reasons.IMAGES),
        ("train_input_reader.max_number_of_boxes", reasons.RECORDS),
        ("model.ssd.image_resizer.fixed_shape_resizer.height", reasons.DRIFT),
    ],
)
def test_a_config_path_speaks_for_a_reason(path, reason):
    assert reasons.of_path(path) is reason


def test_every_difference_of_two_recipes_has_a_reason():
    message = config.template("ssd_mobilenet_v2_320x320_coco17_tpu-8")
    for each in config.deviations(message, "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"):
        assert reasons.of_path(each.path) in reasons.ALL


def test_how_many_recipes_compute_in_bfloat16():
    """Reason 22 cites it."""
    recipes = [config.template(name).train_config.use_bfloat16 for name in config.template_names()]
    (source,) = reasons.BFLOAT16.sources
    assert source == f"{sum(recipes)} of the {len(recipes)} public recipes say use_bfloat16: true"


def test_how_many_configs_of_tf_vision_compute_in_bfloat16():
    made = []
    for published in configs.published().values():
        params = experiments.factory(published["experiment"])
        params.override(published["params"])
        made.append(params.at("runtime.mixed_precision_dtype") == "bfloat16")
    (source,) = reasons.BFLOAT16.of_engine(engine.TFVISION).sources
    assert source.startswith(f"{sum(made)} of the {len(made)} public configs that compose say")


@pytest.mark.parametrize("reason", reasons.ALL, ids=lambda reason: reason.title)
def test_a_reason_names_the_fields_of_the_engine(reason):
    """No word of one engine's configs is left in what is told of the other's."""
    of_api, of_vision = (
        re.compile(
            "pipeline.config|train_config|eval_config|train_input_reader|use_bfloat16"
            "|fine_tune_checkpoint`|use_moving|post_processing"
        ),
        re.compile(r"params\.yaml|\btask\.|\btrainer\.|mixed_precision"),
    )
    for name, others in ((engine.ODAPI, of_vision), (engine.TFVISION, of_api)):
        own = reason.of_engine(name)
        told = (own.check, own.mend, own.cause, own.sign, *own.sources)
        assert not any(others.search(text) or "{" in text for text in told), told
        assert (own.effect == reasons.NOT_MEASURED) == (own.points is None)
    if reason.number in (5, 13, 14, 25):
        assert of_vision.search(f"{own.check} {own.mend}")
