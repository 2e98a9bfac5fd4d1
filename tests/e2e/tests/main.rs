//! The real binary, seen from outside: what goes in over HTTP and AMQP comes out as signed requests,
//! on good days and on bad ones. Modules by topic; one executable, because linking is slow.

mod bad_input;
mod circuits;
mod dialects;
mod disk;
mod following;
mod holding;
mod idempotency;
mod isolation;
mod kills;
mod metrics;
mod outages;
mod publishing;
mod receivers;
mod rejected;
mod restore;
mod retries;
mod secrets;
mod shutdown;
mod source_limits;
mod sources;
mod starting;
mod tenants;
mod traces;
mod upgrade;
