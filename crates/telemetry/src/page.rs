use std::fmt::Write;

use crate::register::Described;
use crate::{Installation, Metrics};

/// The page of the documentation that lists every metric, in Markdown.
pub fn page() -> String {
    let metrics = Metrics::new(true);
    let of_process = metrics.register().described();
    let _registered = Installation::new(&metrics);
    let of_installation = metrics.register().described().split_off(of_process.len());
    let mut page = String::from(
        "# Metrics\n\n\
         Every process shows its own at `/metrics`. `fanfare exporter` shows those of the \
         installation as well, and so does `fanfare serve`. This page is made from the code: \
         `make docs`.\n\n\
         ## Of every process\n\n",
    );
    table(&mut page, of_process);
    page.push_str("\n## Of the installation\n\n");
    table(&mut page, of_installation);
    page
}

fn table(page: &mut String, mut metrics: Vec<Described>) {
    metrics.sort_by(|one, other| one.name.cmp(&other.name));
    page.push_str("| metric | type | labels | |\n| --- | --- | --- | --- |\n");
    for metric in metrics {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind,
            labels.join(", "),
            metric.help
        )
        .expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_up_to_date() {
        let kept = include_str!("../../../docs/metrics.md");
        assert!(kept == page(), "docs/metrics.md is stale: run `make docs`");
    }

    #[test]
    fn every_metric_keeps_the_conventions_of_prometheus() {
        let metrics = Metrics::new(true);
        let _registered = Installation::new(&metrics);
        for metric in metrics.register().described() {
            let Described {
                name, kind, help, ..
            } = metric;
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            let ours = name.starts_with("fanfare_") || name.starts_with("process_");
            assert!(ours, "{name}");
        }
    }
}
