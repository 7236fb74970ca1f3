"""Writes the report of a run: what it achieved, against what was published, and why.

    python tools/report.py --run_dir=runs/first
    xdg-open runs/first/report/index.html

report/index.html is one file that needs no network; report.md (with plots/) is the same for a
pull request, report.json for machines. tools/replicate.py writes it at its end; run this again
after another evaluation, or for a run that is still training: what is missing is named in the
report as not checked.

    python tools/report.py --run_dir=runs/mine --reference=runs/shipped

--reference judges the run anew against what you name (docs/scoring.md): verdict.json is written,
and the page says so.

    python tools/report.py --run_dir=runs/first --tracker=tensorboard,mlflow,comet

Exit status: 0 done; 1 the report is written, but a file of the run is damaged or verdict.json is of
another evaluation than the last one: what, and what to do, stands at its top and on stderr.

--tracker also writes the run for trackers, as local files that nothing is sent from: TensorBoard
events, MLflow's file store, Comet's offline archive (these two need requirements-trackers.txt),
an offline run of Weights & Biases (wandb), Trackio's local store (trackio; these two need
requirements-wandb-trackio.txt). Several runs may share a --tracker_dir.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json
from tools import cli, reference_flags

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "the run directory")
flags.DEFINE_enum(
    "images",
    "embedded",
    ["embedded", "folder"],
    "of the gallery: thumbnails in the page, or the originals in a folder beside it as well",
)
flags.DEFINE_list(
    "tracker", [], "also write the run for these: tensorboard, mlflow, comet, wandb, trackio"
)
flags.DEFINE_string("tracker_dir", None, "where (default: trackers/ in the run directory)")
flags.adopt_module_key_flags(reference_flags)


def main(_: list[str]) -> int:
    run, asked = RunDir.existing(FLAGS.run_dir), reference_flags.asked()
    if read_json(run.spec).get("kind") == "recognition":
        if asked:
            raise UserError("--reference is for detectors; this run is of a recognition")
        _recognition(run)
        return cli.DONE
    from replicate import report, verdict

    if asked:
        decided = verdict.of_runs([run], reference=asked)
        write_json(run.verdict, decided.to_json())
    print(report.write(run, images=FLAGS.images))
    if FLAGS.tracker:
        from replicate.report import trackers

        for how in trackers.write(run, FLAGS.tracker, FLAGS.tracker_dir).values():
            print(how)
    return cli.NEGATIVE if report.not_whole(read_json(run.report / "report.json")) else cli.DONE


def _recognition(run: RunDir) -> None:
    """The report of a run of tools/train_recognition.py."""
    from replicate.recognition import report as recognition

    if FLAGS.tracker:
        raise UserError("--tracker is for detectors; this run has TensorBoard events in its train/")
    print(recognition.write(run))


if __name__ == "__main__":
    cli.run(main, required=["run_dir"])
