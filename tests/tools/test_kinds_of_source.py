"""Wherever a model or a config is expected, a zoo model's name, a pipeline.config, a released
archive and a run directory do; where weights or a run are, the message says what to do instead."""

import concurrent.futures
import subprocess
import sys
import tarfile

import pytest

from replicate import config, opening, score, weights
from replicate.demo import drawing
from replicate.errors import UserError
from replicate.run import RunDir, write_json
from tests.conftest import PROJECT
from tests.report import making

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
KINDS = ("name", "config", "archive", "run")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """{kind: what is given for it}, all of one model at 1,000 steps (by name: the whole)."""
    folder = tmp_path_factory.mktemp("sources")
    message = config.render(MODEL, num_steps=1000)
    run = RunDir.at(folder / "runs" / "a")
    write_json(run.spec, {"format": 1, "request": {"model": MODEL}})
    opening.write_config(run, message, MODEL)
    lone = folder / "lone" / "mine.config"
    lone.parent.mkdir()
    lone.write_text(config.text_of(message, MODEL))
    archive = folder / f"{MODEL}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(lone, arcname=f"{MODEL}/pipeline.config")
    return {"name": MODEL, "config": str(lone), "archive": str(archive), "run": str(run.root)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    drawn = drawing.draw(folder, train_images=4, val_images=2)
    return drawn | {"metrics": _scores(drawn, folder)}


TOOLS = {
    # what: (command, exit statuses that are answers, what is printed)
    "zoo.py show": ("zoo.py show {source}", (0,), "box_map: 22.2"),
    "diff_config.py A": (f"diff_config.py {{source}} {MODEL}", (0, 1), ""),
    "diff_config.py B": (f"diff_config.py {MODEL} {{source}}", (0, 1), ""),
    "lint_config.py": ("lint_config.py {source}", (1,), "is still to be configured"),
    "show_schedule.py": ("show_schedule.py {source}", (0,), "end of warm-up"),
    "render_config.py": (
        "render_config.py --model={source} --output={out}/p.config --num_gpus=1",
        (0,),
        "train_config.batch_size: 128 -> 16",
    ),
    "preflight.py --model": (
        "preflight.py --model={source} --run_dir={out}/r --notrial --train_annotations={train} "
        "--train_images={train_images} --val_annotations={val} --val_images={val_images}",
        (1,),
        "published on val2017's 5,000",
    ),
    "preflight.py --pipeline_config_path": (
        "preflight.py --pipeline_config_path={source} --run_dir={out}/r --notrial "
        "--val_annotations={val} --val_images={val_images}",
        (1,),
        "published on val2017's 5,000",
    ),
    "verdict.py --model": (
        "verdict.py --metrics={metrics} --model={source} --pipeline_config={source}",
        (3,),
        "published 22.2",
    ),
    "launch.py --model": (
        "launch.py --target=local --dry_run --model={source} --run_dir={out}/r "
        "--train_annotations={train} --train_images={train_images} --val_annotations={val} "
        "--val_images={val_images}",
        (0,),
        "--model={source}",
    ),
    "train.py": (  # its preflight, which does not let a pattern without records by
        "train.py --pipeline_config_path={source} --model_dir={out}/r --notrial",
        (2,),
        "preflight: reasons",
    ),
    "train.py --model": (
        f"train.py --pipeline_config_path={MODEL} --model={{source}} --model_dir={{out}}/r "
        "--notrial",
        (2,),
        "preflight: reasons",
    ),
}


def _scores(data, folder):
    """A metrics.json, as tools/score.py writes it."""
    path = folder / "metrics.json"
    if not path.is_file():
        detections = folder / "detections.json"
        write_json(detections, making.detections(data["val"][0], 0.8))
        write_json(path, score.score(data["val"][0], str(detections)).to_json())
    return path


def _run(command, source, out, data):
    values = {
        "metrics": data["metrics"],
        "train": data["train"][0],
        "train_images": data["train"][1],
        "val": data["val"][0],
        "val_images": data["val"][1],
    }
    tool, *arguments = command.split()
    filled = [each.format(source=source, out=out, **values) for each in arguments]
    return subprocess.run(
        [sys.executable, str(PROJECT / "tools" / tool), *filled],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("what", TOOLS)
def test_every_kind_is_taken(what, sources, data, tmp_path):
    command, statuses, said = TOOLS[what]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = dict(
            zip(
                KINDS,
                pool.map(lambda kind: _run(command, sources[kind], tmp_path / kind, data), KINDS),
                strict=True,
            )
        )
    for kind, each in done.items():
        assert each.returncode in statuses, f"{kind}: {each.stdout}\n{each.stderr}"
        words = said.format(source=sources[kind])
        told = " ".join(f"{each.stdout} {each.stderr}".split())  # however its lines are broken
        assert words in told, f"{kind}: {each.stdout}\n{each.stderr}"
        assert "Traceback" not in each.stderr


RUNS_ALONE = {
    "report.py": "report.py --run_dir={source}",
    "compare_runs.py": "compare_runs.py {source} --output={out}",
    "verdict.py": "verdict.py {source}",
}


@pytest.mark.parametrize("what", RUNS_ALONE)
def test_where_a_training_is_told_of_a_run_is_needed(what, sources, data, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        kinds = ("name", "config", "archive")
        told = pool.map(lambda k: _run(RUNS_ALONE[what], sources[k], tmp_path, data), kinds)
    for kind, each in zip(kinds, told, strict=True):
        assert each.returncode == 2, f"{kind}: {each.stdout}"
        assert sources[kind] in each.stderr and "Traceback" not in each.stderr


def test_a_runs_own_config_names_the_run(sources):
    config_file = f"{sources['run']}/pipeline.config"
    assert RunDir.existing(config_file) == RunDir.existing(sources["run"])


class TestWeights:
    """tools/evaluate.py --checkpoint, tools/export.py, tools/benchmark.py --model."""

    def _model(self, folder, inner):
        (folder / inner).mkdir(parents=True)
        (folder / inner / "ckpt-0.index").touch()
        (folder / "pipeline.config").write_text(config.to_text(config.template(MODEL)))
        return folder

    def test_of_a_run_and_of_its_config(self, tmp_path):
        run = self._model(tmp_path / "run", "checkpoints")
        expected = weights.Weights(f"{run}/checkpoints", f"{run}/pipeline.config")
        assert weights.of(run) == weights.of(run / "pipeline.config") == expected

    def test_of_an_archive_and_its_folder(self, tmp_path):
        folder = self._model(tmp_path / "made" / MODEL, "checkpoint")
        (tmp_path / "fetched").mkdir()
        archive = tmp_path / "fetched" / f"{MODEL}.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(folder, arcname=MODEL)
        unpacked = tmp_path / "fetched" / MODEL
        expected = weights.Weights(f"{unpacked}/checkpoint", f"{unpacked}/pipeline.config")
        assert weights.of(archive) == weights.of(unpacked) == expected

    def test_of_a_name_that_was_downloaded(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=f"fetch them: python tools/download.py zoo {MODEL}"):
            weights.of(MODEL)
        self._model(tmp_path / "data" / "zoo" / MODEL, "checkpoint")
        assert weights.of(MODEL).checkpoint == f"data/zoo/{MODEL}/checkpoint"

    def test_of_a_checkpoint(self, tmp_path):
        (tmp_path / "ckpt-7.index").touch()
        assert weights.of(tmp_path / "ckpt-7") == weights.Weights(f"{tmp_path}/ckpt-7", None)
        assert weights.of(tmp_path) == weights.Weights(str(tmp_path), None)
        for given in (str(tmp_path), f"{tmp_path}/ckpt-7", f"{tmp_path}/ckpt-7.index"):
            assert weights.start_of(given) == f"{tmp_path}/ckpt-7"
        for given in ("", "nowhere/ckpt-1"):
            assert weights.start_of(given) == given
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="no checkpoint"):
            weights.start_of(str(tmp_path / "empty"))

    def test_a_config_alone_has_none(self, sources):
        with pytest.raises(UserError, match="a config has no weights"):
            weights.of(sources["config"])
        with pytest.raises(UserError, match="no checkpoint there"):
            weights.of("nowhere/ckpt-7")
