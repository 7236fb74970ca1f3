"""The page: what it says is what the JSON says, whole and harmless in a browser."""

import json
import pathlib
import shutil

import pytest

from replicate import odapi

odapi.load()

from replicate.errors import UserError
from replicate.inspection import content, page, sources
from replicate.run import read_json
from tests.inspection import making
from tests.report import browsing

HOSTILE = "<img src=x onerror=document.title='run'>"


@pytest.fixture(scope="module")
def hostile(drawn, tmp_path_factory):
    """The drawn images, with a category and a file of hostile names and a crowd region."""
    folder = tmp_path_factory.mktemp("hostile")
    annotations, images = drawn
    shutil.copytree(images, folder / "images")
    document = json.loads(pathlib.Path(annotations).read_text())
    document["categories"][0]["name"] = HOSTILE
    name = "<b>&'.jpg"
    (folder / "images" / document["images"][0]["file_name"]).rename(folder / "images" / name)
    document["images"][0]["file_name"] = name
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"][0]["segmentation"] = {"size": [256, 256], "counts": [0, 65536]}
    dropped = document["annotations"][0] | {"iscrowd": 0, "segmentation": []}
    for number, image in enumerate(document["images"]):
        for more, box in enumerate(([20, 30, 0, 40], [400, 400, 20, 20])):
            added = {"id": 10_000 + 2 * number + more, "image_id": image["id"], "bbox": box}
            document["annotations"].append(dropped | added)
    (folder / "instances_train.json").write_text(json.dumps(document))
    return folder


OVERRIDES = {
    "ssd": {"train_input_reader.load_instance_masks": "true"},
    "faster_rcnn": {},
    "centernet": {},
}


@pytest.fixture(
    scope="module",
    params=["ssd", pytest.param("faster_rcnn", marks=pytest.mark.slow), "centernet"],
)
def written(request, hostile, tmp_path_factory):
    """(family, folder with index.html and inspection.json, answer)."""
    family = request.param
    output = tmp_path_factory.mktemp(family)
    overrides = {"train_input_reader.mask_type": "PNG_MASKS", **OVERRIDES[family]}
    found, images = content.inspect(
        making.config(family, overrides, num_classes=3),
        sources.InspectionRequest(coco=str(hostile), max_images=8),
        content.InspectionSettings(config_path=making.MODELS[family][0], draw=3),
    )
    _, answer = page.write(found, images, output, ["python", "tools/inspect_pipeline.py"])
    return family, output, answer


@pytest.fixture
def shown(driver, written):
    with browsing.opened(driver, written[1] / "index.html") as opened:
        yield opened


def test_the_json_holds_the_inspection(written):
    family, output, answer = written
    told = read_json(output / "inspection.json")
    assert told["answer"] == answer and answer["verdict"] == "DIFFERS"
    paths = {each["path"] for each in told["recipe"]["settings"]}
    assert "train_config.batch_size" in paths
    assert any("image_resizer" in path for path in paths)
    assert not any("depth_multiplier" in path or "num_steps" in path for path in paths)
    assert told["stream"]["images"] == 8 and len(told["examples"]) == 3
    assert told["objects"]["recorded"] == sum(row["objects"] for row in told["classes"])
    assert (told["heat_maps"] is None) == (family != "centernet")
    assert (told["anchors"] is None) == (family == "centernet")
    for drawn in told["examples"]:
        assert len(drawn["stages"]) == 1 + len(told["augmentation"])
    if family == "faster_rcnn":
        sample = told["anchors"]["per_image"]["in_loss"]
        assert set(map(sum, zip(*sample.values(), strict=True))) == {256}
        assert max(sample["positive"]) <= 128


