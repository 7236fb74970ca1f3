"""The kit's tables of published figures, and the comparison with them."""

import csv

import pytest

from replicate import zoo
from replicate.benchmarking import published
from replicate.benchmarking.published import METRICS
from replicate.errors import UserError
from tests.verdict.made import metrics


@pytest.mark.parametrize(
    "name, figures",
    [
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", {"box AP": 22.2}),
        (
            "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
            {"box AP": 39.0, "mask AP": 34.6},
        ),
        ("maskrcnn_resnet50_fpn", {"box AP": 37.9, "mask AP": 34.6}),
        ("keypointrcnn_resnet50_fpn", {"box AP": 54.6, "keypoint AP": 65.0}),
        ("ssd300_vgg16", {"box AP": 25.1}),
        ("SSDLite320_MobileNet_V3_Large", {"box AP": 21.3}),
        ("CenterNet DLA-34 pose", {"keypoint AP": 58.9}),
    ],
)
def test_by_name(name, figures):
    (row,) = published.find(name)
    assert row.figures == figures and row.dataset == "val2017" and row.source


def test_by_name_on_two_image_sets():
    on = {each.dataset: each.figures["box AP"] for each in published.find("EfficientDet-D0")}
    assert on == {"val2017": 34.3, "test-dev2017": 34.6}


@pytest.mark.parametrize("arxiv", ["1708.02002", "arXiv:1708.02002v2"])
def test_by_paper(arxiv):
    found = published.find(arxiv=arxiv)
    assert {"RetinaNet ResNet-101-FPN", "retinanet_resnet50_fpn"} <= {each.model for each in found}
    assert {each.arxiv for each in found} == {"1708.02002"}


def test_name_within_paper():
    (row,) = published.find("RetinaNet ResNet-101-FPN", arxiv="1708.02002")
    assert row.figures == {
        "box AP": 39.1,
        "AP50": 59.1,
        "AP75": 42.3,
        "APS": 21.8,
        "APM": 42.7,
        "APL": 50.2,
    }


def test_every_family_of_the_zoo_has_a_paper():
    papers = {each.arxiv for each in published.rows()}
    of_family = {
        "centernet": "1904.07850",
        "efficientdet": "1911.09070",
        "ssd": "1512.02325",
        "faster_rcnn": "1612.03144",
        "mask_rcnn": "1703.06870",
        "extremenet": "1901.08043",
    }
    assert set(zoo.families()) == set(of_family)
    assert papers >= set(of_family.values())


def test_table_is_sound():
    for each in published.rows():
        assert each.figures and set(each.figures) <= set(METRICS)
        assert all(5 < value < 75 for value in each.figures.values())
        assert each.paper and each.source and each.dataset
        # A figure that is of no paper stands in a document's table, on images that it may not name.
        assert each.arxiv or each.why_not
        if "AP50" in each.figures:
            assert each.figures["AP50"] > each.figures["box AP"]
            assert each.figures["APL"] > each.figures["APM"] > each.figures["APS"]


@pytest.mark.parametrize(
    "points, verdict",
    [(22.2, "REPLICATED"), (22.29, "REPLICATED"), (22.6, "NEAR"), (21.0, "NOT REPLICATED")],
)
def test_comparison_on_val2017(points, verdict):
    model = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
    (row,) = published.compare(published.find(model), {"bbox": metrics(points)})
    assert (row["verdict"], row["metric"], row["published"]) == (verdict, "box AP", 22.2)
    assert row["difference"] == pytest.approx(points - 22.2)


def test_figures_on_other_images_are_not_compared():
    rows = published.compare(published.find("EfficientDet-D0"), {"bbox": metrics(34.3)})
    verdicts = {(each["dataset"], each["metric"]): each["verdict"] for each in rows}
    assert verdicts["val2017", "box AP"] == "REPLICATED"
    assert {verdict for (images, _), verdict in verdicts.items() if images != "val2017"} == {
        "NOT COMPARABLE"
    }
    assert "published on test-dev2017" in rows[1]["reasons"]


@pytest.mark.parametrize(
    "threshold, most, verdict",
    [
        (None, 100, "REPLICATED"),
        # As torchvision's builder cuts them by default: so were those of the published figure.
        (0.0501, 300, "REPLICATED"),
        (0.3, 100, "NOT COMPARABLE"),
        # COCO's AP counts the highest 100 of an image, however many there are.
        (0.0501, 301, "REPLICATED"),
    ],
)
def test_torchvisions_own_threshold_is_no_obstacle(threshold, most, verdict):
    made = metrics(36.4, detections__score_threshold=threshold, detections__max_per_image=most)
    (row,) = published.compare(published.find("retinanet_resnet50_fpn"), {"bbox": made})
    assert row["verdict"] == verdict
    assert (row["score_threshold"], row["max_detections"]) == (0.05, 300)


