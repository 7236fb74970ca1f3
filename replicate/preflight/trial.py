"""Two real training steps and an evaluation of two images, in a process of their own.

A process of its own, because what trains afterwards must find its GPU's memory free and its random
numbers untouched, and because running out of memory ends a process. Where the run may go on, that
process waits (`standby.py`) and trains it from a state as of its start.
"""

import contextlib
import copy
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from tqdm import tqdm

from replicate import engine
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.standby import Standby
from replicate.preflight.trial_process import WAITING
from replicate.run import write_json, write_text
from tfrecords import coco, features, framing, label_map
from tfrecords.errors import InputError
from tfrecords.shards import read_image

SECONDS = 3600
# On a CPU the steps are of about a megapixel; the forecast scales them to the batch.
_CPU_PIXELS = 2**20
_STAGES = 7
_VAL_IMAGES = 2
_CHILD = pathlib.Path(__file__).with_name("trial_process.py")
# What another node's trainer or a cluster's would see is not this process's.
_UNSET = ("TF_CONFIG",)


def wanted(facts: LaunchFacts, steps: bool) -> bool:
    """Whether there is anything to try: steps, a starting checkpoint or one to continue from.

    Of a fine-tuning without steps nothing is: building the model takes a minute, and training
    counts what it restores all the same (start.json).
    """
    if facts.finetunes and not steps:
        return False
    starts = facts.described.start and not facts.checkpoint_steps
    return bool(steps or starts or facts.checkpoint_steps)


def run(
    facts: LaunchFacts,
    steps: bool = True,
    seconds: float = SECONDS,
    progress: bool = True,
    waiting: Standby | None = None,
) -> dict:
    """Tries it.

    Args:
      facts: LaunchFacts.
      steps: whether to train and evaluate; without, checkpoints alone are read.
      seconds: how long it may take.
      progress: whether to show a progress bar.
      waiting: Standby that keeps the process for the training, where it could train; or None.

    Returns:
      dict: what `trial_process.py` found; "error" where it did not come to its end, "stage" how
        far.
    """
    with contextlib.ExitStack() as stack:
        standby = waiting or stack.enter_context(Standby())
        folder = standby.folder()
        try:
            job = _job(facts, folder, steps)
        except InputError as error:
            return {"stage": "making records", "error": str(error)}
        result_path = folder / "result.json"
        write_json(folder / "job.json", job | {"waits": bool(waiting and _could_train(facts))})
        process, status, log = _process(folder, result_path, seconds, progress)
        if status is None:
            standby.keep(process, facts.message, facts.intent.of_steps())
        outcome = {"stage": "starting"}
        if result_path.is_file():
            outcome = json.loads(result_path.read_text(encoding="utf-8"))
    if "error" not in outcome and status:
        outcome["error"] = _why(status, log, outcome["stage"])
        outcome["fix"] = "python tools/doctor.py; a smaller shuffle_buffer_size or batch"
    return outcome


def _could_train(facts: LaunchFacts) -> bool:
    """Whether the process that tries could be the run's: one machine, from the first step on."""
    return facts.intent.num_workers == 1 and not facts.checkpoint_steps


