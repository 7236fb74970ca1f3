"""The documented reasons that lie in images, records, labels and files, each made and caught."""

import copy
import dataclasses
import json
import pathlib
import shutil
import types

import pytest

from replicate import preflight, reasons
from replicate.errors import UserError
from replicate.preflight import data_checks, file_checks
from replicate.preflight.launch_facts import LaunchFacts
from replicate.verdict import official
from tests.preflight.caught import DATA, caught
from tests.preflight.conftest import MODEL
from tfrecords import checked_json, framing


def without_objects(drawn, folder, split, crowds=0):
    """A split's annotation file without its annotations, or with some that are crowds alone."""
    document = json.loads(pathlib.Path(drawn[split][0]).read_text())
    kept = document["annotations"][:crowds]
    document["annotations"] = [annotation | {"iscrowd": 1} for annotation in kept]
    path = folder / f"instances_{split}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("split", "number", "crowds", "said"),
    [
        ("train", 17, 0, "no annotations: no groundtruth to train on"),
        ("val", 2, 0, "no annotations: AP is undefined"),
        ("val", 2, 2, "no annotations but 2 crowds: AP is undefined"),
    ],
)
@pytest.mark.parametrize("purpose", ["replicate", "finetune"])
def test_no_groundtruth(intent, drawn, tmp_path, purpose, split, number, crowds, said):
    path = without_objects(drawn, tmp_path, split, crowds)
    made = dataclasses.replace(intent(**{f"{split}_annotations": path}), purpose=purpose)
    result = preflight.check(made, trial=False, numbers=(number,)).results[0]
    assert result.status == "fail" and str(path) in result.seen and said in result.seen
    assert f"--{split}_annotations" in result.fix


