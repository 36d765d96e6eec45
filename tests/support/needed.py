"""`python -m tests.support.needed`: what the tests run and no package holds, so that no test waits for its coming."""

import sys

from deploy.local import kafka_broker, mongodb
from deploy.local.processes import StackError
from deploy.local.stack import ROOT, Stack
from tests.support.browser import need_chromium


def main() -> int:
    try:
        mongodb.binary()
        kafka_broker.need_java()
        kafka_broker.jars(Stack(ROOT / ".local").cache)
        need_chromium()
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