def _job(facts: LaunchFacts, folder: pathlib.Path, steps: bool) -> dict:
    """What trial_process.py is told, and the files it reads."""
    intent = facts.intent
    config = copy.deepcopy(intent.message)
    batch, shuffled = facts.described.batch_size, facts.described.shuffle_buffer
    height, width = facts.described.input_hw
    cpu_batch = max(1, _CPU_PIXELS // (max(height, 64) * max(width, 64)))
    if shuffled:
        engine.set_field(config, engine.SHUFFLE[facts.engine], str(min(shuffled, 4 * batch)))
    source = facts.train_source if not facts.train_records.paths else None
    if source is not None:
        records, labels = _sample(source, facts, folder, 2 * min(cpu_batch, batch))
        config = engine.reading(config, records, labels)
    val = _two_images(facts, folder) if steps else None
    path = folder / engine.FILES[facts.engine]
    write_text(path, engine.text(config))
    return {
        "config": str(path),
        "folder": str(folder),
        "execution": intent.of_steps()
        | {"input_service": _input_service(intent.input_service, source is not None)},
        "run_input_service": intent.input_service,
        "num_workers": intent.num_workers,
        "cpu_batch": cpu_batch,
        "steps": steps,
        "start": bool(facts.described.start) and not facts.checkpoint_steps,
        "checkpoints": str(facts.run.checkpoints) if facts.checkpoint_steps else "",
        "val_annotations": str(val[0]) if val else "",
        "val_images": intent.val_images,
        "num_val_images": val[1] if val else 0,
    }


def _input_service(service: str, sampled: bool) -> str:
    """The run's, but for running processes, which may not see records that lie here alone."""
    return "" if sampled and not service.isdigit() else service


def _sample(
    source: coco.Source, facts: LaunchFacts, folder: pathlib.Path, count: int
) -> tuple[str, str]:
    """Records of some training images, made by the converter itself, and their label map: paths."""
    count = min(len(source.images), max(count, 8))
    intent = facts.intent
    settings = features.FeatureSettings(
        include_masks=intent.include_masks,
        include_class_labels=facts.engine == engine.TFVISION,
    )
    shard = folder / "train-00000-of-00001.tfrecord"
    with open(shard, "wb") as file:
        writer = framing.Writer(file)
        for number in range(count):
            image = source.image(number * len(source.images) // count)
            path = os.path.join(intent.train_images, image.file_name or "")
            made = features.convert_image(
                image, read_image(path), path, source.categories, settings
            )
            if made.record is not None:
                writer.write(made.record)
    labels = str(folder / "label_map.pbtxt")
    label_map.write(source.categories, labels)
    return str(shard), labels


def _two_images(facts: LaunchFacts, folder: pathlib.Path) -> tuple[pathlib.Path, int] | None:
    """An annotation file of two evaluation images that have annotations: (path, how many)."""
    source = facts.val_source
    if source is None or not facts.intent.val_images:
        return None
    with_objects = [i for i in range(len(source.images)) if source.num_annotations_of(i)]
    chosen = (with_objects or list(range(len(source.images))))[:_VAL_IMAGES]
    images, annotations = [], []
    for index in chosen:
        image = source.image(index)
        height, width = image.image_hw
        images.append(
            {"id": image.id, "file_name": image.file_name, "height": height, "width": width}
        )
        objects = image.objects
        for row, annotation_id in enumerate(objects.ids):
            annotations.append(
                {
                    "id": annotation_id,
                    "image_id": image.id,
                    "category_id": objects.category_ids[row],
                    "bbox": objects.boxes_xywh_px[row],
                    "area": objects.areas_px[row],
                    "iscrowd": objects.crowd[row],
                }
            )
    path = folder / "two_images.json"
    categories = [{"id": key, "name": name} for key, name in source.categories.items()]
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})
    return path, len(images)


def _process(
    folder: pathlib.Path, result_path: pathlib.Path, seconds: float, progress: bool
) -> tuple[subprocess.Popen, int | None, str]:
    """Runs trial_process.py: (process, exit status or None where it waits for an order, log)."""
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    log = folder / "log"
    here = os.dup(2)  # where a process that goes on to train speaks
    command = [sys.executable, str(_CHILD), str(folder / "job.json"), str(result_path), str(here)]
    try:
        with (
            open(log, "w", encoding="utf-8") as errors,
            tqdm(total=_STAGES, desc="trial", unit="stage", disable=not progress) as bar,
        ):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                pass_fds=(here,),
                start_new_session=True,  # Ctrl-C is this process's, which passes it on
            )
            assert process.stdin is not None and process.stdout is not None  # pipes
            with _ended_with_this(process, seconds):
                for line in process.stdout:
                    if line.strip() == WAITING:
                        return process, None, ""
                    bar.set_postfix_str(line.strip()[:60], refresh=False)
                    bar.update()
                status = process.wait()
    finally:
        os.close(here)
    process.stdin.close()
    process.stdout.close()
    return process, status, log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _ended_with_this(process: subprocess.Popen, seconds: float) -> Iterator[None]:
    """Ends the process when the block is left early or the time is over."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timer.cancel()


def _why(status: int, log: str, stage: str) -> str:
    """Why the process ended before its end."""
    if status == -signal.SIGKILL:
        return f"it was killed while {stage}: out of memory, or out of time"
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name} while {stage}"
    lines = log.strip().splitlines() or [f"exit status {status}"]
    return f"{lines[-1]} (while {stage})"
