// Asks the node's HTTP API, with a key where it wants one. The key stays in this tab (`sessionStorage`) and goes into the
// Authorization header and nowhere else. Used by every view.

const KEY = "longwire-key";
// Longer than the node waits for other nodes and its own reactors.
const TIMEOUT_MS = 12_000;

// What the node refused, or that it did not answer: `status` is 0 then. `key` is the one that it was shown.
export class ApiError extends Error {
  constructor(status, message, key = "") {
    super(message);
    Object.assign(this, { status, key });
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  // Whether a header can carry it.
  isValid: (value) => /^[\x21-\x7e]+$/.test(value),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// A response with a status of 2xx.
//
// Throws an `ApiError` with the problem's own words otherwise. `body` is JSON text.
export async function ask(path, { method = "GET", body } = {}) {
  const shown = key.get();
  let response;
  try {
    response = await fetch(path, {
      method,
      body,
      headers: shown ? { Authorization: `Bearer ${shown}` } : {},
      signal: AbortSignal.timeout(TIMEOUT_MS),
      cache: "no-store",
    });
  } catch (error) {
    throw new ApiError(0, error.name === "TimeoutError" ? "the node did not answer in time" : "the node does not answer");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  throw new ApiError(response.status, problem?.detail ?? `the node answers ${response.status}`, shown);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

// The path of a user, whatever the name is made of. Throws an `ApiError` for the two that no browser asks for: it takes
// them for folders, escaped or not (WHATWG URL, "double-dot path segment").
export function userPath(user) {
  if (user !== "." && user !== "..") return `v1/users/${encodeURIComponent(user)}`;
  const url = new URL("v1/users/", document.baseURI);
  throw new ApiError(0, `A browser cannot ask for a user of this name. From a terminal: curl --path-as-is ${url}${user}`);
}
