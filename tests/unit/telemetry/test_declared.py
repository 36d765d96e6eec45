"""Names are declared before use: what is not, stands in no span and at no `/metrics`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from shared.telemetry.attributes import DECLARED

ROOT = Path(__file__).parents[3]
FILES = [path for folder in ("shared", "services") for path in sorted((ROOT / folder).rglob("*.py"))]
SETS = {"set_attribute", "set_attributes", "add_event", "start_span", "start_as_current_span"}
METRICS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}


def calls(path: Path) -> Iterator[ast.Call]:
    """Those that say something of a span."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SETS:
            yield node


def test_what_is_said_of_a_span_by_name_is_declared() -> None:
    """What is said of it at its begin has a type, which the type checker holds to the same list."""
    said = [
        (path.relative_to(ROOT).as_posix(), call.func.attr, ast.unparse(call.args[0]).strip("'"))
        for path in FILES
        for call in calls(path)
        if isinstance(call.func, ast.Attribute)
    ]
    begun = {path for path, how, _ in said if how != "set_attribute"}
    assert begun == {"shared/telemetry/commands.py", "shared/telemetry/tracing.py"}
    names = {name for _, how, name in said if how == "set_attribute"}
    assert len(names) > 2
    assert names <= DECLARED


def test_a_metric_is_made_where_all_are_declared() -> None:
    made = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module == "prometheus_client"
        and METRICS & {name.name for name in node.names}
    }
    assert made - {"shared/telemetry/otlp.py"} == {"shared/telemetry/metrics.py"}
