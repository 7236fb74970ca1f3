"""The documented reasons that lie in the config, each made and caught by its number alone."""

import pytest

from replicate import config as configs
from replicate.errors import UserError
from replicate.preflight.launch_facts import LaunchFacts
from tests.preflight.caught import RATE, caught


class Test3Drift:
    def test_another_size(self, intent, told):
        def edit(message):
            message.model.ssd.image_resizer.fixed_shape_resizer.height = 300

        made = intent(edit)
        caught(told, intent(), made, 3, "height is 300, published 96", "--set model.ssd.image")

    def test_what_was_asked_for_is_a_warning(self, intent, told):
        path = "model.ssd.image_resizer.fixed_shape_resizer.height"
        caught(told, intent(), intent(overrides=[(path, "300")]), 3, "300", status="warn")

    def test_a_backbone_that_does_not_exist(self, intent, told):
        def edit(message):
            message.model.ssd.feature_extractor.type = "ssd_mobilenet_v2"

        caught(told, intent(), intent(edit), 3, "no feature extractor")

    def test_what_ends_the_training_at_the_first_image(self, intent, told):
        def edit(message):
            message.model.ssd.anchor_generator.multiscale_anchor_generator.min_level = 4

        caught(told, intent(), intent(edit), 3, "anchors of levels 4 to 7")

    def test_a_field_that_nothing_reads(self, intent, told):
        def edit(message):
            message.train_config.freeze_variables.append(".*FeatureExtractor.*")

        words = ("train_config.freeze_variables: no effect", "--freeze=backbone")
        caught(told, intent(), intent(edit), 3, *words, status="warn")

    def test_frozen_layers(self, intent, told):
        made = intent(freeze="backbone")
        caught(told, intent(), made, 3, "--freeze=backbone: not in the recipe", status="warn")


class Test4BatchAndRate:
    def test_smaller_batch_with_the_published_rate(self, intent, told):
        made = intent(overrides=[("train_config.batch_size", "4")])
        # The images seen halve with it.
        result = caught(told, intent(), made, 4, "2 times too high", "NaN", beside=(8,))
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
        caught(told, intent(), made, 4, "5 times too high", status="warn")

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


class Test8Length:
    def test_fewer_steps(self, intent, told):
        def edit(message):
            message.train_config.num_steps = 25_000

        made = intent(edit)
        result = caught(told, intent(), made, 8, "50.0% of them", "num_steps=50000")
        assert "before the decay does" in result.seen

    def test_epochs_lost_with_a_batch_change(self, intent, told):
        overrides = [("train_config.batch_size", "2"), (f"{RATE}.learning_rate_base", "0.02")]
        caught(
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


class Test13Averages:
    def test_kept_and_not_evaluated(self, intent, told):
        def edit(message):
            message.train_config.optimizer.use_moving_average = True

        caught(told, intent(), intent(edit), 13, "never evaluated", "use_moving_averages")

    def test_evaluated_and_not_kept(self, intent, told):
        def edit(message):
            message.eval_config.use_moving_averages = True

        caught(told, intent(), intent(edit), 13, "no averaged weights to evaluate")

    def test_both_unlike_the_recipe(self, intent, told):
        def edit(message):
            message.train_config.optimizer.use_moving_average = True
            message.eval_config.use_moving_averages = True

        caught(told, intent(), intent(edit), 13, "published false")


class Test14Cut:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("score_threshold", 0.5), ("max_total_detections", 10), ("iou_threshold", 0.3)],
    )
    def test_set_for_deployment(self, intent, told, field, value):
        def edit(message):
            nms = message.model.ssd.post_processing.batch_non_max_suppression
            setattr(nms, field, value)

        caught(told, intent(), intent(edit), 14, field, "published")

    def test_without_a_recipe_to_compare_with(self, intent, told):
        def edit(message):
            message.model.ssd.post_processing.batch_non_max_suppression.score_threshold = 0.5

        sound, result = intent(), intent(edit)
        assert told(sound, model="")[14].status == "pass"
        result = told(result, model="")[14]
        assert result.status == "fail" and "for deployment" in result.seen
