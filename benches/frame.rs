//! What a frame costs: a client's decoded in place, a push encoded. Prints nanoseconds a frame, for the sizes that chat
//! and notifications have. Decoding includes the copy into the scratch buffer that stands for the read.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longwire::protocol::frame::{Decoder, Opcode, Rules, encode, encode_text, unmask};

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = encode(Opcode::Text, payload);
    let header = frame.len() - payload.len();
    frame[1] |= 0x80;
    unmask(&mut frame[header..], MASK);
    frame.splice(header..header, MASK);
    frame
}

fn frames(criterion: &mut Criterion) {
    let rules = Rules {
        max_message_bytes: 64 * 1024,
        binary: false,
    };
    for bytes in [16, 64, 128, 1024] {
        let payload = vec![b'x'; bytes];
        let frame = client_frame(&payload);
        let mut group = criterion.benchmark_group(format!("{bytes} bytes"));
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut scratch = vec![0; frame.len()];
        let mut decoder = Decoder::default();
        group.bench_function("decode", |bencher| {
            bencher.iter(|| {
                scratch.copy_from_slice(&frame);
                let mut input = &mut scratch[..];
                black_box(decoder.next(&mut input, rules).unwrap());
            });
        });
        group.bench_function("encode", |bencher| bencher.iter(|| encode_text(black_box(&payload))));
        group.finish();
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
