"""Read by every interpreter that a test starts for a service: the driver is listened to from its first command."""

from tests.support.concerns import listen

listen()
