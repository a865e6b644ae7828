//! Whom a balancer of plain TCP names before the first byte of a connection: the PROXY protocol, version 2.
//!
//! Read only from trusted peers, and then required of them: else a caller could write it. Start at [`read`]. Source:
//! haproxy.org, `proxy-protocol.txt`, section 2.2.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION: u8 = 2;
/// The command of a connection that is somebody's; the other is the balancer's own, as for its health checks.
const PROXY: u8 = 1;
const INET: u8 = 1;
const INET6: u8 = 2;
/// Addresses take 36 bytes, what balancers add some hundred.
const MAX_BYTES: u16 = 2_048;

/// Reads the header and nothing behind it; returns the caller, if one is named.
///
/// # Errors
/// If the connection ends, or begins with something else.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let [.., version_and_command, family, high, low] = head;
    let n_bytes = u16::from_be_bytes([high, low]);
    let is_known = head.starts_with(SIGNATURE) && version_and_command >> 4 == VERSION;
    if !is_known || n_bytes > MAX_BYTES {
        return Err(broken());
    }
    let mut rest = vec![0; usize::from(n_bytes)];
    stream.read_exact(&mut rest).await?;
    if version_and_command & 0x0f != PROXY {
        return Ok(None);
    }
    let address = match family >> 4 {
        INET => rest
            .first_chunk()
            .map(|a: &[u8; 4]| Ipv4Addr::from(*a).into()),
        INET6 => rest
            .first_chunk()
            .map(|a: &[u8; 16]| Ipv6Addr::from(*a).into()),
        _ => return Ok(None), // neither: not told
    };
    address.map(Some).ok_or_else(broken)
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a header of the PROXY protocol, version 2, is expected",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caller_is_read_and_nothing_behind() {
        async fn check(command: u8, family: u8, rest: &[u8], expected: Option<Option<&str>>) {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([command, family, 0, u8::try_from(rest.len()).unwrap()]);
            bytes.extend(rest);
            bytes.extend(b"PRI");
            let mut stream = &bytes[..];
            let expected = expected.map(|named| named.map(|address| address.parse().unwrap()));
            assert_eq!(read(&mut stream).await.ok(), expected, "{rest:?}");
            assert!(expected.is_none() || stream == b"PRI");
        }
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        check(0x21, 0x11, &v4, Some(Some("203.0.113.7"))).await;
        let with_more = [&v4[..], &[4, 0, 1, 9]].concat();
        check(0x21, 0x11, &with_more, Some(Some("203.0.113.7"))).await;
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 1;
        check(0x21, 0x21, &v6, Some(Some("2001:db8::1"))).await;
        check(0x20, 0x00, &[], Some(None)).await;
        check(0x21, 0x00, &[], Some(None)).await;
        check(0x21, 0x11, &[1, 2], None).await;
        check(0x11, 0x11, &v4, None).await;
        assert!(read(&mut &b"GET / HTTP/1.1\r\n"[..]).await.is_err());
        assert!(read(&mut &b"\r\n"[..]).await.is_err());
    }
}
