"""Pages far larger than a test's data would give: a thousand images, fifty runs."""

import copy
import dataclasses

from replicate.report import charts, comparison, gallery, participants, writing
from replicate.run import write_text


def page_of_images(report, count, path):
    """A run's page whose gallery has `count` images; `report` is that of a real run."""
    report = copy.deepcopy(report)
    shown = report["gallery"]["images"]
    report["gallery"]["images"] = [
        shown[number % len(shown)] | {"id": number, "file_name": f"{number:06d}.jpg"}
        for number in range(count)
    ]
    folder = report["request"]["val_images"]
    drawn = gallery.pictures(shown, folder)
    of_number = list(drawn.values())
    pictures = {str(number): of_number[number % len(of_number)] for number in range(count)}
    page = writing.page_of_run(report, charts.of_run(report), pictures, tide_names=charts.TIDE)
    write_text(path, page)
    return path


def page_of_runs(run, count, path):
    """A comparison's page of `count` runs, all with the files of one."""
    one = participants.read([run.root])[0]
    many = [
        dataclasses.replace(one, key=f"r{number}", name=f"run-{number}") for number in range(count)
    ]
    compared = comparison.of(many, samples=0)
    images = compared["gallery"]["images"]
    pictures = gallery.pictures(images, one.report["request"]["val_images"])
    write_text(path, writing.page_of_comparison(compared, pictures))
    return path
