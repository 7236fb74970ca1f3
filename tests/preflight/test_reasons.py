"""Each of the seventeen documented reasons, made, and caught by its number alone."""

import copy
import dataclasses
import json
import pathlib
import shutil
import sys
import types

import pytest

from replicate import config as configs
from replicate import preflight, reasons
from replicate.errors import UserError
from replicate.preflight import data_checks, evaluators, file_checks, machine, memory, starting
from replicate.preflight import trial as trials
from replicate.preflight.launch_facts import LaunchFacts
from replicate.score import scoring
from replicate.verdict import official
from tests.preflight.conftest import MODEL
from tfrecords import checked_json, framing

DATA = ("train_annotations", "train_images", "val_annotations", "val_images")
RATE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


def _statuses(results):
    return {number: result.status for number, result in results.items()}


_SOUND = {}  # the results of the sound launch, the same for every test


def _caught(told, sound, made, number, *words, status="fail", beside=()):
    """Asserts that `made` differs from `sound` in this reason alone, and says these words."""
    if not _SOUND:
        _SOUND.update(told(sound))
    before, after = _SOUND, told(made)
    assert before[number].status == "pass", before[number]
    assert after[number].status == status, after[number]
    for word in words:
        assert word in f"{after[number].seen} → {after[number].fix}", after[number]
    assert after[number].fix or status != "fail"
    others = {n for n in before if before[n].status != after[n].status} - {number}
    assert others <= set(beside), {n: after[n] for n in others}
    return after[number]


def test_a_sound_launch_passes_all_that_a_cpu_can(intent, told):
    results = told(intent())
    assert list(results) == list(range(1, 18))
    failing = {n: r for n, r in results.items() if r.status != "pass"}
    # 10: there is no GPU here; 12: memory is told by the trial.
    assert set(failing) <= {10, 12} and all(r.status == "warn" for r in failing.values())


def _with_checkpoint(recipe, tmp_path):
    """The recipe, starting from a classification checkpoint."""
    message = configs.load(recipe)
    message.train_config.fine_tune_checkpoint = "PATH_TO_BE_CONFIGURED/mobilenet_v2.ckpt-1"
    path = tmp_path / "with_checkpoint.config"
    path.write_text(configs.to_text(message))
    return path


class Test1StartingCheckpoint:
    def test_left_empty(self, intent, told, recipe, tmp_path):
        made = intent(model=_with_checkpoint(recipe, tmp_path))
        _caught(told, intent(), made, 1, "random weights", "mobilenet_v2.ckpt-1")

    def test_not_there(self, intent, told):
        made = intent(fine_tune_checkpoint="/nowhere/ckpt-1")
        told_by_drift = (3,)  # the recipe of these tests starts from random weights
        _caught(told, intent(), made, 1, "/nowhere/ckpt-1.index is missing", beside=told_by_drift)

    @pytest.mark.parametrize(
        ("edit", "word"),
        [
            (lambda train: setattr(train, "fine_tune_checkpoint_type", "detection"), "detection"),
            (lambda train: train.ClearField("fine_tune_checkpoint_version"), "V2"),
        ],
    )
    def test_wrong_type_or_version(self, intent, recipe, tmp_path, edit, word):
        (tmp_path / "start.index").touch()
        made = intent(
            lambda message: edit(message.train_config),
            model=_with_checkpoint(recipe, tmp_path),
            fine_tune_checkpoint=str(tmp_path / "start"),
        )
        found = list(starting.checkpoint(LaunchFacts(made)))
        problems = [each for each in found if getattr(each, "status", "pass") == "fail"]
        assert len(problems) == 1 and word in problems[0].seen + problems[0].fix

    def test_matching_few_variables(self, intent):
        found = [
            next(starting.matched(LaunchFacts(intent()), {"start": start}, None))
            for start in (
                {"changed": 40, "total": 262},
                {"changed": 200, "total": 262},
                {"changed": 262, "total": 262},
                {"error": "matches none of the model's 262 variables"},
            )
        ]
        statuses = [getattr(each, "status", "pass") for each in found]
        assert statuses == ["fail", "warn", "pass", "fail"]
        assert "only 40 of 262" in found[0].seen

    @pytest.mark.slow
    def test_a_real_checkpoint_of_something_else(self, intent, told, recipe, tmp_path):
        """Restored by the trial's process, which counts what the model took of it."""
        from replicate import odapi

        odapi.load()
        import tensorflow as tf

        path = tf.train.Checkpoint(x=tf.Variable([1.0])).write(str(tmp_path / "unrelated"))
        made = intent(model=_with_checkpoint(recipe, tmp_path), fine_tune_checkpoint=path)
        result = told(made)[1]
        assert result.status == "fail" and "matches none of the model's" in result.seen


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
        _caught(told, intent(), made, 2, "training images are evaluated", "are one file")

    @pytest.fixture
    def copied(self, drawn, tmp_path):
        """The training annotations in another file: other bytes, the same images."""
        path = tmp_path / "copied.json"
        path.write_text(json.dumps(json.loads(pathlib.Path(drawn["train"][0]).read_text())) + " ")
        return path

    def test_by_the_bytes_of_images(self, intent, told, drawn, copied):
        made = intent(val_annotations=copied, val_images=drawn["train"][1])
        _caught(told, intent(), made, 2, "000001.jpg is the same file")

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


