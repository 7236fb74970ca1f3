"""Evaluation beside the Object Detection API's own: images a second with tracing, and without.

    python tests/bench/bench_evaluate.py                 # 500 images
    python tests/bench/bench_evaluate.py --images=64     # a quick look

Both evaluate the same checkpoint of ssd_mobilenet_v2_fpnlite_320x320 (made-up weights) on the
same images: the API from records with `model_lib_v2.eval_continuously`, the kit as
tools/evaluate.py does. Counted from the config in memory to the twelve metrics: building,
tracing, restoring, reading, detecting, scoring. Each runs in a process of its own, the kit's
before and after the API's, so that a change of the machine's load shows.

Then, in one process and in turns, the kit's evaluation without building and tracing (reading,
detecting, writing, scoring) and the bare call: the same function called as often on a batch in
memory. And what a user would deploy: the forward pass alone (features and heads) beside the same
weights in TFLite with XNNPACK on the same cores, and beside itself compiled by XLA as
--jit_compile does it, their heads held equal.

--images_from=ANNOTATIONS:FOLDER takes real images, repeated as needed; otherwise they are drawn.
The ratios are what to compare; where they lie on both sides of a target, the run cannot tell, and
says so. Exit status 1 where one misses its target.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.bench import arguments, paired

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
STEP = 1000
BATCH = 8
TARGET_RATIO, TARGET_SHARE = 5.0, 1.2
FORWARD_TURNS = 10


def make(folder, count, images_from):
    """Images, instances.json, records, label map, config and a checkpoint in `folder`."""
    import tfrecords
    from replicate import config

    _copy_images(folder, count, images_from)
    annotations = str(folder / "instances.json")
    tfrecords.convert(annotations, str(folder / "images"), str(folder / "val"), 1, progress=False)
    write_label_map(annotations, folder / "label_map.pbtxt")
    message = config.render(
        MODEL,
        train_records=f"{folder}/val-*.tfrecord",
        val_records=f"{folder}/val-*.tfrecord",
        label_map=str(folder / "label_map.pbtxt"),
        num_classes=90,
        fine_tune_checkpoint="",
    )
    (folder / "pipeline.config").write_text(config.to_text(message))


def write_label_map(annotations, path):
    """COCO's 90 ids: those of the annotation file under its names, the others made up."""
    categories = json.loads(pathlib.Path(annotations).read_text())["categories"]
    names = {id: f"category {id}" for id in range(1, 91)}
    names |= {category["id"]: category["name"] for category in categories}
    items = (f"item {{ id: {id} name: '{name}' }}\n" for id, name in names.items())
    path.write_text("".join(items))


def make_checkpoint(folder):
    from replicate import config
    from replicate.evaluate.detector import Detector
    from replicate.parity import fixed

    import tensorflow as tf  # isort: skip  (after Keras 2 was chosen)

    model = Detector(config.read(folder / "pipeline.config")).model
    fixed.fill_weights(model)
    checkpoint = tf.train.Checkpoint(model=model, step=tf.Variable(STEP, dtype=tf.int64))
    manager = tf.train.CheckpointManager(
        checkpoint, str(folder / "checkpoints"), 1, checkpoint_name="ckpt"
    )
    manager.save(checkpoint_number=STEP)


def _copy_images(folder, count, images_from):
    """`count` images of the given set, which repeats, with their objects; ids from 1."""
    annotations_file, image_dir = images_from or _drawn(folder)
    given = json.loads(pathlib.Path(annotations_file).read_text())
    objects_of = {}
    for each in given["annotations"]:
        objects_of.setdefault(each["image_id"], []).append(each)
    (folder / "images").mkdir()
    images, objects = [], []
    for image_id in range(1, count + 1):
        image = given["images"][(image_id - 1) % len(given["images"])]
        name = f"{image_id:06d}.jpg"
        os.symlink(pathlib.Path(image_dir, image["file_name"]).resolve(), folder / "images" / name)
        images.append(image | {"id": image_id, "file_name": name})
        for each in objects_of.get(image["id"], []):
            objects.append(each | {"id": len(objects) + 1, "image_id": image_id})
    given |= {"images": images, "annotations": objects}
    (folder / "instances.json").write_text(json.dumps(given))


