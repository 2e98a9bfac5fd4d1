# Thin verbs; what they do in detail is in cargo and in tests/services.sh.

CARGO ?= cargo
SERVICES := tests/services.sh
SERVICES_DIR := .services

.PHONY: help run build dist check test chaos bench fmt docs helm helm-files services-up services-down run-services

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Builds and starts Fanfare in one process, with a receiver to try things with
	$(CARGO) run --release -p fanfare -- serve --dev

build: ## Builds the optimized binary, target/release/fanfare
	$(CARGO) build --release -p fanfare

dist: ## Builds the binary of the image, and fails if the image's contents are above 40 MB
	$(CARGO) build --profile dist -p fanfare
	strip -o target/dist/fanfare.stripped target/dist/fanfare
	@bytes=$$(cat target/dist/fanfare.stripped /etc/ssl/certs/ca-certificates.crt \
		$$(ldd target/dist/fanfare.stripped | grep -o '/[^ ]*') | wc -c); \
	echo "$$bytes bytes in the image, of 40000000 at most"; [ "$$bytes" -le 40000000 ]

check: ## Format, lints as errors, documentation, arrows between crates
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	$(CARGO) test -p arrows

test: ## Everything, on private services that are started and stopped here
	CARGO="$(CARGO)" tests/run.sh

chaos: ## The bad days in full length: kills and outages under 20,000 events
	CARGO="$(CARGO)" FANFARE_CHAOS=full tests/run.sh

bench: build ## Measures rates, latencies, CPU and memory, beside their floors
	$(CARGO) run --release -p bench

docs: ## Writes the pages that are made from the code
	$(CARGO) run -q -p telemetry --example metrics_page >docs/metrics.md

helm: ## Checks the Helm chart; needs target/debug/fanfare
	tests/helm/run.sh

helm-files: ## Writes what is generated in the chart: table of values, copies of dashboards and rules
	tests/helm/run.sh update

fmt: ## Formats the code
	$(CARGO) fmt --all

services-up: ## Starts RabbitMQ, PostgreSQL and Redis for development, data in .services
	$(SERVICES) install
	$(SERVICES) up $(SERVICES_DIR)

services-down: ## Stops them; the data stays
	$(SERVICES) down $(SERVICES_DIR)

run-services: build services-up ## Runs ingest, dispatcher and exporter on these services
	deploy/run-services.sh $(SERVICES_DIR)
