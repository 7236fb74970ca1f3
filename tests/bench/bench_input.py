"""The training input by its parts, beside the bare JPEG decode of the same files.

    python tests/bench/bench_input.py                            # five recipes, drawn images
    python tests/bench/bench_input.py --images=64 --turns=3      # a quick look
    python tests/bench/bench_input.py --records='train-*.tfrecord' --label_map=label_map.pbtxt

For each recipe, on the records that the kit converts: reading, the bare decode of each record's
JPEG, the API's decoder (all features), examples without augmentation (resized, targets padded),
batches of them, these with it, as the training gets them, with --cache=decoded, once its images are
there, and where there is a GPU these copied to it. Each is a tf.data pipeline of its own over the
same images, with the training's threads; they run in turns, each from full buffers to full buffers,
while the others rest with theirs full. Printed: images a second, processor milliseconds an image
(the difference between two lines is a part's), and the ratios of the whole, without the cache and
with it, to the bare decode by processor time, with their 95 % intervals from paired turns. Images a
second a core are 1000 over these milliseconds. The target is --target for the SSD recipes with the
cache, which is there for every epoch but the first; where the interval does not tell, that is said.
--profile tells, of one more turn of the whole, which operations its time went to. Exit status 1
where a target is missed.
"""

import argparse
import contextlib
import glob
import os
import pathlib
import statistics
import sys
import tempfile
import time
from unittest import mock

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.bench import arguments, paired

RECIPES = (
    "ssd_mobilenet_v2_320x320_coco17_tpu-8",
    "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
    "ssd_efficientdet_d0_512x512_coco17_tpu-8",
    "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8",
    "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8",
)
BATCH = 8


# Standard deviation of the noise with which a drawn image has a photograph's bytes: 158 KB, as
# val2017's have on average. What a decoder takes follows from them.
_NOISE = 6.0


