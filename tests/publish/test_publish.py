"""What is published is read by the other side's own code or schema; an altered copy is refused."""

import copy
import dataclasses
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import yaml

import tfrecords
from replicate import benchmark, publish, report
from replicate.errors import UserError
from replicate.publish import every_eval
from replicate.run import RunDir, read_json, write_json
from tests.conftest import PROJECT
from tests.publish import others
from tests.report import making

LICENSE = "https://creativecommons.org/licenses/by/4.0/"
TERMS = publish.PublisherTerms(
    organization="Example Lab",
    dataset_id="owner/coco",
    license=LICENSE,
    samples=60,
    leaderboard=True,  # the drawn images are none of COCO's
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return making.groundtruth(tmp_path_factory.mktemp("drawn"), images=24)


@pytest.fixture(scope="module")
def run(tmp_path_factory, drawn):
    """A run with its report, and records of its own."""
    made = making.run_directory(tmp_path_factory.mktemp("runs") / "a", *drawn, steps=(100, 200))
    for path in made.data.glob("*.json"):
        path.unlink()
    for split in ("train", "val"):
        tfrecords.convert(*drawn, str(made.data / split), 2, progress=False)
    report.write(made)
    return made


@pytest.fixture(scope="module")
def record(tmp_path_factory, drawn, run):
    """The record of a benchmark of the same detections."""
    path = tmp_path_factory.mktemp("records") / "record.json"
    detections = run.eval_at(200) / "detections.json.gz"
    benchmark(str(detections), drawn, cache_dir=None, progress=False).write(path)
    return path


@pytest.fixture
def written(run, tmp_path):
    """A function: the files of a format, written anew."""

    def write(format, source=run.root, name="out", terms=TERMS):
        return publish.write(source, format, tmp_path / name, terms)

    return write


# --- Hugging Face

_READ_ENTRIES = """
import sys, json, yaml, dataclasses
from huggingface_hub import parse_eval_result_entries
entries = parse_eval_result_entries(yaml.safe_load(open(sys.argv[1])))
print(json.dumps([dataclasses.asdict(each) for each in entries]))
"""
_READ_CARD = """
import sys, json
from huggingface_hub import ModelCard
card = ModelCard.load(sys.argv[1])
result = card.data.eval_results[0]
print(json.dumps({"tag": card.data.pipeline_tag, "value": result.metric_value,
                  "dataset": result.dataset_type, "task": result.task_type, "text": card.text}))
"""


def test_the_hubs_entries_are_what_its_library_reads(written, run):
    path, _ = written(
        "hf", terms=dataclasses.replace(TERMS, organization="", source_url="https://a.b")
    )
    status, output = others.run(_READ_ENTRIES, path)
    assert status == 0, output
    (entry,) = json.loads(output.splitlines()[-1])
    metrics = read_json(run.eval_at(200) / "metrics.json")
    assert entry["value"] == pytest.approx(100 * metrics["metrics"]["AP"], abs=1e-4)
    assert (entry["dataset_id"], entry["task_id"]) == ("owner/coco", "default")
    assert metrics["protocol"]["sha256"] in entry["notes"] and "pycocotools" in entry["notes"]
    assert entry["source_url"] == "https://a.b"


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["dataset"].pop("task_id"),
        lambda entry: entry.pop("value"),
        lambda entry: entry["source"].pop("url"),
    ],
)
def test_an_altered_entry_is_refused_by_it(written, tmp_path, change):
    path, _ = written(
        "hf", terms=dataclasses.replace(TERMS, organization="", source_url="https://a.b")
    )
    entries = yaml.safe_load(path.read_text())
    change(entries[0])
    (tmp_path / "altered.yaml").write_text(yaml.safe_dump(entries))
    assert others.run(_READ_ENTRIES, tmp_path / "altered.yaml")[0] != 0


def test_the_model_card_is_what_its_library_reads(written, run, tmp_path):
    _, card = written("hf")
    status, output = others.run(_READ_CARD, card)
    assert status == 0, output
    read = json.loads(output.splitlines()[-1])
    metrics = read_json(run.eval_at(200) / "metrics.json")
    assert read["value"] == pytest.approx(100 * metrics["metrics"]["AP"], abs=1e-4)
    assert (read["tag"], read["dataset"], read["task"]) == (
        *("object-detection", "owner/coco"),
        "object-detection",
    )
    verdict = read_json(run.verdict)
    command = read_json(run.spec)["command"]
    for said in (verdict["headline"], *verdict["reasons"], metrics["protocol"]["sha256"], command):
        assert publish.places.without_places(said) in read["text"]
    altered = card.read_text().replace("model-index:", "model-index: 3\nother:", 1)
    (tmp_path / "altered.md").write_text(altered)
    assert others.run(_READ_CARD, tmp_path / "altered.md")[0] != 0


