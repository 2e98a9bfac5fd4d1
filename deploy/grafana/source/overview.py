"""Is everything delivered, how late, what fails."""

from panels import PER_SECOND, BAD, DOUBTFUL, GOOD, RATE, alerts, dashboard, quantiles, rising, series, stat, table

ON_TIME = 'fanfare_delivery_seconds_bucket{le=~"300(\\\\.0)?"}'
FAILED = 'fanfare_deliveries_finished_total{status="failed"}'

NOW = [
    stat(
        "Delivered within 5 minutes",
        "Of the deliveries that came to their end in this time range, the share that arrived within 5 minutes of acceptance. Objective: 99 %.",
        f"sum(increase({ON_TIME}[$__range])) / (sum(increase(fanfare_delivery_seconds_count[$__range])) + (sum(increase({FAILED}[$__range])) or vector(0)))",
        unit="percentunit",
        steps=[(None, BAD), (0.98, DOUBTFUL), (0.99, GOOD)],
        defaults={"noValue": "nothing ended", "decimals": 2},
    ),
    stat(
        "Most overdue",
        "How late the delivery is that should have been attempted first. More than a minute: the dispatchers do not keep up, or do not run.",
        "max(fanfare_oldest_overdue_seconds)",
        unit="s",
        steps=rising(60, 600),
    ),
    stat(
        "Undelivered",
        "Deliveries that are queued or wait for their next attempt.",
        'sum(max by (status) (fanfare_store_deliveries{status=~"queued|retrying"}))',
    ),
    stat(
        "Held",
        "Deliveries kept back: their endpoint is disabled, its circuit is open, or it takes no more at the moment. They go out when it does.",
        'max(fanfare_store_deliveries{status="held"})',
    ),
    stat(
        "Circuits open",
        "Endpoints that failed so often that they are only probed now and then.",
        'max(sum without (state) (fanfare_circuits{state=~"open|half_open"})) or vector(0)',
        steps=rising(1, 20),
    ),
    stat(
        "Set aside",
        "Events and messages that could not be read and wait for somebody to look at them.",
        "max(fanfare_events_rejected) + max(fanfare_messages_parked)",
        steps=rising(1, 100),
    ),
    stat(
        "Unaccounted for",
        "Accepted deliveries that are in no state. Anything but 0 is a fault.",
        "max(abs(fanfare_balance_difference))",
        steps=[(None, GOOD), (1, BAD)],
    ),
    stat(
        "Dependencies away",
        "Of PostgreSQL, RabbitMQ and Redis, those that some process does not reach.",
        "count(min by (dependency) (fanfare_dependency_up) == 0) or vector(0)",
        steps=[(None, GOOD), (1, BAD)],
    ),
]

FLOW = [
    series(
        "Events in",
        "Submitted events by way in and result. `unavailable` was told to come again.",
        [(f"sum by (source, result) (rate(fanfare_events_total[{RATE}]))", "{{source}}: {{result}}")],
        unit=PER_SECOND,
        stacked=True,
    ),
    series(
        "Deliveries by what became of them",
        "Delivered and failed are ends; retried and held ones come again.",
        [
            (f"sum by (status) (rate(fanfare_deliveries_finished_total[{RATE}]))", "{{status}}"),
            (f"sum(rate(fanfare_deliveries_retrying_total[{RATE}]))", "retried"),
            (f"sum(rate(fanfare_deliveries_held_total[{RATE}])) or vector(0)", "held"),
        ],
        unit=PER_SECOND,
    ),
    quantiles(
        "From acceptance to delivery",
        "How long the deliveries took that arrived, retries included.",
        "fanfare_delivery_seconds",
    ),
]

BACKLOG = [
    series(
        "Undelivered, by state",
        "Deliveries in the store that have not come to their end.",
        [('max by (status) (fanfare_store_deliveries{status=~"queued|retrying|held"})', "{{status}}")],
        stacked=True,
    ),
    series(
        "How late",
        "Age of the oldest delivery that is neither finished nor held, and how long the most overdue one has been due.",
        [
            ("max(fanfare_oldest_undelivered_seconds)", "oldest undelivered"),
            ("max(fanfare_oldest_overdue_seconds)", "most overdue"),
        ],
        unit="s",
    ),
    series(
        "Attempts that failed, by outcome",
        "What endpoints answered instead of success: a class of status codes, or why there was no answer.",
        [
            (
                f'sum by (outcome) (rate(fanfare_attempts_total{{outcome!="2xx"}}[{RATE}])) or on () vector(0)',
                "{{outcome}}",
            )
        ],
        unit=PER_SECOND,
        stacked=True,
    ),
]

INSTALLATION = [
    alerts("Alerts", "Alerts of Fanfare's that fire or are about to. Each links to its runbook.", width=12),
    table(
        "Processes",
        "How many processes of each role and version are scraped. Two versions at once: an upgrade is under way.",
        ["count by (role, version) (fanfare_build_info)"],
        {"role": "Role", "version": "Version", "Value": "Processes"},
        width=12,
    ),
]

BOARD = dashboard(
    "fanfare-overview",
    "Fanfare / Overview",
    "Is everything delivered, how late, and what fails.",
    [("Now", NOW), ("Flow", FLOW), ("Backlog and failures", BACKLOG), ("Installation", INSTALLATION)],
)
