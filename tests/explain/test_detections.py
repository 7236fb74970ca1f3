"""From detections: every protocol planted by another evaluation and found by name."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from replicate.errors import UserError
from replicate.evaluate.events import TAGS
from replicate.explain import PROTOCOLS, from_detections, text
from replicate.explain.figures import METRICS, Figures
from replicate.explain.scene import Scene
from replicate.explain.search import search
from replicate.explain.setting import OFFICIAL
from replicate.explain.told_figures import ToldFigure
from replicate.score import score
from replicate.score.detections import Detections
from replicate.score.groundtruth import Groundtruth
from replicate.score.text import remarks
from tests.explain import planting
from tests.explain.conftest import MODELS, Pycocotools

# Boxes of three models, of all three in one list, with official areas; masks.
_CASES = [
    "pooled",
    "background",
    "masks",
    pytest.param("official areas", marks=pytest.mark.slow),
    pytest.param("ssd_mobilenet_v2", marks=pytest.mark.slow),
    pytest.param("ssd_mobilenet_v2_fpnlite_640x640", marks=pytest.mark.slow),
    pytest.param("ssd_mobilenet_v3_small", marks=pytest.mark.slow),
]
# Three digits, as tables print.
_DIGITS = 3


@pytest.fixture(scope="module")
def masks(shared):
    """Annotations and made-up masks on 100 images, crowds and official areas among them."""
    folder = shared / "coco" / "fakebbox100"
    found = json.loads((folder / "instances_val2014_fakesegm100_results.json").read_text())
    return folder / "instances_val2014_100.json", found


@pytest.fixture(scope="module")
def background(val128, tmp_path_factory):
    """The annotations of 128 images, those of every fifth image taken away."""
    truth = json.loads(val128.read_text())
    empty = {each["id"] for each in truth["images"][::5]}
    truth["annotations"] = [e for e in truth["annotations"] if e["image_id"] not in empty]
    path = tmp_path_factory.mktemp("background") / "instances.json"
    path.write_text(json.dumps(truth))
    return path


@pytest.fixture(scope="module")
def cases(val128, real, pooled, masks, background):
    """dict name -> (annotations file, detections, iou_type)."""
    boxes = json.loads((masks[0].parent / "instances_val2014_fakebbox100_results.json").read_text())
    return {
        **{name: (val128, real[name], "bbox") for name in MODELS},
        "pooled": (val128, pooled, "bbox"),
        "background": (background, real["ssd_mobilenet_v2"], "bbox"),
        "official areas": (masks[0], boxes, "bbox"),
        "masks": (*masks, "segm"),
    }


@pytest.fixture(scope="module")
def tried(cases):
    """Function name of a case -> what was tried on it, pairs left out; once a case."""

    @functools.cache
    def of_case(name):
        path, detections, iou_type = cases[name]
        found = Detections.of(detections, iou_type)
        return search(Groundtruth.read(path), found, ["APs"], pairs=False)

    return of_case


@pytest.fixture(scope="module")
def planted(cases):
    """Function name of a case -> dict protocol -> figures of pycocotools; once a case."""

    @functools.cache
    def of_case(name):
        path, detections, iou_type = cases[name]
        truth = json.loads(path.read_text())
        plants = planting.PLANTED | (planting.OF_BOXES if iou_type == "bbox" else {})
        return {
            protocol: plant(Pycocotools(truth, detections, iou_type))
            for protocol, plant in plants.items()
        }

    return of_case


@pytest.mark.parametrize("name", [*MODELS, "pooled", "official areas", "masks"])
def test_official_figures_are_pycocotools(cases, name):
    path, detections, iou_type = cases[name]
    expected = score(path, detections, iou_type=iou_type, evaluator="pycocotools").metrics
    figures = Figures(Scene(Groundtruth.read(path), Detections.of(detections, iou_type)))
    assert figures.of(OFFICIAL, METRICS) == pytest.approx(expected, abs=1e-12)


def test_known_truth(val128, real):
    answer = from_detections(val128, real["ssd_mobilenet_v2_fpnlite_640x640"], ["AP=0.1879"])
    assert round(answer.official["AP"], 4) == 0.1254
    assert answer.explanations[0]["protocols"] == ["images_with_detections"]
    assert {each["kind"] for each in answer.explanations} == {"alone", "library"}
    assert "TF-Vision" in [each["protocols"][0] for each in answer.explanations]
    assert answer.notes[0] == "official figure: hotcoco says parity_verified"
    assert [note.split(":")[0] for note in answer.notes[1:]] == ["max_dets", "class_agnostic"]


@pytest.mark.parametrize("name", _CASES)
def test_every_protocol_as_pycocotools_on_changed_files(tried, planted, name):
    """The engine's figures of each protocol, held against a second way to the same."""
    ours = {str(variant): figures for variant, figures in tried(name).alone.items()}
    for protocol, expected in planted(name).items():
        for metric, value in expected.items():
            if np.isfinite(value) and ours[protocol].get(metric) is not None:
                # Boxes moved in another order of operations may cross a threshold.
                near = 1e-5 if protocol.startswith("scale") else 1e-12
                assert ours[protocol][metric] == pytest.approx(value, abs=near), protocol


