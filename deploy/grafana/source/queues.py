"""What waits, where and for how long."""

from panels import BAD, GOOD, PER_SECOND, RATE, bars, dashboard, rising, series, stat

WORK = 'queue=~"fanfare\\\\.(intake|deliveries|deliveries\\\\.urgent|outcomes)"'
DELIVERIES = 'queue=~"fanfare\\\\.deliveries.*"'
DELAYS = 'queue=~"fanfare\\\\.delay.*"'

NOW = [
    stat(
        "Deliveries ready",
        "Messages that a dispatcher could take now. A message carries up to 16 deliveries of an event.",
        f"sum(max by (queue) (fanfare_queue_ready{{{DELIVERIES}}}))",
        width=4,
        steps=rising(10_000, 1_000_000),
    ),
    stat(
        "Dispatchers listening",
        "Consumers of the queue fanfare.deliveries. None: nothing is delivered.",
        'max(fanfare_queue_consumers{queue="fanfare.deliveries"})',
        width=4,
        steps=[(None, BAD), (1, GOOD)],
    ),
    stat(
        "Retries scheduled",
        "Messages that wait for the time of their next attempt.",
        "max(fanfare_retries_scheduled)",
        width=4,
    ),
    stat(
        "Overdue",
        "Deliveries whose time came more than 5 s ago, and which nobody has attempted; counted up to 10,000.",
        "max(fanfare_deliveries_overdue)",
        width=4,
        steps=rising(1_000, 10_000),
    ),
    stat(
        "Events rejected",
        "Messages on license.events that could not be understood. They stay until they are sent again or removed.",
        "max(fanfare_events_rejected)",
        width=4,
        steps=rising(1, 100),
    ),
    stat(
        "Messages parked",
        "Messages between Fanfare's own parts that could not be read.",
        "max(fanfare_messages_parked)",
        width=4,
        steps=rising(1, 100),
    ),
]

QUEUES = [
    series(
        "Ready",
        "Messages that wait in each queue. `intake` grows: the store is slow or away. `deliveries` grows: more dispatchers are needed. `outcomes` grows: records wait for the store.",
        [(f"max by (queue) (fanfare_queue_ready{{{WORK}}})", "{{queue}}")],
    ),
    series(
        "Unacknowledged",
        "Messages in the hands of a process. Needs the setting broker.management_url.",
        [(f"max by (queue) (fanfare_queue_unacked{{{WORK}}})", "{{queue}}")],
    ),
    series(
        "How late",
        "For how long the delivery that is due longest has been due. Grows with `deliveries`: more dispatchers are needed. Grows alone: look at Dependencies.",
        [("max(fanfare_oldest_overdue_seconds)", "most overdue")],
        unit="s",
    ),
    series(
        "In and out",
        "Messages published to and taken from each queue. Needs the setting broker.management_url.",
        [
            (f"max by (queue) (rate(fanfare_queue_publish_total{{{WORK}}}[{RATE}]))", "{{queue}} in"),
            (f"max by (queue) (rate(fanfare_queue_deliver_total{{{WORK}}}[{RATE}]))", "{{queue}} out"),
        ],
        unit=PER_SECOND,
        width=6,
    ),
    series(
        "Consumers",
        "Processes that take from each queue.",
        [(f"max by (queue) (fanfare_queue_consumers{{{WORK}}})", "{{queue}}")],
        width=6,
    ),
    series(
        "Time in the queue",
        "How long 99 % of the messages waited that were received; of events published over AMQP, those with a timestamp. A queue that nobody reads shows nothing here.",
        [
            (
                f"histogram_quantile(0.99, sum by (le, queue) (rate(fanfare_queue_wait_seconds_bucket[{RATE}])))",
                "{{queue}}",
            )
        ],
        unit="s",
        width=6,
    ),
    series(
        "Members not online",
        "Nodes that hold a quorum queue and are away. It works while most of them are there. Needs the setting broker.management_url.",
        [("max by (queue) (fanfare_queue_members_missing)", "{{queue}}")],
        width=6,
    ),
]

RETRIES = [
    bars(
        "Retries by delay",
        "Messages in each queue of the delay ladder; its number is the delay in seconds.",
        f"sort_desc(max by (queue) (fanfare_queue_ready{{{DELAYS}}}) > 0) or on () vector(0)",
        "{{queue}}",
    ),
    series(
        "Retried, released, swept",
        "Attempts to be repeated; held deliveries let go; overdue deliveries that the sweeper queued again, which should be rare.",
        [
            (f"sum(rate(fanfare_deliveries_retrying_total[{RATE}]))", "retried"),
            (f"sum(rate(fanfare_deliveries_released_total[{RATE}]))", "released"),
            (f"sum(rate(fanfare_deliveries_swept_total[{RATE}]))", "swept"),
        ],
        unit=PER_SECOND,
    ),
    series(
        "Retrying",
        "Deliveries that wait for another attempt. A steady climb: endpoints fail faster than they recover.",
        [('max(fanfare_store_deliveries{status="retrying"})', "retrying")],
    ),
]

HELD = [
    series(
        "Held, by reason",
        "Deliveries kept back. `endpoint_disabled` stays until somebody enables the endpoint; the others go by themselves.",
        [("max by (reason) (fanfare_store_deliveries_held) or on () vector(0)", "{{reason}}")],
        stacked=True,
    ),
    series(
        "Circuits",
        "Open: only probed now and then. Half open: being tried.",
        [("max by (state) (fanfare_circuits) or on () vector(0)", "{{state}}")],
    ),
    series(
        "Changes of circuits",
        "Opened and reopened against closed. Many of both: an endpoint that works now and then.",
        [(f"sum by (change) (rate(fanfare_circuit_changes_total[{RATE}])) or on () vector(0)", "{{change}}")],
        unit=PER_SECOND,
    ),
    series(
        "Endpoints",
        "Active and disabled.",
        [("max by (state) (fanfare_endpoints)", "{{state}}")],
        width=12,
    ),
    series(
        "Disabled, by reason",
        "Those that a person disabled, and those that Fanfare did.",
        [("max by (reason) (fanfare_endpoints_disabled) or on () vector(0)", "{{reason}}")],
        width=12,
        stacked=True,
    ),
]

BOARD = dashboard(
    "fanfare-queues",
    "Fanfare / Queues and retries",
    "What waits, where, for how long, and why.",
    [("Now", NOW), ("Queues", QUEUES), ("Retries", RETRIES), ("Held, circuits, endpoints", HELD)],
)
