"""Benchmarks any detector on COCO images: its metrics beside the published ones, and its speed.

    python tools/benchmark.py --model=detect.tflite --labels=labelmap.txt \\
        --annotations_file=instances_val2017.json --image_dir=val2017 \\
        --pictures=pictures --output=record.json

--model is a run directory of this kit, a checkpoint (with --pipeline_config), a zoo archive
(.tar.gz, or its folder) or SavedModel, a frozen graph of the TF1 zoo (.pb), a .tflite or .onnx
file, a folder of the Transformers library, detections (.json, .json.gz), or FILE.py:NAME, a
detector that runs in a process of its own, with --python under another Python. Callables
and PyTorch modules are benchmarked from Python: `replicate.benchmark`, see docs/scoring.md.

What to compare with: --name (a zoo model's name, a torchvision builder's, one of a paper's table),
--arxiv (a paper's id), or figures of your own:

    python tools/benchmark.py … --paper_results='box AP=22.2,AP50=36.9'

They are taken to be of val2017; --paper_results_on=this says that they are of these images. It
ends with 1 where a figure is NOT REPLICATED, with 0 otherwise, NOT COMPARABLE figures too.

A run directory, checkpoint, archive or SavedModel is fed the pixels that tools/evaluate.py feeds
it, those of TensorFlow's decoder. For a .tflite file, a callable or a PyTorch module --decoder
chooses; it is part of the result. Default: tensorflow for a .tflite file, whose family is trained
and evaluated with it (Pillow's pixels moved AP by 0.3 points, docs/scoring.md); pillow otherwise,
which torchvision's own evaluation reads images with.

--jit_compile compiles a checkpoint's forward pass with XLA, as tools/evaluate.py does (SSD,
EfficientDet, CenterNet; for GPUs); the record says so, and latency is measured after it.

A GPU of compute capability 8.0 or more computes float32 in TensorFloat-32, as TensorFlow does by
default; the record says so. --notf32 keeps all 23 bits of mantissa, of a checkpoint, SavedModel or
frozen graph; what else runs a model decides that itself, and the flag is refused.

What an ONNX model's outputs mean is said, not guessed: --outputs has one of the known contracts
(tf_zoo, torchvision, rt_detr, rf_detr, yolo), or says boxes, scores and labels itself:

    python tools/benchmark.py --model=detector.onnx \\
        --inputs=layout:nchw,pixels:0..1,resize:stretch \\
        --outputs=boxes=dets:cxcywh_norm,scores=logits:sigmoid,labels:contiguous \\
        --annotations_file=instances_val2017.json --image_dir=val2017

Of a folder that tools/export.py made, --all_forms runs every form and the checkpoint over the same
pixels and prints one table: AP with its paired interval, latency, size (docs/export.md):

    python tools/benchmark.py --model=exported/a --all_forms \\
        --annotations_file=instances_val2017.json --image_dir=val2017 --output=ladder.json

The same model on the same images with the same settings is not run again: its detections are kept
under --cache_dir (--nocache runs and keeps nothing). Latency is measured after warm-up.

Exit status 1: a figure that can be compared was not replicated; with --all_forms, a form of the
checkpoint's own float32 weights lost more than 0.1 points.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from typing import TYPE_CHECKING

from absl import flags

from replicate.errors import UserError
from tools import cli

if TYPE_CHECKING:
    from replicate.benchmarking import Dataset

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "what to benchmark: a path, see above")
flags.DEFINE_string("annotations_file", None, "COCO annotations of the images (.json, .json.gz)")
flags.DEFINE_string("image_dir", None, "folder of the images; detections from a file need none")
flags.DEFINE_integer("num_images", None, "the first N images by id alone", lower_bound=1)
flags.DEFINE_list("iou_types", ["bbox"], "kinds of score: bbox, segm, keypoints")
flags.DEFINE_enum("evaluator", "both", ["hotcoco", "pycocotools", "both"], "whose figures")
flags.DEFINE_integer("batch_size", 1, "images a call", lower_bound=1)
flags.DEFINE_list(
    "fix", [], "problems of the detections to mend, as the error message offers; see tools/score.py"
)
flags.DEFINE_enum(
    "decoder", None, ["tensorflow", "pillow"], "what makes the pixels, where there is a choice"
)
flags.DEFINE_enum(
    "suppression",
    None,
    ["kit", "api"],
    "of a checkpoint: the kit's suppression (the default: equal to the API's, faster), or the "
    "API's own",
)
flags.DEFINE_bool(
    "jit_compile",
    False,
    "of a checkpoint of the API's SSD, EfficientDet or CenterNet: XLA compiles the forward pass "
    "(for GPUs)",
)
flags.DEFINE_bool(
    "tf32",
    True,
    "of a model that TensorFlow runs in this process (a checkpoint, SavedModel, frozen graph): let "
    "a GPU that can compute float32 in TensorFloat-32, as TensorFlow does by default; --notf32 "
    "keeps all 23 bits of mantissa",
)
flags.DEFINE_enum(
    "resizer",
    None,
    ["api", "opencv"],
    "of a .tflite file: whose resizing; default the API's for a form of tools/export.py, else "
    "OpenCV's",
)
flags.DEFINE_integer(
    "num_threads", None, "of LiteRT and ONNX Runtime; default all cores", lower_bound=1
)
flags.DEFINE_string("outputs", None, "of an .onnx file: what its outputs mean, see above")
flags.DEFINE_string("inputs", None, "of an .onnx file: how an image goes in, see above")
flags.DEFINE_string(
    "python", None, "of FILE.py:NAME or a Transformers folder: the Python that has its libraries"
)
flags.DEFINE_enum(
    "numbering",
    None,
    ["coco", "contiguous", "contiguous_from_one"],
    "of FILE.py:NAME: what the detector's class_ids count",
)
flags.DEFINE_enum(
    "scores",
    None,
    ["softmax", "sigmoid"],
    "of a Transformers model of a type that the kit does not know: softmax with a last class that "
    "is none, or a sigmoid of each class",
)
flags.DEFINE_bool("all_forms", False, "every form of the export that --model names, in one table")
flags.DEFINE_bool(
    "own_preprocessing",
    False,
    "with --all_forms: the TFLite forms once more on the pixels that a program on a device makes "
    "(Pillow's decoder, OpenCV's resizing), to tell that loss from the form's",
)
flags.DEFINE_integer(
    "samples",
    200,
    f"with --all_forms: {cli.SAMPLES}",
    lower_bound=0,
    upper_bound=100_000,
)
flags.DEFINE_string("labels", None, "class names of a .tflite or SavedModel, one a line")
flags.DEFINE_string("pipeline_config", None, "config of a checkpoint outside a run directory")
flags.DEFINE_string("label_map", None, "label map of a checkpoint, where its config names none")
flags.DEFINE_string("name", None, "the model's name in the published tables")
flags.DEFINE_string("arxiv", None, "arXiv id of the paper to compare with")
flags.DEFINE_list("paper_results", [], "published figures in points: 'box AP=22.2,AP50=36.9'")
flags.DEFINE_enum(
    "paper_results_on",
    "val2017",
    ["val2017", "this"],
    "which images --paper_results is of: COCO's val2017, or those that are evaluated here",
)
flags.DEFINE_string("cache_dir", None, "folder of kept results (default: ~/.cache/replicate)")
flags.DEFINE_bool("cache", True, "keep results, and use those kept")
flags.DEFINE_string("pictures", None, "draw detections of the first images into this folder")
flags.DEFINE_bool("categories", False, "print AP by category as well")
flags.DEFINE_string(
    "detections_output", None, "write the detections (.json, .json.gz) here, as --fix left them"
)
flags.DEFINE_string("output", None, "write the record (JSON) here")
flags.DEFINE_string("html", None, "write a page of the model (index.html) into this folder")


def main(_: list[str]) -> int:
    from replicate.benchmarking import Dataset, benchmark, cache, pictures
    from replicate.run import write_json
    from replicate.score import text

    if FLAGS["paper_results_on"].present and not FLAGS.paper_results:
        raise UserError("--paper_results_on goes with --paper_results")
    dataset = Dataset(FLAGS.annotations_file, FLAGS.image_dir, FLAGS.num_images)
    folder = (FLAGS.cache_dir or cache.default_folder()) if FLAGS.cache else None
    if FLAGS.all_forms:
        if FLAGS.jit_compile:
            raise UserError(
                "--jit_compile: --all_forms runs every form as tools/export.py made it; for the "
                "checkpoint alone give --model=ITS_RUN without --all_forms"
            )
        if not FLAGS.tf32:
            raise UserError(
                "--notf32: not with --all_forms, half of whose forms other libraries run; give "
                "--model=ONE_FORM without --all_forms"
            )
        return _all_forms(dataset, folder)
    options = {
        name: getattr(FLAGS, name)
        for name in (
            *("labels", "pipeline_config", "label_map", "suppression", "jit_compile"),
            *("resizer", "num_threads", "outputs", "inputs", "python", "numbering", "scores"),
        )
        if getattr(FLAGS, name)
    }
    if not FLAGS.tf32:
        options["tf32"] = False
    record = benchmark(
        FLAGS.model,
        dataset,
        name=FLAGS.name,
        arxiv=FLAGS.arxiv,
        paper_results=_paper_results(FLAGS.paper_results),
        paper_results_on=FLAGS.paper_results_on,
        iou_types=FLAGS.iou_types,
        evaluator=FLAGS.evaluator,
        batch_size=FLAGS.batch_size,
        decoder=FLAGS.decoder,
        fix=FLAGS.fix,
        cache_dir=folder,
        **options,
    )
    print(record.text())
    if FLAGS.categories:
        for score in record.scores.values():
            print("\n" + text.of_categories(score["per_category"]))
    if FLAGS.pictures:
        print("\n" + pictures.draw(dataset, record.results(), FLAGS.pictures))
    if FLAGS.detections_output:
        write_json(FLAGS.detections_output, record.results())
    if FLAGS.output:
        record.write(FLAGS.output)
    if FLAGS.html:
        from replicate import report

        command = " ".join(["python tools/benchmark.py", *sys.argv[1:]])
        print(report.write_benchmark(record.to_json(), record.results(), FLAGS.html, command))
    missed = any(figure["verdict"] == "NOT REPLICATED" for figure in record.published)
    return cli.NEGATIVE if missed else cli.DONE


def _all_forms(dataset: "Dataset", folder: str | os.PathLike | None) -> int:
    from replicate.benchmarking import ladder

    rungs = ladder.of(
        FLAGS.model,
        dataset,
        on_device=FLAGS.own_preprocessing,
        samples=FLAGS.samples,
        num_threads=FLAGS.num_threads,
        cache_dir=folder,
    )
    print(rungs.text())
    if FLAGS.output:
        rungs.write(FLAGS.output)
    return cli.NEGATIVE if rungs.lost else cli.DONE


def _paper_results(given: list[str]) -> dict[str, float]:
    results = {}
    for result in given:
        name, equals, value = result.partition("=")
        try:
            results[name.strip()] = float(value)
        except ValueError:
            raise UserError(
                f"--paper_results: '{result}' is not NAME=POINTS, like 'box AP=22.2'"
            ) from None
    return results


if __name__ == "__main__":
    cli.run(
        main,
        required=["model", "annotations_file"],
        elsewhere={"detections": "--model=FILE (COCO results JSON)"},
        folders=["html"],
    )