def test_the_entry_alone_without_the_library(written):
    """Held against the fields that EvalResultEntry documents, where it is not installed."""
    path, _ = written("hf")
    (entry,) = yaml.safe_load(path.read_text())
    assert set(entry) == {"dataset", "value", "notes"}
    assert entry["dataset"] == {"id": "owner/coco", "task_id": "default"}


# --- Every Eval Ever


@pytest.fixture
def evaluated(written):
    return json.loads(written("eee")[0].read_text())


def test_every_eval_ever_has_nothing_against_it(evaluated, run):
    assert every_eval.violations(evaluated) == []
    metrics = read_json(run.eval_at(200) / "metrics.json")
    first = evaluated["evaluation_results"][0]
    assert first["score_details"]["score"] == metrics["metrics"]["AP"]
    said = first["metric_config"]["additional_details"]
    assert said["protocol.sha256"] == metrics["protocol"]["sha256"]
    assert json.loads(said["protocol.max_detections"]) == [1, 10, 100]
    defined = [name for name, value in metrics["metrics"].items() if value is not None]
    assert [e["metric_config"]["metric_name"] for e in evaluated["evaluation_results"]] == defined


def test_its_uncertainty_is_that_of_the_score(evaluated, run, drawn):
    from replicate import score

    found = score.score(drawn[0], run.eval_at(200) / "detections.json.gz", evaluator="hotcoco")
    interval = score.intervals(found, samples=60)["AP"]
    told = evaluated["evaluation_results"][0]["score_details"]["uncertainty"]
    assert told["confidence_interval"]["lower"] == interval["low"]
    assert told["confidence_interval"]["upper"] == interval["high"]
    assert told["confidence_interval"]["confidence_level"] == 0.95
    assert told["standard_error"]["value"] == interval["standard_error"]
    assert told["num_samples"] == 24


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("eval_library"), "'eval_library' is a required property"),
        (lambda d: d.update(mood="good"), "'mood' was unexpected"),
        (
            lambda d: d["source_metadata"].update(evaluator_relationship="friend"),
            "$.source_metadata.evaluator_relationship",
        ),
        (
            lambda d: d["evaluation_results"][0]["score_details"].update(score="high"),
            "$.evaluation_results[0].score_details.score",
        ),
        (
            lambda d: d["evaluation_results"][0]["metric_config"]["additional_details"].update(a=1),
            "$.evaluation_results[0].metric_config.additional_details.a",
        ),
    ],
)
def test_an_altered_one_has_it_against_it(evaluated, change, told):
    altered = copy.deepcopy(evaluated)
    change(altered)
    assert any(told in each for each in every_eval.violations(altered))


def test_the_schema_is_that_of_its_release():
    schema = json.loads(every_eval.SCHEMA.read_bytes())
    assert schema["version"] == every_eval.VERSION == "0.2.2"
    assert "MIT License" in (every_eval.SCHEMA.parent / "every_eval_ever.LICENSE").read_text()


# --- Croissant

_VALIDATE = """
import sys, json
import mlcroissant
dataset = mlcroissant.Dataset(sys.argv[1])
metadata = dataset.metadata
print(json.dumps({
    "conforms_to": metadata.conforms_to, "license": metadata.license,
    "files": {each.name: each.sha256 for each in metadata.file_objects},
    "sets": [each.uuid for each in metadata.file_sets],
    "fields": {each.uuid: [f.name for f in each.fields] for each in metadata.record_sets},
    "splits": [record for record in dataset.records("splits")],
}, default=lambda value: value.decode()))
"""


def test_croissant_is_what_mlcroissant_reads(written, run):
    (path,) = written("croissant")
    status, output = others.run(_VALIDATE, path)
    assert status == 0, output
    (line,) = (each for each in output.splitlines() if each.startswith("{"))
    read = json.loads(line)
    assert read["conforms_to"] == ["http://mlcommons.org/croissant/1.1"]
    assert read["license"] == [LICENSE] and read["sets"] == ["train", "val"]
    shards = [
        shard
        for split in ("train", "val")
        for shard in read_json(run.data / f"manifest-{split}.json")["shards"]
    ]
    assert read["files"] == {shard["name"]: shard["sha256"] for shard in shards}
    assert [each["splits/images"] for each in read["splits"]] == [24, 24]


def _features(run):
    from replicate import odapi

    odapi.load()  # before TensorFlow, for the tests that come after in this process
    import tensorflow as tf

    record = next(iter(tf.data.TFRecordDataset(sorted(map(str, run.data.glob("val-*"))))))
    return set(tf.train.Example.FromString(record.numpy()).features.feature)


