"""How a trial's failure is told."""

from replicate.preflight import trial_process


def test_an_error_of_traced_code_is_told_by_its_own_line():
    """As AutoGraph words it: where it was first, what it is last."""
    error = ValueError(
        'in user code:\n\n    File "steps.py", line 9, in step\n        call()\n\n'
        "    ValueError: the schedule ends at 4\n    2. More of it.\n"
    )
    told = trial_process._in_words(error, "two training steps")
    assert told == {
        "error": "ValueError while two training steps: ValueError: the schedule ends at 4"
    }
    plain = trial_process._in_words(ValueError("first\nsecond"), "tracing a step")
    assert plain == {"error": "ValueError while tracing a step: first"}
