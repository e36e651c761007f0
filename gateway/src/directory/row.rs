//! Reading one row: every column is checked, none is trusted.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row as _, Type};

use super::DirectoryError;

/// A row whose columns are read by name; a value of the wrong form is [`DirectoryError::Corrupt`].
#[derive(Clone, Copy)]
pub(crate) struct Columns<'r>(pub(crate) &'r AnyRow);

impl<'r> Columns<'r> {
    pub(crate) fn text(self, column: &str) -> Result<String, DirectoryError> {
        self.get(column)
    }

    pub(crate) fn optional_text(self, column: &str) -> Result<Option<String>, DirectoryError> {
        self.get(column)
    }

    pub(crate) fn int(self, column: &str) -> Result<i64, DirectoryError> {
        self.get(column)
    }

    pub(crate) fn optional_int(self, column: &str) -> Result<Option<i64>, DirectoryError> {
        self.get(column)
    }

    pub(crate) fn truth(self, column: &str) -> Result<bool, DirectoryError> {
        Ok(self.int(column)? != 0)
    }

    /// A column that holds the text form of a checked type.
    pub(crate) fn parsed<T: FromStr>(self, column: &str) -> Result<T, DirectoryError> {
        self.text(column)?.parse().map_err(|_| corrupt(column))
    }

    pub(crate) fn json<T: DeserializeOwned>(self, column: &str) -> Result<T, DirectoryError> {
        serde_json::from_str(&self.text(column)?).map_err(|_| corrupt(column))
    }

    pub(crate) fn sealed(self, column: &str) -> Result<Vec<u8>, DirectoryError> {
        base64_decode(&self.text(column)?).ok_or_else(|| corrupt(column))
    }

    pub(crate) fn digest(self, column: &str) -> Result<[u8; 32], DirectoryError> {
        let mut digest = [0; 32];
        hex::decode_to_slice(self.text(column)?, &mut digest).map_err(|_| corrupt(column))?;
        Ok(digest)
    }

    fn get<T: Decode<'r, Any> + Type<Any>>(self, column: &str) -> Result<T, DirectoryError> {
        self.0.try_get(column).map_err(|_| corrupt(column))
    }
}

/// The form in which a column keeps bytes.
pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The form in which a column keeps lists and maps.
pub(crate) fn json_text<T: serde::Serialize + ?Sized>(
    what: &'static str,
    value: &T,
) -> Result<String, DirectoryError> {
    serde_json::to_string(value)
        .map_err(|_| DirectoryError::Invalid { what, why: "it has no JSON form" })
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn corrupt(column: &str) -> DirectoryError {
    DirectoryError::Corrupt { column: column.to_owned() }
}