def test_given_figures():
    row = published.given({"box AP": 22.2, "mask AP50": 30, "keypoint APM": 40.0}, "mine")
    assert row.figures == {"box AP": 22.2, "mask AP50": 30, "keypoint APM": 40.0}
    with pytest.raises(UserError, match="unknown metric 'keypoint APS'"):
        published.given({"keypoint APS": 20.0}, "mine")


@pytest.mark.parametrize("name", ["ssd_mobilenet_v1_coco", "faster_rcnn_nas"])
def test_the_tf1_zoo_is_never_comparable_on_val2017(name):
    (entry,) = published.find(name)
    assert entry.rounding == 0.5 and entry.dataset == "COCO 2014 minival (8,059 images)"
    figure = entry.figures["box AP"]
    (row,) = published.compare([entry], {"bbox": metrics(figure)})
    assert row["verdict"] == "NOT COMPARABLE" and row["rounding"] == 0.5
    assert "trained on images that are in val2017" in " ".join(row["reasons"])
    assert "typically 0.3" in " ".join(row["reasons"])


def test_the_tf1_table_is_whole(shared):
    """Every COCO row of the page that has a figure, by name and figure."""
    with open(shared / "tf1zoo" / "published.csv", encoding="utf-8", newline="") as table:
        page = [row for row in csv.DictReader(table) if row["map"]]
    expected = sorted(float(row["map"]) for row in page if row["dataset"].startswith("COCO"))
    ours = [each for each in published.rows() if "TensorFlow 1" in each.paper]
    assert sorted(each.figures["box AP"] for each in ours) == expected
    assert len({(each.model, each.dataset) for each in ours}) == len(ours) == 37


def test_efficientdet_lite_has_a_figure_in_each_source():
    """26.41 and 26.10, 25.69, 30.4: three documents that must not be mixed."""
    found = {
        each.model: each.figures["box AP"]
        for each in published.rows()
        if each.model.lower().startswith("efficientdet-lite0")
    }
    assert found == {
        "EfficientDet-lite0": 26.41,
        "EfficientDet-lite0, int8": 26.10,
        "EfficientDet-Lite0 (Model Maker)": 25.69,
        "EfficientDet-Lite0 (Coral)": 30.4,
    }
    for each in published.find("EfficientDet-lite0"):
        assert published.compare([each], {"bbox": metrics(26.41)})[0]["verdict"] == "NOT COMPARABLE"


@pytest.mark.parametrize(
    ("name", "boxes", "keypoints"),
    [
        ("keypointrcnn_resnet50_fpn", 54.6, 65.0),
        ("keypointrcnn_resnet50_fpn (COCO_LEGACY)", 50.6, 61.1),
    ],
)
def test_boxes_of_persons_alone(name, boxes, keypoints):
    (entry,) = published.find(name)
    assert entry.categories == "person"
    assert entry.figures == {"box AP": boxes, "keypoint AP": keypoints}
    # Boxes of COCO's 80 categories are something else, however near.
    row = published.compare([entry], {"bbox": metrics(boxes)})[0]
    assert row["verdict"] == "NOT COMPARABLE" and row["categories"] == "person"
    assert "categories scored: 80; COCO has 1" in " ".join(row["reasons"]), row["reasons"]
    made = metrics(boxes)
    persons = made | {"per_category": [each for each in made["per_category"] if each["id"] == 1]}
    reasons = published.compare([entry], {"bbox": persons})[0]["reasons"]
    assert not [reason for reason in reasons if reason.startswith("categories")]


def test_the_paper_and_the_readme_of_efficientdet_differ():
    """The README has other figures of D2 and D3 than the paper's table."""
    on_val = {
        each.model: each.figures["box AP"]
        for each in published.rows()
        if each.model.startswith("EfficientDet-D") and each.dataset == "val2017"
    }
    assert (on_val["EfficientDet-D2"], on_val["EfficientDet-D2 (README)"]) == (43.5, 42.5)
    assert (on_val["EfficientDet-D3"], on_val["EfficientDet-D3 (README)"]) == (46.8, 47.2)
    assert on_val["EfficientDet-D7x"] == 54.4
