// The peer for Node's `ws`: any WebSocket on /ws; a text that begins with `e` goes back, one that begins with `b` goes to
// all. It does nothing else and keeps nothing. Started by ../run; ../README.md has the flags.
'use strict';

const http = require('node:http');
const { WebSocketServer, WebSocket } = require('ws');

const flag = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
};

const E = 'e'.charCodeAt(0);
const B = 'b'.charCodeAt(0);
const any = { echo: E, broadcast: B }[flag('--any', 'none')];

const server = http.createServer((request, response) => {
  response.writeHead(404);
  response.end();
});
const sockets = new WebSocketServer({ server, path: '/ws', perMessageDeflate: false, maxPayload: 64 * 1024 });

sockets.on('connection', (socket) => {
  socket.on('error', () => socket.terminate()); // a reset is the client's business
  socket.on('message', (bytes, binary) => {
    if (binary || bytes.length === 0) return;
    const what = bytes[0] === E || bytes[0] === B ? bytes[0] : any;
    if (what === E) {
      socket.send(bytes, { binary: false });
    } else if (what === B) {
      for (const other of sockets.clients) {
        if (other.readyState === WebSocket.OPEN) other.send(bytes, { binary: false });
      }
    }
  });
});

server.on('error', (error) => {
  console.error(`node-ws: ${error.message}`);
  process.exit(1);
});
server.listen({ host: flag('--host', '127.0.0.1'), port: Number(flag('--port', '0')), backlog: 4096 }, () => {
  console.log(`ready ${server.address().port}`);
});