@pytest.mark.parametrize("name", _CASES)
def test_planted_protocols_are_found_by_name(tried, planted, name):
    official = tried(name).official
    changed = {
        protocol: figures
        for protocol, figures in planted(name).items()
        if abs(figures["AP"] - official["AP"]) > 1e-9
    }
    for protocol, figures in changed.items():
        told = [ToldFigure.parse(f"AP={figures['AP']:.{_DIGITS}f}")]
        answer = tried(name).answer(told)
        named = [each["protocols"] for each in answer.explanations if each["kind"] == "alone"]
        assert [protocol] in named, (protocol, figures["AP"], named)
    assert len(changed) >= 15


def test_every_protocol_has_been_planted_where_it_changes_something(tried, planted):
    never = {each.name for each in PROTOCOLS} - {"area_of_box"}  # by sizes, below
    for name in ("ssd_mobilenet_v2", "pooled", "background"):
        official = tried(name).official
        for protocol, figures in planted(name).items():
            if abs(figures["AP"] - official["AP"]) > 1e-9:
                never.discard(protocol.partition("=")[0])
    assert not never


def test_sizes_by_the_box_are_found(cases):
    path, detections, iou_type = cases["official areas"]
    planted = planting.area_of_box(Pycocotools(json.loads(path.read_text()), detections))
    answer = from_detections(path, detections, [f"APs={planted['APs']:.3f}"], pairs=False)
    assert ["area_of_box"] in [each["protocols"] for each in answer.explanations]


@pytest.mark.parametrize("name", MODELS)
def test_a_figure_that_nothing_gives_finds_nothing(cases, name):
    answer = from_detections(*cases[name][:2], ["AP=0.3333"])
    assert not answer.explanations
    assert "Nothing that was tried gives it" in text.of_answer(answer)


def test_a_pair_is_found(val128, real):
    detections = real["ssd_mobilenet_v2"]
    truth = json.loads(val128.read_text())
    planted = Pycocotools(truth, [each for each in detections if each["score"] >= 0.6])
    figures = planting.with_detections(planted)
    answer = from_detections(val128, detections, [f"{k}={figures[k]:.4f}" for k in ("AP", "AP50")])
    assert ["images_with_detections", "score_cut=0.6"] in [
        each["protocols"] for each in answer.explanations
    ]


def test_the_official_figure_is_said_to_be_official(val128, real):
    answer = from_detections(val128, real["ssd_mobilenet_v2"], ["AP=0.144"])
    assert answer.explanations[0]["kind"] == "official"


def test_another_order_of_equal_scores(val128, real):
    """Told: the figure of a shuffled file with coarse scores, as pycocotools has it."""
    detections = [
        each | {"score": round(each["score"], 1)} for each in real["ssd_mobilenet_v3_small"]
    ]
    order = np.random.default_rng(5).permutation(len(detections))
    # Equal scores of different images keep the order of the images' ids, in pycocotools too.
    shuffled = Pycocotools(json.loads(val128.read_text()), [detections[i] for i in order])
    figures = shuffled.figures()
    answer = from_detections(val128, detections, [f"AP={figures['AP']:.6f}"], pairs=False)
    assert figures["AP"] != pytest.approx(answer.official["AP"], abs=1e-9)
    assert ["unstable_ties"] in [each["protocols"] for each in answer.explanations]
    low, high = answer.ties["AP"]
    assert low < answer.official["AP"] < high


def test_the_expected_number_of_chance_matches(val128, real):
    """Told figures that mean nothing: as many matches as were expected, on the whole."""
    detections = Detections.of(real["ssd_mobilenet_v2"], "bbox")
    groundtruth = Groundtruth.read(val128)
    everything = search(groundtruth, detections)
    figures = sorted(each["AP"] for each in everything.alone.values())
    low, high = figures[len(figures) // 2], figures[-1]
    draws = np.random.default_rng(0).uniform(low, high, 500)
    found, expected = [], []
    for value in draws:
        answer = everything.answer([ToldFigure.parse(f"AP={value:.3f}")])
        kinds = [each["kind"] for each in answer.explanations]
        found.append(kinds.count("alone") + kinds.count("pair") + answer.subsumed)
        expected.append(answer.chance)
    assert np.mean(expected) > 0.5
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.15)


