"""The trace of the day's last alarm, from the reading to the page."""

from typing import Any

from rich.console import Console
from rich.tree import Tree

from deploy.local.day.clinic import Clinic

READING_SPAN = "POST /v1/sessions/{session_id}/vitals"
Spans = list[dict[str, Any]]


def alarm_trace(clinic: Clinic) -> tuple[str, Spans]:
    """The trace of the last alarm that a reading raised (a tick raises others), once no span of it is under way."""

    def look() -> Spans:
        rows: Spans = clinic.client.get(f"{clinic.stack.issuer}/spans").json()
        of_readings = {row["trace_id"] for row in rows if row["name"] == READING_SPAN}
        pages = [row for row in rows if row["name"] == "deliver pager" and row["trace_id"] in of_readings]
        spans = [row for row in rows if pages and row["trace_id"] == pages[-1]["trace_id"]]
        known = {row["span_id"] for row in spans} | {"", None}
        return spans if all(row["parent_id"] in known for row in spans) else []

    spans = clinic.until("the trace", look)
    return spans[0]["trace_id"], spans


def show_trace(console: Console, trace_id: str, spans: Spans) -> None:
    tree = Tree(f"trace {trace_id}")
    known = {row["span_id"] for row in spans}
    nodes: dict[str, Tree] = {}

    def add(parent: Tree, parent_id: str | None) -> None:
        children = [r for r in spans if (r["parent_id"] == parent_id if parent_id else r["parent_id"] not in known)]
        for row in sorted(children, key=lambda r: int(r["start_ns"])):
            ms = (row["end_ns"] - row["start_ns"]) / 1e6
            nodes[row["span_id"]] = parent.add(f"[bold]{row['service']}[/] {row['name']} [dim]{ms:.1f} ms[/]")
            add(nodes[row["span_id"]], row["span_id"])

    add(tree, None)
    console.print(tree)
