//! The fields of a form that a page or a program sent. Any of them may be a secret, so all are kept as one and wiped.

use axum::body::Body;
use percent_encoding::percent_decode;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::door::{read_bytes, wipe};
use crate::forms::SignedForm;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::refusal::Refusal;

/// More fields than any form has that is sent to us.
const MAX_FIELDS: usize = 16;

/// The fields of one form. `Debug` shows no value.
#[derive(Debug)]
pub(in crate::door) struct Form(Vec<(String, SecretString)>);

impl Form {
    /// Reads a body of at most `limit` bytes as a form.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`], or [`Refusal::MalformedBody`], which never quotes the body.
    pub(in crate::door) async fn read(
        body: Body,
        is_form: bool,
        limit: usize,
    ) -> Result<Self, Refusal> {
        if !is_form {
            return Err(malformed("send the form as the page does"));
        }
        let bytes = read_bytes(body, limit).await?;
        let form = Self::parse(&bytes);
        wipe(bytes);
        form
    }

    /// Reads a form of one of our pages, as the origin of its sender, its kind and its body say, and checks that it
    /// is one of this caller's session.
    ///
    /// # Errors
    /// [`Refusal::ForeignForm`], and as [`Self::read`].
    pub(super) async fn signed(
        gateway: &Gateway,
        caller: &Caller,
        (own_origin, is_form, body): (bool, bool, Body),
        limit: usize,
    ) -> Result<(SignedForm, Self), Refusal> {
        if !own_origin {
            return Err(Refusal::ForeignForm);
        }
        let mut fields = Self::read(body, is_form, limit).await?;
        let token = fields.take("csrf")?.ok_or(Refusal::ForeignForm)?;
        let form = gateway.forms.check(caller.session(), token.expose_secret());
        Ok((form.ok_or(Refusal::ForeignForm)?, fields))
    }

    /// The value of a field; none when it is not there.
    ///
    /// # Errors
    /// [`Refusal::MalformedBody`] when it is there twice: each reader would take another one.
    pub(in crate::door) fn take(&mut self, name: &str) -> Result<Option<SecretString>, Refusal> {
        let place = self.0.iter().position(|(key, _)| key == name);
        let value = place.map(|place| self.0.swap_remove(place).1);
        if self.0.iter().any(|(key, _)| key == name) {
            return Err(malformed("a field is there twice"));
        }
        Ok(value)
    }

    /// The usual parsers repair what is no UTF-8, which would store another value than the one sent, and
    /// their buffers grow, which leaves parts of it behind in memory.
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Vec::with_capacity(MAX_FIELDS);
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == MAX_FIELDS {
                return Err(malformed("the form has too many fields"));
            }
            let mut parts = pair.splitn(2, |b| *b == b'=');
            let (name, value) =
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let (name, value) = (decoded(name), decoded(value));
            fields.push((text(&name)?.to_owned(), SecretString::from(text(&value)?)));
        }
        Ok(Self(fields))
    }
}

/// Room for all at once: a buffer that grows leaves copies behind.
fn decoded(raw: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(raw.len()));
    for (i, piece) in raw.split(|b| *b == b'+').enumerate() {
        if i > 0 {
            plain.push(b' ');
        }
        plain.extend(percent_decode(piece));
    }
    plain
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| malformed("a field is no UTF-8 text"))
}

fn malformed(why: &str) -> Refusal {
    Refusal::MalformedBody(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> String {
        let mut form = Form::parse(body.as_bytes()).unwrap();
        form.take("value").unwrap().unwrap().expose_secret().to_owned()
    }

    #[test]
    fn a_field_is_what_was_typed() {
        assert_eq!(one("value=a+b%2Bc%26d%3D%25&x=y"), "a b+c&d=%");
        assert_eq!(one("x=y&value=%C3%A9%00=="), "é\0==");
        assert_eq!(one("value"), "");
        let mut form = Form::parse(b"a=1").unwrap();
        assert!(form.take("value").unwrap().is_none());
    }

    #[test]
    fn a_form_with_two_meanings_is_refused_and_never_quoted() {
        let mut twice = Form::parse(b"value=s3cret&value=other").unwrap();
        let refusal = twice.take("value").unwrap_err();
        assert!(!refusal.to_string().contains("s3cret"));
        assert!(Form::parse(b"value=%FFs3cret").is_err());
        assert!(Form::parse("a=b&".repeat(17).as_bytes()).is_err());
        assert!(!format!("{:?}", Form::parse(b"value=s3cret").unwrap()).contains("s3cret"));
    }

    #[tokio::test]
    async fn only_a_form_within_the_limit_is_read() {
        let long = Form::read(Body::from("value=123456789"), true, 8).await;
        assert!(matches!(long, Err(Refusal::BodyTooLarge { limit: 8 })));
        let other = Form::read(Body::from("value=1"), false, 8).await;
        assert!(matches!(other, Err(Refusal::MalformedBody(_))));
    }
}