@pytest.mark.parametrize(
    ("told", "value", "half"),
    [
        ("AP=0.188", 0.188, 0.0005),
        ("AP=18.8", 0.188, 0.0005),
        ("AP=18.8%", 0.188, 0.0005),
        ("AP50=0.5%", 0.005, 0.0005),
        # A whole number is in points, 0 and 1 as any other.
        ("AR@100=1", 0.01, 0.005),
        ("mAP=0", 0.0, 0.005),
        ("AP=15", 0.15, 0.005),
        ("AP=1.0", 1.0, 0.05),
        ("mAP=18.79", 0.1879, 0.00005),
    ],
)
def test_told(told, value, half):
    parsed = ToldFigure.parse(told)
    assert parsed.value == pytest.approx(value)
    assert parsed.half == pytest.approx(half)


@pytest.mark.parametrize(
    ("named", "metric"),
    [
        *(("mAP", "AP"), ("ap", "AP"), ("mAP50-95", "AP"), ("mAP@[.5:.95]", "AP")),
        *(("AP @[ IoU=0.50:0.95 ]", "AP"), ("mAP50", "AP50"), ("mAP@0.5", "AP50")),
        *(("AP_small", "APs"), ("mAP (large)", "APl"), ("AR100", "AR@100"), ("arm", "ARm")),
        *(("bbox_mAP", "AP"), ("bbox_mAP_50", "AP50"), ("coco/bbox_mAP_s", "APs")),
        *(("segm_mAP", "AP"), ("segm_mAP_75", "AP75"), ("bbox/AP50", "AP50")),
        *(
            ("metrics/mAP50-95(B)", "AP"),
            ("metrics/mAP50(B)", "AP50"),
            ("metrics/mAP50(M)", "AP50"),
        ),
        *(("metrics/mAP_0.5", "AP50"), ("metrics/mAP_0.5:0.95", "AP"), ("mar_100", "AR@100")),
        # The Object Detection API's tags in TensorBoard.
        *((tag, name) for kind in TAGS.values() for name, tag in kind.items()),
    ],
)
def test_other_names_of_metrics(named, metric):
    assert ToldFigure.parse(f"{named}=0.5").metric == metric


def test_told_without_a_metric_or_a_figure():
    with pytest.raises(UserError, match=r"of which metric\? --told=AP=0.1879 is"):
        ToldFigure.parse("0.1879")
    with pytest.raises(UserError, match="no figure in it"):
        ToldFigure.parse("AP")


@pytest.mark.parametrize(
    "second", ["AP=0.1254", "AP=0.188", "mAP=18.79"], ids=["other", "coarser", "other name"]
)
def test_one_metric_is_told_once(val128, real, second):
    with pytest.raises(UserError, match="AP told twice: 0.1879 and"):
        from_detections(val128, real["ssd_mobilenet_v2"], ["AP=0.1879", "AR@1=0.1", second])


def test_several_figures_in_one_word_and_a_decimal_comma():
    figures = ToldFigure.all_of(["AP=0.152,AP50=0.228", "AR@1=0.1"])
    assert [(each.metric, each.value) for each in figures] == [
        *(("AP", 0.152), ("AP50", 0.228), ("AR@1", 0.1)),
    ]
    for told in ("AP=0,152", "AP=0,152,AP50=0,228"):
        with pytest.raises(UserError, match="decimal comma; with a point it is --told=AP=0.152"):
            ToldFigure.all_of([told])


@pytest.mark.parametrize(
    "told", [["AP=0.30", "AP50=0.10"], ["AP75=0.3", "AP50=10.0"], ["AR@1=0.40", "AR@100=30"]]
)
def test_figures_that_exclude_each_other(told):
    with pytest.raises(UserError, match="cannot exceed"):
        ToldFigure.all_of(told)
    ToldFigure.all_of(["AP=0.30", "AP50=0.3"])  # within their rounding


def test_a_higher_threshold_never_finds_more():
    """What "AP cannot exceed AP50" rests on, by pycocotools on boxes drawn at random."""
    draws = np.random.default_rng(3)
    images = [{"id": 1 + i, "height": 60, "width": 60} for i in range(200)]
    annotations, found = [], []
    for image in images:
        for boxes, of in ((int(draws.integers(1, 6)), annotations), (6, found)):
            for _ in range(boxes):
                xywh = [*draws.uniform(0, 15, 2), *draws.uniform(20, 40, 2)]
                of.append({"image_id": image["id"], "category_id": 1, "bbox": xywh})
    for index, each in enumerate(annotations):
        area = each["bbox"][2] * each["bbox"][3]
        each |= {"id": 1 + index, "area": area, "iscrowd": int(draws.random() < 0.1)}
    for each in found:
        each["score"] = float(draws.random())
    categories = [{"id": 1, "name": "thing"}]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    for size in range(0, 200, 4):  # many small files, so that single crossings would show
        ids = {image["id"] for image in images[size : size + 4]}
        few = {
            **truth,
            "images": images[size : size + 4],
            "annotations": [each for each in annotations if each["image_id"] in ids],
        }
        evaluation = Pycocotools(few, [e for e in found if e["image_id"] in ids]).evaluation()
        by_threshold = evaluation.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
        assert by_threshold.shape == (10,) and by_threshold[0] > by_threshold[-1] >= 0
        assert (np.diff(by_threshold) <= 1e-12).all()


