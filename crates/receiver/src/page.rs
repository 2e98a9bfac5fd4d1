//! The page that shows what arrived: HTML of its own, nothing loaded from elsewhere.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::Arrival;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --good: #18794e; --bad: #c62a2f; }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --bad: #ff6369; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; }
header p, .meta { opacity: .7; margin: .2rem 0 1rem; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { display: grid; grid-template-columns: 1.5rem 1fr auto; gap: .5rem; cursor: pointer; }
summary code { opacity: .7; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.badge { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; font-size: .8rem; white-space: nowrap; }
pre { background: #8881; border-radius: .4rem; padding: .8rem; overflow: auto; max-height: 30rem; }
";

/// Asks for the page every second and shows what changed; opened entries stay open.
pub(crate) const SCRIPT: &str = r#"
const open = new Set();
async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    const shown = document.querySelector("main");
    if (fresh && fresh.dataset.received !== shown.dataset.received) {
      for (const entry of shown.querySelectorAll("details")) {
        if (entry.open) open.add(entry.id); else open.delete(entry.id);
      }
      for (const entry of fresh.querySelectorAll("details")) {
        if (document.getElementById(entry.id)) entry.open = open.has(entry.id);
      }
      shown.replaceWith(fresh);
    }
    document.title = document.title.replace(/ \(away\)$/, "");
  } catch {
    if (!document.title.endsWith("(away)")) document.title += " (away)";
  }
  setTimeout(refresh, 1000);
}
setTimeout(refresh, 1000);
"#;

pub(crate) fn render(dialect: &str, received: u64, arrivals: &[Arc<Arrival>]) -> String {
    let mut page = String::with_capacity(4096 + arrivals.len() * 1024);
    write(&mut page, dialect, received, arrivals).expect("writing to a string never fails");
    page
}

fn write(
    page: &mut String,
    dialect: &str,
    received: u64,
    arrivals: &[Arc<Arrival>],
) -> fmt::Result {
    write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Fanfare receiver</title>\
         <style>{STYLE}</style><script src=\"/_page.js\" defer></script>\
         <header><h1>Fanfare receiver</h1><p>Verifies deliveries in the dialect \
         <code>{}</code>, newest first. To watch a retry: \
         <code>curl -X POST '…/_fail?status=503&amp;times=1'</code></p></header>\
         <main data-received=\"{received}\">",
        Escaped(dialect)
    )?;
    if arrivals.is_empty() {
        page.push_str("<p>Nothing has arrived yet. Publish an event and it shows up here.</p>");
    }
    for (position, arrival) in arrivals.iter().enumerate() {
        write_arrival(page, arrival, position == 0)?;
    }
    page.push_str("</main></html>");
    Ok(())
}

fn write_arrival(page: &mut String, arrival: &Arrival, open: bool) -> fmt::Result {
    let (class, mark, word) = match arrival.verified {
        true => ("good", "✓", "verified"),
        false => ("bad", "✗", "not verified"),
    };
    let open = if open { " open" } else { "" };
    let title = arrival
        .event_type
        .as_deref()
        .or(arrival.problem.as_deref())
        .unwrap_or_default();
    write!(
        page,
        "<details id=\"a{}\"{open}><summary><span class=\"{class}\" title=\"{word}\">{mark}</span>\
         <span><b>{}</b> <code>{}</code>",
        arrival.number,
        Escaped(title),
        Escaped(arrival.id.as_deref().unwrap_or_default()),
    )?;
    if arrival.duplicate {
        page.push_str(" <span class=\"badge\">duplicate</span>");
    }
    if !(200..300).contains(&arrival.answered) {
        write!(
            page,
            " <span class=\"badge bad\">answered {}</span>",
            arrival.answered
        )?;
    }
    write!(
        page,
        "</span><time>{}</time></summary><p class=\"meta\">POST {} — {word}, answered {}</p>\
         <pre>{}</pre></details>",
        arrival.received_at,
        Escaped(&arrival.path),
        arrival.answered,
        Escaped(&pretty(&arrival.body)),
    )
}

/// Text that stays text within HTML, in content and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// JSON on several lines, members in their order; anything else as it is.
fn pretty(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    for character in text.chars() {
        if quoted {
            out.push(character);
            (quoted, escaped) = match character {
                '"' if !escaped => (false, false),
                '\\' => (true, !escaped),
                _ => (true, false),
            };
            continue;
        }
        if matches!(character, '}' | ']') {
            depth = depth.saturating_sub(1);
            if !out.ends_with(['{', '[']) {
                line(&mut out, depth);
            }
        } else if out.ends_with(['{', '[']) && !character.is_ascii_whitespace() {
            line(&mut out, depth);
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            ':' => out.push_str(": "),
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            other => out.push(other),
        }
        quoted = character == '"';
        depth += usize::from(matches!(character, '{' | '['));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_in_its_order_and_strings_stay() {
        let pretty_text =
            "{\n  \"b\": [\n    1,\n    \"a \\\" {,\"\n  ],\n  \"a\": {},\n  \"c\": []\n}";
        assert_eq!(
            pretty(r#"{ "b":[1, "a \" {,"],"a":{ },"c":[]}"#),
            pretty_text
        );
        assert_eq!(pretty("<not json>"), "<not json>");
    }

    #[test]
    fn nothing_that_arrives_becomes_markup() {
        let arrival = Arrival {
            number: 1,
            received_at: model::Timestamp::EPOCH,
            path: "/\"><script>".to_owned(),
            verified: true,
            problem: Some("<b>".to_owned()),
            id: Some("'\"><img>".to_owned()),
            event_type: Some("<i>&".to_owned()),
            duplicate: true,
            answered: 204,
            body: r#"{"x":"</pre><script>alert(1)</script>"}"#.to_owned(),
        };
        let page = render("standard", 1, &[Arc::new(arrival)]);
        assert_eq!(page.matches("<script").count(), 1, "the page's own");
        for markup in ["<img>", "<i>", "<b><"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("POST /&quot;&gt;&lt;script&gt;"));
        assert!(page.contains("&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
    }
}
