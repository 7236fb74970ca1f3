"""The linter: places, nearest names, copied blocks and their fix, contradictions."""

import json
import pathlib
import random
import re
import subprocess
import sys

import pytest

from replicate import config
from replicate.config import known_names, lint, paths, syntax, textproto
from replicate.errors import UserError
from tests.conftest import PROJECT

PIECEWISE = """\
train_config {
  optimizer {
    momentum_optimizer {
      learning_rate {
        piecewise_constant_learning_rate {
          boundaries: [2000, 8000]  # steps
          values: [0.01, 1e-3, .0001]
        }
      }
    }
  }
}
"""


def findings(text):
    return [(f.level, f.line, f.column, f.path) for f in lint.lint(text, "x.config")]


@pytest.mark.parametrize(
    "text, line, column, path, told",
    [
        # a misspelled field, deep and at the top
        ("model {\n  ssd {\n    num_clases: 3\n  }\n}", 3, 5, "model.ssd.num_clases",
         "did you mean num_classes?"),
        ("modle {}", 1, 1, "modle", "did you mean model?"),
        # nothing near: what there is
        ("train_config { optimizer { xyz {} } }", 1, 28, "train_config.optimizer.xyz",
         "it has adam_optimizer, momentum_optimizer, moving_average_decay, rms_prop_optimizer"),
        # a wrong enum value
        ("model { ssd { post_processing { score_converter: SIGMOD } } }", 1, 33,
         "model.ssd.post_processing.score_converter", "did you mean SIGMOID?"),
        # a wrong type, also in a list's element
        ("train_config {\n\tbatch_size: 3.5 }", 2, 2, "train_config.batch_size",
         "takes a whole number"),
        ("train_config { sync_replicas: maybe }", 1, 16, "train_config.sync_replicas",
         "takes true or false"),
        ("eval_config { metrics_set: ['a', b] }", 1, 34, "eval_config.metrics_set[1]",
         "each element a string"),
        ("model { ssd: 3 }", 1, 9, "model.ssd", "takes a Ssd message in braces"),
        ("train_config { num_steps { x: 1 } }", 1, 16, "train_config.num_steps",
         "takes a whole number, not a message"),
        # two members of a oneof
        ("train_config { optimizer { momentum_optimizer {} adam_optimizer {} } }", 1, 50,
         "train_config.optimizer.adam_optimizer",
         "'adam_optimizer' and 'momentum_optimizer' exclude each other"),
        # one value twice
        ("train_config { num_steps: 1 num_steps: 2 }", 1, 29, "train_config.num_steps[1]",
         "given twice"),
        # in the second element of a list of messages
        ("train_config { data_augmentation_options { random_adjust_hue {} }\n"
         " data_augmentation_options { random_adjust_hew {} } }", 2, 30,
         "train_config.data_augmentation_options[1].random_adjust_hew",
         "did you mean random_adjust_hue"),
    ],
)  # fmt: skip
def test_what_the_parser_refuses(text, line, column, path, told):
    (found,) = lint.lint(text, "x.config")
    assert (found.level, found.line, found.column, found.path) == ("error", line, column, path)
    assert told in found.message
    # protobuf's own parser refuses it too
    with pytest.raises(UserError):
        textproto.parse(text)


def test_all_mistakes_at_once():
    text = "model { ssd { num_clases: 3 } }\ntrain_config { num_step: 3 batch_size: x }"
    assert [(line, path) for _, line, _, path in findings(text)] == [
        (1, "model.ssd.num_clases"),
        (2, "train_config.num_step"),
        (2, "train_config.batch_size"),
    ]


@pytest.mark.parametrize("text", ["model {", "model { ssd } }", "}", "model: ", "a: $", 'a: "x'])
def test_text_without_structure_is_the_parsers_word(text):
    with pytest.raises(UserError, match=r"^x.config:\d+:\d+: "):
        lint.lint(text, "x.config")


@pytest.mark.parametrize("name", config.template_names())
def test_a_rendered_zoo_config_lacks_its_paths_alone(name):
    found = lint.lint(config.to_text(config.template(name)), "x.config")
    assert found and all("is still to be configured" in finding.message for finding in found)


def exact(descriptor, path):
    """The path with the index [0] that the tree leaves out of lists."""
    steps = []
    for step in paths.parse(path):
        field = descriptor.fields_by_name[step.name]
        steps.append(f"{step.name}[0]" if field.is_repeated and step.index is None else str(step))
        descriptor = field.message_type
    return ".".join(steps)


@pytest.mark.parametrize("name", config.template_names())
def test_the_tree_holds_every_field(name):
    """A message set field by field from the tree equals the one that the parser reads."""
    message = config.template(name)
    for task in message.model.center_net.keypoint_estimation_task:
        task.keypoint_label_to_std.clear()  # entries of maps have no path of their own
    for metric in message.eval_config.parameterized_metric:
        metric.coco_keypoint_metrics.keypoint_label_to_sigmas.clear()
    rebuilt = type(message)()
    for node in syntax.Text(config.to_text(message)).walk():
        if node.children is None or not node.children:
            value = node.literal if node.children is None else "{}"
            config.set_field(rebuilt, exact(message.DESCRIPTOR, node.path), value)
    assert rebuilt == message


