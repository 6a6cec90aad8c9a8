"""Small tables that a screen reader can read out: a caption, a header for each column and one for each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """Rows under headers, shown as HTML in a notebook and as aligned text elsewhere. See ``table``."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.headers, *self.rows, strict=True)]
        rule = tuple("-" * width for width in widths)
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (self.headers, rule, *self.rows))
        return "\n".join([self.caption, "", *lines])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(h)}</th>' for h in self.headers)
        body = "".join(f'<tr><th scope="row">{escape(first)}</th>'
                       f'{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>' for first, *rest in self.rows)
        return (f'<table class="companion-table"><caption>{escape(self.caption)}</caption>'
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def table(caption: str, headers: Sequence[object], rows: Sequence[Sequence[object]]) -> Table:
    """A table; the first cell of each row is its header.

    Args:
        caption: what the table shows, in one phrase.
        headers: one for each column.
        rows: cells of any type, shown as ``str`` gives them; format floating-point numbers before.

    Raises:
        ValueError: without a caption, where there is no row, or where a row is longer or shorter than the headers.
    """
    if not caption.strip():
        raise ValueError("the table has no caption: say in one phrase what it shows")
    if not rows:
        raise ValueError(f"the table {caption!r} has no rows: give at least one")
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"row {tuple(row)} has {len(row)} cells, but there are {len(headers)} headers")
    return Table(caption, tuple(map(str, headers)), tuple(tuple(map(str, row)) for row in rows))
