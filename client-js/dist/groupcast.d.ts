// Types of the Groupcast client. Written by hand; a test compiles programs against them.

// By a classic script tag, the library is the global `Groupcast`.
export as namespace Groupcast;

/** The application's own names and payloads; leave them out and every name and payload is allowed. */
export interface Schema {
  /** Events by group name: `{ [group: `pedido.${number}`]: { estado_cambiado: { estado: string } } }`. */
  groups: { [group: string]: EventMap };
  /** Calls by name. */
  calls: { [call: string]: { data: any; result: any } };
}
/** Events by `type`, each the whole event (with or without its `type`). */
export interface EventMap {
  [event: string]: any;
}
export type AnySchema = { groups: { [group: string]: EventMap }; calls: { [call: string]: { data: any; result: any } } };

type EventsOf<S extends Schema, N> = N extends keyof S['groups'] ? S['groups'][N] : never;
type GroupNames<S extends Schema> = keyof S['groups'] & string;
type CallNames<S extends Schema> = keyof S['calls'] & string;

export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed';
export type GroupState = 'joining' | 'joined' | 'closed';

/** A place in a group's history; only groups with history have positions. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

export interface Message<D = any, E extends string = string> {
  /** Absent where the event was sent to a user, to this connection or to all. */
  readonly group?: string;
  /** The event's `type`. */
  readonly event: E;
  /** The whole event, as published. */
  readonly data: D;
  /** The publication's id, in groups without history. */
  readonly id?: string;
  readonly position?: Position;
  /** Replayed after a lost connection. */
  readonly recovered: boolean;
}
/** In a loop over a group, at the place where something was missed. No sender can make one up. */
export interface GapNotice {
  readonly group: string;
  readonly event: '$gap';
  readonly gap: Gap;
  readonly data?: undefined;
  readonly recovered: false;
}

/** Why a token is wanted. */
export interface TokenRequest {
  reason: 'initial' | 'expiring' | 'rejected';
  /** Aborted after 10 s, by `close` and `setToken`, and when the network comes back meanwhile. */
  signal: AbortSignal;
}

export type TokenSource = string | null | undefined | { token: string | null } | { status: number; ok: boolean; text(): Promise<string> };

export interface ClientOptions {
  /** A token to begin with; none where a cookie authenticates. */
  token?: string;
  /**
   * Fetches a token: gives it, an object with a `token`, or the site's `Response` with either in it.
   * `null`, an `UnauthorizedError`, a 401 or 403, or a page with a form mean that nobody is signed in
   * and close the client with 4401. Anything else that is no token, and any other error, is reported
   * and asked for again after 5 to 15 s.
   */
  getToken?(request: TokenRequest): TokenSource | Promise<TokenSource>;
  /** Time for opening and `welcome` together, ms; 10 000. */
  connectTimeout?: number;
  /** Time until `send` and `call` settle, waiting for a connection included, ms; 10 000. */
  timeout?: number;
  /** Delays, ms: 250 + a random part of 1000 × 2ⁿ, at most 20 000; counted anew after 10 000 stable. */
  backoff?: { min?: number; base?: number; max?: number; stableAfter?: number };
  /** What may wait: 512 requests, 1 MiB. They go out as fast as the gateway allows. */
  outbox?: { maxMessages?: number; maxBytes?: number };
  /** For runtimes without a global one, such as Node 20. */
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
  /** Whether causes of failures that nothing listens to are said by `console.warn`, once each; true. */
  warnings?: boolean;
}

export interface JoinOptions {
  /** Where to go on from: what came after it is delivered, or reported as `$gap`. */
  since?: Position;
  /** Leaves. */
  signal?: AbortSignal;
  /** Time until `ready` settles, ms; that of the client. */
  timeout?: number;
}
export interface ListenOptions {
  once?: boolean;
  signal?: AbortSignal;
}
export interface SendOptions {
  /** Whether this connection gets the event, too; true. */
  echo?: boolean;
  /** Makes repetitions harmless for 2 minutes; made up if not given. */
  key?: string;
  /** ms */
  timeout?: number;
  /** Stops waiting; what has not been sent never is. */
  signal?: AbortSignal;
}
export interface CallOptions {
  /** `Idempotency-Key` at the back end; with one, the call is repeated after a lost connection. */
  key?: string;
  /** ms */
  timeout?: number;
  /** Stops waiting; what has not been sent never is. */
  signal?: AbortSignal;
}
export interface OnceOptions {
  /** ms; none by default */
  timeout?: number;
  signal?: AbortSignal;
}
export interface MessagesOptions {
  /** Messages that wait for a slow loop; the oldest beyond are dropped, and a notice says how many. 256 */
  buffer?: number;
  /** Ends the loop. */
  signal?: AbortSignal;
}
export interface Sent {
  /** The publication's id, as in `Message.id`. */
  readonly id: string;
  readonly epoch?: string;
  readonly offset?: number;
}

export interface ClientEvents {
  state: { state: ClientState; previous: ClientState };
  /** `attempt` counts from 1. */
  waiting: { attempt: number; delay: number; at: Date };
  /** It will not come back by itself. `code` is the close code; 4401: sign in again. */
  closed: { code: number; reason: string; error: GroupcastError };
  /** Nothing to do with a request: those reject. */
  error: Error;
  /** Every event, of every group and of none. */
  event: Message;
  /** Events for this user, this connection or everybody were missed; losses in a group are reported by the group. */
  gap: { reason: string; lost?: number; possible: boolean };
}

