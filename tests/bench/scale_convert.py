"""A conversion of train2017's size, made up here: its peak memory, time and manifest.

    python tests/bench/scale_convert.py --folder=/tmp/scale --include_masks
    python tests/bench/scale_convert.py --folder=/tmp/scale --images=2000     # a quick look

Makes an annotation file of --images images with 7.27 annotations each (118,287 and 860,001 by
default, as in train2017) whose polygons have the length of COCO's, over hard links to a few drawn
JPEGs; runs tools/create_coco_tf_record.py on it; checks the counts; verifies the shards; runs the
tool again, which must find everything done. Memory is that of the tool and all its processes
together, sampled every 0.2 s: PSS counts shared pages once, RSS in every process. The folder is
removed at the end, unless --keep.
"""

import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import psutil
from PIL import Image, ImageFilter

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from absl import flags

from tools import cli

_ANNOTATIONS_AN_IMAGE = 860_001 / 118_287
_SIZES_WH = ((640, 480), (480, 640), (640, 427), (500, 375), (427, 640), (640, 640))
_CATEGORIES = 80
_VERTICES = 21  # makes the file 450 MB at train2017's size

FLAGS = flags.FLAGS
flags.DEFINE_string("folder", None, "where to work; must not exist")
flags.DEFINE_integer("images", 118_287, "images", lower_bound=1)
flags.DEFINE_integer("num_shards", 256, "shards", lower_bound=1)
flags.DEFINE_integer("num_workers", None, "processes (default: all cores)")
flags.DEFINE_bool("include_masks", False, "with instance masks")
flags.DEFINE_bool("keep", False, "leave the folder")


def main(_):
    folder = pathlib.Path(FLAGS.folder)
    folder.mkdir(parents=True)
    try:
        return _measure(folder)
    finally:
        if not FLAGS.keep:
            shutil.rmtree(folder)


def _measure(folder):
    annotations, crowd = make(folder, FLAGS.images)
    size_mb = (folder / "instances.json").stat().st_size / 1e6
    print(f"annotation file: {FLAGS.images} images, {annotations} annotations, {size_mb:.0f} MB")
    command = [
        *(sys.executable, str(PROJECT / "tools" / "create_coco_tf_record.py")),
        *(f"--annotations_file={folder / 'instances.json'}", f"--image_dir={folder / 'images'}"),
        *(f"--output_path={folder / 'out' / 'set'}", f"--num_shards={FLAGS.num_shards}"),
        f"--include_masks={str(FLAGS.include_masks).lower()}",
    ]
    if FLAGS.num_workers:
        command.append(f"--num_workers={FLAGS.num_workers}")
    seconds, peak_pss, peak_rss = watch(command)
    print(
        f"converted in {seconds:.0f} s, {FLAGS.images / seconds:.0f} images/s; peak memory of all "
        f"processes together {peak_pss / 1e9:.2f} GB PSS, {peak_rss / 1e9:.2f} GB RSS"
    )
    counts = json.loads((folder / "out" / "manifest-set.json").read_text())["counts"]
    print(json.dumps(counts))
    assert counts["images"] == FLAGS.images
    assert counts["annotations_written"] + sum(counts["dropped"].values()) == annotations
    assert counts["crowd"] + counts["crowd_dropped"] == crowd
    verify = [sys.executable, str(PROJECT / "tools" / "verify_tf_record.py")]
    seconds, *_ = watch([*verify, f"--output_path={folder / 'out' / 'set'}"])
    print(f"verified (quick) in {seconds:.0f} s")
    seconds, *_ = watch(command)
    print(f"found done in {seconds:.0f} s")


def make(folder, num_images):
    """Writes instances.json and images/. Returns the numbers of annotations and of crowd."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number, (width, height) in enumerate(_SIZES_WH):
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        noise.filter(ImageFilter.GaussianBlur(2)).save(folder / f"original-{number}.jpg")
    total = round(num_images * _ANNOTATIONS_AN_IMAGE)
    owners = np.sort(rng.integers(0, num_images, total))
    crowd = 0
    with open(folder / "instances.json", "w") as file:
        file.write('{"info": {"description": "made up"}, "licenses": [], "images": [')
        for number in range(num_images):
            width, height = _SIZES_WH[number % len(_SIZES_WH)]
            name = f"{number:012d}.jpg"
            os.link(folder / f"original-{number % len(_SIZES_WH)}.jpg", folder / "images" / name)
            entry = {"license": 1, "file_name": name, "height": height, "width": width}
            entry |= {"id": 3 * number + 1, "date_captured": "2013-11-14 17:02:52"}
            entry |= {"coco_url": f"http://images.example/train2017/{name}"}
            file.write((", " if number else "") + json.dumps(entry))
        file.write('], "annotations": [')
        for number, owner in enumerate(owners.tolist()):
            width, height = _SIZES_WH[owner % len(_SIZES_WH)]
            is_crowd = number % 85 == 0
            crowd += is_crowd
            text = _annotation(rng, width, height, is_crowd, number, owner)
            file.write((", " if number else "") + text)
        categories = [{"id": k, "name": f"thing {k}"} for k in range(1, _CATEGORIES + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return total, crowd


def _annotation(rng, width, height, is_crowd, number, owner):
    """A JSON object: a star-shaped polygon, or a crowd's uncompressed RLE."""
    radius = rng.uniform(4, min(width, height) / 2)
    x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
    angles = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)
    radii = radius * rng.uniform(0.5, 1, _VERTICES)
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1).round(2)
    low, high = points.min(axis=0), points.max(axis=0)
    segmentation = [points.ravel().tolist()]
    if is_crowd:
        runs = [height * min(int(low[0]), width - 20)]
        runs += itertools.chain.from_iterable(((height // 3, height - height // 3),) * 20)
        segmentation = {"size": [height, width], "counts": [*runs, height * width - sum(runs)]}
    entry = {"segmentation": segmentation, "area": round(float(radius) ** 2 * 1.8, 4)}
    entry |= {"iscrowd": int(is_crowd), "image_id": 3 * owner + 1}
    entry |= {"bbox": [*low.tolist(), *(high - low).round(2).tolist()]}
    entry |= {"category_id": int(number % _CATEGORIES) + 1, "id": 1_000_000 + number}
    return json.dumps(entry)


def watch(command):
    """Runs a command. Returns (seconds, peak PSS, peak RSS) in bytes, all processes together."""
    start = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak_pss = peak_rss = 0
    while process.poll() is None:
        pss = rss = 0
        for member in [process, *_children(process)]:
            try:
                memory = member.memory_full_info()
            except psutil.Error:
                continue
            pss, rss = pss + memory.pss, rss + memory.rss
        peak_pss, peak_rss = max(peak_pss, pss), max(peak_rss, rss)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{command[1]} ended with status {process.returncode}")
    return time.perf_counter() - start, peak_pss, peak_rss


def _children(process):
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


if __name__ == "__main__":
    cli.run(main, required=["folder"])