def _drawn(folder):
    """The demo's drawings, 640×480 as most of COCO's images are."""
    from PIL import Image

    from replicate.demo import drawing

    annotations_file, image_dir = drawing.draw(folder / "drawn", train_images=64, val_images=1)[
        "train"
    ]
    drawn = json.loads(pathlib.Path(annotations_file).read_text())
    height, width = drawing.IMAGE_HW
    for image in drawn["images"]:
        path = pathlib.Path(image_dir, image["file_name"])
        Image.open(path).resize((640, 480)).save(path, quality=95)
        image |= {"width": 640, "height": 480}
    for each in drawn["annotations"]:
        x, y, w, h = each["bbox"]
        sx, sy = 640 / width, 480 / height
        each |= {"bbox": [x * sx, y * sy, w * sx, h * sy], "area": each["area"] * sx * sy}
        each["segmentation"] = []
        each["iscrowd"] = 0
    pathlib.Path(annotations_file).write_text(json.dumps(drawn))
    return annotations_file, image_dir


def evaluate_ours(folder):
    """Seconds with tracing; then of each turn: the evaluation, the bare forward pass."""
    from object_detection import model_lib_v2  # noqa: F401  (imported before both begin)

    from replicate import config
    from replicate.evaluate import detections, results
    from tests.bench import forward

    message = config.read(folder / "pipeline.config")
    begun, cpu = time.perf_counter(), time.process_time()
    evaluation = detections.Evaluation(
        message, str(folder / "instances.json"), str(folder / "images"), batch_size=BATCH
    )
    evaluation.restore(str(folder / "checkpoints"))
    built = time.perf_counter() - begun
    results.write(evaluation, folder / "detections.json.gz", progress=False)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    detector = evaluation._detectors[0]
    batch = next(iter(detections._prepared(detector, evaluation._images, BATCH)))[:2]
    batches = -(-len(evaluation._images) // BATCH)
    warm, bare = [], []
    for _ in range(3):
        begun = time.perf_counter()
        results.write(evaluation, folder / "detections.json.gz", progress=False)
        warm.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for _ in range(batches):
            detector(*batch)["num_detections"].numpy()
        bare.append(time.perf_counter() - begun)
    found = {"seconds": seconds, "cpu": cpu, "built": built, "warm": warm, "bare": bare}
    return found | {"forward": forward.measure(detector, *batch, FORWARD_TURNS)}


def evaluate_theirs(folder):
    from object_detection import model_lib_v2

    begun, cpu = time.perf_counter(), time.process_time()
    model_lib_v2.eval_continuously(
        pipeline_config_path=str(folder / "pipeline.config"),
        model_dir=str(folder / "theirs"),
        checkpoint_dir=str(folder / "checkpoints"),
        train_steps=STEP,
        wait_interval=0,
        timeout=1,
    )
    return {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}


def _in_a_process(side, folder, options):
    """What `side` measured, run in a process of its own."""
    command = [sys.executable, __file__, f"--side={side}", f"--folder={folder}"]
    done = subprocess.run([*command, f"--images={options.images}"], capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode()[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def _measure_side(side, folder):
    from replicate import odapi

    odapi.load()
    sides = {"ours": evaluate_ours, "theirs": evaluate_theirs, "checkpoint": make_checkpoint}
    with contextlib.redirect_stdout(sys.stderr):
        measured = sides[side](folder)
    print(json.dumps(measured))


def _annotations_and_folder(text):
    """(annotation file, folder of its images) of ANNOTATIONS:FOLDER, both there."""
    annotations_file, colon, image_dir = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"'{text}' is not ANNOTATIONS:FOLDER")
    if not pathlib.Path(annotations_file).is_file():
        raise argparse.ArgumentTypeError(f"{annotations_file} is not a file")
    if not pathlib.Path(image_dir).is_dir():
        raise argparse.ArgumentTypeError(f"{image_dir} is not a folder")
    return annotations_file, image_dir


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=arguments.at_least(1), default=500)
    parser.add_argument("--images_from", type=_annotations_and_folder, help="ANNOTATIONS:FOLDER")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return _measure_side(options.side, pathlib.Path(options.folder))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make(folder, options.images, options.images_from)
        _in_a_process("checkpoint", folder, options)
        before = _in_a_process("ours", folder, options)
        theirs = _in_a_process("theirs", folder, options)
        after = _in_a_process("ours", folder, options)
    return _report(options.images, [before, after], theirs)


def _report(images, ours, theirs):
    seconds = statistics.mean(each["seconds"] for each in ours)
    ratio = theirs["seconds"] / seconds
    ratios = [theirs["seconds"] / each["seconds"] for each in ours]
    turns = [
        warm / bare for each in ours for warm, bare in zip(each["warm"], each["bare"], strict=True)
    ]
    print(f"{images} images, {MODEL}, batch {BATCH}, {os.cpu_count()} CPU cores")
    print("with building and tracing, to the metrics:")
    print(
        f"  the API's eval_continuously  {theirs['seconds']:7.1f} s "
        f"{images / theirs['seconds']:7.2f} images/s, {theirs['cpu']:.1f} s of processor time"
    )
    for each in ours:
        print(
            f"  ours                         {each['seconds']:7.1f} s "
            f"{images / each['seconds']:7.2f} images/s, {each['cpu']:.1f} s of processor time "
            f"(building and tracing {each['built']:.1f} s)"
        )
    print(
        f"  ratio {ratio:.1f} (before {ratios[0]:.1f}, after {ratios[1]:.1f}; {_of_both(ratios)})"
    )
    cpu = theirs["cpu"] / statistics.mean(each["cpu"] for each in ours)
    print(f"  ratio of processor time {cpu:.1f} (for a machine that is busy with other things)")
    print("without building and tracing:")
    for each in ours:
        for warm, bare in zip(each["warm"], each["bare"], strict=True):
            print(
                f"  ours {images / warm:6.2f} images/s, bare call {images / bare:6.2f}: "
                f"{warm / bare:.3f} times its time"
            )
    shares = [1 / each for each in turns]
    print(f"  the bare call's share of the time: {paired.text(shares, 1 / TARGET_SHARE)}")
    _report_forward([each["forward"] for each in ours])
    missed = paired.answer(shares, 1 / TARGET_SHARE) == paired.MISSED or max(ratios) < TARGET_RATIO
    return 1 if missed else 0


def _report_forward(forwards):
    """Images a second of the forward pass by who computes it, and its ratio to TFLite's."""
    turns = {name: sum((each[name] for each in forwards), []) for name in forwards[0]}
    with_xla = [
        plain / compiled
        for each in forwards
        for plain, compiled in zip(each["forward pass"], each["compiled by XLA"], strict=False)
    ]
    print(f"one batch of {BATCH}, in turns:")
    for name, seconds in turns.items():
        print(f"  {name:18} {BATCH / statistics.median(seconds):7.2f} images/s")
    for name in ("forward pass", "with suppression"):
        ratios = [theirs / ours for ours, theirs in zip(turns[name], turns["TFLite"], strict=True)]
        print(f"  {name}, its speed beside TFLite's: {paired.text(ratios)}")
    print(f"  forward pass with --jit_compile, its speed beside without: {paired.text(with_xla)}")


def _of_both(ratios):
    """What the ratios to our turns before and after the API's one turn say of the target."""
    told = f"target at least {TARGET_RATIO:g}: "
    if min(ratios) >= TARGET_RATIO:
        return told + paired.REACHED
    return told + (paired.MISSED if max(ratios) < TARGET_RATIO else paired.CANNOT_TELL)


if __name__ == "__main__":
    arguments.run(main)
