"""Tables: data frames and series of pandas and polars, as records and as CSV."""

from __future__ import annotations

import sys
from typing import Any


def is_table(value: object) -> bool:
    """Whether value is a DataFrame or a Series of pandas or polars."""
    return any(isinstance(value, made.DataFrame | made.Series) for made in _libraries())


def is_frame(value: object) -> bool:
    """Whether value is a DataFrame of pandas or polars."""
    return any(isinstance(value, made.DataFrame) for made in _libraries())


def is_lazy(value: object) -> bool:
    """Whether value is a query of polars', which has yet to be run."""
    return isinstance(value, getattr(sys.modules.get("polars"), "LazyFrame", ()))


def _libraries() -> list[Any]:
    """Those of the two that have been imported, and are not in the middle of it."""
    there = (sys.modules.get(name) for name in ("pandas", "polars"))
    return [made for made in there if hasattr(made, "DataFrame") and hasattr(made, "Series")]


def records(table: Any) -> list[Any] | dict[str, Any]:
    """A frame as a list of dicts; a series as a list, or as a dict if its items have labels, each its own.

    An index of a frame is a column, unless it only counts: whole numbers without a name.
    """
    if not hasattr(table, "index"):  # polars
        made: list[Any] = table.to_dicts() if hasattr(table, "to_dicts") else table.to_list()
        return made
    if not hasattr(table, "columns"):
        if _only_counts(table.index):
            return list(table.tolist())
        if table.index.nlevels == 1 and table.index.is_unique:
            return dict(zip(table.index.tolist(), table.tolist(), strict=True))
    table = _with_index(table)
    names = [name if isinstance(name, str) else str(name) for name in table.columns]
    if getattr(table.columns, "nlevels", 1) > 1:
        joined = ["_".join(str(part) for part in name if part != "") for name in table.columns]
        names = joined if len(set(joined)) == len(joined) else names
    columns = [table.iloc[:, number].tolist() for number in range(len(names))]
    if not columns:
        return [{} for _ in range(len(table))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def csv(table: Any) -> str:
    """A table as CSV with a line of names. The index is there if it says anything."""
    if not hasattr(table, "index"):
        text: str = (table if hasattr(table, "write_csv") else table.to_frame()).write_csv()
        return text
    if not hasattr(table, "columns"):
        text = table.to_csv(index=not _only_counts(table.index))
    else:
        text = _with_index(table).to_csv(index=False)
    return text


def text(table: Any) -> str:
    """A table for a terminal, all of it."""
    return str(table.to_string() if hasattr(table, "to_string") else table)


def _only_counts(index: Any) -> bool:
    """Whether the labels say no more than the order does."""
    return index.nlevels == 1 and index.name is None and getattr(index.dtype, "kind", "") in "iu"


def _with_index(table: Any) -> Any:
    if _only_counts(table.index) or any(name in getattr(table, "columns", ()) for name in table.index.names):
        return table
    return table.reset_index()
