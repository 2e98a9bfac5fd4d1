#!/usr/bin/env python3
"""Writes the dashboards, *.json, one folder up. With --check: fails if one of them is stale.

Every query answers something on a healthy installation: where nothing to count is the normal case, it
ends in `or on () vector(0)`.
"""

import sys
from pathlib import Path

import delivery
import dependencies
import endpoint
import overview
import queues
from panels import text

HERE = Path(__file__).resolve().parent.parent
BOARDS = {
    "overview": overview.BOARD,
    "delivery": delivery.BOARD,
    "endpoint": endpoint.BOARD,
    "queues": queues.BOARD,
    "dependencies": dependencies.BOARD,
}


def main():
    stale = []
    for name, board in BOARDS.items():
        path = HERE / f"{name}.json"
        if path.exists() and path.read_text() == text(board):
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(text(board))
    if stale and "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(stale)}; run deploy/grafana/source/generate.py")


if __name__ == "__main__":
    main()
