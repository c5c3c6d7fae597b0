//! Mirror enums: how a domain enum looks on disk. Postcard stores the place of a variant, JSON its name,
//! so variants keep their order and their names.

/// Makes the private mirror of a domain enum, and both conversions.
macro_rules! mirror {
    ($mirror:ident of $domain:ident { $($name:ident),* $(,)? }) => {
        #[derive(Clone, Copy, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum $mirror { $($name),* }

        impl From<$domain> for $mirror {
            fn from(value: $domain) -> Self {
                match value { $($domain::$name => Self::$name),* }
            }
        }

        impl From<$mirror> for $domain {
            fn from(value: $mirror) -> Self {
                match value { $($mirror::$name => Self::$name),* }
            }
        }
    };
}

pub(crate) use mirror;
