//! JSON whose objects are objects. Serde also takes an array for a structure, its items for the fields in order; no
//! schema says so, and `[]` would pass for an object without fields.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// Reads `value` as `T`.
///
/// # Errors
///
/// As [`serde_json::from_value`], and when an array stands where an object belongs.
pub(crate) fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let place = error.path().to_string();
        let error = error.into_inner();
        // The path of the whole is a dot.
        if place == "." {
            error
        } else {
            Error::custom(format!("{place}: {error}"))
        }
    })
}

#[derive(Clone, Copy)]
struct Strict<'de>(&'de Value);

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(Strict));
                let read = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(read)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| (key.as_str(), Strict(value)));
                let mut fields = MapDeserializer::new(fields);
                let read = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(read)
            }
            simple => simple.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.0.is_array() {
            let fields = fields.join(", ");
            return Err(Error::custom(format!(
                "an array stands where an object belongs, with fields of these: {fields}"
            )));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Strict<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::from_value;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        name: Option<String>,
        inner: Option<Inner>,
        list: Vec<Inner>,
        any: Value,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Inner {
        number: u32,
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        for wrong in [
            json!([]),
            json!(["a"]),
            json!({ "inner": [] }),
            json!({ "inner": [1] }),
            json!({ "list": [[]] }),
            json!({ "list": [{ "number": 1 }, [2]] }),
        ] {
            let lenient: Result<Outer, _> = serde_json::from_value(wrong.clone());
            assert!(lenient.is_ok(), "serde alone takes it: {wrong}");
            let error = from_value::<Outer>(&wrong).unwrap_err().to_string();
            assert!(
                error.contains("where an object belongs"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn everything_else_is_read_as_serde_does() {
        for value in [
            json!({}),
            json!({ "name": null, "inner": null }),
            json!({ "name": "x", "inner": { "number": 7 }, "list": [{}, { "number": 1 }] }),
            json!({ "any": [1, [2.5, "x", { "y": [] }], null, true] }),
        ] {
            let lenient: Outer = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(from_value::<Outer>(&value).unwrap(), lenient);
        }
        for wrong in [
            json!({ "other": 1 }),
            json!({ "list": 1 }),
            json!("x"),
            json!(1),
        ] {
            assert!(from_value::<Outer>(&wrong).is_err(), "{wrong}");
        }
    }
}
