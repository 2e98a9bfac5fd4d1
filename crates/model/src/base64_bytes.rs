//! Bytes in JSON, as base64. An array of numbers, as they once travelled, is read too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Base64(String),
    Numbers(Vec<u8>),
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Form::deserialize(deserializer)? {
        Form::Base64(text) => STANDARD.decode(text).map_err(D::Error::custom),
        Form::Numbers(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Kept(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn bytes_travel_as_base64_and_read_back_from_numbers_too() {
        let kept = Kept(vec![0, 255, b' ', b'o', b'k']);
        let json = serde_json::to_string(&kept).unwrap();
        assert_eq!(json, r#""AP8gb2s=""#);
        for json in [json.as_str(), "[0,255,32,111,107]"] {
            assert_eq!(serde_json::from_str::<Kept>(json).unwrap(), kept);
        }
        assert!(serde_json::from_str::<Kept>(r#""no base64""#).is_err());
    }
}
