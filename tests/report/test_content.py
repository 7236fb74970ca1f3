"""What a report says, held against the files it was made from and against pycocotools."""

import contextlib
import gzip
import html
import html.parser
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from replicate import config, report, score, verdict, zoo
from replicate.report import content, plots
from replicate.run import RunDir, metrics_line, read_json, read_metrics, write_json
from tests.conftest import PROJECT
from tests.report import making
from tests.report.conftest import HOSTILE


def _report(run):
    report.write(run)
    return read_json(run.report / "report.json")


def _numbers(value):
    """Every number in a value of JSON."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, str):
        for text in re.findall(r"\d[\d,]*\.?\d*", value):
            yield float(text.replace(",", ""))
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)


class _Cells(html.parser.HTMLParser):
    """Texts and data-values of the number cells (td.num) and of the large figures (dd)."""

    def __init__(self):
        super().__init__()
        self.cells, self._open = [], False

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "dd" or (tag == "td" and attributes.get("class") == "num"):
            self.cells.append([attributes.get("data-value"), ""])
            self._open = True

    def handle_endtag(self, tag):
        if tag in ("td", "dd"):
            self._open = False

    def handle_data(self, data):
        if self._open:
            self.cells[-1][1] += data


def test_twelve_metrics_are_pycocotools(finished_run, drawn):
    told = read_json(finished_run.report / "report.json")["metrics"]
    with gzip.open(finished_run.eval_at(300) / "detections.json.gz", "rt") as stream:
        detections = json.load(stream)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(drawn[0])
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert told["step"] == 300
    expected = [None if value < 0 else value for value in evaluation.stats]
    assert [row["value"] for row in told["rows"]] == pytest.approx(expected, abs=1e-12)
    assert [row["published"] for row in told["rows"]] == [22.2] + [None] * 11


def test_masks_beside_boxes(run, drawn):
    """The Mask R-CNN's row has a published figure for both; each is scored, judged and shown."""
    model = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"
    folder, truth = run.eval_at(300), COCO(drawn[0])
    found = read_json(folder / "detections.json.gz")
    for each in found:
        height, width = (truth.imgs[each["image_id"]][side] for side in ("height", "width"))
        x, y, w, h = each["bbox"]
        each["segmentation"] = coco_mask.frPyObjects(
            [[x, y, x + w, y, x + w, y + h, x, y + h]], height, width
        )[0]
        each["segmentation"]["counts"] = each["segmentation"]["counts"].decode()
    write_json(folder / "detections.json.gz", found)
    boxes, masks = (
        score.score(drawn[0], str(folder / "detections.json.gz"), iou_type=kind).to_json()
        for kind in ("bbox", "segm")
    )
    metrics = read_json(folder / "metrics.json") | boxes | {"others": [masks]}
    write_json(folder / "metrics.json", metrics)
    spec = read_json(run.spec)
    spec["request"]["model"] = model
    write_json(run.spec, spec)
    decided = verdict.decide(zoo.find(model), run.scores_at(300)).to_json()
    write_json(run.verdict, decided)
    told = _report(run)
    (other,) = told["metrics"]["others"]
    with contextlib.redirect_stdout(io.StringIO()):
        for each in found:
            del each["bbox"]
        evaluation = COCOeval(truth, truth.loadRes(found), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = [None if value < 0 else value for value in evaluation.stats]
    assert [row["value"] for row in other["rows"]] == pytest.approx(expected, abs=1e-12)
    assert (other["name"], other["rows"][0]["published"]) == ("Masks", 34.6)
    assert other["rows"][0]["value"] != told["metrics"]["rows"][0]["value"]
    figures = {each["name"]: each for each in told["verdict"]["figures"]}
    assert figures["mask AP"]["achieved"] == pytest.approx(100 * expected[0])
    assert "mask AP" in told["verdict"]["sentence"]
    # Table and header of this model disagree: both stand in the pages, and what others measured.
    for name in ("index.html", "report.md"):
        text = html.unescape((run.report / name).read_text()).replace("<wbr>", "").replace("\\", "")
        for said in (*map(str, zoo.find(model).figures), *map(str, zoo.reruns(model))):
            assert said.split("(")[0].strip() in text and said.split("@")[-1].strip(")") in text
    assert len(told["model"]["sources"]) == 4 and "37.94, 1.06 below" in told["model"]["reruns"][0]
    page = (run.report / "index.html").read_text()
    shown = {"AP": f"{100 * expected[0]:.1f}", "published": "34.6"}
    table = page[page.index('id="segm-metrics-table"') :].split("</table>")[0]
    assert all(f">{value}</td>" in table for value in shown.values())
    markdown = (run.report / "report.md").read_text()
    assert f"| AP | {shown['AP']} | 34.6 |" in markdown[markdown.index("### Masks") :]


def test_every_figure_of_the_page_is_in_the_json(finished_run):
    page = (finished_run.report / "index.html").read_text()
    told = list(_numbers(read_json(finished_run.report / "report.json")))
    exact = set(told)
    parser = _Cells()
    parser.feed(page)
    assert len(parser.cells) > 60
    for data_value, text in parser.cells:
        if data_value:
            assert float(data_value) in exact, (data_value, text)
        shown = re.fullmatch(r"[±+−-]?(\d[\d,]*)(\.\d+)?( %)?", text.strip())
        if shown:
            number = abs(float(text.strip(" %±+−-").replace(",", "")))
            half = 0.5 * 10 ** -len((shown[2] or ".")[1:]) + 1e-9
            assert any(
                abs(abs(value) * scale - number) <= half for value in told for scale in (1, 100)
            ), text


def test_a_run_without_a_verdict_is_judged_where_it_is_reported(run):
    kept = read_json(run.verdict)
    run.verdict.unlink()
    told = _report(run)["verdict"]
    assert (told["verdict"], told["achieved"]) == (kept["verdict"], kept["achieved"])


@pytest.mark.parametrize(
    "absent, said",
    [
        ("pipeline.config", "the config as it ran"),
        ("deviations.json", "deviations from the published config"),
        ("environment.json", "the environment"),
        ("metrics.jsonl", "losses, learning rate and speed"),
        ("evals", "AP and everything that follows from detections"),
        ("data", "records: counts and dropped annotations"),
        ("spec.json", "what was asked for, and the command"),
    ],
)
def test_what_is_missing_is_said(run, absent, said):
    path = run.root / absent
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    told = _report(run)
    assert said in [each["what"] for each in told["not_checked"]]
    assert said in (run.report / "index.html").read_text()
    assert said in (run.report / "report.md").read_text()


def test_an_older_verdict_is_not_called_missing(run):
    """The head says which, and the command that is offered mends it."""
    told = read_json(run.verdict)
    older = {name: told[name] for name in told if name not in ("conditions", "checksum", "schema")}
    run.verdict.write_text(json.dumps(older))
    report.write(run)
    page = (run.report / "index.html").read_text()
    assert "verdict.json is of an earlier kit" in page and "no verdict.json in the run" not in page
    (step,) = read_json(run.report / "report.json")["answers"]["next"]
    words = shlex.split(step["command"])
    assert words[-1] == f"--output={run.verdict}"
    write_json(words[-1].removeprefix("--output="), verdict.of_runs([run]).to_json())
    assert content.of_run(run)["verdict"] is not None


def test_a_run_of_which_only_the_spec_is_left(tmp_path):
    run = RunDir.at(tmp_path)
    write_json(run.spec, {"format": 1, "request": {"model": "no_such_model"}, "command": "x"})
    told = _report(run)
    assert told["verdict"] is None and told["metrics"] is None
    assert {each["ok"] for each in told["facts"]} == {None}


@pytest.mark.parametrize("change", ["detections", "annotations", "recorded AP"])
def test_images_are_those_of_the_named_checkpoint_or_none(run, drawn, tmp_path, change):
    """Another detections file, groundtruth or figure than the evaluation's: nothing is shown."""
    last = run.eval_at(300)
    metrics = read_json(last / "metrics.json")
    if change == "detections":
        shutil.copy(run.eval_at(200) / "detections.json.gz", last / "detections.json.gz")
    elif change == "annotations":
        groundtruth = read_json(drawn[0])
        groundtruth["annotations"].pop()
        write_json(tmp_path / "changed.json", groundtruth)
        metrics["annotations"]["file"] = str(tmp_path / "changed.json")
    else:
        metrics["metrics"]["AP"] += 0.001
    write_json(last / "metrics.json", metrics)
    told = _report(run)
    assert told["gallery"] is None and told["analysis"] is None
    assert any(each["what"].endswith("images of step 300") for each in told["not_checked"])
    assert 'id="gallery-data"' not in (run.report / "index.html").read_text()


def test_measurements_of_the_machine_are_drawn(run):
    lines = read_metrics(run.metrics)
    for line in lines:
        line["device"] = {"memory_gib": 3.5, "name": "GPU"}
        line["host"] = {"cpu_percent": 81.0}
    run.metrics.write_text("".join(map(metrics_line, lines)))
    told = _report(run)
    assert told["training"]["system"] == {
        "device.memory_gib": [3.5] * len(lines),
        "host.cpu_percent": [81.0] * len(lines),
    }
    assert "device use" not in [each["what"] for each in told["not_checked"]]
    assert (run.report / "plots" / "system-device-memory_gib.svg").is_file()


def test_a_batch_computed_in_parts_is_said(run):
    """Batch norm then saw fewer images than the config's batch: 128 / (2 x 4) = 16."""
    executed = {"precision": "bfloat16", "jit_compile": False, "input_service": ""}
    executed |= {"gradient_accumulation_steps": 4, "replicas": 2}
    ended = {"state": "done", "step": 8, "num_steps": 8, "pid": 1, "host": "a", "updated": 0.0}
    write_json(run.training, ended | {"execution": executed})
    batch = config.load(run.pipeline_config).train_config.batch_size
    report.write(run)
    in_parts, precision = read_json(run.report / "report.json")["execution"]
    assert f"batch of {batch} was computed in 8 parts" in in_parts
    assert f"are those of {batch // 8} images" in in_parts
    assert "bfloat16" in precision
    for page in ("index.html", "report.md"):
        text = (run.report / page).read_text(encoding="utf-8")
        assert in_parts in text and precision in text
    assert read_json(run.report / "report.json")["environment"]["precision"] == "bfloat16"


def test_where_the_profiled_steps_time_went_is_said(run):
    operations = [
        {"device": "host:CPU", "operation": "Conv2D", "seconds": 3.0, "share": 0.6},
        {"device": "host:CPU", "operation": "Relu", "seconds": 2.0, "share": 0.4},
    ]
    profile = {"first_step": 11, "steps": 20, "seconds": 8.0, "operations": operations}
    write_json(run.profile, profile)
    executed = {"precision": "float32", "jit_compile": False, "gradient_accumulation_steps": 1}
    ended = {"state": "done", "step": 8, "num_steps": 8, "pid": 1, "host": "a", "updated": 0.0}
    write_json(run.training, ended | {"execution": executed | {"replicas": 1}})
    report.write(run)
    (said,) = read_json(run.report / "report.json")["execution"]
    assert "Steps 11 to 30 were profiled, 0.4 s each" in said
    assert "Conv2D 60% of host:CPU, Relu 40% of host:CPU" in said


def test_a_line_cut_off_by_a_kill(run):
    text = run.metrics.read_text()
    run.metrics.write_text(text[:-40])
    told = _report(run)
    assert told["training"]["logged_steps"] == len(text.splitlines()) - 1


def test_no_detections_at_all(run, drawn):
    making.write_evaluation(run, 300, drawn[0], [])
    told = _report(run)
    assert told["metrics"]["rows"][0]["value"] == 0
    assert all(not each["detections"]["300"] for each in told["gallery"]["images"])


def test_right_wrong_and_crowd_by_hand(tmp_path, drawn):
    """Two discs and a crowd: one found, one missed, one false alarm, one detection in the crowd."""
    boxes = {1: ([10, 10, 40, 40], 0), 2: ([100, 100, 50, 50], 0), 3: ([150, 10, 90, 60], 1)}
    groundtruth = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 200, "width": 250}],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [
            {
                "id": number,
                "image_id": 7,
                "category_id": 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
                "segmentation": [],
            }
            for number, (box, crowd) in boxes.items()
        ],
    }
    write_json(tmp_path / "truth.json", groundtruth)
    run = RunDir.at(tmp_path / "run")
    write_json(run.spec, {"format": 1, "request": {}, "command": ""})
    found = [([12, 10, 40, 40], 0.9), ([10, 140, 30, 30], 0.8), ([160, 15, 30, 30], 0.7)]
    detections = [
        {"image_id": 7, "category_id": 1, "bbox": box, "score": score} for box, score in found
    ]
    making.write_evaluation(run, 5, tmp_path / "truth.json", detections)
    image = content.of_run(run)["gallery"]["images"][0]
    assert [each[6] for each in image["detections"]["5"]] == [0, -1, None]
    assert [each["crowd"] for each in image["groundtruth"]] == [False, False, True]
    assert set(image["groups"]) == {"worst", "median", "best", "missed", "mistakes"}
    # At IoU 0.5 half of the recall at full precision: 51 of COCO's 101 recall thresholds.
    assert image["ap50"] == pytest.approx(51 / 101)