class Test2EvaluationImages:
    def test_a_subset(self, intent, told):
        # Under a zoo model's name the published figure is on val2017.
        result = told(intent(model=MODEL))[2]
        assert result.status == "fail"
        assert "6 images" in result.seen and "val2017's 5,000" in result.seen
        assert "instances_val2017.json" in result.fix

    @pytest.fixture
    def annotation_file(self, drawn, tmp_path):
        def write(ids, annotations, name="{:012d}.jpg", crowds=0):
            document = json.loads(pathlib.Path(drawn["val"][0]).read_text())
            image, annotation = document["images"][0], document["annotations"][0]
            document["images"] = [image | {"id": i, "file_name": name.format(i)} for i in ids]
            document["annotations"] = [
                annotation
                | {"id": n + 1, "image_id": ids[n % len(ids)], "iscrowd": int(n < crowds)}
                for n in range(annotations)
            ]
            path = tmp_path / "instances.json"
            path.write_text(json.dumps(document))
            return path

        return write

    @pytest.mark.parametrize(
        ("count", "annotations", "name", "word"),
        [
            (8059, 100, "COCO_val2014_{:012d}.jpg", "val2014"),
            (8059, 100, "{:012d}.jpg", "minival"),
            (5000, 36335, "{:012d}.jpg", "36,781"),
            (5000, 36781, "{:012d}.jpg", "the ids differ"),
        ],
    )
    def test_others(self, intent, annotation_file, count, annotations, name, word):
        path = annotation_file(list(range(1, count + 1)), annotations, name)
        result = preflight.check(
            intent(model=MODEL, val_annotations=path), trial=False, numbers=(2,)
        ).results[0]
        assert result.status == "fail" and word in result.seen

    @pytest.mark.parametrize(
        ("crowds", "status", "word"), [(446, "pass", "val2017"), (0, "fail", "marks 446")]
    )
    def test_val2017_with_its_crowds(self, intent, annotation_file, shared, crowds, status, word):
        document = json.loads((shared / "coco/val128/instances_val128.json").read_text())
        ids = sorted(image["id"] for image in document["images"])
        ids += range(20000, 20000 + 4872)
        path = annotation_file(ids, 36781, crowds=crowds)
        made = intent(model=MODEL, val_annotations=path)
        result = preflight.check(made, trial=False, numbers=(2,)).results[0]
        assert result.status == status and word in result.seen

    def test_training_images_evaluated(self, intent, told, drawn):
        made = intent(val_annotations=drawn["train"][0], val_images=drawn["train"][1])
        caught(told, intent(), made, 2, "training images are evaluated", "are one file")

    @pytest.fixture
    def copied(self, drawn, tmp_path):
        """The training annotations in another file: other bytes, the same images."""
        path = tmp_path / "copied.json"
        path.write_text(json.dumps(json.loads(pathlib.Path(drawn["train"][0]).read_text())) + " ")
        return path

    def test_by_the_bytes_of_images(self, intent, told, drawn, copied):
        made = intent(val_annotations=copied, val_images=drawn["train"][1])
        caught(told, intent(), made, 2, "000001.jpg is the same file")

    @pytest.mark.parametrize("trained_on", ["manifest", "file", "images", "records", "nothing"])
    @pytest.mark.parametrize("overlapping", [True, False])
    def test_where_records_alone_are_named(
        self, intent, drawn, copied, records, trained_on, overlapping
    ):
        """As of tools/train.py, which is told of the evaluation's files alone."""
        split = "train" if overlapping else "val"
        annotations = drawn[split][0]
        if overlapping and trained_on != "manifest":
            annotations = copied
        manifest = records / "manifest-train.json"
        # "file": the annotation file that the manifest names is there: numbers, then bytes.
        if trained_on == "images":  # what the manifest names is gone
            held = json.loads(manifest.read_text())
            held["source"]["annotations_file"] = "/nowhere/instances.json"
            manifest.write_text(json.dumps(checked_json.sealed(held)))
        elif trained_on in ("records", "nothing"):
            manifest.unlink()
        if trained_on == "nothing":
            for path in records.glob("train-*.tfrecord"):
                path.unlink()
        evaluated = {"val_annotations": str(annotations), "val_images": str(drawn[split][1])}
        made = dataclasses.replace(intent(), **dict.fromkeys(DATA, "") | evaluated)
        result = preflight.check(made, trial=False, numbers=(2,)).results[0]
        if trained_on == "nothing":
            assert result.status == "warn" and "not checked: neither their" in result.seen
        elif overlapping:
            assert result.status == "fail" and reasons.TRAINING_EVALUATED in result.seen
        elif trained_on in ("images", "records"):
            assert result.status == "warn" and "not checked in whole: 24 training" in result.seen
        else:
            assert result.status == "pass" and "were compared: other images" in result.seen

    def test_without_evaluation_annotations_the_manifests_tell(self, intent, drawn, records):
        made = dataclasses.replace(intent(), **dict.fromkeys(DATA, ""))
        result = preflight.check(made, trial=False, numbers=(2,)).results[0]
        assert result.status == "warn" and "overlap with the training images not" in result.seen
        shutil.copy(records / "manifest-train.json", records / "manifest-val.json")
        result = preflight.check(made, trial=False, numbers=(2,)).results[0]
        assert result.status == "fail" and reasons.TRAINING_EVALUATED in result.seen

    def test_images_that_cannot_be_read(self, intent, drawn, copied):
        made = intent(val_annotations=copied, val_images="/nowhere")
        result = preflight.check(made, trial=False, numbers=(2,)).results[0]
        assert result.status == "warn" and "overlap with the training images not" in result.seen


