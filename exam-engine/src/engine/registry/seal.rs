//! Seals what must not be readable in a shared store: papers before the opening (P4), exam secrets until the close.
//!
//! XChaCha20-Poly1305 with a random nonce in front; the key is derived from `secrets/cluster.key`, and the name of the
//! exam and of the field are bound to it, so that nothing can be moved from one place to another.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::{TryRng, rngs::SysRng};

use crate::secrets::Key;

const CONTEXT: &str = "khoa-bang exam-seal v1";
const NONCE_BYTES: usize = 24;

pub(super) struct Seal(XChaCha20Poly1305);

impl Seal {
    pub(super) fn new(cluster: &Key) -> Self {
        let key = blake3::derive_key(CONTEXT, &cluster.0);
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// Returns nonce and sealed bytes.
    pub(super) fn close(&self, exam: &str, field: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        SysRng
            .try_fill_bytes(&mut nonce)
            .map_err(std::io::Error::other)?;
        let place = place(exam, field);
        let payload = Payload {
            msg: bytes,
            aad: place.as_bytes(),
        };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| std::io::Error::other("too long to be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Returns what was sealed, or nothing if it was sealed with another key, for another place, or changed since.
    pub(super) fn open(&self, exam: &str, field: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let place = place(exam, field);
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        self.0.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

/// Names of exams have no slash.
fn place(exam: &str, field: &str) -> String {
    format!("{exam}/{field}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_with_its_key_and_nowhere_else() {
        let seal = Seal::new(&Key([1; 32]));
        let sealed = seal.close("thi", "paper", b"question").unwrap();
        assert_ne!(sealed, seal.close("thi", "paper", b"question").unwrap());
        assert_eq!(seal.open("thi", "paper", &sealed).unwrap(), b"question");
        assert_eq!(seal.open("thi", "secret", &sealed), None);
        assert_eq!(seal.open("thi2", "paper", &sealed), None);
        assert_eq!(Seal::new(&Key([2; 32])).open("thi", "paper", &sealed), None);
        for index in [0, NONCE_BYTES, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(seal.open("thi", "paper", &changed), None);
        }
        assert_eq!(seal.open("thi", "paper", &sealed[..10]), None);
    }
}
