"""The gallery: what its data say, and each of its controls in a real browser."""

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from replicate import report, score
from replicate.report import content, error_kinds, gallery
from replicate.run import read_json, write_json
from tests.report import browsing, making
from tests.report.conftest import HOSTILE


def _shown(page):
    return page.run("[...document.querySelectorAll('.card')].map((e) => Number(e.dataset.image))")


def _of(told, image_id):
    return next(each for each in told["gallery"]["images"] if each["id"] == image_id)


def test_kinds_by_hand():
    truth, ids = np.array([[0, 0, 10, 10], [50, 50, 10, 10]], float), np.array([1, 2])
    kind = error_kinds.kind_of
    assert kind([0, 0, 10, 4], 1, truth, ids) == "Loc"  # IoU 0.4 with its own category
    assert kind([0, 0, 10, 10], 2, truth, ids) == "Cls"
    assert kind([0, 0, 10, 9], 1, truth, ids) == "Dupe"
    assert kind([200, 200, 5, 5], 1, truth, ids) == "Bkg"
    assert kind([0, 0, 10, 4], 2, truth, ids) == "Both"
    assert kind([0, 0, 1, 1], 1, np.zeros((0, 4)), np.zeros(0, int)) == "Bkg"


def test_kinds_are_counted_as_hotcoco_counts_them(tmp_path):
    """Of every false positive of a data set without crowds."""
    truth, _ = making.groundtruth(tmp_path, images=12)
    raw = read_json(truth)
    annotations = [each for each in raw["annotations"] if not each.get("iscrowd")]
    found = making.detections(truth, skill=0.5)
    raw["annotations"] = annotations
    write_json(tmp_path / "truth.json", raw)
    write_json(tmp_path / "found.json", found)
    result = score.score(
        str(tmp_path / "truth.json"), str(tmp_path / "found.json"), evaluator="hotcoco"
    )
    handle = result.evaluations["hotcoco"].handle
    status, expected = handle.image_diagnostics()["dt_status"], handle.tide_errors()["counts"]
    counts = dict.fromkeys(error_kinds.KINDS, 0)
    for number, each in enumerate(found, 1):
        if status.get(number) == "fp":
            own = [a for a in annotations if a["image_id"] == each["image_id"]]
            boxes = np.array([a["bbox"] for a in own], float).reshape(-1, 4)
            ids = np.array([a["category_id"] for a in own], int)
            counts[error_kinds.kind_of(each["bbox"], each["category_id"], boxes, ids)] += 1
    assert sum(counts.values()) > 20
    assert counts == {kind: expected[kind] for kind in counts}


def test_threshold_starts_at_the_best_f1(page, told):
    best = told["analysis"]["f1"]["best_threshold"]
    assert told["gallery"]["best_threshold"] == best
    assert float(page.one("#gallery-score").get_attribute("value")) == pytest.approx(best, abs=0.01)


def test_where_nothing_scores_so_high_the_highest_is_said(page, told):
    page.set("#gallery-score", 1.0)
    shown = [_of(told, each)["detections"]["300"] for each in _shown(page)]
    assert max(each[1] for found in shown for each in found) < 1.0
    highest = max(each["detections"]["300"][0][1] for each in told["gallery"]["images"]
                  if each["detections"]["300"])  # fmt: skip
    assert f"highest score there is is {highest:.2f}" in page.one("#gallery-none").text


def test_a_detector_of_low_scores_is_drawn_all_the_same(driver, run, drawn):
    """Scores that end at 0.02: the page starts at the one with the best F1 and draws from it."""
    for step in (100, 200, 300):
        found = read_json(run.eval_at(step) / "detections.json.gz")
        low = [each | {"score": each["score"] * 0.02} for each in found]
        making.write_evaluation(run, step, drawn[0], low)
    opened = browsing.Page(driver, report.write(run))
    best = read_json(run.report / "report.json")["gallery"]["best_threshold"]
    assert best < 0.02
    assert float(opened.one("#gallery-score").get_attribute("value")) == best
    assert opened.all("#gallery-cards .box.right") and not opened.texts("#gallery-none")[0]
    assert f"from a score of {best:g} on at first" in opened.run("document.body.innerText")


def test_captions_follow_the_checkpoint(page, told):
    for index, step in enumerate(["100", "200", "300"]):
        page.set("#gallery-step", index)
        for card in page.all(".card"):
            image = _of(told, int(card.get_attribute("data-image")))
            assert f"AP50 {100 * image['ap50_by_step'][step]:.1f}" in card.text
    steps = [tuple(each["ap50_by_step"].values()) for each in told["gallery"]["images"]]
    assert any(len(set(each)) > 1 for each in steps)


