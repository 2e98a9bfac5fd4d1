"""One endpoint's life; needs `metrics.per_endpoint=true`."""

from panels import BAD, DOUBTFUL, GOOD, PER_SECOND, RATE, bars, dashboard, quantiles, series, stat, table, variable

ONE = 'fanfare_endpoint_attempts_total{endpoint="$endpoint"}'
ONE_GOOD = 'fanfare_endpoint_attempts_total{endpoint="$endpoint", outcome="2xx"}'
ONE_BAD = 'fanfare_endpoint_attempts_total{endpoint="$endpoint", outcome!="2xx"}'
DURATION = "fanfare_endpoint_attempt_seconds"
EXPIRY = "fanfare_endpoint_certificate_expiry_timestamp_seconds"
DAY_S = 86_400
SHOW_IT = {
    "title": "Show this endpoint",
    "url": "/d/fanfare-endpoint?var-endpoint=${__field.labels.endpoint}&${datasource:queryparam}&${__url_time_range}",
}

THIS = [
    stat(
        "Attempts",
        "Requests made to this endpoint in this time range.",
        f"round(sum(increase({ONE}[$__range])))",
        width=6,
    ),
    stat(
        "Answered with success",
        "Share of the attempts in this time range that the endpoint took.",
        f"(sum(increase({ONE_GOOD}[$__range])) or vector(0)) / sum(increase({ONE}[$__range]))",
        unit="percentunit",
        steps=[(None, BAD), (0.9, DOUBTFUL), (0.99, GOOD)],
        width=6,
        defaults={"noValue": "no attempts", "decimals": 1},
    ),
    stat(
        "Usual duration",
        "Mean duration of an attempt in this time range.",
        f'sum(increase({DURATION}_sum{{endpoint="$endpoint"}}[$__range])) / sum(increase({DURATION}_count{{endpoint="$endpoint"}}[$__range]))',
        unit="s",
        width=6,
        defaults={"noValue": "no attempts"},
    ),
    stat(
        "Certificate ends in",
        "Seen at the last TLS connection, if it ends within 30 days.",
        f'max({EXPIRY}{{endpoint="$endpoint"}}) - time() or vector(0)',
        unit="s",
        steps=[(None, BAD), (7 * DAY_S, DOUBTFUL), (14 * DAY_S, GOOD)],
        width=6,
        defaults={
            "mappings": [{"type": "value", "options": {"0": {"text": "not soon", "color": GOOD, "index": 0}}}],
        },
    ),
]

OVER_TIME = [
    series(
        "Attempts by outcome",
        "What this endpoint answered. Few attempts and none good: its circuit is open and it is only probed.",
        [(f"sum by (outcome) (rate({ONE}[{RATE}]))", "{{outcome}}")],
        unit=PER_SECOND,
        stacked=True,
    ),
    series(
        "Share of attempts that failed",
        "At 1 for long, its deliveries are retried, then held.",
        [(f"(sum(rate({ONE_BAD}[{RATE}])) or vector(0)) / sum(rate({ONE}[{RATE}]))", "failed")],
        unit="percentunit",
        steps=[(None, "transparent"), (0.5, "red")],
    ),
    quantiles(
        "Duration of an attempt",
        "How long this endpoint takes to answer, timeouts included.",
        DURATION,
        where='{endpoint="$endpoint"}',
    ),
]

ALL = [
    bars(
        "Most failed attempts",
        "The ten endpoints with the most failed attempts in this time range.",
        'sort_desc(topk(10, round(sum by (endpoint) (increase(fanfare_endpoint_attempts_total{outcome!="2xx"}[$__range]))))) or on () vector(0)',
        "{{endpoint}}",
        links=[SHOW_IT],
    ),
    bars(
        "Slowest",
        "The ten endpoints with the longest mean duration of an attempt in this time range.",
        f"sort_desc(topk(10, sum by (endpoint) (increase({DURATION}_sum[$__range])) / sum by (endpoint) (increase({DURATION}_count[$__range])) > 0))",
        "{{endpoint}}",
        unit="s",
        links=[SHOW_IT],
    ),
    table(
        "Certificates that end within 30 days",
        "Time left, as seen at the last TLS connection. Its owner must renew it; after that, deliveries fail.",
        [f"sort(max by (endpoint) ({EXPIRY}) - time()) or on () vector(0)"],
        {"endpoint": "Endpoint", "Value": "Ends in"},
        unit="s",
    ),
]

BOARD = dashboard(
    "fanfare-endpoint",
    "Fanfare / Endpoint",
    "One endpoint's life. Needs the setting metrics.per_endpoint=true.",
    [("This endpoint", THIS), ("Over time", OVER_TIME), ("All endpoints", ALL)],
    [
        variable(
            "endpoint",
            "Endpoint",
            "label_values(fanfare_endpoint_attempts_total, endpoint)",
            "As in GET /v1/endpoints. `_other` are those beyond the number of endpoints that are told apart.",
            several=False,
        )
    ],
    since="now-24h",
)
