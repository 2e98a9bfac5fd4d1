//! Discord's incoming webhooks.

use crate::Delivered;
use crate::compact::Object;
use crate::formats::Format;
use crate::message::{self, Style};
use crate::request::{RenderError, Rendered};

pub(crate) const FORMAT: Format = message::format(render);

const STYLE: Style = Style { bold: "**", escape };

/// Characters of a message at most, counted as JavaScript does; Discord refuses more.
const CONTENT_MAX: usize = 2_000;

fn render(delivered: &Delivered<'_>, name: &str) -> Result<Rendered, RenderError> {
    let content = cut(message::compose(delivered.event, name, &STYLE)?);
    let mut body = Vec::with_capacity(content.len() + 32);
    let mut members = Object::begin(&mut body);
    members.text("content", &content);
    members.end();
    Ok(Rendered {
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.into(),
    })
}

fn cut(mut content: String) -> String {
    let mut units = 0;
    let too_far = content.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units >= CONTENT_MAX
    });
    if let Some((at, last)) = too_far
        && (units > CONTENT_MAX || at + last.len_utf8() < content.len())
    {
        content.truncate(at);
        content.push('…');
    }
    content
}

/// An unseen space keeps mentions from calling anybody, a backslash links from hiding where they
/// lead.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('[', "\\[")
        .replace("@everyone", "@\u{200b}everyone")
        .replace("@here", "@\u{200b}here")
        .replace("<@", "<\u{200b}@")
}
