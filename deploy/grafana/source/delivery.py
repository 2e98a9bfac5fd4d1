"""Attempts and deliveries by dialect, outcome and tenant."""

from panels import PER_SECOND, RATE, dashboard, heatmap, quantiles, series, table, variable

ATTEMPTS = 'fanfare_attempts_total{dialect=~"$dialect"}'
BAD_ATTEMPTS = 'fanfare_attempts_total{dialect=~"$dialect", outcome!="2xx"}'
TENANT = "fanfare_tenant_deliveries_finished_total"

BY_DIALECT = [
    series(
        "Attempts by dialect",
        "HTTP requests made to endpoints, by the wire format they use.",
        [(f"sum by (dialect) (rate({ATTEMPTS}[{RATE}]))", "{{dialect}}")],
        unit=PER_SECOND,
        stacked=True,
    ),
    series(
        "Share of attempts that failed",
        "A dialect that fails as a whole points at a change in that licensing system, one endpoint at its owner.",
        [
            (
                f"sum by (dialect) (rate({BAD_ATTEMPTS}[{RATE}])) / sum by (dialect) (rate({ATTEMPTS}[{RATE}])) or on () vector(0)",
                "{{dialect}}",
            )
        ],
        unit="percentunit",
        steps=[(None, "transparent"), (0.5, "red")],
    ),
    series(
        "Webhooks taken in, by dialect",
        "Requests of other licensing systems that Fanfare receives, by result. Zero where none are.",
        [
            (
                f"sum by (dialect, result) (rate(fanfare_source_requests_total[{RATE}])) or on () vector(0)",
                "{{dialect}}: {{result}}",
            )
        ],
        unit=PER_SECOND,
        stacked=True,
    ),
]

BY_OUTCOME = [
    series(
        "Attempts by outcome",
        "What endpoints answered: a class of status codes, or why there was no answer.",
        [(f"sum by (outcome) (rate({ATTEMPTS}[{RATE}]))", "{{outcome}}")],
        unit=PER_SECOND,
        stacked=True,
    ),
    quantiles(
        "Duration of an attempt",
        "From the first byte sent to the answer, timeouts included.",
        "fanfare_attempt_seconds",
    ),
    series(
        "Under way",
        "Requests in flight, and deliveries that wait in a dispatcher for their endpoint to have room.",
        [("sum(fanfare_attempts_in_flight)", "in flight"), ("sum(fanfare_deliveries_waiting)", "waiting")],
    ),
    heatmap(
        "From acceptance to delivery",
        "Each column is a time, each row a duration: where the deliveries that arrived fall. A second band high up is the retries.",
        "fanfare_delivery_seconds",
        width=12,
    ),
    heatmap(
        "Duration of an attempt",
        "Each column is a time, each row a duration. A band at the top is an endpoint that uses its whole timeout.",
        "fanfare_attempt_seconds",
        width=12,
    ),
]

BY_TENANT = [
    series(
        "Delivered, by tenant",
        "The ten tenants with the most deliveries. `_other` are those beyond the number of tenants that are told apart.",
        [
            (
                f'topk(10, sum by (tenant) (rate({TENANT}{{tenant=~"$tenant", status="delivered"}}[{RATE}])))',
                "{{tenant}}",
            )
        ],
        unit=PER_SECOND,
        stacked=True,
    ),
    series(
        "Failed, by tenant",
        "The ten tenants with the most deliveries given up.",
        [
            (
                f'topk(10, sum by (tenant) (rate({TENANT}{{tenant=~"$tenant", status="failed"}}[{RATE}]))) or on () vector(0)',
                "{{tenant}}",
            )
        ],
        unit=PER_SECOND,
        stacked=True,
    ),
    table(
        "Tenants in this time range",
        "Deliveries that came to their end, by tenant and by how they ended.",
        [f'sort_desc(round(sum by (tenant, status) (increase({TENANT}{{tenant=~"$tenant"}}[$__range]))))'],
        {"tenant": "Tenant", "status": "Status", "Value": "Deliveries"},
    ),
]

EVENTS = [
    series(
        "Events by result",
        "`conflict` is an id that came again with another content, `rejected` could not be read, `unavailable` was told to come again.",
        [(f"sum by (source, result) (rate(fanfare_events_total[{RATE}]))", "{{source}}: {{result}}")],
        unit=PER_SECOND,
        stacked=True,
    ),
    quantiles(
        "Time to durable acceptance", "What a license backend waits for its answer.", "fanfare_event_accept_seconds"
    ),
    series(
        "Queued for delivery",
        "Deliveries the broker confirmed, and those it did not take: the sweeper queues them again.",
        [
            (f"sum(rate(fanfare_deliveries_published_total[{RATE}]))", "confirmed"),
            (f"sum(rate(fanfare_deliveries_publish_failed_total[{RATE}]))", "not taken"),
        ],
        unit=PER_SECOND,
    ),
]

BOARD = dashboard(
    "fanfare-delivery",
    "Fanfare / Delivery",
    "Attempts and deliveries by dialect, outcome and tenant.",
    [("By dialect", BY_DIALECT), ("By outcome", BY_OUTCOME), ("By tenant", BY_TENANT), ("Events in", EVENTS)],
    [
        variable("dialect", "Dialect", "label_values(fanfare_attempts_total, dialect)", "Wire formats of endpoints."),
        variable("tenant", "Tenant", f"label_values({TENANT}, tenant)", "Whose endpoints."),
    ],
)