def test_class_balance_counts_the_files(finished_run, drawn):
    told = read_json(finished_run.report / "report.json")["data"]["class_balance"]
    annotations = read_json(drawn[0])["annotations"]
    for each in told:
        count = sum(a["category_id"] == each["id"] and not a["iscrowd"] for a in annotations)
        assert each["train"] == each["val"] == count
    assert sum(each["train_share"] for each in told) == pytest.approx(1)


def test_training_annotations_that_changed_are_not_counted(run):
    path = run.data / "manifest-train.json"
    manifest = read_json(path)
    manifest["source"]["sha256"] = "0" * 64
    write_json(path, manifest)
    told = _report(run)
    assert {each["train"] for each in told["data"]["class_balance"]} == {None}
    assert "class balance of the training set" in [each["what"] for each in told["not_checked"]]


def test_text_from_outside_is_escaped(finished_run):
    page = (finished_run.report / "index.html").read_text()
    assert HOSTILE not in page and "&lt;script&gt;document.title" in page
    markdown = (finished_run.report / "report.md").read_text()
    assert "<script" not in markdown and "tri\\|angle" in markdown


def test_one_file_without_any_address(finished_run):
    """Nothing that a browser would fetch: no src, href or url() but data, anchors and ids."""
    page = (finished_run.report / "index.html").read_text()
    fetched = re.findall(r"""(?:src|href)=["']?([^"'\s>]*)|url\(([^)]*)\)""", page)
    addresses = {a or b for a, b in fetched}
    assert {each for each in addresses if not each.startswith(("#", "data:"))} == set()
    assert "default-src 'none'" in page


