// The peer for Bun's own server (uWebSockets underneath): any WebSocket on /ws; a text that begins with `e` goes back,
// one that begins with `b` goes to all. It does nothing else and keeps nothing. Started by ../run; ../README.md has the
// flags.
const flag = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
};

const any = { echo: 'e', broadcast: 'b' }[flag('--any', 'none')];

const server = Bun.serve({
  hostname: flag('--host', '127.0.0.1'),
  port: Number(flag('--port', '0')),
  fetch(request, server) {
    if (new URL(request.url).pathname === '/ws' && server.upgrade(request)) return undefined;
    return new Response(null, { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 * 1024,
    idleTimeout: 0, // none is closed for being quiet
    sendPings: false,
    open(socket) {
      socket.subscribe('all');
    },
    message(socket, text) {
      if (typeof text !== 'string') return;
      const what = text.startsWith('e') || text.startsWith('b') ? text[0] : any;
      if (what === 'e') socket.send(text);
      else if (what === 'b') server.publish('all', text); // the sender too, unlike socket.publish
    },
  },
});

console.log(`ready ${server.port}`);
