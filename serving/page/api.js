/** Requests to the service. Paths are relative to the page, so that they work behind a prefix. */

const TIMEOUT = 15_000; // milliseconds

/** A request that failed. `code` is the service's error code, or "unreachable". */
export class Problem extends Error {
  constructor(code, message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter; // seconds, if the service sent them
    this.isBusy = status === 429;
    this.isTemporary = status === 0 || status === 408 || status === 429 || status >= 500; // a retry may succeed
  }
}

/** The model's description: `model`, `dataset`, `classes`. Throws Problem. */
export const getModel = () => request("model", {});

/** What a picture file shows. Throws Problem. */
export const predict = (file) => post("predict", file);

/** The digits in a row in a picture file. Throws Problem. */
export const read = (file) => post("read", file);

/** Store that a picture file shows `label`, or its digit at `index` in a row unless that is null. Throws Problem. */
export const correct = (file, label, index) =>
  post("corrections", file, index === null ? `label=${label}` : `label=${label}&digit=${index}`);

function post(path, file, query = "seen=true") {
  return request(`${path}?${query}`, { method: "POST", body: file, headers: { "Content-Type": file.type } });
}

async function request(path, options) {
  let response, content;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
    content = await response.json();
  } catch (error) {
    // No connection, no answer in time, or an answer that is not the service's, such as a proxy's page.
    const status = response && !response.ok ? response.status : 0;
    const code = status === 413 ? "body_too_large" : "unreachable";
    throw new Problem(code, `${path}: ${error.message}`, { status });
  }
  if (response.ok) return content;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  throw new Problem(content.code, content.message, { status: response.status, retryAfter });
}
