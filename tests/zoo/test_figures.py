"""Where each published figure stands, how it was rounded, and on which images it was taken."""

import csv

import pytest

from replicate import config, verdict, zoo
from replicate.benchmarking import published as benchmarking_published
from tests.verdict.made import metrics

MASK_RCNN = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"


def test_header_figures_are_those_of_the_configs(shared):
    with open(shared / "zoo/header_figures.csv", newline="") as table:
        headers = {line["config"]: line for line in csv.DictReader(table)}
    for row in zoo.rows():
        if row.template is None:
            assert {figure.origin for figure in row.figures} <= {"table"}
            continue
        header = headers[row.template]
        for kind in zoo.KINDS:
            figure = row.header_figure(kind)
            text = header[f"{kind}_map"]
            if not text:
                assert figure is None
                continue
            assert f"{figure.points:.{figure.decimals}f}" == text
            assert figure.runs == (int(header["runs"]) if header["runs"] else None)
            assert figure.spread == (float(header["spread"]) if header["spread"] else None)
            assert figure.val2017 == (
                "stated" if "coco17 val" in header["text"].lower() else "inferred"
            )


@pytest.mark.parametrize("row", zoo.rows(), ids=lambda row: row.display_name)
def test_table_figures_say_where_they_stand(row):
    table = [figure for figure in row.figures if figure.origin == "table"]
    assert {figure.kind: figure.points for figure in table} == {
        kind: points for kind in zoo.KINDS if (points := getattr(row, f"{kind}_map")) is not None
    }
    for figure in table:
        assert figure.document.endswith("g3doc/tf2_detection_zoo.md") and len(figure.commit) == 40
        assert figure.released.replace("-", "") == row.url.split("/")[-2]
        assert (figure.decimals, figure.runs, figure.spread) == (1, None, None)
        # The table itself names no images: a header must say the same figure and "COCO17 val".
        header = row.header_figure(figure.kind)
        backed = (
            header is not None
            and header.val2017 == "stated"
            and abs(header.points - figure.points) <= figure.rounding
        )
        assert figure.val2017 == ("stated" if backed else "inferred")


def test_a_figure_that_table_and_header_disagree_on():
    row = zoo.find(MASK_RCNN)
    assert [(each.kind, each.points, each.origin, each.val2017) for each in row.figures] == [
        ("box", 39.0, "table", "inferred"),
        ("mask", 34.6, "table", "inferred"),
        ("box", 40.4, "header", "stated"),
        ("mask", 35.5, "header", "stated"),
    ]


def test_a_recipe_that_the_table_does_not_list():
    """It has a figure all the same, in its config's header, and is judged by it."""
    row = zoo.find("faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8")
    assert row not in zoo.rows() and (row.url, row.box_map) == ("", None)
    (figure,) = row.figures
    assert (figure.points, figure.origin, figure.val2017) == (31.4, "header", "stated")
    assert {row.template for row in zoo.rows() if row.template} | {row.template} == set(
        config.template_names()
    )
    decided = verdict.decide(row, metrics(31.4), kind="checkpoint")
    assert decided.published == {"box AP": 31.4} and decided.verdict == "REPLICATED"
    (published,) = benchmarking_published.find(row.archive)
    assert published.figures == {"box AP": 31.4} and published.source.endswith("@3b7bc268")


def test_a_mean_of_five_runs_and_a_second_decimal():
    keypoints = zoo.find("centernet_hg104_1024x1024_kpts_coco17_tpu-32").header_figure("keypoint")
    assert (keypoints.points, keypoints.spread, keypoints.runs) == (64.5, 0.16, 5)
    assert str(keypoints).startswith("64.5 ± 0.16 (keypoint, mean of 5 runs, val2017 inferred; ")
    resnet = zoo.find("centernet_resnet101_v1_fpn_512x512_coco17_tpu-8")
    assert resnet.header_figure("box").points == 34.18
    assert resnet.header_figure("box").rounding == pytest.approx(0.005)
    assert resnet.table_figure("box").rounding == pytest.approx(0.05)
