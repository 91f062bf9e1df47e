// SPDX-License-Identifier: Apache-2.0
export type ReaderState =
  | "no-card" | "busy" | "unsupported" | "mute" | "damaged" | "reading"
  | "ready" | "pin-last-try" | "pin-blocked" | "puk-blocked" | "expired" | "revoked";

export interface Reader {
  id: number;
  name: string;
  state: ReaderState;
  insertion: number;
  generation: string | null;
  same_card: number | null; // id of the reader that sees the same card, one of them by contact and one without
  pin: { tries_left: number; blocked: boolean } | null;
}
export interface Readers { readers: Reader[] }
export interface Certificate {
  usage: "authentication" | "signature" | "technical" | null;
  der: string; // base64
  subject: string;
  issuer: string;
  valid_from: string;
  valid_until: string;
}
export interface AuthToken {
  unverifiedCertificate: string;
  algorithm: "RS256" | "PS256";
  signature: string;
  format: "web-eid:1.0";
  appVersion: string;
}
export interface OnReader { reader?: number }
export interface SignRequest extends OnReader {
  documents: { name: string; content: string }[]; // content: base64
  /** "hash": each content is a SHA-256 (32 bytes), and its signature the RSA value alone; for sites that an administrator named. */
  format?: "cms" | "cades" | "pades" | "xades" | "smime" | "jws" | "hash";
  form?: "detached" | "enveloping" | "enveloped";
  level?: "b" | "t" | "lt" | "lta";
  visible?: boolean; // PAdES: show on the last page who signed
  pss?: boolean;
}
export interface Options { signal?: AbortSignal }

/** `status` 0: nobody answered. */
export class CpxdError extends Error {
  readonly status: number;
  readonly code: string;
  readonly fault: "person" | "card" | "reader" | "workstation" | "software";
  readonly retry: boolean;
  readonly fr: string;
  readonly en: string;
}

export class Cpxd {
  /** `framed`: ask even inside a page of another origin, which could trick the person into a click. */
  constructor(settings?: { base?: string; fetch?: typeof fetch; framed?: boolean });
  info(options?: Options): Promise<{ name: string; version: string; api: string }>;
  readers(options?: Options): Promise<Readers>;
  identity(body?: OnReader, options?: Options): Promise<Record<string, unknown>>;
  certificates(body?: OnReader, options?: Options): Promise<{ certificates: Certificate[] }>;
  situations(body?: OnReader, options?: Options): Promise<Record<string, unknown>>;
  /** `origin`: for programs with a `fetch` of their own; a page's is the one that its browser names. */
  authenticate(body: { nonce: string; origin?: string } & OnReader, options?: Options): Promise<AuthToken>;
  sign(body: SignRequest, options?: Options): Promise<{ signatures: { name: string; content: string }[] }>;
  events(options?: Options): AsyncGenerator<Readers, void, void>;
}