export interface Joined {
  recovered: boolean;
  position?: Position;
}
export interface Gap {
  /**
   * The gateway's reasons; `reconnect`: away, and what was missed can't be replayed; `unannounced`: an
   * offset was skipped; `buffer`: a loop was too slow.
   */
  reason: 'slow' | 'expired' | 'layer' | 'history' | 'reconnect' | 'unannounced' | 'buffer';
  /** Feared, not known. */
  possible: boolean;
  lost?: number;
  epoch?: string;
  /** First and last missed offset. */
  from?: number;
  to?: number;
}
export interface Left {
  reason: string;
  error: GroupcastError;
}
export interface GroupEvents {
  $joined: Joined;
  /** Something was or may have been missed: load the state anew. */
  $gap: Gap;
  /** Refused, or removed by the server. */
  $left: Left;
}

/** The union of a group's messages, told apart by `event`. */
export type MessageOf<M extends EventMap> = { [K in keyof M & string]: Message<M[K], K> }[keyof M & string];

/** One `join` of a name: its own listeners and its own `leave`, over one membership for all of them. */
export interface Group<M extends EventMap = EventMap> extends AsyncIterable<MessageOf<M> | GapNotice>, Disposer {
  readonly name: string;
  readonly state: GroupState;
  readonly position: Position | undefined;
  readonly error: GroupcastError | null;
  /**
   * Resolves once joined. Rejects when refused, left or closed, and with `timeout` when that takes
   * long, while the client goes on trying.
   */
  readonly ready: Promise<Group<M>>;
  on<K extends keyof GroupEvents>(event: K, listener: (happened: GroupEvents[K]) => void, options?: ListenOptions): () => void;
  on(event: '*', listener: (message: MessageOf<M>) => void, options?: ListenOptions): () => void;
  on<K extends keyof M & string>(
    event: K,
    listener: (data: M[K], message: Message<M[K], K>) => void,
    options?: ListenOptions,
  ): () => void;
  once<K extends keyof GroupEvents>(event: K, options?: OnceOptions): Promise<GroupEvents[K]>;
  once(event: '*', options?: OnceOptions): Promise<MessageOf<M>>;
  once<K extends keyof M & string>(event: K, options?: OnceOptions): Promise<Message<M[K], K>>;
  /**
   * Messages from now on. Ends when left, aborted or closed by the application; throws when refused or
   * removed. `for await (const message of group)` is the same.
   */
  messages(options?: MessagesOptions): AsyncIterableIterator<MessageOf<M> | GapNotice>;
  send<K extends keyof M & string>(data: { type: K } & M[K], options?: SendOptions): Promise<Sent>;
  /** Undoes this `join`, once; the last one leaves the group. */
  leave(): void;
}

/** `using` works where the language has it; `lib.esnext.disposable` gives the symbol its type. */
export type Disposer = SymbolConstructor extends { readonly dispose: infer D extends symbol } ? { [K in D]: () => void } : {};

export interface GroupcastClient<S extends Schema = AnySchema> extends Disposer {}
export class GroupcastClient<S extends Schema = AnySchema> {
  /** @param url `/ws`, `https://…` or `wss://…` */
  constructor(url: string | URL, options?: ClientOptions | null);
  readonly state: ClientState;
  readonly id: string | undefined;
  /** What is held, to look at and to listen to; holds nothing itself. */
  readonly groups: ReadonlyMap<string, Group>;
  onmessage: ((message: Message) => void) | null;
  /** Rejects with `timeout` after that of the client, while it goes on trying. */
  connect(options?: { timeout?: number }): Promise<void>;
  reconnect(): void;
  close(code?: number): void;
  setToken(token: string | null): void;
  join<N extends GroupNames<S>>(name: N, options?: JoinOptions | null): Group<EventsOf<S, N>>;
  /** Undoes every `join` of a name. */
  leave(name: string): void;
  send(group: string, data: { type: string; [member: string]: any }, options?: SendOptions): Promise<Sent>;
  call<K extends CallNames<S>>(name: K, data?: S['calls'][K]['data'], options?: CallOptions): Promise<S['calls'][K]['result']>;
  on<K extends keyof ClientEvents>(event: K, listener: (happened: ClientEvents[K]) => void, options?: ListenOptions): () => void;
}

export class GroupcastError extends Error {
  constructor(code: string, message: string, retry?: boolean);
  /**
   * Codes of the protocol, or `timeout` (unanswered), `expired` (never sent), `disconnected` (the answer
   * was lost), `outbox_full`, `closed`, `left`, `bad_token`, `no_websocket`.
   */
  readonly code: string;
  /** Of a request: whether it was given to a connection, so that it may have been done. */
  readonly sent?: boolean;
  /** With which code the gateway closed for good. */
  readonly closeCode?: number;
  /** The same may succeed later. */
  readonly retry: boolean;
}
export class UnauthorizedError extends GroupcastError {
  constructor(message?: string);
}