def test_its_fields_are_the_features_of_the_records(written, run):
    document = json.loads(written("croissant")[0].read_text())
    sets = {each["@id"]: each for each in document["recordSet"]}
    fields = {field["name"] for field in sets["val_examples"]["field"]}
    assert fields == _features(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["distribution"][0].pop("contentUrl"),
        lambda d: d["distribution"][0].pop("encodingFormat"),
        lambda d: d["recordSet"][1]["field"][0]["source"]["fileSet"].update({"@id": "nothing"}),
        lambda d: d["distribution"][-1]["containedIn"][0].update({"@id": "nothing"}),
    ],
)
def test_an_altered_croissant_is_refused_by_it(written, tmp_path, change):
    document = json.loads(written("croissant")[0].read_text())
    change(document)
    (tmp_path / "altered.json").write_text(json.dumps(document))
    assert others.run(_VALIDATE, tmp_path / "altered.json")[0] != 0


# --- badge, citation, records, mistakes


def test_the_badge_is_an_svg_that_says_figure_and_verdict(written, run):
    (path,) = written("badge")
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    ap = 100 * read_json(run.eval_at(200) / "metrics.json")["metrics"]["AP"]
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [f"box AP {ap:.2f}", "NOT COMPARABLE"]


def test_the_citation_is_a_line(written, run):
    text = written("citation")[0].read_text()
    metrics = read_json(run.eval_at(200) / "metrics.json")
    assert text.count("\n") == 1 and metrics["protocol"]["sha256"][:16] in text
    assert f"box AP {100 * metrics['metrics']['AP']:.2f} on 24 images" in text


def test_a_record_is_published_too(written, record, run):
    """The same detections have the same AP and the same protocol but for how they were made."""
    path, card = written("hf", source=record)
    entry = yaml.safe_load(path.read_text())[0]
    ap = read_json(run.eval_at(200) / "metrics.json")["metrics"]["AP"]
    assert entry["value"] == pytest.approx(100 * ap, abs=1e-4)
    assert "a benchmark, no verdict on a run" in card.read_text()
    document = json.loads(written("eee", source=record, name="eee")[0].read_text())
    assert document["source_metadata"]["evaluator_relationship"] == "third_party"
    assert every_eval.violations(document) == []


@pytest.mark.parametrize(
    ("format", "terms", "told"),
    [
        ("hf", publish.PublisherTerms(), "--dataset_id"),
        ("eee", publish.PublisherTerms(), "--organization"),
        ("eee", publish.PublisherTerms(organization="A", relationship="friend"), "--relationship"),
        ("croissant", publish.PublisherTerms(), "--license"),
        ("croissant", publish.PublisherTerms(license="mit"), "--license=mit: .* by its address"),
        ("hf", publish.PublisherTerms(dataset_id="a/b", source_url="javascript:x"), "--source_url"),
        (
            "eee",
            publish.PublisherTerms(organization="A", source_url="https://me:pass@a.b/c"),
            "--source_url: holds a password or token",
        ),
        ("hf", publish.PublisherTerms(dataset_id="../b"), "--dataset_id=../b: the data set of"),
        (
            "eee",
            publish.PublisherTerms(organization="A", model_id="/home/a/model"),
            "--model_id=/home/a/model: the model's id, as owner/name",
        ),
        ("pdf", publish.PublisherTerms(), "there are: hf, eee, badge, citation, croissant"),
    ],
)
def test_what_it_wants_to_know_is_asked_for(run, tmp_path, format, terms, told):
    with pytest.raises(UserError, match=told):
        publish.write(run.root, format, tmp_path / "out", terms)
    assert not (tmp_path / "out").exists()


def test_a_verdict_of_another_figure_is_refused(run, tmp_path):
    """The card would state two figures."""
    changed = RunDir(shutil.copytree(run.root, tmp_path / "copy"))
    verdict = read_json(changed.verdict)
    verdict["achieved"]["box AP"] += 1
    write_json(changed.verdict, verdict)
    with pytest.raises(UserError, match=r"metrics.json has .*tools/verdict.py"):
        publish.write(changed.root, "citation", tmp_path / "c.txt", publish.PublisherTerms())


def test_drawn_categories_are_not_published_as_coco(run):
    from replicate.publish import published_result

    of_run = published_result.of(run.root)
    assert not of_run.is_of_coco and of_run.data.startswith("instances")


def test_the_tool(run, tmp_path):
    command = [sys.executable, str(PROJECT / "tools" / "publish.py"), str(run.root)]
    asked = ["--format=badge", f"--output={tmp_path / 'badge.svg'}"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "badge.svg")), done.stderr
    wrong = subprocess.run([*command[:2], str(tmp_path), *asked], capture_output=True, text=True)
    assert wrong.returncode == 2 and "not a run directory" in wrong.stderr


