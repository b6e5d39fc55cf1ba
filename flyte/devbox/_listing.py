"""Filters, order and pages of lists, as SQL. Field names come from tables here, values are bound: never text of a
client's in a statement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flyteidl2.common.list_pb2 import Filter, ListRequest, Sort

from ._refusal import Code, Refusal

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
"""How many entries a page holds (wire-protocol section 11.1)."""

_OPERATORS = {
    Filter.Function.EQUAL: "=",
    Filter.Function.NOT_EQUAL: "!=",
    Filter.Function.GREATER_THAN: ">",
    Filter.Function.GREATER_THAN_OR_EQUAL: ">=",
    Filter.Function.LESS_THAN: "<",
    Filter.Function.LESS_THAN_OR_EQUAL: "<=",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A field that lists can be filtered and ordered by.

    :param sql: what it is in the tables.
    :param read: makes a value of the database of a client's text.
    """

    sql: str
    read: Callable[[str], Any] = str


def read_number(text: str) -> int:
    """A whole number.

    :raises Refusal: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise Refusal(Code.INVALID, f"{text!r} is not a number") from None


def read_moment(text: str) -> float:
    """A moment in ISO 8601, in UTC if it does not say otherwise, as seconds since the epoch.

    :raises Refusal: it is none.
    """
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Refusal(Code.INVALID, f"{text!r} is not a moment such as 2026-01-31T12:00:00Z") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def conditions(filters: Sequence[Filter], columns: Mapping[str, Column]) -> tuple[str, list[Any]]:
    """The part of a statement after ``AND``, and its values; empty text if nothing is filtered.

    :raises Refusal: a field or function that is not known.
    """
    parts: list[str] = []
    values: list[Any] = []
    for one in filters:
        column = _column(one.field, columns, "filtered by")
        given = [column.read(text) for text in one.values]
        operator = _OPERATORS.get(one.function)
        if operator is not None:
            if len(given) != 1:
                raise Refusal(Code.INVALID, f"filter on {one.field!r}: {len(given)} values, where one is needed")
            parts.append(f"{column.sql} {operator} ?")
        elif one.function in (Filter.Function.VALUE_IN, Filter.Function.VALUE_NOT_IN):
            negation = "NOT " if one.function == Filter.Function.VALUE_NOT_IN else ""
            parts.append(f"{column.sql} {negation}IN ({', '.join('?' * len(given))})")
        elif one.function == Filter.Function.CONTAINS and given:
            parts.append(f"instr({column.sql}, ?) > 0")
            given = given[:1]
        elif one.function == Filter.Function.CONTAINS_CASE_INSENSITIVE and given:
            parts.append(f"instr(lower({column.sql}), lower(?)) > 0")
            given = given[:1]
        elif one.function in (Filter.Function.ENDS_WITH, Filter.Function.NOT_ENDS_WITH) and given:
            sign = "=" if one.function == Filter.Function.ENDS_WITH else "!="
            parts.append(f"substr({column.sql}, -length(?)) {sign} ?")
            given = [given[0], given[0]]
        else:
            raise Refusal(Code.INVALID, f"filter on {one.field!r}: function {one.function} is not known here")
        values += given
    return "".join(f" AND {part}" for part in parts), values


def order(request: ListRequest, columns: Mapping[str, Column], tie: str) -> str:
    """The ORDER BY of a list: newest first if it is not said; entries that tie are told apart by ``tie``.

    :raises Refusal: a field that lists cannot be ordered by.
    """
    wanted = list(request.sort_by_fields) or ([request.sort_by] if request.HasField("sort_by") else [])
    wanted = [one for one in wanted if one.key]
    if not wanted:
        wanted = [Sort(key="created_at", direction=Sort.Direction.DESCENDING)]
    parts = []
    for one in wanted:
        direction = "ASC" if one.direction == Sort.Direction.ASCENDING else "DESC"
        parts.append(f"{_column(one.key, columns, 'ordered by').sql} {direction}")
    return f" ORDER BY {', '.join(parts)}, {tie} {parts[-1].rpartition(' ')[2]}"


def page(request: ListRequest) -> tuple[int, int]:
    """How many entries, and after how many.

    :raises Refusal: a token that no list gave.
    """
    limit = min(request.limit or DEFAULT_LIMIT, MAX_LIMIT)
    if request.token and not (request.token.isascii() and request.token.isdigit()):
        raise Refusal(Code.INVALID, f"token {request.token!r} was not given by a list")
    return limit, int(request.token or 0)


def _column(field: str, columns: Mapping[str, Column], what: str) -> Column:
    column = columns.get(field)
    if column is None:
        raise Refusal(Code.INVALID, f"this list cannot be {what} {field!r}; known are {', '.join(sorted(columns))}")
    return column
