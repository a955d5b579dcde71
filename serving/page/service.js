/** What is said to the service over HTTP, and what can go wrong with it. Paths are relative to the page, as behind a prefix. */

const PATIENCE = 15_000; // milliseconds

/** A request without an answer that can be shown. `code` is the service's, or "gone". */
export class Problem extends Error {
  constructor(code, message, { status = 0, wait = null } = {}) {
    super(message);
    this.code = code;
    this.wait = wait; // seconds, where the service named them
    this.isBusy = status === 429;
    this.passes = status === 0 || status === 408 || status === 429 || status >= 500; // the same again may do
  }
}

/** What the model is: `model`, `dataset`, `classes`. Throws Problem. */
export const about = () => talk("model", {});

/** The digit in a picture file. Throws Problem. */
export const predict = (file) => post("predict", file);

/** The digits in a row in a picture file. Throws Problem. */
export const read = (file) => post("read", file);

function post(path, file) {
  return talk(`${path}?seen=true`, { method: "POST", body: file, headers: { "Content-Type": file.type } });
}

async function talk(path, request) {
  let response, content;
  try {
    response = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE) });
    content = await response.json();
  } catch (error) {
    // No connection, no answer in time, or an answer that is not the service's: a proxy's page.
    const status = response && !response.ok ? response.status : 0;
    const code = status === 413 ? "body_too_large" : "gone";
    throw new Problem(code, `${path}: ${error.message}`, { status });
  }
  if (response.ok) return content;
  const wait = Number(response.headers.get("Retry-After")) || null;
  throw new Problem(content.code, content.message, { status: response.status, wait });
}