@pytest.mark.parametrize("order", ["ap", "missed", "wrong", "confidence"])
def test_orders(page, told, order):
    page.set("#gallery-score", 0.3)
    page.set("#gallery-sort", order)

    def key(image_id):
        image = _of(told, image_id)
        found = [each for each in image["detections"]["300"] if each[1] >= 0.3]
        hit = {each[6] for each in found}
        if order == "ap":
            return image["ap50_by_step"]["300"]
        if order == "missed":
            return -sum(not each["crowd"] and index not in hit
                        for index, each in enumerate(image["groundtruth"]))  # fmt: skip
        if order == "wrong":
            return -sum(each[6] == -1 for each in found)
        return -max((each[1] for each in image["detections"]["300"]), default=0)

    keys = [key(each) for each in _shown(page)]
    assert keys == sorted(keys) and len(set(keys)) > 1


def test_controls_answer_a_change_without_an_input(page, told):
    """As programs that fill in pages send it; a browser's pair of the two acts once."""
    before = _shown(page)
    page.set("#gallery-sort", "missed", events=("change",))
    after = _shown(page)
    assert after != before
    page.set("#gallery-sort", "", events=("change",))
    assert _shown(page) == before
    page.set("#gallery-sort", "missed", events=("input", "change"))
    assert _shown(page) == after


def test_filters_by_size_error_and_crowd(page, told):
    images = told["gallery"]["images"]
    page.set("#gallery-score", 0.05)

    def count():
        return int(page.one("#gallery-page").text.split(", ")[1].split()[0])

    for size in ("small", "medium", "large"):
        page.set("#gallery-size", size)
        assert count() == sum(
            any(each["size"] == size for each in image["groundtruth"]) for image in images
        )
    page.set("#gallery-size", "")
    for crowd in ("with", "without"):
        page.set("#gallery-crowd", crowd)
        assert count() == sum(
            any(each["crowd"] for each in image["groundtruth"]) == (crowd == "with")
            for image in images
        )
    page.set("#gallery-crowd", "")
    for number, kind in enumerate(told["gallery"]["error_kinds"]):
        page.set("#gallery-error", kind)
        assert count() == sum(
            any(each[7] == number for each in image["detections"]["300"]) for image in images
        )
    page.set("#gallery-error", "Miss")
    assert count() == sum(
        any(not truth["crowd"] and index not in {e[6] for e in image["detections"]["300"]}
            for index, truth in enumerate(image["groundtruth"]))
        for image in images
    )  # fmt: skip


def test_names_and_backgrounds(page):
    page.set("#gallery-score", 0.05)
    assert page.all(".card .tag")
    page.one("#gallery-names").click()
    assert not page.all(".card .tag") and page.all(".card .box")
    style = "getComputedStyle(document.querySelector('.card img')).filter"
    assert page.run(style) == "none"
    page.one("#gallery-gray").click()
    assert page.run(style) == "grayscale(1)"
    page.one("#gallery-dim").click()
    assert page.run(style) == "grayscale(1) brightness(0.45)"


def test_no_name_covers_another_at_low_scores(page):
    page.set("#gallery-score", 0.05)
    covered = page.run(
        """[...document.querySelectorAll('.card svg')].map((svg) => {
          const tags = [...svg.querySelectorAll('.tag')].map((e) => e.getBBox());
          return tags.filter((a, i) => tags.some((b, j) => j < i && a.x < b.x + b.width &&
            b.x < a.x + a.width && a.y + 0.35 * a.height < b.y + b.height &&
            b.y + 0.35 * b.height < a.y + a.height)).length;
        }).reduce((a, b) => a + b, 0)"""
    )
    assert covered == 0 and len(page.all(".card .tag")) > 12


def test_enlarging_from_the_keyboard_and_going_on(page):
    shown = page.run("[...document.querySelectorAll('.card figcaption b')].map(e => e.textContent)")
    names = [each.split(" · ")[0] for each in shown]
    page.one(".card .open").send_keys(Keys.ENTER)
    assert page.run("document.getElementById('enlarged').open")
    title = page.one("#enlarged-title")
    assert title.text.startswith(names[0])
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert title.text.startswith(names[1])
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert title.text.startswith(names[0])
    page.one("#enlarged-next").click()
    page.one("#enlarged-previous").click()
    assert title.text.startswith(names[0])
    page.one("#enlarged-beside").click()
    left, right = page.all("#enlarged-canvas .canvas")
    assert not left.find_elements("css selector", "rect[data-score]")
    assert len(left.find_elements("css selector", ".box.found, .box.missed, .box.crowd"))
    assert not right.find_elements("css selector", ".box.found, .box.missed")
    page.one("#enlarged-close").click()
    assert not page.run("document.getElementById('enlarged').open")


