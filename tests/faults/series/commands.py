"""The commands that are put to the faults."""

import pathlib
import shutil


def writers(drawn, run):
    """Commands that write: dict name -> function of an output folder to (tool, *arguments)."""
    annotations_file, image_dir = drawn
    model = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
    step = run.evaluated_steps()[-1]

    def report_of(out):
        root = pathlib.Path(out) / "run"
        if not root.exists():
            shutil.copytree(run.root, root, ignore=shutil.ignore_patterns("report"))
        return ("report", f"--run_dir={root}")

    return {
        "conversion": lambda out: (
            *("create_coco_tf_record", f"--annotations_file={annotations_file}", "--num_shards=3"),
            *(f"--image_dir={image_dir}", f"--output_path={out}/set", "--num_workers=1"),
            f"--label_map={out}/label_map.pbtxt",
        ),
        "config": lambda out: ("render_config", f"--model={model}", f"--output={out}/p.config"),
        "score": lambda out: (
            *("score", f"--annotations_file={annotations_file}", f"--output={out}/metrics.json"),
            f"--detections={run.eval_at(step) / 'detections.json.gz'}",
        ),
        "albumentations": lambda out: (
            *("convert_annotations", "--from=coco", "--to=albumentations"),
            *(f"--input={annotations_file}", f"--output={out}/a.jsonl"),
        ),
        "yolo": lambda out: (
            *("convert_annotations", "--from=coco", "--to=yolo"),
            *(f"--input={annotations_file}", f"--output={out}/yolo"),
        ),
        "voc": lambda out: (
            *("convert_annotations", "--from=coco", "--to=voc"),
            *(f"--input={annotations_file}", f"--output={out}/voc"),
        ),
        "report": report_of,
    }


def readers():
    """Tools that read a run directory: dict name -> function of its path to (tool, *arguments)."""
    return {
        "report": lambda root: ("report", f"--run_dir={root}"),
        "status": lambda root: ("status", root, "--json"),
        "verdict": lambda root: ("verdict", root, f"--output={root.parent / 'answer.json'}"),
        "compare": lambda root: (
            *("compare_runs", root, "--bootstrap=0"),
            f"--output={root.parent / 'compared'}",
        ),
        "diff": lambda root: ("diff_config", "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", root),
    }
