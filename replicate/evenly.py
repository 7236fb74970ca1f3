"""Some of many, evenly spread: for a line's points, a slider's steps, a sample of files."""


def evenly(values, count):
    """At most `count` of some values, evenly spread, the first and the last among them.

    Args:
      values: sequence.
      count: int, at least 2.

    Returns:
      list, in the order of `values`.
    """
    if len(values) <= count:
        return list(values)
    last = len(values) - 1
    return [values[round(index * last / (count - 1))] for index in range(count)]