class Test3Drift:
    def test_another_size(self, intent, told):
        def edit(message):
            message.model.ssd.image_resizer.fixed_shape_resizer.height = 300

        made = intent(edit)
        _caught(told, intent(), made, 3, "height is 300, published 96", "--set model.ssd.image")

    def test_what_was_asked_for_is_a_warning(self, intent, told):
        path = "model.ssd.image_resizer.fixed_shape_resizer.height"
        _caught(told, intent(), intent(overrides=[(path, "300")]), 3, "300", status="warn")

    def test_a_backbone_that_does_not_exist(self, intent, told):
        def edit(message):
            message.model.ssd.feature_extractor.type = "ssd_mobilenet_v2"

        _caught(told, intent(), intent(edit), 3, "no feature extractor")

    def test_a_field_that_nothing_reads(self, intent, told):
        def edit(message):
            message.train_config.freeze_variables.append(".*FeatureExtractor.*")

        words = ("train_config.freeze_variables: no effect", "--freeze=backbone")
        _caught(told, intent(), intent(edit), 3, *words, status="warn")

    def test_frozen_layers(self, intent, told):
        made = intent(freeze="backbone")
        _caught(told, intent(), made, 3, "--freeze=backbone: not in the recipe", status="warn")


class Test4BatchAndRate:
    def test_smaller_batch_with_the_published_rate(self, intent, told):
        made = intent(overrides=[("train_config.batch_size", "4")])
        # The images seen halve with it.
        result = _caught(told, intent(), made, 4, "2 times too high", "NaN", beside=(8,))
        assert f"--set {RATE}.learning_rate_base=0.04" in result.fix
        assert "--set train_config.num_steps=100000" in result.fix

    def test_the_fix_it_offers_mends_it(self, intent, told):
        made = intent(overrides=[("train_config.batch_size", "4")])
        overrides = [("train_config.batch_size", "4")]
        for flag in told(made)[4].fix.split("--set ")[1:]:
            overrides.append(configs.parse_override(flag.strip()))
        results = told(intent(overrides=overrides))
        assert results[4].status == "warn" and "scaled by the linear rule" in results[4].seen
        assert results[8].status in ("pass", "warn")

    def test_a_rate_that_was_asked_for_is_a_warning(self, intent, told):
        made = intent(overrides=[(f"{RATE}.learning_rate_base", "0.4")])
        _caught(told, intent(), made, 4, "5 times too high", status="warn")

    @pytest.mark.parametrize("value", ["0", "nan", "inf"])
    def test_a_rate_with_which_nothing_is_learnt(self, intent, told, value):
        made = intent(
            overrides=[(f"{RATE}.learning_rate_base", value), (f"{RATE}.warmup_learning_rate", "0")]
        )
        result = told(made)[4]
        assert result.status == "fail" and "nothing is learnt" in result.seen, result

    def test_a_batch_of_no_images_is_told_before_any_check(self, intent, told):
        def edit(message):
            message.train_config.batch_size = 0

        with pytest.raises(UserError, match="train_config.batch_size is 0"):
            told(intent(edit))


