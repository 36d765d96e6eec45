"""A query without the clinic cannot be written: what a service asks across clinics stands in one place each."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The few queries across clinics: each service's `store.py`, the part of monitoring's that is about a board's values, and the
# one writer of a batch of several clinics' readings.
ACROSS = {f"services/{name}/store.py" for name in ("intake", "scheduling", "monitoring", "notifications")}
ACROSS |= {f"services/monitoring/{name}.py" for name in ("board_signs", "usecases/readings")}
BESIDE_THE_SCOPE = re.compile(r"\.plumbing\(|\.database\b|\.client\[|MongoClient|motor|\$lookup")


def test_services_reach_their_store_through_a_scope_alone() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "services").rglob("*.py")
        if BESIDE_THE_SCOPE.search(path.read_text())
    }
    assert found <= ACROSS
