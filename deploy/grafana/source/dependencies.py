"""PostgreSQL, RabbitMQ, Redis, and Fanfare's own processes."""

from panels import BAD, GOOD, PER_SECOND, RATE, bars, dashboard, rising, series, stat, timeline

ROLE = "* on (job, instance) group_left (role) fanfare_build_info"
PROCESS = "{{role}} {{instance}}"

REACH = [
    timeline(
        "Reached",
        "Whether each process reaches PostgreSQL (store), RabbitMQ (broker) and Redis (shared_state).",
        "fanfare_dependency_up",
        "{{dependency}} from {{instance}}",
        [(1, "reached", GOOD), (0, "away", BAD)],
        width=12,
    ),
    series(
        "Calls not answered",
        "Calls that a dependency did not answer. A short rise while it restarts is normal.",
        [(f"sum by (dependency) (rate(fanfare_dependency_errors_total[{RATE}])) or on () vector(0)", "{{dependency}}")],
        unit=PER_SECOND,
        width=12,
    ),
]

STORE = [
    stat(
        "Partitions",
        "Weekly partitions of events, deliveries and attempts. It grows by the week until retention drops the oldest.",
        "max(fanfare_store_partitions)",
        width=3,
        height=8,
    ),
    series(
        "Size",
        "Bytes on disk, by table with its indexes.",
        [("max by (table) (fanfare_store_bytes)", "{{table}}")],
        unit="bytes",
        stacked=True,
        width=7,
    ),
    series(
        "Connections",
        "Connections to the database, by state.",
        [("max by (state) (fanfare_store_connections)", "{{state}}")],
        stacked=True,
        width=6,
    ),
    stat(
        "Replicas",
        "PostgreSQL replicas, and backups that read its write-ahead log.",
        "max(fanfare_store_replicas)",
        width=3,
        height=8,
    ),
    series(
        "Replication lag",
        "How far the furthest replica is behind. Nothing: there are replicas, but Fanfare's user is not a member of pg_monitor.",
        [("max(fanfare_store_replication_lag_seconds) or max(fanfare_store_replicas) == 0", "lag")],
        unit="s",
        width=5,
    ),
]

BROKER = [
    stat(
        "RabbitMQ takes messages",
        "Blocked: RabbitMQ is short of memory or disk and takes nothing from publishers. Needs the setting broker.management_url.",
        "max(fanfare_broker_connection_blocked) or vector(0)",
        width=4,
        height=8,
        steps=[(None, GOOD), (1, BAD)],
        defaults={
            "mappings": [
                {
                    "type": "value",
                    "options": {
                        "0": {"text": "yes", "color": GOOD, "index": 0},
                        "1": {"text": "blocked", "color": BAD, "index": 1},
                    },
                }
            ],
        },
    ),
    series(
        "Redis, memory",
        "Claims, circuits and rates. It follows the rate of deliveries and does not grow without end.",
        [("max(fanfare_shared_state_bytes)", "used")],
        unit="bytes",
        width=7,
    ),
    series(
        "Size of groups",
        "Items that share one transaction or one round trip. Larger groups: more load, or a slower dependency.",
        [
            (
                f"sum by (group) (rate(fanfare_group_size_sum[{RATE}])) / sum by (group) (rate(fanfare_group_size_count[{RATE}]))",
                "{{group}}",
            )
        ],
        width=13,
    ),
]

PROCESSES = [
    series(
        "Processor",
        "Cores in use by each process.",
        [(f"rate(process_cpu_seconds_total[{RATE}]) {ROLE}", PROCESS)],
    ),
    series(
        "Memory",
        "Resident memory of each process.",
        [(f"process_resident_memory_bytes {ROLE}", PROCESS)],
        unit="bytes",
    ),
    series(
        "Open files",
        "Share of the allowed file descriptors, most of them connections to endpoints.",
        [(f"process_open_fds / process_max_fds {ROLE}", PROCESS)],
        unit="percentunit",
        steps=[(None, "transparent"), (0.8, "red")],
    ),
    series(
        "Uptime",
        "Time since each process started. Back to zero: it was restarted.",
        [(f"(time() - process_start_time_seconds) {ROLE}", PROCESS)],
        unit="s",
        width=12,
    ),
    bars(
        "Age of the exporter's numbers",
        "Time since the exporter last saw each part. After two minutes it shows nothing more of it.",
        "time() - min by (part) (fanfare_exporter_last_look_timestamp_seconds)",
        "{{part}}",
        unit="s",
        width=12,
        steps=rising(90, 300),
    ),
]

BOARD = dashboard(
    "fanfare-dependencies",
    "Fanfare / Dependencies",
    "PostgreSQL, RabbitMQ, Redis, and Fanfare's own processes.",
    [("Reachable", REACH), ("PostgreSQL", STORE), ("RabbitMQ, Redis and groups", BROKER), ("Processes", PROCESSES)],
)
