"""The top of a run's page, preflight's part, choices, intervals; values on its plots."""

import pytest

from replicate import score
from replicate.report import answers, charts, choices, content
from replicate.run import read_json, write_json
from tests.report import making


def test_the_top_says_reached_runs_and_three_cards(told, page):
    assert told["answers"]["runs"] == "one run"
    assert [each["label"] for each in told["facts"][:3]] == ["Evaluated on", "Trained on", "Setup"]
    plan = told["schedule"]
    assert f"{plan['images_seen']:,} images seen" in told["facts"][1]["text"]
    assert told["answers"]["reached"] in page.one(".answer").text
    assert len(page.texts(".facts li")) >= 3


@pytest.mark.parametrize(
    "verdict", ["REPLICATED", "NEAR", "INCONCLUSIVE", "NOT REPLICATED", "NOT COMPARABLE"]
)
def test_every_verdict_says_what_to_do_next(run, verdict):
    decided = read_json(run.verdict)
    decided.pop("checksum", None)
    write_json(run.verdict, decided | {"verdict": verdict})
    said = content.of_run(run)["answers"]
    assert said["next"] and all(each["command"] and each["why"] for each in said["next"])
    assert "MODEL" not in "".join(each["command"] for each in said["next"])


def test_a_run_without_evaluation_is_to_be_evaluated(run):
    import shutil

    shutil.rmtree(run.evals)
    run.verdict.unlink()
    (only,) = content.of_run(run)["answers"]["next"]
    assert only["command"] == f"python tools/evaluate.py --model_dir={run.root}"


def test_a_command_is_copied_or_selected(page, told):
    """What a shell makes of the text is the command that report.json has."""
    import shlex

    page.run("document.querySelector('ol.next .copy').click()")
    chosen = page.run("getSelection().toString()")
    command = told["answers"]["next"][0]["command"]
    assert shlex.split(chosen.replace("\\\n", " ")) == shlex.split(command)
    assert len(page.all("pre.command")) == len(page.all("pre.command + .copy"))


def test_preflight_and_rehearsal(run):
    said = {
        "results": [
            {"number": 1, "title": "starting checkpoint", "status": "warn", "seen": "random",
             "fix": "fetch it"},
            {"number": 9, "title": "resume", "status": "pass", "seen": "a new run", "fix": ""},
        ],
        "forced": [], "rehearsal": True,
    }  # fmt: skip
    write_json(run.preflight, said)
    told = content.of_run(run)
    assert told["answers"]["rehearsal"] is True
    assert told["preflight"]["results"] == said["results"]
    run.preflight.unlink()
    assert content.of_run(run)["preflight"] is None


def test_fields_of_one_choice_stand_together(told):
    groups = told["deviations"]["choices"]
    where = {each["path"]: group["name"] for group in groups for each in group["operations"]}
    together = [path for path, name in where.items() if name == "another data set"]
    assert "model.ssd.num_classes" in together
    assert "train_input_reader.label_map_path" in together
    assert where["train_config.batch_size"] == where["train_config.num_steps"]
    of_classes = [each["path"] for group in told["deviations"]["classes"]
                  for each in group["operations"]]  # fmt: skip
    assert sorted(where) == sorted(of_classes)


def test_the_linear_rule_names_its_group():
    operation = {"path": "train_config.batch_size", "a": 128, "b": 16, "class": "training"}
    classes = [{"class": "training", "affects_ap": True, "operations": [operation]}]
    (group,) = choices.grouped(classes, {"rule": "linear"})
    assert group["name"] == "the batch, scaled by the linear rule"


def test_intervals_are_those_of_the_scorer(tmp_path):
    drawn = making.groundtruth(tmp_path, images=40)
    run = making.run_directory(tmp_path / "run", *drawn, steps=(100,))
    told = content.of_run(run)
    path = run.eval_at(100) / "detections.json.gz"
    result = score.score(str(drawn[0]), str(path), evaluator="hotcoco")
    expected = score.over_images.intervals(result, samples=100)
    assert told["analysis"]["intervals"] == expected
    low, high = (100 * expected["AP"][side] for side in ("low", "high"))
    assert told["answers"]["interval"] == f"{low:.1f} to {high:.1f}"


def test_few_images_have_no_interval(told):
    assert "intervals" not in told["analysis"] and told["answers"]["interval"] is None


def test_a_category_in_which_nothing_was_found_has_no_plot(told):
    curves = dict(told["category_curves"])
    nothing = {"id": 99, "name": "none", "AP": 0.0, "0.50": [0.0] * 26, "0.75": [0.0] * 26}
    curves["categories"] = [*curves["categories"], nothing]
    drawn = charts.small_multiples(curves)
    assert "99" not in drawn and len(drawn) == len(curves["categories"]) - 1


def test_ticks_of_checkpoints_stand_at_checkpoints(told):
    svg = charts.of_run(told)["checkpoints"].svg
    for step in (100, 200, 300):
        assert f">{step}<" in svg
    assert ">150<" not in svg


def test_share_of_the_training_set():
    empty = {"verdict": None, "schedule": None, "data": {"records": []}}
    assert answers.trained_on(empty)["ok"] is None
    half = {"records": [{"split": "train", "images": 59_144}]}
    assert "50 %" in answers.trained_on(empty | {"data": half})["text"]


def _value(page):
    return page.run(
        "[...document.querySelectorAll('.value:not(.hidden)')].map((e) => e.textContent)"
    )


def test_keys_tell_the_values_of_a_plot(page, told):
    from selenium.webdriver.common.keys import Keys

    svg = page.one("#plot-checkpoints svg")
    svg.send_keys(Keys.ARROW_RIGHT)
    last = told["checkpoints"][-1]
    (said,) = _value(page)
    assert said.startswith("training step 300")
    assert f"AP: {100 * last['metrics']['AP']:.1f} %" in said
    svg.send_keys(Keys.ARROW_LEFT)
    (said,) = _value(page)
    before = told["checkpoints"][-2]
    assert said.startswith("training step 200")
    assert f"AP50: {100 * before['metrics']['AP50']:.1f} %" in said
    svg.send_keys(Keys.ESCAPE)
    assert _value(page) == []


def test_the_pointer_tells_losses_and_bars(page, told):
    from selenium.webdriver.common.action_chains import ActionChains

    svg = page.one("#plot-losses svg")
    page.run("arguments[0].scrollIntoView({block: 'center'})", svg)
    ActionChains(page.driver).move_to_element(svg).perform()
    (said,) = _value(page)
    head, *lines = said.split("\n")
    step = int(head.removeprefix("training step ").replace(",", ""))
    at = told["training"]["step"].index(step)
    for line in lines:
        name, value = line.rsplit(": ", 1)
        (key,) = (key for key in told["training"]["losses"]
                  if charts._loss_name(key) == name)  # fmt: skip
        assert float(value) == pytest.approx(told["training"]["losses"][key][at], rel=2e-3)
    bar = page.one("#plot-tide [data-told]")
    page.run("arguments[0].scrollIntoView({block: 'center'})", bar)
    page.run(
        "arguments[0].querySelector('path').dispatchEvent("
        "new PointerEvent('pointermove', {bubbles: true}))",
        bar,
    )
    gain = told["analysis"]["tide"]["delta_ap"]["Cls"]
    assert _value(page) == [f"wrong category: {100 * gain:.2f} points"]