def test_the_copied_piecewise_block_is_caught_and_fixed(tmp_path):
    (found,) = lint.lint(PIECEWISE, "x.config")
    assert (found.line, found.column) == (5, 9)
    assert "does not exist in the API; write manual_step_learning_rate" in found.message
    # the message shows the very block that --fix writes
    fixed = lint.fixed(PIECEWISE, [found])
    assert found.message.split(":\n", 1)[1] in fixed
    schedule = textproto.parse(fixed).train_config.optimizer.momentum_optimizer.learning_rate
    expected = textproto.parse(
        "train_config { optimizer { momentum_optimizer { learning_rate {"
        " manual_step_learning_rate { initial_learning_rate: 0.01"
        " schedule { step: 2000 learning_rate: 0.001 }"
        " schedule { step: 8000 learning_rate: 0.0001 } } } } } }"
    ).train_config.optimizer.momentum_optimizer.learning_rate
    assert schedule == expected
    # all around it is untouched
    before, after = PIECEWISE.split("piecewise_constant_learning_rate")[0], PIECEWISE[-24:]
    assert fixed.startswith(before) and fixed.endswith(after)

    path = tmp_path / "pipeline.config"
    path.write_text(PIECEWISE)
    done = run_tool(path, "--fix")
    assert "1 fixed" in done.stderr and path.read_text() == fixed
    assert "does not exist" not in done.stdout


@pytest.mark.parametrize(
    "block",
    [
        # one field a line, as protobuf prints lists
        "piecewise_constant_learning_rate { boundaries: 2000 boundaries: 8000\n"
        " values: 0.01 values: 1e-3 values: .0001 }",
        # Keras's name and other names of the lists
        "piecewise_constant_decay { boundaries: [2000, 8000] rates: [0.01, 1e-3, .0001] }",
        "piecewise_constant: < boundaries: [2000, 8000], values: [0.01, 1e-3, .0001]; >",
    ],
)
def test_other_spellings_of_the_block(block):
    text = re.sub(r"piecewise_constant_learning_rate \{.*?\}", block, PIECEWISE, flags=re.DOTALL)
    rate = textproto.parse(lint.fixed(text, lint.lint(text, "x"))).train_config.optimizer
    steps = rate.momentum_optimizer.learning_rate.manual_step_learning_rate
    assert steps.initial_learning_rate == pytest.approx(0.01)
    assert [(each.step, each.learning_rate) for each in steps.schedule] == [
        (2000, pytest.approx(1e-3)),
        (8000, pytest.approx(1e-4)),
    ]


def test_a_piecewise_block_that_does_not_add_up_is_told_and_left():
    text = PIECEWISE.replace(", .0001", "")
    (found,) = lint.lint(text, "x.config")
    assert found.fix is None and "2 boundaries and 2 values" in found.message
    assert lint.fixed(text, [found]) == text


def test_a_piecewise_block_elsewhere_is_a_plain_unknown_field():
    (found,) = lint.lint("train_config { piecewise_constant_learning_rate {} }", "x.config")
    assert found.fix is None and "no field 'piecewise_constant_learning_rate'" in found.message


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, "tools/lint_config.py", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )


