"""Conversion beside the Object Detection API's converter and a plain copy, in one run.

    python tests/bench/bench_convert.py             # on drawn images, without masks and with
    python tests/bench/bench_convert.py --annotations_file=A.json --image_dir=D --images=4000
    python tests/bench/bench_convert.py --annotations_file=A.json --image_dir=D --images=400 --masks

A dataset of --images images is made of the given one by repeating it (files are hard-linked).
Each of the API's converter, ours and the copy runs --repeats times, in turn, into an empty folder
on the same disk; the page cache is warm, imports are not counted for the API, everything is for
ours. Printed: images a second of the fastest run of each, and the ratios with their 95 % intervals
over pairs of turns; and the processor's milliseconds an image, which other work on the machine
changes less. No target: on small drawn images our start, which is counted, weighs as the rest.
"""

import json
import os
import pathlib
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from absl import flags

from tests.bench import paired
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("annotations_file", None, "COCO annotations to repeat; drawn ones by default")
flags.DEFINE_string("image_dir", None, "their images")
flags.DEFINE_integer(
    "images", None, "images to convert (default: 2000; with masks, 500)", lower_bound=1
)
flags.DEFINE_integer("shards", 8, "shards", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "runs of each", lower_bound=1)
flags.DEFINE_integer("num_workers", None, "our processes (default: all cores)")
flags.DEFINE_bool("masks", None, "with instance masks or without (default: one after the other)")
flags.DEFINE_string("folder", None, "where to work (default: a temporary folder)")


def main(_):
    for masks in [False, True] if FLAGS.masks is None else [FLAGS.masks]:
        measure(masks)


def measure(masks):
    """Prints the figures with masks or without."""
    count = FLAGS.images or (500 if masks else 2000)
    with tempfile.TemporaryDirectory(dir=FLAGS.folder) as name:
        folder = pathlib.Path(name)
        given = FLAGS.annotations_file, FLAGS.image_dir
        source = map(pathlib.Path, given if FLAGS.annotations_file else drawn(folder))
        annotations, images = repeat(*source, folder / "data", count)
        runs = {"copy": copy, "API": convert_by_api, "ours": convert}
        best, cpu_ms = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, float("inf"))
        rates = {what: [] for what in runs}
        for _ in range(FLAGS.repeats):
            for what, run in runs.items():
                output = folder / "out"
                output.mkdir()
                seconds, cpu_seconds = run(annotations, images, output, masks)
                rates[what].append(count / seconds)
                best[what] = max(best[what], count / seconds)
                cpu_ms[what] = min(cpu_ms[what], cpu_seconds / count * 1e3)
                shutil.rmtree(output)
    print(
        f"{count} images {'with' if masks else 'without'} masks, best of {FLAGS.repeats}, "
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}"
    )
    for what, rate in best.items():
        print(f"{what:<20} {rate:8.0f} images/s {cpu_ms[what]:8.2f} ms of processor an image")
    for other in ("API", "copy"):
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[other], strict=True)]
        print(f"{'ours / ' + other:<20} {paired.text(ratios)}", flush=True)


def drawn(folder):
    """(annotation file, image folder) of drawn objects with polygons."""
    from replicate.demo import drawing

    return drawing.draw(folder / "drawn", train_images=64, val_images=1)["train"]


def repeat(annotations_file, image_dir, folder, num_images):
    """A dataset of `num_images` images: the given one again and again, with new ids and names.

    Returns:
      (annotation file, image folder).
    """
    document = json.loads(annotations_file.read_text(encoding="utf-8"))
    by_image = {}
    for annotation in document["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    originals = document["images"]
    copies = {}
    for number in range(num_images):
        image = originals[number % len(originals)]
        name = f"{number:012d}.jpg"
        if image["id"] not in copies:
            copies[image["id"]] = folder / f"original-{image['id']}.jpg"
            shutil.copyfile(image_dir / image["file_name"], copies[image["id"]])
        os.link(copies[image["id"]], folder / "images" / name)
        images.append(image | {"id": number + 1, "file_name": name})
        for annotation in by_image.get(image["id"], ()):
            changed = {"id": len(annotations) + 1, "image_id": number + 1}
            annotations.append(annotation | changed)
    document |= {"images": images, "annotations": annotations}
    path = folder / "instances.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path, folder / "images"


def copy(_, images, output, masks):
    """(seconds, processor's seconds) to copy the image files one by one."""
    start, start_cpu = time.perf_counter(), time.process_time()
    for entry in os.scandir(images):
        shutil.copyfile(entry.path, output / entry.name)
    return time.perf_counter() - start, time.process_time() - start_cpu


def convert_by_api(annotations, images, output, masks):
    """As `copy`, of the API's converter, its imports apart."""
    script = PROJECT / "tests" / "tfrecords" / "api_convert.py"
    job = [str(annotations), str(images), str(output / "api"), FLAGS.shards, masks]
    done = subprocess.run(
        [sys.executable, script, json.dumps(job)], check=True, capture_output=True, text=True
    )
    seconds, cpu_seconds = done.stdout.split()[-2:]
    return float(seconds), float(cpu_seconds)


def convert(annotations, images, output, masks):
    """As `copy`, of our tool as a user runs it, from start to exit, with its processes."""
    command = [
        *(sys.executable, PROJECT / "tools" / "create_coco_tf_record.py"),
        *(f"--annotations_file={annotations}", f"--image_dir={images}"),
        *(f"--output_path={output / 'ours'}", f"--num_shards={FLAGS.shards}"),
        f"--include_masks={str(masks).lower()}",
    ]
    if FLAGS.num_workers:
        command.append(f"--num_workers={FLAGS.num_workers}")
    start, start_cpu = time.perf_counter(), children_cpu_seconds()
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, children_cpu_seconds() - start_cpu


def children_cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    cli.run(main)
