//! The report as Markdown.

use std::fmt::{self, Write};

use crate::floors::{Cost, Floors};
use crate::report::{Figure, Machine, Report, Row, Target, Unit};

pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    write_report(&mut text, report).expect("a String takes everything");
    text
}

/// A row's figures, each on a line, while the others are still to come.
pub(crate) fn summary(row: &Row) -> String {
    let figures = row.figures.iter().map(|figure| {
        let mark = match figure.target.map(|target| target.is_reached(figure.value)) {
            None | Some(true) => ' ',
            Some(false) => '!',
        };
        format!(
            "  {mark} {}: {}\n",
            figure.name,
            figure.unit.show(figure.value)
        )
    });
    let faults = row.faults.iter().map(|fault| format!("  ! {fault}\n"));
    figures.chain(faults).collect()
}

fn write_report(text: &mut String, report: &Report) -> fmt::Result {
    let Machine {
        cores,
        processor,
        kernel,
        load_before,
    } = &report.machine;
    write!(
        text,
        "{cores} cores, {processor}, Linux {kernel}, load before: {load_before}."
    )?;
    text.push_str(if report.quick {
        " Quick: not to quote.\n\n"
    } else {
        "\n\n"
    });
    if !report.rows.is_empty() {
        text.push_str("## Figures\n\n");
        text.push_str("| | mode | measured | target | reached | floor | × floor |\n");
        text.push_str("| --- | --- | ---: | ---: | --- | ---: | ---: |\n");
        for row in &report.rows {
            for figure in &row.figures {
                write_figure(text, row, figure)?;
            }
        }
        write_shares(text, &report.rows)?;
    }
    for floors in &report.floors {
        write_floors(text, floors)?;
    }
    for row in &report.rows {
        write_remarks(text, row)?;
    }
    Ok(())
}

fn write_figure(text: &mut String, row: &Row, figure: &Figure) -> fmt::Result {
    let target = figure.target.map_or("–".to_owned(), |target| match target {
        Target::AtLeast(least) => format!("≥ {}", figure.unit.show(least)),
        Target::AtMost(most) => format!("≤ {}", figure.unit.show(most)),
    });
    let reached = figure
        .target
        .map_or("–", |target| match target.is_reached(figure.value) {
            true => "yes",
            false => "**no**",
        });
    let floor = figure
        .floor
        .map_or("–".to_owned(), |floor| figure.unit.show(floor));
    let above = figure
        .above_floor()
        .map_or("–".to_owned(), |above| Unit::Times.show(above));
    writeln!(
        text,
        "| {}: {} | {} | {} | {target} | {reached} | {floor} | {above} |",
        row.title,
        figure.name,
        row.mode.as_str(),
        figure.unit.show(figure.value),
    )
}

fn write_shares(text: &mut String, rows: &[Row]) -> fmt::Result {
    text.push_str("\n## CPU per delivery\n\n");
    text.push_str("| | mode | whole machine | by process |\n| --- | --- | ---: | --- |\n");
    for row in rows.iter().filter(|row| !row.shares.is_empty()) {
        let sum: f64 = row.shares.iter().map(|share| share.us_per_delivery).sum();
        let each: Vec<_> = row
            .shares
            .iter()
            .map(|share| format!("{} {:.0} µs", share.process, share.us_per_delivery))
            .collect();
        let each = each.join(", ");
        writeln!(
            text,
            "| {} | {} | {sum:.0} µs | {each} |",
            row.title,
            row.mode.as_str()
        )?;
    }
    Ok(())
}

fn write_floors(text: &mut String, floors: &Floors) -> fmt::Result {
    writeln!(
        text,
        "\n## Floors, {} mode, {} cores\n",
        floors.mode.as_str(),
        floors.cores
    )?;
    text.push_str("| alone | a second | CPU of the client | CPU of the service |\n");
    text.push_str("| --- | ---: | ---: | ---: |\n");
    let parts: [(&str, Cost); 6] = [
        (
            "HTTP: generator straight to receiver, both sides",
            floors.http,
        ),
        ("store: event, sequence, delivery", floors.accept),
        (
            "store: the same with 10 deliveries an event, per delivery",
            floors.accept_fan,
        ),
        ("store: attempt and status", floors.record),
        (
            "queue: published, confirmed, consumed, acknowledged",
            floors.hop,
        ),
        ("queue: consumed and acknowledged", floors.drain),
    ];
    for (name, cost) in parts {
        let Cost {
            per_second,
            client_us,
            server_us,
        } = cost;
        writeln!(
            text,
            "| {name} | {per_second:.0} | {client_us:.1} µs | {server_us:.1} µs |"
        )?;
    }
    text.push_str("\nThe shortest durable way from publisher to receiver: ");
    let chain = floors.chain.iter().map(|chain| {
        format!(
            "at {}/s p50 {:.2} ms, p99 {:.2} ms",
            chain.per_second, chain.p50_ms, chain.p99_ms
        )
    });
    writeln!(text, "{}.", chain.collect::<Vec<_>>().join("; "))
}

fn write_remarks(text: &mut String, row: &Row) -> fmt::Result {
    if row.faults.is_empty() && row.notes.is_empty() && row.profiles.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n### {}, {} mode\n", row.title, row.mode.as_str())?;
    for fault in &row.faults {
        writeln!(text, "- **fault**: {fault}")?;
    }
    for note in &row.notes {
        writeln!(text, "- {note}")?;
    }
    for profile in &row.profiles {
        writeln!(text, "\n```\n{profile}```")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installation::Mode;

    #[test]
    fn a_figure_shows_target_floor_and_how_far_above() {
        let mut row = Row::new(Mode::Services, "one endpoint");
        let rate = Figure::new("deliveries", Unit::PerSecond, 4_000.0);
        row.figures
            .push(rate.target(Target::AtLeast(8_000.0)).floor(12_000.0));
        row.faults.push("1 delivery is missing".to_owned());
        let mut report = Report::new(Machine::default(), false);
        report.rows.push(row);
        let text = markdown(&report);
        let line = "| one endpoint: deliveries | services | 4000/s | ≥ 8000/s | **no** | 12000/s | 3.00× |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("**fault**: 1 delivery is missing"));
        assert!(!report.is_sound());
    }
}
