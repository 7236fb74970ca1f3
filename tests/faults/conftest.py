"""A finished run and the tools that the faults are put to."""

import pytest

from tests.faults.tools import Tools
from tests.report import making


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(annotations_file, image_dir) of eight drawn images."""
    return making.groundtruth(tmp_path_factory.mktemp("drawn"), images=8)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, drawn):
    """RunDir of a whole run; not to be changed."""
    return making.run_directory(
        tmp_path_factory.mktemp("finished") / "run", *drawn, steps=(100, 200)
    )


@pytest.fixture(scope="session")
def tools(tmp_path_factory):
    """Tools, forked from one process."""
    with Tools(tmp_path_factory.mktemp("terminals")) as running:
        yield running