class Test5BatchOverDevices:
    @pytest.mark.parametrize(
        ("batch", "gpus", "words"),
        [
            (1, 8, ["1 looks like the batch of one", "batch_size=8"]),
            (64, 8, ["64 looks multiplied", "batch_size=8"]),
            (6, 4, ["does not divide among 4 devices", "a multiple of 4"]),
        ],
    )
    def test_read_as_the_batch_of_a_gpu(self, intent, told, monkeypatch, batch, gpus, words):
        def edit(message):
            message.train_config.batch_size = batch

        monkeypatch.setattr(LaunchFacts, "replicas", gpus)
        result = told(intent(edit))[5]
        assert result.status == "fail"
        for word in words:
            assert word in result.seen + result.fix
        assert told(intent())[5].status == "pass"

    def test_both_meanings_are_printed(self, intent, told, monkeypatch):
        monkeypatch.setattr(LaunchFacts, "replicas", 4)
        assert "global batch 8: 2 on each of 4 devices" in told(intent())[5].seen


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
        _caught(told, intent(), made, 6, "3 box_empty", "1 box_negative")

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


class Test8Length:
    def test_fewer_steps(self, intent, told):
        def edit(message):
            message.train_config.num_steps = 25_000

        made = intent(edit)
        result = _caught(told, intent(), made, 8, "50.0% of them", "num_steps=50000")
        assert "before the decay does" in result.seen

    def test_epochs_lost_with_a_batch_change(self, intent, told):
        overrides = [("train_config.batch_size", "2"), (f"{RATE}.learning_rate_base", "0.02")]
        _caught(
            told, intent(), intent(overrides=overrides), 8, "25.0% of them", "200000", beside=(4,)
        )

    def test_steps_that_were_asked_for_are_a_warning(self, intent, told):
        result = told(intent(num_steps=10))[8]
        assert result.status == "warn" and "80 images" in result.seen
        # The schedule is cut off, and the one flag that shortens it is named.
        assert "before the decay does" in result.seen
        assert "--rehearsal shortens the schedule with --num_steps" in result.fix

    def test_a_config_is_shortened_by_rendering_it(self, intent, told):
        result = told(intent(num_steps=10, convert=False))[8]
        assert "render_config.py --num_steps=10 scales the schedule" in result.fix


class Test9Resume:
    @pytest.fixture
    def begun(self, intent, tmp_path):
        """A run directory with a checkpoint of step 20, trained with the sound config."""
        run = tmp_path / "run"
        (run / "checkpoints").mkdir(parents=True)
        (run / "checkpoints" / "ckpt-20.index").touch()
        (run / "metrics.jsonl").write_text('{"step": 20, "losses": {}}\n')
        (run / "pipeline.config").write_text(configs.to_text(intent().message))
        return run

    def _resume(self, intent):
        return next(iter(preflight.check(intent, numbers=(9,)).results))

    def test_with_its_own_config_it_continues(self, intent, begun):
        result = self._resume(intent())
        assert result.status == "pass" and "continues after step 20" in result.seen

    def test_with_another_optimizer(self, intent, begun):
        def edit(message):
            optimizer = message.train_config.optimizer.momentum_optimizer
            optimizer.learning_rate.cosine_decay_learning_rate.learning_rate_base = 0.01

        result = self._resume(intent(edit))
        assert result.status == "fail"
        assert "learning_rate_base was 0.08, is 0.01" in result.seen

    def test_a_config_edited_in_place(self, intent, begun):
        """The config of the launch is kept, so an edit of the file itself is seen too."""
        text = configs.to_text(intent().message)
        (begun / "preflight.json").write_text(json.dumps({"config": text, "results": []}))

        def edit(message):
            message.train_config.batch_size = 4

        edited = intent(edit)
        (begun / "pipeline.config").write_text(configs.to_text(edited.message))
        result = self._resume(edited)
        assert result.status == "fail" and "batch_size was 8, is 4" in result.seen

    def test_more_steps_are_a_longer_run(self, intent, begun):
        assert self._resume(intent(num_steps=60_000)).status == "pass"

    def test_fine_tuning_from_its_own_checkpoint(self, intent, begun):
        made = intent(fine_tune_checkpoint=str(begun / "checkpoints" / "ckpt-20"))
        result = self._resume(made)
        assert result.status == "fail" and "begins at step 0" in result.seen

    def test_a_log_that_ends_before_the_checkpoint(self, intent, begun):
        (begun / "metrics.jsonl").write_text('{"step": 10, "losses": {}}\n')
        result = self._resume(intent())
        assert result.status == "warn" and "ends at step 10" in result.seen

    @pytest.mark.parametrize(
        ("parts", "status", "word"),
        [
            (["model", "optimizer", "random", "step"], "pass", "optimizer are in it"),
            (["model", "step"], "fail", "holds no optimizer"),
        ],
    )
    def test_what_the_checkpoint_holds(self, intent, parts, status, word):
        state = {"damaged": [], "step": 20, "parts": parts}
        (found,) = starting.resumed(LaunchFacts(intent()), {"resume": state}, None)
        assert getattr(found, "status", "pass") == status and word in found.seen


