//! Log set-up, and every metric name and label in one place.