def test_pictures_tables_and_names(shown, written):
    family, output, _ = written
    told = read_json(output / "inspection.json")
    assert shown.run("document.title").startswith("DIFFERS")
    assert shown.run("document.querySelectorAll('script:not([type])').length") == 1
    broken = "[...document.images].filter((e) => !e.complete || !e.naturalWidth).length"
    assert shown.run(broken) == 0
    assert HOSTILE in shown.texts("#class-table tbody th")
    headings = shown.texts("#augmentation ~ h3")
    assert all(drawn["filename"] in headings for drawn in told["examples"])
    assert len(shown.all("#tensor-table tbody tr")) == len(told["tensors"])
    boxes = sum(len(drawn["objects"]) for drawn in told["examples"])
    assert len(shown.all("#batch .of-object.under")) == boxes
    if family != "centernet":
        anchors = sum(len(drawn["anchors"]) for drawn in told["examples"])
        assert (
            len(shown.all("#anchored .anchor")) - len(shown.all("#anchored .legend .anchor"))
            == anchors
        )


def test_layers_are_switched(shown, written):
    assert shown.texts("#batch .tag")
    shown.one('input[data-hides="names"]').click()
    assert not shown.texts("#batch .tag")
    shown.one('input[data-hides="boxes"]').click()
    assert not shown.run(
        "[...document.querySelectorAll('#batch .card .of-object')]"
        ".filter((e) => e.checkVisibility()).length"
    )
    if written[0] == "ssd":
        assert shown.run("document.querySelectorAll('#batch img.masks').length")
        shown.one('input[data-hides="masks"]').click()
        assert not shown.run(
            "[...document.querySelectorAll('#batch img.masks')]"
            ".filter((e) => e.checkVisibility()).length"
        )


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(shown, width):
    with shown.width(width):
        assert shown.run("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name(shown):
    nameless = shown.run(
        """[...document.querySelectorAll('input, button, [role=region], svg[role=img]')]
        .filter((e) => !(e.getAttribute('aria-label') || (e.labels && e.labels.length &&
          e.labels[0].textContent.trim()) || e.textContent.trim()))
        .map((e) => e.outerHTML.slice(0, 90))"""
    )
    assert nameless == []


@pytest.mark.slow
@pytest.mark.parametrize("family", list(OVERRIDES))
def test_images_without_objects(family, hostile, driver, tmp_path):
    document = read_json(hostile / "instances_train.json") | {"annotations": []}
    (tmp_path / "instances.json").write_text(json.dumps(document))
    found, images = content.inspect(
        making.config(family, num_classes=3),
        sources.InspectionRequest(
            coco=str(tmp_path), image_dir=str(hostile / "images"), max_images=2
        ),
        content.InspectionSettings(config_path="pipeline.config"),
    )
    path, answer = page.write(found, images, tmp_path / "page", ["inspect"])
    assert answer["verdict"] == "NOT COMPARED"
    assert {"label": "Anchors" if found["anchors"] else "Heat maps", "ok": False} in [
        {"label": fact["label"], "ok": fact["ok"]} for fact in answer["facts"]
    ]
    opened = browsing.Page(driver, path)
    assert opened.errors() == [] and "there is no object" in opened.one(".facts").text


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output=.*cannot be made"):
        page.prepare(tmp_path / "file" / "inspection")


def test_dropped_boxes_are_drawn(shown, written):
    told = read_json(written[1] / "inspection.json")["dropped_boxes"]
    assert told["reasons"] == {"box_empty": 8, "box_outside_image": 8}
    assert len(told["drawn"]) == len(shown.all("#dropped ~ .cards .card .missed")) / 2 == 8
    (first, _) = told["drawn"][0]["boxes"]
    assert first["box_xywh_px"] == [20, 30, 0, 40] and first["reason"] == "box_empty"
    assert "20, y 30, 0 × 40 px" in " ".join(shown.texts("#dropped ~ .cards figcaption"))


def test_values_of_bars_and_steps(shown, written):
    from selenium.webdriver.common.keys import Keys

    told = read_json(written[1] / "inspection.json")
    shown.one("#plot-classes-top svg").send_keys(*[Keys.ARROW_UP] * len(told["classes"]))
    row = told["classes"][0]
    assert shown.one("#plot-classes-top .value").text.endswith(f": {row['objects']:,}")
    shown.one("#plot-objects-per-image svg").send_keys(Keys.ARROW_LEFT)
    assert "as recorded" in shown.one("#plot-objects-per-image .value").text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_fault(shown, theme):
    from tests.report import axe

    assert axe.serious(shown, theme) == []