def make(folder):
    """Drawn images of 640×480, most photographs' size, with noise, as records.

    Returns:
      (pattern, label map).
    """
    import numpy as np
    from PIL import Image

    import tfrecords
    from tests.bench.bench_evaluate import _drawn, write_label_map

    annotations, images = _drawn(folder)
    rng = np.random.default_rng(0)
    for path in sorted(pathlib.Path(images).iterdir()):
        pixels = np.asarray(Image.open(path)) + rng.normal(0, _NOISE, (480, 640, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)
    tfrecords.convert(annotations, images, str(folder / "train"), 2, progress=False)
    write_label_map(annotations, folder / "label_map.pbtxt")
    return f"{folder}/train-*.tfrecord", folder / "label_map.pbtxt"


BARE, WHOLE, CACHED = "bare JPEG decode", "batches, augmented", "batches, augmented, cached"
ON_DEVICE = "batches, copied to the GPU"


@contextlib.contextmanager
def pipelines(recipe, pattern, label_map):
    """{part: a dataset without end, of batches}.

    Of what is only read, decoded or resized a batch has sizes alone: nothing is copied.
    """
    import tensorflow as tf
    from object_detection.builders import decoder_builder

    from replicate import config, odapi
    from replicate.train import decoded, distribution, input_stream

    message = config.render(
        recipe,
        overrides=[("train_config.batch_size", str(BATCH))],
        train_records=pattern,
        label_map=str(label_map),
        num_classes=90,
        fine_tune_checkpoint="",
    )
    reader = message.train_input_reader
    reader.shuffle = False
    paths = sorted(tf.io.gfile.glob(pattern))
    model = odapi.build_model(message.model, is_training=True)
    records = input_stream.numbered_records(paths, reader, seed=0, first_example=0).map(
        lambda number, record: record
    )
    decoder = decoder_builder.build(reader)

    def bare(record):
        field = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return tf.io.decode_jpeg(tf.io.parse_single_example(record, field)["image/encoded"], 3)

    batched = input_stream.batched

    def of_sizes(examples, *_):
        def sizes(*example):
            return [tf.size(tensor) for tensor in tf.nest.flatten(example)]

        return batched(input_stream.mapped(examples, sizes), BATCH)

    plain = type(message)()
    plain.CopyFrom(message)
    del plain.train_config.data_augmentation_options[:]

    def stream(config_message, images=""):
        return input_stream.train_dataset(
            config_message, model, seed=0, first_example=0, images=images
        )

    with mock.patch.object(input_stream, "batched", of_sizes):
        resized = stream(plain)
    with decoded.kept(paths, reader) as images:
        parts = {
            "read": of_sizes(records),
            BARE: of_sizes(input_stream.mapped(records, bare)),
            "decoder": of_sizes(input_stream.mapped(records, decoder.decode)),
            "resized, targets padded": resized,
            "batches, not augmented": stream(plain),
            WHOLE: stream(message),
            CACHED: stream(message, images),
        }
        if tf.config.list_logical_devices("GPU"):
            parts[ON_DEVICE] = distribution.ahead_of(stream(message, images))
        yield parts


def turn(iterator, batches):
    """(seconds, processor's seconds) for so many batches.

    From full buffers to full buffers: as many are made as are taken.
    """
    _, cpu = _at_rest()
    begun = time.perf_counter()
    for _ in range(batches):
        next(iterator)
    ended, cpu_then = _at_rest()
    return ended - begun, cpu_then - cpu


def _at_rest():
    """(when, the processor's seconds of this process): once nothing is made ahead any more."""
    since, before, quiet = time.perf_counter(), time.process_time(), 0
    while quiet < 5:
        time.sleep(0.01)
        now = time.process_time()
        if now - before > 0.001:
            since, quiet = time.perf_counter(), 0
        else:
            quiet += 1
        before = now
    return since, before


def profiled(dataset, images):
    """[(type of operation, ms an image)], the longest first, of a turn of batches."""
    import tensorflow as tf

    from replicate.train import profile

    iterator = iter(dataset)
    next(iterator)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            turn(iterator, images // BATCH)
        found = profile.operations(folder)
    made = images // BATCH * BATCH
    return [(each["operation"], each["seconds"] / made * 1e3) for each in found]


def measure(recipe, pattern, label_map, images, turns, with_profile=False):
    """{part: [(images a second, processor ms an image) of each turn]}, {part: its profile}."""
    import tensorflow as tf

    with pipelines(recipe, pattern, label_map) as datasets, tf.device("/CPU:0"):
        found = {part: [] for part in datasets}
        iterators = {part: iter(dataset) for part, dataset in datasets.items()}
        for number in range(turns + 1):
            for part, iterator in iterators.items():
                seconds, cpu = turn(iterator, images // BATCH)
                if number:  # the first turn warms caches and traces
                    made = images // BATCH * BATCH
                    found[part].append((made / seconds, cpu / made * 1e3))
        parts = (WHOLE, CACHED) if with_profile else ()
        return found, {part: profiled(datasets[part], images) for part in parts}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=arguments.at_least(BATCH), default=256, help="images a turn"
    )
    parser.add_argument("--turns", type=arguments.at_least(1), default=5)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="names of zoo models")
    parser.add_argument("--records", help="pattern of records, instead of drawn ones")
    parser.add_argument("--label_map", help="of --records")
    parser.add_argument("--target", type=float, default=0.8)
    parser.add_argument("--profile", action="store_true", help="and the operations of each whole")
    options = parser.parse_args()
    _refuse(parser, options)
    from replicate import odapi

    odapi.load()
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        given = options.records, options.label_map
        pattern, label_map = given if options.records else make(pathlib.Path(folder))
        for recipe in options.recipes.split(","):
            found, profiles = measure(
                recipe, pattern, label_map, options.images, options.turns, options.profile
            )
            missed |= _report(recipe, found, options) == paired.MISSED
            for part, operations in profiles.items():
                told = ", ".join(f"{name} {ms:.2f}" for name, ms in operations[:10])
                print(f"  {part}, ms an image: {told}", flush=True)
    return 1 if missed else 0


def _refuse(parser, options):
    """What would fail after minutes, or as a traceback."""
    from replicate import config

    for recipe in options.recipes.split(","):
        config.template(recipe)
    if options.records and not glob.glob(options.records):
        parser.error(f"--records: no file matches {options.records}")
    if bool(options.records) != bool(options.label_map):
        parser.error("--records and --label_map go together")
    if options.label_map and not pathlib.Path(options.label_map).is_file():
        parser.error(f"--label_map: {options.label_map} is not a file")


def _report(recipe, found, options):
    print(f"{recipe} ({options.images} images a turn, {os.cpu_count()} cores)")
    for part, turns in found.items():
        rate, cpu = (statistics.median(values) for values in zip(*turns, strict=True))
        print(
            f"  {part:27} {rate:6.0f} images/s, {cpu:6.2f} ms of processor an image: "
            f"{1e3 / cpu:.0f} images/s a core"
        )
    target = options.target if recipe.startswith("ssd_") else None
    print(f"  whole beside the bare decode, a core: {paired.text(_beside(found, WHOLE))}")
    cached = _beside(found, CACHED)
    print(f"  with the cache: {paired.text(cached, target)}", flush=True)
    return paired.answer(cached, target) if target else None


def _beside(found, part):
    """The ratios of the bare decode's processor time to a part's, turn by turn."""
    return [bare[1] / whole[1] for bare, whole in zip(found[BARE], found[part], strict=True)]


if __name__ == "__main__":
    arguments.run(main)