class Test10Gpu:
    def test_a_missing_library_is_named(self, intent, told, monkeypatch, cuda_without):
        monkeypatch.setenv("LD_LIBRARY_PATH", str(cuda_without("libcudnn.so.9")))
        result = told(intent())[10]
        assert result.status == "fail"
        assert "did not find libcudnn.so.9:" in result.seen and "venv-gpu" in result.fix

    def test_fewer_than_were_asked_for(self, intent, told):
        result = told(intent(num_gpus=64))[10]
        assert result.status == "fail" and "64 GPUs were asked for" in result.seen

    def test_without_a_gpu_it_is_said(self, intent, told):
        assert told(intent())[10].status in ("pass", "warn")

    def test_a_trial_that_ran_on_the_cpu_all_the_same(self, intent, monkeypatch):
        monkeypatch.setattr(LaunchFacts, "gpus", ["a GPU"])
        (found,) = machine.ran_on(LaunchFacts(intent()), {"steps": {"gpus": 0}}, None)
        assert found.status == "fail"

    def test_a_model_that_xla_cannot_compile(self, intent):
        asked = intent(jit_compile=True)
        assert not list(machine.compiled(LaunchFacts(asked)))
        gpu_8 = configs.template("faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8")
        made = dataclasses.replace(asked, message=gpu_8)
        (found,) = machine.compiled(LaunchFacts(made))
        assert found.status == "fail" and "--jit_compile" in found.fix
        assert not list(machine.compiled(LaunchFacts(dataclasses.replace(made, jit_compile=False))))


class Test11Libraries:
    def test_keras_3_is_already_there(self, intent, told, monkeypatch):
        stand_in = types.SimpleNamespace(_tf_uses_legacy_keras=False)
        monkeypatch.setitem(sys.modules, "tensorflow", stand_in)
        result = told(intent())[11]
        assert result.status == "fail" and "Keras 3" in result.seen

    def test_a_changed_api(self, intent, told, monkeypatch):
        from replicate.odapi import provenance

        changed = [("object_detection/inputs.py", "changed")]
        monkeypatch.setattr(provenance, "differences", lambda: changed)
        result = told(intent())[11]
        assert result.status == "fail" and "inputs.py changed" in result.seen

    def test_the_slow_protobuf(self, intent, told, monkeypatch):
        monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
        assert told(intent())[11].status == "warn"


class Test12Memory:
    def test_a_shuffle_buffer_beyond_the_memory(self, intent, told, monkeypatch):
        sound = told(intent())[12]
        monkeypatch.setattr(memory, "available_bytes", lambda: 100_000)
        result = told(intent())[12]
        assert "shuffle buffer" not in sound.seen and result.status == "fail"
        assert "shuffle buffer of 2,048 records" in result.seen
        assert "--set train_input_reader.shuffle_buffer_size=" in result.fix

    @pytest.mark.parametrize(
        ("there_gib", "batch", "status", "word"),
        [
            (100, 8, "pass", "3.0 GiB needed"),
            (2, 8, "fail", "3.0 GiB needed, 2.0 there"),
            (4, 32, "warn", "scaled from batch 8"),
        ],
    )
    def test_what_two_steps_took(self, intent, monkeypatch, there_gib, batch, status, word):
        monkeypatch.setattr(memory, "available_bytes", lambda: there_gib * 2**30)
        monkeypatch.setattr(memory, "shuffle_bytes", lambda material: 0)
        steps = {
            "batch": 8,
            "of_batch": batch,
            "gpus": 0,
            "seconds": 1.0,
            "seconds_to_first_step": 30.0,
            "input_wait": 0.1,
            "built_bytes": 2 * 2**30,
            "peak_bytes": 3 * 2**30,
            "gpu_peak_bytes": 0,
        }
        from replicate.preflight import forecast

        material = LaunchFacts(intent())
        tried = {"steps": steps, "checkpoint_bytes": 10}
        foreseen = forecast.of(material, tried)
        (found, *_) = machine.memory_needed(material, tried, foreseen)
        assert getattr(found, "status", "pass") == status and word in found.seen

    def test_a_trial_that_was_killed(self, intent):
        error = trials._why(-9, "", "two training steps")
        (found,) = machine.memory_needed(LaunchFacts(intent()), {"error": error}, None)
        assert found.status == "fail" and "out of memory" in found.seen

    def test_the_containers_limit_counts(self, monkeypatch, tmp_path):
        for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 1\nfile 50\n")):
            (tmp_path / f"memory.{name}").write_text(text)
        monkeypatch.setattr(memory, "_CGROUP", tmp_path)
        assert memory.available_bytes() == 350


