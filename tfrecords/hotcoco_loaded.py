"""hotcoco, past the one moment at which a signal would make it print a backtrace of its own.

    from tfrecords.hotcoco_loaded import hotcoco

At the first array that it takes or gives, hotcoco asks numpy for its C interface by running Python
code, in which a signal's handler may raise; it has no answer to that but a panic, with a backtrace
on stderr. That first array is handled here, in a thread, where no handler runs. The Python code
that later calls run (`json.loads`, Pillow) may be interrupted: they pass its exceptions on.
"""

import threading

import numpy as np


def _use() -> None:
    import hotcoco.mask  # the import alone asks numpy for nothing

    # A mask taken and given: numpy's arrays, and its counting of who borrows them.
    hotcoco.mask.decode(hotcoco.mask.encode(np.zeros((1, 1), np.uint8, order="F")))


_user = threading.Thread(target=_use)
_user.start()
_user.join()

import hotcoco
import hotcoco.mask
import hotcoco.primitives

__all__ = ["hotcoco"]
