/** The server API with a token that lives in this object and nowhere else. */

/** Where the service is: the page is at its `console/`, behind a proxy perhaps below a path. */
export const SERVICE = new URL('../', document.baseURI);
const at = (path) => new URL(path.slice(1), SERVICE);

const READ = 'participants:read sessions:read events:read rooms:read';
const ADMIN = 'participants:admin sessions:admin rooms:admin';
export const LIFE = 3600;

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error_description ?? `The service answered ${status}.`);
    this.status = status;
  }
}

const answer = async (reply) => {
  const body = await reply.json().catch(() => undefined);
  if (!reply.ok) throw new ApiError(reply.status, body);
  return body;
};

/** HTTP Basic (RFC 7617) of UTF-8. */
const basic = (key, secret) =>
  `Basic ${btoa(String.fromCodePoint(...new TextEncoder().encode(`${key}:${secret}`)))}`;

export class Api {
  #token;
  #over = new AbortController();

  constructor(token, mayChange, onOver) {
    this.#token = token;
    this.mayChange = mayChange;
    this.onOver = onOver;
  }

  /** Exchange key and secret for a token; they are kept nowhere. Rejects with ApiError. */
  static async signIn(key, secret, lookOnly, onOver) {
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      expires_in: LIFE,
      scope: lookOnly ? READ : `${READ} ${ADMIN}`,
    });
    const headers = { Authorization: basic(key, secret) };
    const { access_token: token } = await answer(
      await fetch(at('/v1/auth/token'), { method: 'POST', headers, body: form, credentials: 'omit' }),
    );
    return new Api(token, !lookOnly, onOver);
  }

  get signal() {
    return this.#over.signal;
  }

  close() {
    this.#token = undefined;
    this.#over.abort();
  }

  async ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    try {
      return await answer(
        await fetch(at(path), {
          method,
          headers,
          body: body && JSON.stringify(body),
          credentials: 'omit',
          cache: 'no-store',
          signal: this.signal,
        }),
      );
    } catch (error) {
      if (error.status === 401 && !this.signal.aborted) this.onOver();
      throw error;
    }
  }

  get(path, query) {
    const entries = Object.entries(query ?? {}).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
    const text = new URLSearchParams(entries).toString();
    return this.ask('GET', text ? `${path}?${text}` : path);
  }

  post(path, body) {
    return this.ask('POST', path, body);
  }

  delete(path) {
    return this.ask('DELETE', path);
  }
}

export const path = (...parts) => `/v1/${parts.map(encodeURIComponent).join('/')}`;
