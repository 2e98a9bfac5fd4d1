//! What both adapters promise, and what each promises besides.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;
mod place;
mod rabbitmq;
mod set_aside;
mod suite;

/// Runs the claims of the suites against both adapters, each test on a queue of its own.
macro_rules! contract {
    ($($suite:ident::$claim:ident),* $(,)?) => {
        mod on_the_embedded_queue {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $claim() {
                crate::$suite::$claim(crate::place::Place::embedded()).await;
            })*
        }
        mod on_rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $claim() {
                crate::$suite::$claim(crate::place::Place::rabbitmq().await).await;
            })*
        }
    };
}

contract!(
    suite::published_messages_come_once_and_in_order,
    suite::a_batch_may_be_larger_than_every_window,
    suite::concurrent_publishers_lose_and_double_nothing,
    suite::an_event_brings_its_headers,
    set_aside::rejected_and_parked_messages_say_why_and_whence,
    suite::no_more_than_the_prefetch_is_given_out,
    suite::one_slow_message_does_not_keep_the_others,
    suite::a_dropped_consumer_gives_back_what_it_did_not_acknowledge,
    suite::two_consumers_share_a_queue,
    set_aside::what_is_taken_goes_back_unless_acknowledged,
    set_aside::looking_at_what_was_set_aside_loses_nothing,
    set_aside::of_what_was_set_aside_the_oldest_go_beyond_the_bound,
    suite::what_is_published_right_after_connecting_is_taken,
    suite::an_acknowledgement_right_before_the_consumer_is_dropped_counts,
    suite::urgent_deliveries_do_not_wait_behind_others,
    suite::a_delay_is_never_early_and_hardly_late,
    suite::a_delay_that_is_over_does_not_wait,
    suite::messages_and_delays_outlive_the_process,
    suite::what_was_acknowledged_does_not_come_again,
    suite::a_look_shows_every_queue_and_what_waits_for_its_time,
    suite::closing_ends_consumers_and_publishing,
);