class Test6Records:
    def _manifest(self, records, change):
        path = records / "manifest-train.json"
        manifest = checked_json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(checked_json.sealed(manifest)))

    def test_boxes_dropped(self, intent, told, records):
        sound = told(intent())

        def drop(manifest):
            manifest["counts"]["dropped"] = {"box_outside_image": 9}
            manifest["counts"]["annotations_written"] -= 9

        self._manifest(records, drop)
        result = told(intent())[6]
        assert sound[6].status == "pass" and result.status == "fail"
        assert "9 box_outside_image" in result.seen and "dropped-train.jsonl" in result.fix

    def test_a_damaged_manifest_is_told(self, intent, told, records):
        path = records / "manifest-train.json"
        path.write_text(path.read_text().replace('"annotations"', '"annotationz"', 1))
        result = told(intent())[6]
        assert result.status == "fail" and str(path) in result.seen
        assert "convert anew" in result.seen

    def test_crowd_flags_lost(self, intent, told, records):
        self._manifest(records, lambda manifest: manifest["counts"].update(crowd_dropped=1))
        result = told(intent())[6]
        assert result.status == "fail" and "1 of 1 crowd annotations" in result.seen

    def test_made_of_another_file(self, intent, told, records, drawn, tmp_path):
        other = tmp_path / "edited.json"
        document = json.loads(pathlib.Path(drawn["train"][0]).read_text())
        document["annotations"].pop()
        other.write_text(json.dumps(document))
        result = told(intent(train_annotations=other))[6]
        assert result.status == "fail" and "made of another file" in result.seen

    def test_before_the_conversion(self, intent, told, drawn, tmp_path):
        """What the converter will drop is told before it runs."""
        other = tmp_path / "edited.json"
        document = json.loads(pathlib.Path(drawn["train"][0]).read_text())
        for annotation in document["annotations"][:3]:
            annotation["bbox"][2] = 0
        document["annotations"][3]["bbox"][0] = -5
        other.write_text(json.dumps(document))
        made = intent(train_annotations=other)
        caught(told, intent(), made, 6, "3 box_empty", "1 box_negative")

    @pytest.mark.parametrize(
        ("feature", "words"),
        [
            ("image/object/is_crowd", "lost its crowd flags"),
            ("image/object/area", "areas that were computed again"),
            ("drop an object", "objects in its record"),
        ],
    )
    def test_records_of_another_converter(self, intent, told, records, feature, words):
        """Without a manifest a sample of them is held against the annotation file."""
        from tfrecords import example

        (records / "manifest-train.json").unlink()
        assert told(intent())[6].status == "pass"
        for path in records.glob("train-*.tfrecord"):
            rows = [example.decode(record) for record in framing.read(path)]
            with open(path, "wb") as file:
                writer = framing.Writer(file)
                for features in rows:
                    writer.write(example.encode(_damaged(features, feature)))
        result = told(intent())[6]
        assert result.status == "fail" and words in result.seen


def _damaged(features, what):
    """A record's features with crowd flags cleared, areas doubled, or without its last object."""
    features = copy.deepcopy(features)
    for name, (kind, values) in list(features.items()):
        if name == what == "image/object/is_crowd":
            features[name] = (kind, [0] * len(values))
        elif name == what == "image/object/area":
            features[name] = (kind, [2 * value for value in values])
        elif what == "drop an object" and name.startswith("image/object/"):
            features[name] = (kind, values[:-1])
    return features


class Test7Labels:
    def test_class_count_against_the_label_map(self, intent, told, records):
        def edit(message):
            message.model.ssd.num_classes = 2

        sound, result = told(intent())[7], told(intent(edit))[7]
        assert sound.status == "pass" and result.status == "fail"
        assert "num_classes is 2, but the highest id" in result.seen

    def test_a_category_without_a_label(self, intent, told, records):
        path = records / "label_map.pbtxt"
        path.write_text(path.read_text().replace("triangle", "cone"))
        result = told(intent())[7]
        assert result.status == "fail" and "'triangle'" in result.seen

    def test_background_named(self, intent, told, records):
        path = records / "label_map.pbtxt"
        path.write_text("item { id: 0 name: 'background' }\n" + path.read_text())
        with pytest.raises(UserError, match=r"item 1 \('background'\) has id 0"):
            intent()
        made = intent(run_dir=path.parent / "elsewhere")
        made.message.train_input_reader.label_map_path = str(path)
        result = told(made, convert=False)[7]
        assert result.status == "fail" and "('background') has id 0" in result.seen

    @pytest.mark.parametrize("manifest", [True, False])
    def test_records_alone_name_a_category_that_the_map_does_not(
        self, intent, told, records, manifest
    ):
        """As tools/train.py sees it, with no annotation file; it would train at a loss of 0."""
        if not manifest:
            (records / "manifest-train.json").unlink()
            (records / "manifest-val.json").unlink()
        alone = {"train_annotations": "", "val_annotations": ""}
        assert told(intent(), **alone)[7].status == "pass"
        path = records / "label_map.pbtxt"
        path.write_text(path.read_text().replace("triangle", "TRIANGLE"))
        result = told(intent(), **alone)[7]
        assert result.status == "fail" and "no label names 'triangle'" in result.seen
        assert "It has 'TRIANGLE'" in result.seen

    def test_labels_off_by_one_in_the_records(self, intent, told, records):
        from tfrecords import example

        (records / "manifest-train.json").unlink()
        for path in records.glob("train-*.tfrecord"):
            rows = [example.decode(record) for record in framing.read(path)]
            with open(path, "wb") as file:
                writer = framing.Writer(file)
                for features in rows:
                    # 0 to 2 instead of 1 to 3, and no names to go by.
                    _, names = features.pop("image/object/class/text")
                    numbers = [("disc", "square", "triangle").index(n.decode()) for n in names]
                    features["image/object/class/label"] = ("int64_list", numbers)
                    writer.write(example.encode(features))
        result = told(intent())[7]
        assert result.status == "fail" and "off by one" in result.seen

    def test_eighty_contiguous_ids(self, intent, drawn, tmp_path):
        names = official.categories().values()
        paths = {}
        for split in ("train", "val"):
            document = json.loads(pathlib.Path(drawn[split][0]).read_text())
            document["categories"] = [
                {"id": n, "name": name} for n, name in enumerate(names, start=1)
            ]
            paths[split] = tmp_path / f"{split}.json"
            paths[split].write_text(json.dumps(document))
        made = intent(model=MODEL, train_annotations=paths["train"], val_annotations=paths["val"])
        result = preflight.check(made, trial=False, numbers=(7,)).results[0]
        assert result.status == "fail"
        assert "num_classes is 80, published 90" in result.seen
        assert "COCO's names under other ids" in result.seen