def test_arrow_keys_go_from_card_to_card(page):
    first, second = page.all(".card .open")[:2]
    first.send_keys(Keys.ARROW_RIGHT)
    assert page.driver.switch_to.active_element == second


def test_controls_stay_in_view(page):
    last = page.all(".card")[-1]
    page.run("arguments[0].scrollIntoView({block: 'end'})", last)
    top, height = page.run(
        "[document.querySelector('.sticky').getBoundingClientRect().top, innerHeight]"
    )
    assert 0 <= top < height / 2


def test_a_category_shows_curve_confusions_and_images(page, told):
    name, category_id = HOSTILE, 2
    button = next(each for each in page.all("#category-table button.link") if each.text == name)
    page.run("arguments[0].click()", button)
    assert page.one("#category-title").text == name
    assert page.texts("#category-body figure .axis-name") == ["recall", "precision"]
    assert page.texts("#category-body .legend li") == ["IoU 0.50", "IoU 0.75"]
    pairs = [each for each in told["analysis"]["confusion"]["most_confused"]
             if name in (each["groundtruth"], each["called"])]  # fmt: skip
    rows = page.run(
        "[...document.querySelectorAll('#category-body table')].at(-1).tBodies[0].rows.length"
    )
    assert rows == (len(pairs) or 1)
    page.run("[...document.querySelectorAll('#category-body button')].at(-1).click()")
    assert not page.run("document.getElementById('category-dialog').open")
    assert page.one("#gallery-category").get_attribute("value") == str(category_id)


def test_a_name_on_a_picture_and_one_below_open_their_category(page, told):
    page.set("#gallery-score", 0.05)
    tag = page.one(".card .tag")
    name = tag.get_attribute("data-category")
    assert name in tag.text
    page.run("arguments[0].scrollIntoView({block: 'center'})", tag)
    tag.click()
    assert page.one("#category-title").text == name
    page.one("#category-close").click()
    # The rest of the picture still enlarges it.
    page.run("document.querySelector('.card .open').click()")
    assert page.run("document.getElementById('enlarged').open")
    page.one("#enlarged-canvas .tag").click()
    assert page.run("document.getElementById('category-dialog').open")
    page.one("#category-body > button").click()
    assert not page.all("dialog[open]")
    below = page.one(".card figcaption button.link")
    image = _of(told, int(page.one(".card").get_attribute("data-image")))
    first = str(image["groundtruth"][0]["category_id"])
    below.send_keys(Keys.ENTER)
    assert page.one("#category-title").text == told["gallery"]["categories"][first]
    svg = page.one("#category-body figure svg")
    svg.send_keys(Keys.ARROW_RIGHT)
    assert "0.50" in page.one("#category-body .value").text


def test_the_legend_lists_what_is_drawn(page):
    def listed():
        return page.run(
            "[...document.querySelectorAll('#gallery-legend li')]"
            ".filter((e) => e.checkVisibility()).map((e) => e.dataset.drawn)"
        )

    def drawn():
        return [kind for kind in (".box.right", ".box.wrong", ".box.ignored", ".box.found",
                                  ".box.missed", ".box.crowd", ".mask", ".keypoint")
                if page.all(f"#gallery-cards {kind}")]  # fmt: skip

    seen = set()
    for least in (0.05, 1.0):
        page.set("#gallery-score", least)
        assert listed() == drawn()
        seen.add(tuple(listed()))
    page.one("#gallery-groundtruth").click()
    assert listed() == drawn() == []
    assert len(seen) == 2 and all(".keypoint" not in each for each in seen)


