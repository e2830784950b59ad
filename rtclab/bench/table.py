"""Figures as an aligned table of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column: the key of its figure, its heading, and how a number is written."""

    key: str
    heading: str
    form: str = "{}"


def table(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> str:
    """Text with a heading and one line a row; text is left-aligned, numbers right, what is None is ``-``."""
    cells = [
        ["-" if row.get(column.key) is None else column.form.format(row[column.key]) for column in columns]
        for row in rows
    ]
    texts = [any(isinstance(row.get(column.key), str) for row in rows) for column in columns]
    widths = [
        max(len(column.heading), *(len(line[index]) for line in cells), 1)
        for index, column in enumerate(columns)
    ]

    def line(parts: Sequence[str]) -> str:
        aligned = [
            part.ljust(width) if text else part.rjust(width)
            for part, width, text in zip(parts, widths, texts, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    head = line([column.heading for column in columns])
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([head, rule, *(line(parts) for parts in cells)])