def test_a_name_that_says_masks_where_boxes_are_scored(val128, real):
    with pytest.raises(UserError, match=r"segm_mAP=0\.3: by its name of masks, and boxes are"):
        from_detections(val128, real["ssd_mobilenet_v2"], ["AR@1=0.1,segm_mAP=0.3"])


def test_a_whole_number_does_not_take_everything(val128, real):
    answer = from_detections(val128, real["ssd_mobilenet_v3_small"], ["AP=1"], pairs=False)
    tenth = [each["figures"]["AP"] for each in answer.alone if each["figures"]["AP"] > 0.05]
    assert tenth and all(each["figures"]["AP"] <= 0.015 for each in answer.explanations)
    assert "told: AP 1 (0.0050 to 0.0150)" in text.of_answer(answer)


def test_no_objects(val128, real, tmp_path):
    truth = json.loads(val128.read_text())
    path = tmp_path / "instances.json"
    crowds = [each for each in truth["annotations"] if each["iscrowd"]]
    assert crowds
    for annotations, why in (([], "holds no objects"), (crowds, "no objects but crowds")):
        path.write_text(json.dumps(truth | {"annotations": annotations}))
        with pytest.raises(UserError, match=f"instances.json: .*{why}"):
            from_detections(path, real["ssd_mobilenet_v2"], ["AP=0.3"])


def test_what_to_do_next_where_nothing_gives_it(val128, real):
    shown = text.of_answer(
        from_detections(val128, real["ssd_mobilenet_v2"], ["AP=0.3333"], pairs=False)
    )
    assert "0.6, 0.7, 0.8, 0.9 are not tried" in shown
    assert "next: is this the annotation file" in shown


def test_one_is_not_many(val128, real):
    answer = from_detections(val128, real["ssd_mobilenet_v2"], ["AP=0.144"], pairs=False)
    shown = text.of_explanations(dataclasses.replace(answer, subsumed=1, tried=1))
    assert "  (1 pair gives it too; it holds a protocol that is enough alone)" in shown
    assert "of 1 different figure tried" in shown[-1]


@pytest.mark.parametrize("told", ["mAP60=0.1", "APx=0.1", "AP=abc", "AP=nan", "AP=-0.1", "AP=188"])
def test_told_wrongly(told):
    with pytest.raises(UserError, match="--told"):
        ToldFigure.parse(told)


def test_no_detections(val128, tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    with pytest.raises(UserError, match="empty.json: holds no detections"):
        from_detections(val128, empty, ["AP=0"])
    elsewhere = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}]
    with pytest.raises(UserError, match="its 1 detection is not on the 128 images that are scored"):
        from_detections(val128, elsewhere, fix=["unknown_images"])


def test_what_is_to_be_known_of_the_detections_is_told(val128, shared):
    """As the scoring of the same file tells it, whatever was mended or left out."""
    everything = shared / "coco" / "results" / "ssd_mobilenet_v2_fpnlite_640x640.json"
    options = {"fix": ["unknown_images"], "num_images": 50}
    answer = from_detections(val128, everything, pairs=False, **options)
    scored = score(val128, everything, evaluator="pycocotools", **options).to_json()
    assert answer.remarks == remarks(scored)
    assert [each.split()[0] for each in answer.remarks][-1] == "--fix=unknown_images"
    assert len(answer.remarks) >= 3
    lines = text.of_answer(answer).splitlines()
    count = scored["detections"]["count"]
    assert lines[1] == (f"{count} detections on 50 images, the others of the file's 128 left out")
    assert [f"! {each}" for each in answer.remarks] == lines[2 : 2 + len(answer.remarks)]
    assert "values, which --output=FILE writes" in text.of_answer(answer)
    assert "values, in all.json" in text.of_answer(answer, "all.json")
    content = answer.to_json()
    assert content["annotations"]["images"] == 50 and content["detections"]["count"] == count


def test_keypoints(val128):
    with pytest.raises(UserError, match="masks"):
        from_detections(val128, [], iou_type="keypoints")
