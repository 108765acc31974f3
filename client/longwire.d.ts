/** What the client is doing: not started, getting to a login, logged in, waiting for the next attempt, over. */
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

/**
 * Why a token is asked for. A token that the page has kept is good enough for "first" only: if it is refused, "refused"
 * asks for a fresh one, and if that is refused too, the client closes.
 */
export type TokenReason = "first" | "expiring" | "refused";

/** The part of the standard WebSocket that the client uses; the package "ws" has it too. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Options {
  /**
   * Fetches a JWT from your backend. A token is kept for later connections until it is refused, four fifths of its
   * life are over, or the client is closed. An error, and a text that is no JWT (three parts of base64url with dots between), mean that the backend
   * is out of reach: the client asks again later. `null`, `undefined` or `""` mean that nobody is logged in: the client
   * closes, with the reason "no_token". 30 s are given. White space around the token is cut off.
   */
  token: (why: TokenReason) => string | null | undefined | Promise<string | null | undefined>;
  /** Names this device, in up to 64 bytes. */
  device?: string | undefined;
  /** Topics to subscribe with the first login, or one. */
  topics?: string | Iterable<string> | undefined;
  /** Milliseconds that a request waits for its reply, the wait for a connection included. Default 15,000. */
  timeout?: number | undefined;
  /**
   * How many messages and requests may wait while there is no connection, those to be sent again among them; 0 refuses
   * them. Default 64.
   */
  queue?: number | undefined;
  /**
   * Milliseconds: before attempt n after a loss, the client waits a random time up to `min(max, base * 2^n)`.
   * Defaults 1,000 and 30,000.
   */
  backoff?: { base?: number | undefined; max?: number | undefined } | undefined;
  /** A WebSocket class, where there is no global one (Node before 22). */
  WebSocket?: (new (url: any, protocols: string) => WebSocketLike) | undefined;
}

/** The gateway's reply to the login. */
export interface Session {
  user: string;
  /** Names this connection over all nodes and restarts. */
  connection: string;
  node: string;
  /** When the token expires, in Unix seconds; null: never. */
  expires_at: number | null;
  /** The gateway's pings are at most this many milliseconds apart. */
  ping_ms: number;
  /** Topics that were wanted and that the gateway refused; they are no longer wanted. */
  refused: Record<string, LongwireError>;
}

/** Why there is no connection: in the events "waiting" and "closed" alone. */
export interface StateReason {
  /**
   * The close code, if a connection was closed: 1006 if it broke, or never came about; 1000 with the reason "client"
   * after `close()`; 4403, 4409 and others from the gateway.
   */
  code?: number | undefined;
  /** The status of a login that was refused. */
  status?: number | undefined;
  /** "client", "kicked", "session_policy", "no_token", a code of the gateway such as "token_invalid", … */
  reason?: string | undefined;
  /** Milliseconds until the next attempt: in "waiting" alone. */
  waitMs?: number | undefined;
}

export type StateEvent = StateReason &
  ({ state: "connecting" } | ({ state: "open" } & Session) | { state: "waiting"; waitMs: number } | { state: "closed" });

/** A push as it came. */
export interface Push<T = any> {
  path: string;
  /** For a push to a topic. */
  topic?: string | undefined;
  body: T;
}

export interface SendOptions {
  /** Whether it may wait for a connection. Default true, within the bound of `Options.queue`. */
  queue?: boolean | undefined;
}

export interface RequestOptions extends SendOptions {
  /** Milliseconds; `Infinity` waits until the client closes. Default: `Options.timeout`. */
  timeout?: number | undefined;
  /**
   * Send it again on the next connection if this one ends before the reply came. It may then be handled twice, so only
   * what does no harm twice should say so. Default false: it fails with "connection_lost". So does one that is to be sent
   * again if more than `Options.queue` would wait, or if the connection was closed for something that this client sent
   * (1002, 1003, 1007, 1008, 1009: a message too big, for example), which may have been this very request.
   */
  resend?: boolean | undefined;
}

/**
 * What went wrong. `code` is the gateway's (`"path_forbidden"`, `"no_handler"`, `"rate_limited"`, …, with its `status`),
 * `"refused"` (a service answered with a status from 400 on; `body` is what it said), or the client's own:
 *
 * - `"timeout"`: no reply in time; it may have been handled all the same.
 * - `"connection_lost"`: the connection ended before the reply; it may have been handled all the same.
 * - `"offline"`, `"queue_full"`: there was no connection, and it may not, or cannot, wait for one. It was not sent.
 * - `"bad_path"`: the path breaks the protocol's rule. It was not sent.
 * - `"closed"`: the client is closed, or was before the reply came.
 */
export class LongwireError extends Error {
  constructor(
    code: string,
    message: string,
    details?: { path?: string | undefined; status?: number | undefined; body?: unknown },
  );
  readonly name: "LongwireError";
  readonly code: string;
  readonly status?: number | undefined;
  readonly path?: string | undefined;
  readonly body?: any;
}

/** One connection to a gateway that stays up. */
export class Longwire {
  /**
   * `url` is the gateway's, `wss://host/ws`. Throws a TypeError if there is no `token`, no WebSocket, or a `device` over 64
   * bytes.
   */
  constructor(url: string | URL, options: Options);

  readonly state: State;
  /** The login that holds; null unless `state` is "open". */
  readonly session: Session | null;
  /** The topics that are wanted: they are subscribed again with every login. */
  readonly topics: string[];

  /**
   * Starts, or starts anew after the end. Resolves with the next login; rejects with a LongwireError "closed" if there
   * will be none. Nobody has to wait for it. While the client waits after a loss, this tries at once, unless the gateway
   * chose the moment.
   */
  connect(): Promise<Session>;

  /**
   * Ends it. Whatever waits fails with "closed", messages of `send` that waited are dropped, and the token is forgotten: to
   * change the user, close and connect. Topics and what listens stay.
   */
  close(): void;

  /**
   * Calls `fn` for each push whose path is `pattern`, or begins with it where it ends in `*`; `"*"` is every push.
   * Returns what ends that. Pushes that come before the "open" event are handed on right after it. What `fn` throws keeps
   * nobody else from the push: it is thrown again in a turn of its own, so that it is an uncaught error of the page, and
   * ends a Node process that does not expect any.
   */
  on<T = any>(pattern: string, fn: (body: T, push: Push<T>) => void): () => void;

  /**
   * Calls `fn` for each change of state, in their order: one that `fn` causes is told when all have heard of the one
   * before. Returns what ends that. What `fn` throws: as with `on`.
   */
  onState(fn: (event: StateEvent) => void): () => void;

  /**
   * Sends without waiting for an answer; there is none, not even if it is refused. Throws a LongwireError if it can
   * neither be sent nor wait, and what JSON.stringify throws, a TypeError, if the body is no JSON (a cycle, a BigInt).
   */
  send(path: string, body?: unknown, options?: SendOptions): void;

  /** Sends, and resolves with the reply's body. Rejects with a LongwireError, or a TypeError as `send` throws. */
  request<T = any>(path: string, body?: unknown, options?: RequestOptions): Promise<T>;

  /**
   * Subscribes topics for as long as the client lives, over all its connections. Resolves once the gateway has them;
   * rejects if it refuses them, and then they are not wanted any more. Without a connection it waits for one, however
   * long. A topic that the gateway has already is left out.
   */
  subscribe(topics: string | readonly string[]): Promise<void>;

  /** Ends subscriptions. Resolves once they are over; rejects if the gateway refuses that, and then they are as before. */
  unsubscribe(topics: string | readonly string[]): Promise<void>;
}
