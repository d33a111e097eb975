// The server, as the page calls it. Every failure becomes an Error whose message can be shown to people.

const KEY = "tetriserve-api-key";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function apiKey() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setApiKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (apiKey()) headers.Authorization = `Bearer ${apiKey()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server can't be reached. Is it still running?", 0);
  }
  if (!response.ok) throw new ApiError(await words(response), response.status);
  return response;
}

export async function health() {
  return (await fetch("/health")).json();
}

export async function model() {
  return (await (await call("/v1/models")).json()).data[0];
}

export function generate(body, signal) {
  const headers = { "Content-Type": "application/json" };
  return call("/v1/images/generations", { method: "POST", headers, body: JSON.stringify(body), signal });
}

async function words(response) {
  const said = await response.json().catch(() => null);
  const message = said?.error?.message ?? `The server answered ${response.status} ${response.statusText}`;
  return sentence(message);
}

export function sentence(message) {
  const text = message.trim();
  const isName = /^\w+ =|_/.test(text.split(":")[0]); // a field of the API is written as it is
  return (isName ? text : text.charAt(0).toUpperCase() + text.slice(1)) + (/[.!?]$/.test(text) ? "" : ".");
}