def test_masks_and_keypoints_of_detections(tmp_path, drawn):
    """A mask's polygon covers what pycocotools decodes, and the page draws both."""
    from PIL import Image, ImageDraw
    from pycocotools import mask as coco_mask

    from replicate.report import outlines
    from replicate.score.detections import Detections

    rng = np.random.default_rng(0)
    found = making.detections(drawn[0], skill=0.9)[:12]
    for each in found:
        pixels = np.zeros((256, 256), np.uint8)
        left, top = rng.integers(10, 100, 2)
        pixels[top : top + 60, left : left + 40] = 1
        pixels[top + 20 : top + 40, left + 40 : left + 90] = 1
        rle = coco_mask.encode(np.asfortranarray(pixels))
        each["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        each["keypoints"] = [12.0, 13.0, 1, 0, 0, 0]
    write_json(tmp_path / "found.json", found)
    detections = Detections.of(tmp_path / "found.json", "bbox")
    told = outlines.of_detections(detections, [0, 7])
    assert list(told) == [0, 7] and told[7]["keypoints"] == [12.0, 13.0, 1, 0, 0, 0]
    for index, outline in told.items():
        again = Image.new("L", (256, 256))
        for polygon in outline["polygons"]:
            ImageDraw.Draw(again).polygon(polygon, fill=1)
        mask = coco_mask.decode(found[index]["segmentation"]) > 0
        both = np.asarray(again) > 0
        assert (mask & both).sum() / (mask | both).sum() > 0.95
    crowd = {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}  # by columns, uncompressed
    ((polygon),) = outlines.of_annotation({"segmentation": crowd})["polygons"]
    assert {round(value) for value in polygon} <= {1, 2, 3}
    boxes_alone = Detections.of(making.detections(drawn[0], skill=0.9)[:2], "bbox")
    assert outlines.of_detections(boxes_alone, [0]) == {}


def test_outlines_of_detections_reach_the_page(driver, run, drawn):
    from pycocotools import mask as coco_mask

    found = making.detections(drawn[0], skill=0.9)
    pixels = np.zeros((256, 256), np.uint8)
    pixels[30:90, 40:120] = 1
    rle = coco_mask.encode(np.asfortranarray(pixels))
    for each in found:
        each["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        each["keypoints"] = [50.0, 60.0, 1.0]
    making.write_evaluation(run, 300, drawn[0], found)
    report.write(run)
    page = browsing.Page(driver, run.report / "index.html")
    page.one("#gallery-groundtruth").click()
    drawn_masks = page.all(".card polygon.mask.right")
    assert drawn_masks and len(page.all(".card circle.keypoint.right")) == len(drawn_masks)
    numbers = [float(n) for n in drawn_masks[0].get_attribute("points").replace(",", " ").split()]
    assert min(numbers[::2]) == pytest.approx(40, abs=1)
    assert max(numbers[1::2]) == pytest.approx(90, abs=1)
    assert ".mask" in page.run(
        "[...document.querySelectorAll('#gallery-legend li')]"
        ".filter((e) => e.checkVisibility()).map((e) => e.dataset.drawn)"
    )
    assert page.errors() == []


def test_originals_beside_the_page(driver, run):
    report.write(run, images="folder")
    page = browsing.Page(driver, run.report / "index.html")
    page.one(".card .open").send_keys(Keys.ENTER)
    source = page.one("#enlarged-canvas img").get_attribute("src")
    assert source.startswith("file://") and "/report/images/" in source
    assert page.run(
        "new Promise((done) => {const e = document.querySelector('#enlarged-canvas img');"
        "const say = () => done(e.naturalWidth); e.complete ? say() : e.onload = e.onerror = say})"
    ) == 256  # fmt: skip
    assert page.errors() == []
    told = content.of_run(run)
    assert len(list((run.report / "images").iterdir())) == len(told["gallery"]["images"])


def test_masks_and_keypoints_are_drawn(page):
    truth = gallery.groundtruth_of(
        [
            {
                "category_id": 1,
                "bbox": [0, 0, 40, 40],
                "area": 900,
                "segmentation": [[0, 0, 40, 0, 40, 40]],
                "keypoints": [5, 6, 2, 0, 0, 0],
            }
        ]  # fmt: skip
    )
    assert truth[0]["size"] == "small"
    image = {"id": 1, "file_name": "x", "image_hw": [50, 50], "groundtruth": truth}
    page.run(
        "(() => {const svg = document.querySelector('.card svg');"
        "const view = {category: '', score: 0, groundtruth: true, detections: true};"
        "drawBoxes(svg, arguments[0], visible(arguments[0], [], view), view, {1: 'a'});})()",
        image,
    )
    assert page.one(".card svg polygon").get_attribute("points").split() == ["0,0", "40,0", "40,40"]
    assert len(page.all(".card svg circle.keypoint")) == 1