class Test16Files:
    def test_a_shard_is_missing(self, intent, told, records):
        sound = told(intent())[16]
        (records / "train-00001-of-00003.tfrecord").unlink()
        result = told(intent())[16]
        assert sound.status == "pass" and result.status == "fail"
        assert "2 of 3 shards" in result.seen and "train-00001-of-00003" in result.seen

    def test_a_shard_holds_fewer_records_than_its_manifest_counts(self, intent, told, records):
        sound, path = told(intent())[16], records / "manifest-train.json"
        manifest = checked_json.unsealed(json.loads(path.read_text()))
        manifest["shards"][2]["records"] += 3
        path.write_text(json.dumps(checked_json.sealed(manifest)))
        result = told(intent())[16]
        assert sound.status == "pass" and result.status == "fail"
        there = manifest["shards"][2]["records"] - 3
        assert f"00002-of-00003.tfrecord holds {there} records, its manifest counts" in result.seen

    def test_a_shard_without_a_manifest_is_cut_off(self, intent, told, records):
        (records / "manifest-train.json").unlink()
        shard = records / "train-00002-of-00003.tfrecord"
        shard.write_bytes(shard.read_bytes()[:-100])
        result = told(intent())[16]
        assert result.status == "fail" and "cut off" in result.seen

    def test_an_image_is_cut_off(self, intent, told, drawn, tmp_path):
        images = tmp_path / "train"
        shutil.copytree(drawn["train"][1], images)
        image = images / "000001.jpg"
        image.write_bytes(image.read_bytes()[:900])
        caught(told, intent(), intent(train_images=images), 16, "000001.jpg (image 1)")

    def test_images_are_missing(self, intent, told, drawn, tmp_path):
        images = tmp_path / "val"
        shutil.copytree(drawn["val"][1], images)
        (images / "000004.jpg").unlink()
        caught(told, intent(), intent(val_images=images), 16, "1 of 6 images", "000004.jpg")

    def test_the_disk_is_too_small(self, intent, told, monkeypatch):
        sound = told(intent())[16]
        usage = types.SimpleNamespace(free=10_000)
        monkeypatch.setattr(file_checks.shutil, "disk_usage", lambda folder: usage)
        result = told(intent())[16]
        assert sound.status == "pass" and result.status == "fail"
        assert "will be written (records" in result.seen

    def test_no_records_to_train_on(self, intent, told):
        result = told(intent(), convert=False)[16]
        assert result.status == "fail" and "create_coco_tf_record.py" in result.fix


class Test17TrainingImages:
    def test_fewer_than_train2017_has(self, intent, told):
        zoo_model = dict(model=MODEL, fine_tune_checkpoint="ckpt-1")
        result = told(intent(**zoo_model))[17]
        assert result.status == "fail"
        assert "published on train2017's 118,287 and 860,001" in result.seen
        assert told(intent(**zoo_model), rehearsal=True)[17].status == "warn"

    def test_the_manifest_tells_where_there_is_no_annotation_file(self, intent, told, monkeypatch):
        source = {"images": 118_287, "annotations": 860_001}
        held = types.SimpleNamespace(manifest={"source": source}, paths=[], pattern="")
        facts = LaunchFacts(intent(model=MODEL))
        monkeypatch.setattr(LaunchFacts, "train_source", None)
        monkeypatch.setattr(LaunchFacts, "train_records", held)
        (found,) = data_checks.training_images(facts)
        assert found.seen == "118,287 images, 860,001 annotations, as many as train2017 has"