def test_plots_are_xml_with_labels_and_no_stand_in_colours(finished_run):
    files = sorted((finished_run.report / "plots").glob("*.svg"))
    assert {"losses", "learning-rate", "checkpoints", "precision-recall", "tide"} <= {
        each.stem for each in files
    }
    markdown = (finished_run.report / "report.md").read_text()
    for path in files:
        text = path.read_text()
        labels = [
            each.text
            for each in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert len(labels) > 4, path
        assert "#0a0b" not in text
        assert "var(--muted)" in text
        assert f"(plots/{path.name})" in markdown


def test_ids_are_unique_in_the_page(finished_run):
    page = (finished_run.report / "index.html").read_text()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_same_run_same_bytes(run):
    names = ("report.md", "report.json", "index.html")
    first, second = (
        [(run.report / name).read_bytes() for name in names if report.write(run)] for _ in range(2)
    )
    assert first == second


def test_palette_is_readable_on_both_surfaces():
    """WCAG 2: 4.5 for text, 3 for lines."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a, b):
        lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
        return (lighter + 0.05) / (darker + 0.05)

    for theme in (0, 1):
        surface = plots.PALETTE["surface"][theme]
        for name, pair in plots.PALETTE.items():
            # Words in a colour: states, badges, links, the told figure.
            as_text = dict.fromkeys(("muted", "s1", "s2", "s3", "s4", "s5", "s6"), 4.5)
            least = ({"ink": 7} | as_text).get(name, 3)
            if name not in ("surface", "grid"):
                assert contrast(pair[theme], surface) >= least, (name, theme)


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        ([], 2, "missing --run_dir"),
        (["--run_dir=no/such"], 2, "not a run directory"),
        (["--help"], 0, "index.html"),
    ],
)
def test_tool(arguments, status, said):
    done = subprocess.run(
        [sys.executable, "tools/report.py", *arguments], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
