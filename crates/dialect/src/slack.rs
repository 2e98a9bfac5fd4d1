//! Slack's incoming webhooks.

use crate::Delivered;
use crate::compact::Object;
use crate::formats::Format;
use crate::message::{self, Style};
use crate::request::{RenderError, Rendered};

pub(crate) const FORMAT: Format = message::format(render);

const STYLE: Style = Style { bold: "*", escape };

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let text = message::compose(delivered.event, name, &STYLE)?;
    let mut body = Vec::with_capacity(text.len() + 32);
    let mut members = Object::begin(&mut body);
    members.text("text", &text);
    members.end();
    Ok(Rendered {
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.into(),
    })
}

/// Mentions and links stand between `<` and `>`, so that without them there are none.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