# --- What is none of COCO's results, and where files lie


def test_a_result_that_is_not_comparable_is_no_leaderboards(written, run, tmp_path):
    (card,) = written("hf", terms=publish.PublisherTerms(dataset_id="owner/coco"))
    assert [path.name for path in card.parent.iterdir()] == ["README.md"]
    metadata = yaml.safe_load(card.read_text().split("---\n")[1])
    assert "model-index" not in metadata and metadata["datasets"] == ["owner/coco"]
    assert "No entry of a leaderboard: the verdict is NOT COMPARABLE." in card.read_text()
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "tools/publish.py", run.root, "--format=hf"),
            *(f"--output={tmp_path / 'tool'}", "--dataset_id=owner/coco"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.split() == [str(tmp_path / "tool" / "README.md")]
    assert "no entry of a leaderboard (.eval_results): the verdict is NOT COMPARABLE" in done.stderr


def test_an_entry_of_an_earlier_time_is_not_published_with_another_card(written):
    path, card = written("hf")
    before = card.read_bytes()
    with pytest.raises(UserError, match="an entry of an earlier time, .* NOT COMPARABLE"):
        written("hf", terms=publish.PublisherTerms(dataset_id="owner/coco"))
    assert path.exists() and card.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"rehearsal": True}, "the run was a rehearsal (--rehearsal)"),
        ({"verdict": None}, "the run has no verdict (tools/verdict.py gives one)"),
        ({"verdict": {"verdict": "NO REFERENCE"}}, "the verdict is NO REFERENCE"),
        ({"images": 4999}, "4,999 images were scored; val2017 has 5,000"),
        ({"verdict": None, "run": None}, None),  # a record
        (
            {
                **{"verdict": None, "run": None},
                "compared": [{"verdict": "NOT COMPARABLE", "model": "ssd", "reasons": []}],
            },
            "NOT COMPARABLE to ssd's figure",
        ),
    ],
)
def test_what_speaks_against_an_entry(run, change, why):
    whole = dataclasses.replace(
        publish.published_result.of(run.root), images=5000, verdict={"verdict": "NOT REPLICATED"}
    )
    assert dataclasses.replace(whole, **change).no_entry == why


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "evaluated on 9 images of /home/a/coco/val.json; of",
            "evaluated on 9 images of val.json; of",
        ),
        ("--train_images=/data/train --seed=1", "--train_images=train --seed=1"),
        ("'/home/a b/my data/x.json', then", "'x.json', then"),  # known: spaces hide its end
        ("file:///home/a/x.json and ~/b/y.json", "x.json and y.json"),
        ("--runs=/tmp/a,/tmp/b", "--runs=a,b"),
        ("/data/train-?????-of-?????.tfrecord.", "train-?????-of-?????.tfrecord."),
        ("https://a.b/c/d and s3://bucket/e", "https://a.b/c/d and s3://bucket/e"),
        ("runs/a/b, ../c, 3 images/s, 1 / 2", "runs/a/b, ../c, 3 images/s, 1 / 2"),
    ],
)
def test_of_a_path_its_last_part_is_shown(text, shown):
    assert publish.places.without_places(text, ["/home/a b/my data/x.json", "no/path"]) == shown


def test_no_format_says_where_files_lie(run, record, tmp_path):
    spec, verdict = read_json(run.spec), read_json(run.verdict)
    hidden = [spec["request"]["val_annotations"], str(run.root.parent)]
    assert all(path.startswith("/") for path in hidden)
    assert any(hidden[0] in reason for reason in verdict["reasons"])
    command = (
        f"python tools/replicate.py --model=m --val_annotations={hidden[0]} --run_dir={run.root}"
    )
    kept = run.spec.read_bytes()
    write_json(run.spec, spec | {"command": command}, kind="spec")
    try:
        for source in (run.root, record):
            for format in ("hf", "eee", "badge", "citation"):
                for path in publish.write(source, format, tmp_path / f"{format}.out", TERMS):
                    text = path.read_text()
                    assert not [each for each in (*hidden, "/tmp/", "/home/") if each in text], path
            shutil.rmtree(tmp_path / "hf.out")
        (path,) = publish.write(run.root, "croissant", tmp_path / "croissant.json", TERMS)
        assert "/tmp/" not in path.read_text()
        _, card = publish.write(run.root, "hf", tmp_path / "hf.out", TERMS)
        assert f"--val_annotations=instances_val.json --run_dir={run.root.name}" in card.read_text()
    finally:
        run.spec.write_bytes(kept)
