//! What a claim with its settlement costs: `throughput [REDIS_URL] [BATCHES]`; without a URL, in
//! the process. Prints the wall time and this process's CPU time per delivery.

use std::io::Write;
use std::time::{Duration, Instant};

use delivery::CircuitPolicy;
use model::{DeliveryId, EndpointId};
use shared_state::{Claim, ClaimRequest, Settled, Settlement};

const BATCH: usize = 50;
const ENDPOINTS: usize = 10;
/// Of the clock that `/proc/self/stat` counts in.
const TICK: Duration = Duration::from_millis(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments
        .first()
        .map(String::as_str)
        .filter(|url| !url.is_empty());
    let batches: usize = arguments.get(1).map_or(Ok(2_000), |count| count.parse())?;
    let state = shared_state::open(url).await?;
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|_| EndpointId::new(ambient::now(), ambient::random_id()))
        .collect();

    let (mut claiming, mut settling) = (Duration::ZERO, Duration::ZERO);
    let cpu_before = cpu_time()?;
    for _ in 0..batches {
        let now = ambient::now();
        let requests: Vec<_> = (0..BATCH)
            .map(|place| ClaimRequest {
                delivery: DeliveryId::new(now, ambient::random_id()),
                attempt: 1,
                endpoint: endpoints[place % ENDPOINTS],
                rate_per_minute: None,
                lease: Duration::from_secs(40),
            })
            .collect();
        let start = Instant::now();
        let claims = state.claim(&requests, now).await?;
        claiming += start.elapsed();
        assert!(
            claims
                .iter()
                .all(|claim| matches!(claim, Claim::Granted { .. }))
        );
        let settlements: Vec<_> = requests.iter().map(settlement).collect();
        let start = Instant::now();
        state.settle(&settlements, now).await?;
        settling += start.elapsed();
    }
    let cpu = cpu_time()? - cpu_before;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / (batches * BATCH) as f64;
    writeln!(
        std::io::stdout(),
        "{} deliveries in batches of {BATCH}, degraded: {}\n\
         claim  {:.2} µs wall\nsettle {:.2} µs wall\nboth   {:.2} µs CPU of this process",
        batches * BATCH,
        state.is_degraded(),
        each(claiming),
        each(settling),
        each(cpu),
    )?;
    Ok(())
}

fn settlement(request: &ClaimRequest) -> Settlement {
    Settlement {
        delivery: request.delivery,
        attempt: request.attempt,
        endpoint: request.endpoint,
        settled: Settled::Succeeded,
        troubled: false,
        policy: CircuitPolicy { open_after: 10 },
    }
}

/// User and system time of this process so far: fields 14 and 15 of proc(5) stat.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("an unreadable /proc/self/stat")?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(TICK * ticks)
}
