"""Every command twice at the same moment."""

import shutil

from tests.faults.series.comparing import equal, whole_output
from tests.faults.tools import ANSWERED, MENDABLE, Figures, partial_files


def two_at_once(tools, folder, commands, times=1):
    """Every command twice at the same moment: the output is that of one."""
    figures = Figures()
    for name, command in commands.items():
        whole_at = folder / f"{name}-one"
        whole = whole_output(tools, whole_at, command)
        for number in range(times):
            out = folder / f"{name}-two{number}"
            out.mkdir()
            both = [tools.start(*command(out)) for _ in range(2)]
            ended = [each.ended() for each in both]
            if not any(each.status in ANSWERED for each in ended):
                ended.append(tools.run(*command(out)))
            wrong = [
                each
                for each in whole
                if not (out / each).is_file() or not equal(out, whole_at, each)
            ]
            figures.fault(
                f"two of {name}: {[(each.status, each.stderr[-300:]) for each in ended]} {wrong}",
                traceback=any(each.crashed or each.status not in MENDABLE for each in ended),
                changed=bool(wrong),
                partial=len(partial_files(out)),
            )
            shutil.rmtree(out)
    return figures
