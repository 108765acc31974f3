// Makes a PNG of a screen smaller without changing a pixel: its lines are stored unfiltered, which suits flat colours
// and text better, and deflated as hard as zlib can. Takes what Chromium makes: 8 bits a channel, RGB or RGBA, not
// interlaced. The format: https://www.w3.org/TR/png-3/ (filters in section 9).

import { deflateSync, inflateSync } from "node:zlib";

const SIGNATURE_BYTES = 8;

// The PNG anew, as a buffer.
export function squeeze(png) {
  const parts = [];
  let header;
  for (let at = SIGNATURE_BYTES; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const kind = png.toString("latin1", at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = data;
    if (kind === "IDAT") parts.push(data);
    at += 12 + length;
  }
  const [width, height, channels] = [header.readUInt32BE(0), header.readUInt32BE(4), header[9] === 6 ? 4 : 3];
  const lines = unfiltered(inflateSync(Buffer.concat(parts)), width * channels, height, channels);
  const body = deflateSync(lines, { level: 9, memLevel: 9 });
  return Buffer.concat([png.subarray(0, SIGNATURE_BYTES), chunk("IHDR", header), chunk("IDAT", body), chunk("IEND", Buffer.alloc(0))]);
}

function unfiltered(from, line_bytes, height, channels) {
  const to = Buffer.alloc(from.length);
  const stride = line_bytes + 1;
  for (let y = 0; y < height; y++) {
    const filter = from[y * stride];
    for (let x = 0; x < line_bytes; x++) {
      const at = y * stride + 1 + x;
      const left = x >= channels ? to[at - channels] : 0;
      const up = y > 0 ? to[at - stride] : 0;
      const corner = x >= channels && y > 0 ? to[at - stride - channels] : 0;
      to[at] = from[at] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
  }
  return to;
}

function paeth(left, up, corner) {
  const [a, b, c] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

function chunk(kind, data) {
  const named = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const whole = Buffer.alloc(named.length + 8);
  whole.writeUInt32BE(data.length, 0);
  named.copy(whole, 4);
  whole.writeUInt32BE(crc32(named), named.length + 4);
  return whole;
}

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
