//! Who a certificate is for: its subject, written as Kafka writes it (RFC 2253),
//! such as `CN=writer,OU=Payments,O=Acme`.
//!
//! Reads no more of the certificate than the way to the subject; that it is
//! valid was checked before.

/// Names of kinds of attributes, by their object identifier's bytes.
const KINDS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;

/// The subject of a certificate in DER; `None` if it has none or is malformed.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = inside(certificate, SEQUENCE)?;
    let (mut fields, _) = inside(certificate, SEQUENCE)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        fields = element(fields)?.2;
    }
    let (mut names, _) = inside(fields, SEQUENCE)?;
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (set, rest) = inside(names, SET)?;
        parts.push(relative_name(set)?);
        names = rest;
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// The attributes of one step of a name.
fn relative_name(mut set: &[u8]) -> Option<String> {
    let mut attributes = Vec::new();
    while !set.is_empty() {
        let (attribute, rest) = inside(set, SEQUENCE)?;
        let (kind, value) = inside(attribute, OBJECT_IDENTIFIER)?;
        attributes.push(attribute_text(kind, value)?);
        set = rest;
    }
    Some(attributes.join("+"))
}

fn attribute_text(kind: &[u8], value: &[u8]) -> Option<String> {
    let (tag, bytes, _) = element(value)?;
    let name = KINDS.iter().find(|(id, _)| *id == kind).map(|(_, name)| *name);
    let text = std::str::from_utf8(bytes).ok().filter(|_| matches!(tag, UTF8 | PRINTABLE | IA5));
    match (name, text) {
        (Some(name), Some(text)) => Some(format!("{name}={}", escaped(text))),
        (name, _) => {
            let hex = value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            Some(format!("{}=#{hex}", name.map_or_else(|| dotted(kind), str::to_owned)))
        }
    }
}

fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (place, letter) in text.chars().enumerate() {
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (letter == ' ' && (place == 0 || place == last))
            || (letter == '#' && place == 0);
        if special {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// An object identifier as numbers with dots.
fn dotted(id: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in id {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        match numbers.is_empty() {
            true => {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            }
            false => numbers.push(number),
        }
        number = 0;
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// The first element's tag and content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (long, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The content of the first element, which has this tag, and what follows it.
fn inside(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag, 0x82, (content.len() >> 8) as u8, content.len() as u8];
        out.extend_from_slice(content);
        out
    }

    fn attribute(kind: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let pair = [wrap(OBJECT_IDENTIFIER, kind), wrap(tag, text)].concat();
        wrap(SET, &wrap(SEQUENCE, &pair))
    }

    fn certificate(name: &[Vec<u8>]) -> Vec<u8> {
        let other = wrap(SEQUENCE, &[]);
        let fields = [wrap(EXPLICIT_VERSION, &[2, 1, 2]), wrap(2, &[1]), other.clone(), other.clone(), other];
        let fields = [fields.concat(), wrap(SEQUENCE, &name.concat())].concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &fields))
    }

    #[test]
    fn names_are_written_last_part_first() {
        let name = [
            attribute(&[0x55, 4, 6], PRINTABLE, b"SE"),
            attribute(&[0x55, 4, 10], UTF8, "Räksmörgås, Inc".as_bytes()),
            attribute(&[0x55, 4, 3], UTF8, b"#writer "),
        ];
        assert_eq!(subject(&certificate(&name)).unwrap(), "CN=\\#writer\\ ,O=Räksmörgås\\, Inc,C=SE");
        let mail = attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5, b"a");
        assert_eq!(subject(&certificate(&[mail])).unwrap(), "1.2.840.113549.1.9.1=#1682000161");
    }

    #[test]
    fn what_is_cut_has_no_subject() {
        let whole = certificate(&[attribute(&[0x55, 4, 3], UTF8, b"kim")]);
        assert_eq!(subject(&whole).unwrap(), "CN=kim");
        for end in 0..whole.len() {
            assert_eq!(subject(&whole[..end]), None, "{end}");
        }
        assert_eq!(subject(&certificate(&[])), None);
    }
}
