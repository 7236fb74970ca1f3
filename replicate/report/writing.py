"""`write`: the report of a run into its directory."""

from replicate.report import charts, content, gallery, pages
from replicate.run import write_text


def write(run):
    """Writes report/index.html, report.md, report.json and plots/ of a run directory.

    What the directory does not hold is named in the report as not checked.

    Args:
      run: RunDir.

    Returns:
      path of index.html.
    """
    report = content.of_run(run)
    plots = charts.of_run(report)
    multiples = charts.small_multiples(report["category_curves"])
    pictures = {}
    if report["gallery"]:
        image_dir = report["request"].get("val_images")
        pictures = gallery.pictures(report["gallery"]["images"], image_dir)
        absent = len(report["gallery"]["images"]) - len(pictures)
        if absent:
            report["not_checked"].append(
                {"what": f"{absent} pictures of the gallery", "why": f"not readable in {image_dir}"}
            )
    common = {"content": report, "plots": plots, "tide_names": charts.TIDE}
    page = pages.html(
        "run.html.j2",
        ["page.js", "gallery.js"],
        multiples=multiples,
        pictures=pictures,
        **common,
    )
    for plot in plots.values():
        write_text(run.report / "plots" / f"{plot.name}.svg", plot.standalone())
    write_text(run.report / "report.json", pages.json_text(report))
    write_text(run.report / "report.md", pages.markdown("run.md.j2", **common))
    write_text(run.report / "index.html", page)
    return run.report / "index.html"
