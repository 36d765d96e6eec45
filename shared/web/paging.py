"""Lists: what may be asked of one, signed cursors, and the page that is answered."""

import hmac
import operator
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import URL, QueryParams

from shared.errors import BadRequest
from shared.persistence.mongo import Document, Reader
from shared.web.reply import Listing, Reply
from shared.web.schemas import Instant

PAGE_DEFAULT, PAGE_MAX = 50, 200
NEWEST = "-created_at"
SORTS = ("created_at", NEWEST, "updated_at", "-updated_at")
OWN = ("limit", "cursor", "sort", "updated_since")
FILTER_CHARS = 200
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_PLAIN = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,200}")


class Listed:
    """What a list can be filtered by, for the route and its document alike: `state` has the type of the row's `state`.

    `typed` names filters that the row does not show, or not under that name.
    """

    def __init__(self, row: type[BaseModel], *filters: str, typed: Mapping[str, Any] | None = None) -> None:
        types = {name: _field_type(row, name) for name in filters} | dict(typed or {})
        self._types = {name: TypeAdapter(kind) for name, kind in types.items()}

    @property
    def filters(self) -> list[str]:
        return list(self._types)

    @property
    def parameters(self) -> dict[str, Any]:
        """For the decorator's `openapi_extra`; limit, cursor, sort and updated_since are described for every list."""
        return {"parameters": [_parameter(name, _schema(kind)) for name, kind in self._types.items()]}

    def values(self, chosen: Mapping[str, str]) -> dict[str, Any]:
        """Raises BadRequest for a value that its filter cannot have."""
        found = {}
        for name, text in chosen.items():
            try:
                value = self._types[name].validate_strings(text)
            except ValidationError:
                raise BadRequest(f"{name} is not a value that it can have.") from None
            found[name] = value.value if isinstance(value, Enum) else value
        return found


def _field_type(row: type[BaseModel], name: str) -> Any:
    field = row.model_fields.get(name)
    return field.rebuild_annotation() if field else str


def _schema(kind: TypeAdapter[Any]) -> Document:
    made = kind.json_schema()
    choices = [part for part in made.get("anyOf", ()) if part != {"type": "null"}]
    if choices:
        made = choices[0]
    return {"maxLength": FILTER_CHARS, **made} if made.get("type") == "string" and "enum" not in made else made


def _parameter(name: str, schema: Document) -> Document:
    return {"name": name, "in": "query", "required": False, "schema": schema}


@dataclass(frozen=True)
class Page:
    """What was asked for.

    A collection that is listed has an index (clinic_id, created_at, _id) and one (clinic_id, updated_at, _id); one that
    is only listed below something (a patient, a session) has that field between clinic_id and _id, where rows are few.
    """

    url: URL
    limit: int
    sort: str
    since: datetime | None
    filters: dict[str, Any]
    after: tuple[datetime, str] | None
    sign: Callable[[str], str]

    async def of(
        self,
        reader: Reader,
        collection: str,
        query: Document,
        show: Callable[[Document], BaseModel],
        *,
        select: Callable[[dict[str, Any]], Document] = dict,
        times: tuple[str, str] = ("created_at", "updated_at"),
        changed: Sequence[str] = (),
    ) -> Reply:
        """`select` makes a query of the filters where they mean more than equality; raises BadRequest.

        `times` are the fields that sorting by created_at and updated_at mean here; every document has them. `changed` are
        those that tell of a later change where there was one.
        """
        created, updated = times
        field, order = (updated if "updated_at" in self.sort else created), (-1 if self.sort[0] == "-" else 1)
        conditions: list[Document] = [select(self.filters), query]
        if self.since is not None:
            conditions.append({"$or": [{name: {"$gte": self.since}} for name in (updated, *changed)]})
        if self.after is not None:
            conditions.append(_beyond(field, "$lt" if order < 0 else "$gt", *self.after))
        where: Document = {"$and": [part for part in conditions if part]} if any(conditions) else {}
        ordered: Sequence[tuple[str, int]] = [(field, order), ("_id", order)]
        rows = await reader.collection(collection).find(where, sort=ordered, limit=self.limit + 1)
        return self._reply(rows, show, field)

    def over(
        self,
        rows: Iterable[Document],
        show: Callable[[Document], BaseModel],
        times: tuple[str, str],
        changed: Sequence[str] = (),
    ) -> Reply:
        """The page of rows that are not all in one collection; filters mean equality."""
        created, updated = times
        field, newest = (updated if "updated_at" in self.sort else created), self.sort[0] == "-"
        found = [row for row in rows if all(row.get(name) == value for name, value in self.filters.items())]
        if self.since is not None:
            told = (updated, *changed)
            found = [row for row in found if any(row.get(name) and row[name] >= self.since for name in told)]
        if self.after is not None:
            beyond = operator.lt if newest else operator.gt
            found = [row for row in found if beyond((row[field], row["_id"]), self.after)]
        found.sort(key=lambda row: (row[field], row["_id"]), reverse=newest)
        return self._reply(found[: self.limit + 1], show, field)

    def _reply(self, rows: list[Document], show: Callable[[Document], BaseModel], field: str) -> Reply:
        """`rows` has one more where this is not the last page."""
        shown = [show(row).model_dump(mode="json", exclude_none=True) for row in rows[: self.limit]]
        if len(rows) <= self.limit:
            return Reply(Listing[Any](items=shown))
        last = rows[self.limit - 1]
        cursor = self._cursor(orjson.dumps([last[field], last["_id"]]).decode())
        # Relative (RFC 8288, 3.1): the host is what the caller or a proxy said it is.
        beyond = self.url.include_query_params(cursor=cursor)
        link = f'<{beyond.path}?{beyond.query}>; rel="next"'
        return Reply(Listing[Any](items=shown, next_cursor=cursor), headers={"Link": link})

    def _cursor(self, last: str) -> str:
        return urlsafe_b64encode(f"{last}|{self.sign(last)}".encode()).decode()


