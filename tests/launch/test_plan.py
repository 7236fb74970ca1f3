"""What is launched: durations, names, command lines."""

import pytest

from replicate.errors import UserError
from replicate.launch.plan import Plan, clock, parse_duration

HOUR = 3600


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("36h", 36 * HOUR, "1-12:00:00"),
        ("90m", 5400, "01:30:00"),
        ("45s", 45, "00:00:45"),
        ("1d12h", 36 * HOUR, "1-12:00:00"),
        ("24:00:00", 24 * HOUR, "1-00:00:00"),
        ("2-01:02:03", 49 * HOUR + 123, "2-01:02:03"),
        ("00:20:00", 1200, "00:20:00"),
    ],
)
def test_durations(text, seconds, shown):
    assert parse_duration(text) == seconds
    assert clock(seconds) == shown
    assert parse_duration(shown) == seconds


@pytest.mark.parametrize("text", ["", "90", "1.5h", "0h", "two days", "1h; rm x", "-1h", "1h2d"])
def test_what_is_no_duration(text):
    with pytest.raises(UserError, match="is no time"):
        parse_duration(text)


@pytest.mark.parametrize(
    "fields", [{"directory": "runs/a\nb"}, {"directory": "a", "name": "x\n#SBATCH --uid=0"}]
)
def test_line_breaks_are_refused(fields):
    with pytest.raises(UserError, match="line breaks"):
        Plan.of(**{"arguments": []} | fields)


def test_a_seed_has_a_run_directory_of_its_own(tmp_path):
    plan = Plan.of(tmp_path / "a", ["--model=m"], seeds=(0, 7), python="py", tool="t.py")
    assert [plan.command(run) for run in plan.runs] == [
        ["py", "t.py", "--model=m", "--seed=0", f"--run_dir={tmp_path}/a/seed0"],
        ["py", "t.py", "--model=m", "--seed=7", f"--run_dir={tmp_path}/a/seed7"],
    ]
    one = Plan.of(tmp_path / "a", ["--seed=3"], python="py", tool="t.py")
    assert one.command(one.runs[0]) == ["py", "t.py", "--seed=3", f"--run_dir={tmp_path}/a"]
