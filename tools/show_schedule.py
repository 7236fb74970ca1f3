"""Shows the learning rate of one or several configs over steps and over images seen.

    python tools/show_schedule.py ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8
    python tools/show_schedule.py MODEL runs/mine/pipeline.config --output=schedules.png

Each argument is a zoo model's name, a pipeline.config file, a released archive (MODEL.tar.gz), a
run directory, or a published row of TF-Vision or a YAML of its. The rate is printed where the
schedule changes course; --output draws it (PNG or SVG, by the name's end). The values are those of
the Object Detection API's learning_schedules, or of TF-Vision's.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib
from typing import Any

from absl import flags

from replicate import engine
from replicate.errors import UserError
from tools import cli

_OUTPUT = flags.DEFINE_string("output", None, "draw the schedules here (.png or .svg)")
_LOG = flags.DEFINE_bool("log", False, "draw the rate on a logarithmic axis")
_POINTS = 4000  # of a drawn curve


def main(arguments: list[str]) -> None:
    if not arguments:
        raise UserError("name at least one config: python tools/show_schedule.py MODEL [FILE …]")
    if _OUTPUT.value and not _OUTPUT.value.endswith((".png", ".svg")):
        raise UserError(f"--output={_OUTPUT.value}: the name must end in .png or .svg")
    configs = {name: engine.read(name) for name in arguments}
    print("\n\n".join(_table(name, config) for name, config in configs.items()))
    if _OUTPUT.value:
        _draw(configs, _OUTPUT.value)


def _table(name: str, config: Any) -> str:
    batch = engine.describe(config).batch_size
    _, marks, kind = engine.schedule(config, [0])
    rates, _, _ = engine.schedule(config, [step for step, _ in marks])
    lines = [
        f"{name}: {kind}, batch {batch}",
        f"{'step':>10}  {'images':>12}  {'rate':>12}",
    ]
    lines += [
        f"{step:>10,}  {step * batch:>12,}  {rate:>12.6g}  {what}"
        for (step, what), rate in zip(marks, rates, strict=True)
    ]
    return "\n".join(lines)


def _draw(configs: dict[str, Any], path: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    import numpy as np
    from matplotlib import pyplot

    from tfrecords.whole_files import written_whole

    figure, (over_steps, over_images) = pyplot.subplots(
        1, 2, figsize=(12, 4.5), sharey=True, layout="constrained"
    )
    for name, config in configs.items():
        described = engine.describe(config)
        marks = [step for step, _ in engine.schedule(config, [0])[1]]
        # The boundaries themselves, and the step before each, so that a drop is drawn upright.
        steps = np.linspace(0, described.num_steps, _POINTS).astype(int)
        steps = np.unique([*steps, *marks, *(step - 1 for step in marks if step)])
        steps = steps[steps <= described.num_steps]
        rates, _, _ = engine.schedule(config, steps)
        over_steps.plot(steps, rates, label=pathlib.Path(name).name)
        over_images.plot(steps * described.batch_size / 1e6, rates)
    over_steps.set(xlabel="step", ylabel="learning rate")
    over_images.set(xlabel="images seen (millions)")
    for axes in (over_steps, over_images):
        if _LOG.value:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=1, frameon=False)
    with written_whole(path, "wb") as stream:
        figure.savefig(stream, format=path[-3:], dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    cli.run(main)
