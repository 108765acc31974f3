//! A request head, in pieces and whole, ends at the same place; whatever is in it, the answer is a response of HTTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire::protocol::handshake::{
    MAX_HEAD_BYTES, Scan, accept_response, forwarded_client, parse, scan, wants_no_body,
};

fuzz_target!(|data: &[u8]| check(data));

fn check(bytes: &[u8]) {
    let whole = scan(bytes, 0);
    assert_eq!(scan_bytewise(bytes), whole);
    if let Scan::Complete(end) = whole {
        assert!(end <= MAX_HEAD_BYTES && bytes[..end].ends_with(b"\r\n\r\n"));
    }

    // Also what no scan found complete must be read without harm.
    let head = if let Scan::Complete(end) = whole {
        &bytes[..end]
    } else {
        bytes
    };
    match parse(head) {
        Ok(request) => {
            assert_eq!(request.key.len(), 24);
            assert_eq!(response_status(&accept_response(&request), true), 101);
            // No header is longer than its head.
            assert!(request.forwarded_for.iter().map(|value| value.len()).sum::<usize>() < head.len());
            forwarded_client(&request.forwarded_for, |address| address.is_loopback());
        }
        Err(refused) => {
            let status = response_status(&refused.response(head), !wants_no_body(head));
            assert_eq!(status, refused.status());
        }
    }

    if let Ok(values) = std::str::from_utf8(bytes) {
        let client = forwarded_client(&[values], |address| address.is_loopback());
        assert!(!client.is_some_and(|address| address.is_loopback()));
    }
}

fn scan_bytewise(bytes: &[u8]) -> Scan {
    for end in 1..=bytes.len() {
        let scan = scan(&bytes[..end], end - 1);
        if scan != Scan::Incomplete {
            return scan;
        }
    }
    Scan::Incomplete
}

fn response_status(response: &[u8], has_body: bool) -> u16 {
    let mut headers = [httparse::EMPTY_HEADER; 8];
    let mut parsed = httparse::Response::new(&mut headers);
    let head_bytes = parsed.parse(response).unwrap().unwrap();
    let length = parsed.headers.iter().find(|header| header.name == "Content-Length");
    let body_bytes = length.map_or(0, |length| std::str::from_utf8(length.value).unwrap().parse().unwrap());
    assert_eq!(head_bytes + if has_body { body_bytes } else { 0 }, response.len());
    parsed.code.unwrap()
}