def _beyond(field: str, operator: str, at: datetime, identifier: str) -> Document:
    """Past the row at the end of the page before; the first condition gives the index its bound."""
    rest = [{field: {operator: at}}, {field: at, "_id": {operator: identifier}}]
    return {field: {f"{operator}e": at}, "$or": rest}


def asked(query: QueryParams, url: URL, listed: Listed | Sequence[str], mac: Callable[..., str]) -> Page:
    """The page asked for; raises BadRequest for what is unknown, said twice, out of bounds, or a cursor not made here.

    `mac` signs text; a cursor holds for one path, one sort and the same filters.
    """
    names = listed.filters if isinstance(listed, Listed) else list(listed)
    given = [name for name, _ in query.multi_items()]
    if set(given) - {*OWN, *names}:
        raise BadRequest("Unknown query parameters; known: " + ", ".join(sorted({*OWN, *names})))
    if len(given) != len(set(given)):
        raise BadRequest("A query parameter is given twice.")
    chosen = {name: query[name] for name in names if name in query}
    if not all(_PLAIN.fullmatch(text) for text in chosen.values()):
        raise BadRequest(f"A filter is longer than {FILTER_CHARS} or holds control characters.")
    filters = listed.values(chosen) if isinstance(listed, Listed) else dict(chosen)
    sort = query.get("sort", NEWEST)
    if sort not in SORTS:
        raise BadRequest("sort must be one of " + ", ".join(SORTS) + ".")
    since = query.get("updated_since")
    bound = orjson.dumps([url.path, sort, since, sorted(chosen.items())]).hex()

    def sign(last: str) -> str:
        return mac("cursor", bound, last)

    moment = None if since is None else _instant("updated_since", since)
    return Page(url, _limit(query.get("limit")), sort, moment, filters, _after(query.get("cursor"), sign), sign)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_DEFAULT
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= PAGE_MAX:
        raise BadRequest(f"limit must be from 1 to {PAGE_MAX}.")
    return int(text[:6])


def _instant(name: str, text: str) -> datetime:
    try:
        # A "+" that nobody escaped has become a space.
        return _INSTANT.validate_strings(text.replace(" ", "+"))
    except ValidationError:
        raise BadRequest(f"{name} must be an RFC 3339 time with a zone.") from None


def _after(cursor: str | None, sign: Callable[[str], str]) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        payload, _, mac = urlsafe_b64decode(cursor.encode("ascii")).decode().rpartition("|")
    except ValueError:
        raise BadRequest("The cursor is not valid.") from None
    if not hmac.compare_digest(mac.encode(), sign(payload).encode()):
        raise BadRequest("The cursor is not valid for this list, sort and filters.")
    at, identifier = orjson.loads(payload)
    return datetime.fromisoformat(at), identifier
