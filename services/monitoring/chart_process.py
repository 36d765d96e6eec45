"""Draws charts in a process of its own: `python -m services.monitoring.chart_process`. Length and JSON in, length and SVG out.

Ends when its input does. Nothing that it is given is ever written anywhere else.
"""

import os
import struct
import sys

NICENESS = 10  # a picture can wait, an alarm cannot


def main() -> None:
    os.nice(NICENESS)
    from services.monitoring.chart import render  # noqa: PLC0415 - after the nice: the import is the dearest part
    from services.monitoring.chart_data import Chart  # noqa: PLC0415

    given, made = sys.stdin.buffer, sys.stdout.buffer
    while head := given.read(4):
        (length,) = struct.unpack(">I", head)
        try:
            svg = render(Chart.decode(given.read(length)))
        except Exception:  # noqa: BLE001 - the next chart may be drawn; an empty answer says that this one was not
            svg = b""
        made.write(struct.pack(">I", len(svg)) + svg)
        made.flush()


if __name__ == "__main__":
    main()
