"""Every metric, declared before use. Labels are closed sets; no id is ever a label."""

from prometheus_client import Counter, Gauge

OUTBOX_SENT = Counter("stillwater_outbox_sent", "Rows acknowledged by the broker", ["lane"])
OUTBOX_DEAD_ROWS = Gauge("stillwater_outbox_dead_rows", "Refused rows that wait for a decision")
OUTBOX_DEAD = Counter("stillwater_outbox_dead", "Rows that the broker refused", ["lane"])
OUTBOX_AGE = Gauge("stillwater_outbox_oldest_age_seconds", "Age of the oldest row that waits for the relay")
DEAD_LETTERS_OPEN = Gauge("stillwater_dead_letters_open", "Dead letters that wait for a decision")
OUTBOX_PENDING = Gauge("stillwater_outbox_pending", "Rows that wait for the relay")
EVENTS_HANDLED = Counter("stillwater_events_handled", "Records by outcome", ["group", "outcome"])
CONSUMERS_STOPPED = Gauge("stillwater_consumers_stopped", "Consumers whose fuse has blown")
PARTITION_WAITING = Gauge("stillwater_partition_waiting_seconds", "How long the partition waits that waits longest")
TIMERS_FAILING = Gauge("stillwater_timers_failing", "Timers that have failed three times or more")
TIMERS_FIRED = Counter("stillwater_timers_fired", "Timers by outcome", ["kind", "outcome"])
TASK_RESTARTS = Counter("stillwater_task_restarts", "Background tasks that died and were started again", ["task"])
TOPIC_FAULTS = Gauge("stillwater_topic_faults", "Topics' properties that fall short of the settings")
AUDIT_ROWS_SEALED = Counter("stillwater_audit_rows_sealed", "Audit rows covered by a block of the chain")
HTTP_REQUESTS = Counter("stillwater_http_requests", "Answers by status", ["method", "route", "status"])
ALARMS_RAISED = Counter("stillwater_alarms_raised", "Alarms raised", ["priority"])
WATCH_LOOKED = Gauge("stillwater_watch_looked_timestamp_seconds", "When notifications last looked after monitoring")
PAGES_SENT = Counter("stillwater_pages_sent", "Attempts to page by result", ["channel", "result"])

DECLARED: tuple[Counter | Gauge, ...] = tuple(row for row in vars().copy().values() if isinstance(row, Counter | Gauge))