class Test13Averages:
    def test_kept_and_not_evaluated(self, intent, told):
        def edit(message):
            message.train_config.optimizer.use_moving_average = True

        _caught(told, intent(), intent(edit), 13, "never evaluated", "use_moving_averages")

    def test_evaluated_and_not_kept(self, intent, told):
        def edit(message):
            message.eval_config.use_moving_averages = True

        _caught(told, intent(), intent(edit), 13, "no averaged weights to evaluate")

    def test_both_unlike_the_recipe(self, intent, told):
        def edit(message):
            message.train_config.optimizer.use_moving_average = True
            message.eval_config.use_moving_averages = True

        _caught(told, intent(), intent(edit), 13, "published false")


class Test14Cut:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("score_threshold", 0.5), ("max_total_detections", 10), ("iou_threshold", 0.3)],
    )
    def test_set_for_deployment(self, intent, told, field, value):
        def edit(message):
            nms = message.model.ssd.post_processing.batch_non_max_suppression
            setattr(nms, field, value)

        _caught(told, intent(), intent(edit), 14, field, "published")

    def test_without_a_recipe_to_compare_with(self, intent, told):
        def edit(message):
            message.model.ssd.post_processing.batch_non_max_suppression.score_threshold = 0.5

        sound, result = intent(), intent(edit)
        assert told(sound, model="")[14].status == "pass"
        result = told(result, model="")[14]
        assert result.status == "fail" and "for deployment" in result.seen


class Test15Evaluators:
    def test_an_annotation_without_an_id(self, intent, told, drawn, tmp_path):
        """0 is "unmatched" to pycocotools, and an id to others."""
        document = json.loads(pathlib.Path(drawn["val"][0]).read_text())
        document["annotations"][0]["id"] = 0
        path = tmp_path / "val.json"
        path.write_text(json.dumps(document))
        _caught(told, intent(), intent(val_annotations=path), 15, "unmatched")

    def test_figures_that_differ(self, intent, told, monkeypatch):
        sound = told(intent())[15]
        monkeypatch.setattr(scoring, "AGREEMENT", -1.0)
        result = told(intent())[15]
        assert sound.status == "pass" and result.status == "fail"
        assert "disagree" in result.seen

    def test_on_the_trials_detections(self, intent):
        tried = {"evaluation": {"agree": False, "detections": 200}}
        (found,) = evaluators.of_trial(LaunchFacts(intent()), tried, None)
        assert found.status == "fail"


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
        _caught(told, intent(), intent(train_images=images), 16, "000001.jpg (image 1)")

    def test_images_are_missing(self, intent, told, drawn, tmp_path):
        images = tmp_path / "val"
        shutil.copytree(drawn["val"][1], images)
        (images / "000004.jpg").unlink()
        _caught(told, intent(), intent(val_images=images), 16, "1 of 6 images", "000004.jpg")

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


def test_a_rehearsal_turns_differences_into_warnings_and_nothing_else(intent, told):
    made = intent(model=MODEL)
    strict, rehearsed = _statuses(told(made)), _statuses(told(made, rehearsal=True))
    assert [n for n, status in strict.items() if status == "fail"] == [1, 2, 7, 17]
    assert [rehearsed[n] for n in (1, 2, 7)] == ["warn"] * 3
    assert "fail" not in rehearsed.values()
    broken = intent(model=MODEL, fine_tune_checkpoint="/nowhere/ckpt-1")
    assert told(broken, rehearsal=True)[1].status == "fail"


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
        material = LaunchFacts(intent(model=MODEL))
        monkeypatch.setattr(LaunchFacts, "train_source", None)
        monkeypatch.setattr(LaunchFacts, "train_records", held)
        (found,) = data_checks.training_images(material)
        assert found.seen == "118,287 images, 860,001 annotations, as many as train2017 has"
