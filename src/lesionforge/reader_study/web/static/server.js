// How pages talk to the server they came from, and to no other.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const RETRIED = new Set([0, 408, 429, 502, 503, 504]);
let csrf = "";

export function trust(token) {
  csrf = token;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch {
    throw new Refused(0, "the server cannot be reached.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ error: "something went wrong." }));
  throw new Refused(response.status, problem.error);
}

export const getJson = async (path) => (await ask(path)).json();
export const getBytes = async (path) => (await ask(path)).arrayBuffer();

export async function post(path, value = undefined) {
  const headers = { "X-CSRF-Token": csrf };
  if (value !== undefined) headers["Content-Type"] = "application/json";
  const response = await ask(path, { method: "POST", headers, body: JSON.stringify(value) });
  return response.json();
}

// Try until it succeeds or is refused for good. Answers may be sent twice: the server keeps the first.
export async function persist(action, onTrouble) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 10000)) {
    try {
      const result = await action();
      onTrouble("");
      return result;
    } catch (error) {
      if (!(error instanceof Refused) || !RETRIED.has(error.status)) throw error;
      onTrouble(`Not saved yet: ${error.message} Trying again …`);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}
