//! The shape of a JSON object, stated once: Rust field, JSON key, documentation.

/// Declares an object of the specification. Only a JSON object is accepted for it (serde's own
/// derive takes an array as well), unknown keys are ignored as the specification demands, keys
/// may differ in case as for runc, `null` is an absent value as the encoders of Go write it, and
/// the last of repeated keys holds. `KEYS` lets a test compare the model with the specification's
/// schema.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
        pub struct $name {
            $($(#[$field_meta])*
            #[serde(rename = $key)]
            pub $field: $type,)*
        }

        impl $name {
            /// The JSON keys of this object, in the order of the fields.
            pub const KEYS: &'static [&'static str] = &[$($key),*];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                        formatter.write_str("an object")
                    }

                    fn visit_map<M: serde::de::MapAccess<'de>>(
                        self,
                        mut map: M,
                    ) -> Result<Self::Value, M::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            match $crate::spec::object::known_key($name::KEYS, &key) {
                                $($key => {
                                    object.$field =
                                        map.next_value::<Option<$type>>()?.unwrap_or_default();
                                })*
                                _ => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(object)
                    }
                }

                deserializer.deserialize_map(Visitor)
            }
        }
    };
}

/// The key of the object that `key` means: itself, or one that differs in case alone. runc reads
/// JSON so, and a limit or filter must not be lost over a capital letter.
pub(crate) fn known_key<'a>(keys: &[&'a str], key: &'a str) -> &'a str {
    if keys.contains(&key) {
        return key;
    }
    keys.iter().find(|known| known.eq_ignore_ascii_case(key)).copied().unwrap_or(key)
}

pub(crate) use object;