def test_exit_status(complete, tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_text(config.to_text(complete))
    assert run_tool(path).returncode == 0
    complete.train_config.num_steps = 10
    path.write_text(config.to_text(complete))
    done = run_tool(path)
    assert done.returncode == 0 and ": warning: " in done.stdout
    path.write_text("model { ssd { num_clases: 3 } }")
    done = run_tool(path, "--format=json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)
    assert (found["line"], found["column"], found["path"]) == (1, 15, "model.ssd.num_clases")
    path.write_text("model {")
    assert run_tool(path).returncode == 2
    assert run_tool(tmp_path / "nowhere").returncode == 2
    assert run_tool().returncode == 2
    template = "configs/ssd_mobilenet_v2_320x320_coco17_tpu-8.config"
    done = run_tool(template)
    assert done.returncode == 1 and f"{template} (rendered):" in done.stdout
    path.write_text((PROJECT / template).read_text())  # away from its fragments
    done = run_tool(path)
    assert done.returncode == 2 and "a template" in done.stderr


def test_the_api_has_the_last_word(complete, tmp_path):
    """What no rule knows --build finds: a depth of the extractor that Keras does not take."""
    path = tmp_path / "pipeline.config"
    path.write_text(config.to_text(complete))
    assert run_tool(path, "--build").returncode == 0
    del complete.model.ssd.anchor_generator.multiscale_anchor_generator.aspect_ratios[:]
    path.write_text(config.to_text(complete))
    assert run_tool(path).returncode == 0
    done = run_tool(path, "--build")
    assert done.returncode == 1 and "the API does not build this" in done.stdout


def damaged(text, generator):
    """The text with one to three small changes: a character, a word or a line lost or doubled."""
    for _ in range(generator.randint(1, 3)):
        start = generator.randrange(len(text))
        kind = generator.choice(["character", "word", "line", "insert", "swap"])
        if kind == "character":
            text = text[:start] + text[start + 1 :]
        elif kind == "insert":
            text = text[:start] + generator.choice("{}[]<>:,;#\"'\\x0-. \n") + text[start:]
        else:
            pattern = {"word": r"[\w.]+", "line": r"[^\n]*\n", "swap": r"\w+"}[kind]
            spans = [match.span() for match in re.finditer(pattern, text)]
            a, b = generator.choice(spans)
            again = text[a:b] * generator.choice([0, 2])
            if kind == "swap":
                again = text[slice(*generator.choice(spans))]
            text = text[:a] + again + text[b:]
    return text


@pytest.mark.parametrize("seed", range(300))
def test_the_linter_and_the_parser_agree_on_damaged_configs(seed):
    """It finds an error exactly where protobuf refuses the text, and never fails itself."""
    generator = random.Random(seed)
    name = generator.choice(config.template_names())
    text = damaged(config.to_text(config.template(name)), generator)
    try:
        textproto.parse(text)
        accepted = True
    except UserError:
        accepted = False
    try:
        tree = syntax.Text(text)
        found = lint.syntax_findings(tree)
    except syntax.NotTextFormat:
        with pytest.raises(UserError):
            lint.lint(text, "x.config")
        assert not accepted
        return
    assert bool(found) == (not accepted)


def test_where_a_text_without_structure_breaks(tmp_path):
    """Each format has the parser's own place, and the file once."""
    path = tmp_path / "broken.config"
    path.write_text("model { ssd {\n} }\ntrain_config\n  batch_size: 8\n}\n")
    done = run_tool(str(path), "--format=github")
    assert done.returncode == 2
    assert f"::error file={path},line=4,col=3,title=" in done.stdout
    assert done.stdout.rpartition("::")[2].startswith('Expected "{"')
    (told,) = json.loads(run_tool(str(path), "--format=json").stdout)
    assert (told["line"], told["column"]) == (4, 3) and str(path) not in told["message"]
    gone = tmp_path / "gone.config"
    (told,) = json.loads(run_tool(str(gone), "--format=json").stdout)
    assert (told["file"], told["message"]) == (str(gone), "no such file")


def test_names_that_the_api_looks_up():
    from replicate import odapi

    odapi.load()
    from object_detection import eval_util
    from object_detection.builders import model_builder

    maps = {
        "ssd": model_builder.SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP,
        "faster_rcnn": model_builder.FASTER_RCNN_KERAS_FEATURE_EXTRACTOR_CLASS_MAP,
        "center_net": model_builder.CENTER_NET_EXTRACTOR_FUNCTION_MAP,
    }
    for name, known in known_names.FEATURE_EXTRACTORS.items():
        assert sorted(known) == sorted(maps[name])
    source = pathlib.Path(model_builder.__file__).read_text(encoding="utf-8")
    ours = {name for names in known_names.FEATURE_EXTRACTORS.values() for name in names}
    theirs = set(re.findall(r"'((?:embedded_)?(?:ssd|faster_rcnn)_\w+)':", source)) - ours
    alone = {name for name in theirs if f"{name}_keras" not in ours}
    assert set(known_names.OF_TENSORFLOW_1_ALONE) == alone
    assert sorted(known_names.METRICS) == sorted(eval_util.EVAL_METRICS_CLASS_DICT)


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("a.config", b"\xef\xbb\xbfmodel { }", "begins with a byte-order mark"),
        ("a.config", "model { }".encode("utf-16"), "is UTF-16, and text format is UTF-8"),
        ("a.config", b"model { ssd {\r\n", 'Expected "}"'),
        ("a.yaml", "task: {é: 1}".encode("latin-1"), "not UTF-8 text"),
        ("a.yaml", None, "no such file"),
        ("a.config", None, "no such file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, told):
    """The message says what to do, which is not to ask the same tool again."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tools" / "lint_config.py"), str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and told in done.stderr
    assert "Errno" not in done.stderr and "lint_config.py " not in done.stderr
    if "sed -i" in done.stderr:
        subprocess.run(done.stderr.partition("Remove it: ")[2], shell=True, check=True)
        assert path.read_bytes() == b"model { }"


def test_windows_line_ends_are_read():
    text = "train_config {\r\n  batch_size: 2.5\r\n}\r\n"
    assert findings(text) == [("error", 2, 3, "train_config.batch_size")]
