use std::borrow::Cow;

/// Letters of a first group that only tell whose key it is, as `TO` in `TO-A1B2-C3D4`.
const PREFIX_LETTERS_MAX: usize = 3;
/// Characters left in clear of a key without groups.
const TAIL: usize = 4;
const HIDDEN: &str = "****";

/// A license key with all but its last group hidden: `TO-****-****-F6A8`. Hiding twice is hiding
/// once.
pub(crate) fn mask(key: &str) -> Cow<'_, str> {
    let groups: Vec<&str> = key.split('-').collect();
    let [first, middle @ .., last] = groups.as_slice() else {
        return hide_all_but_tail(key);
    };
    let is_prefix = !middle.is_empty()
        && (1..=PREFIX_LETTERS_MAX).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    let mut masked = String::with_capacity(key.len());
    masked.push_str(if is_prefix { first } else { HIDDEN });
    for _ in middle {
        masked.push('-');
        masked.push_str(HIDDEN);
    }
    masked.push('-');
    masked.push_str(&hide_all_but_tail_of_long(last));
    Cow::Owned(masked)
}

/// A last group is shown whole unless it is long enough to be the key itself.
fn hide_all_but_tail_of_long(group: &str) -> Cow<'_, str> {
    if group.chars().count() <= 2 * TAIL {
        Cow::Borrowed(group)
    } else {
        hide_all_but_tail(group)
    }
}

fn hide_all_but_tail(key: &str) -> Cow<'_, str> {
    if key == HIDDEN || (key.starts_with(HIDDEN) && key.chars().count() == HIDDEN.len() + TAIL) {
        return Cow::Borrowed(key);
    }
    let characters = key.chars().count();
    if characters <= 2 * TAIL {
        return Cow::Borrowed(HIDDEN);
    }
    let tail = key.chars().skip(characters - TAIL);
    Cow::Owned(HIDDEN.chars().chain(tail).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_last_group_is_hidden() {
        for (key, masked) in [
            ("TO-AB12-CD34-EF56-F6A8", "TO-****-****-****-F6A8"),
            ("ABCD-1234-EFGH-5678", "****-****-****-5678"),
            ("KP-ABCD", "****-ABCD"),
            ("0123456789abcdef", "****cdef"),
            ("short", "****"),
            ("", "****"),
            ("key-0123456789abcdef", "****-****cdef"),
        ] {
            assert_eq!(mask(key), masked, "{key}");
            assert_eq!(mask(masked), masked, "{key} twice");
        }
    }
}
