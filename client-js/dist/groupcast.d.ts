// Types of the Groupcast client. Written by hand; a test compiles programs against them.

// By a classic script tag, the library is the global `Groupcast`.
export as namespace Groupcast;

/** The application's own names and payloads; leave them out and every name and payload is allowed. */
export interface Schema {
  /** Events by group name, which may be a pattern such as a template literal. */
  groups: { [group: string]: EventMap };
  /** Calls by name: what is asked with, and what is answered. */
  calls: { [call: string]: { data: any; result: any } };
}
/** Events by `type`, each the whole event (with or without its `type`). */
export interface EventMap {
  /** The event of that `type`. */
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
  /** Names one life of the history; offsets of two of them don't compare. */
  readonly epoch: string;
  /** Counts the group's events. */
  readonly offset: number;
}

/** One event, as listeners and loops get it. */
export interface Message<D = any, E extends string = string> {
  /** Absent where the event was sent to a user, to this connection or to all. */
  readonly group?: string;
  /** The event's `type`. */
  readonly event: E;
  /** The whole event, as published. */
  readonly data: D;
  /** The publication's id, in groups without history. */
  readonly id?: string;
  /** Its place in the history, in groups with history. */
  readonly position?: Position;
  /** Replayed after a lost connection. */
  readonly recovered: boolean;
}
/** In a loop over a group, at the place where something was missed. No sender can make one up. */
export interface GapNotice {
  /** The group's name. */
  readonly group: string;
  /** Tells it from a message. */
  readonly event: '$gap';
  /** What is missing. */
  readonly gap: Gap;
  /** A notice has no event. */
  readonly data?: undefined;
  /** A notice is never a replay. */
  readonly recovered: false;
}

/** Why a token is wanted. */
export interface TokenRequest {
  /** None yet; the one at hand runs out; the gateway refused it. */
  reason: 'initial' | 'expiring' | 'rejected';
  /** Aborted after 10 s, by `close` and `setToken`, and when the network comes back meanwhile. */
  signal: AbortSignal;
}

/** What `getToken` may give. */
export type TokenSource = string | null | undefined | { token: string | null } | { status: number; ok: boolean; text(): Promise<string> };

export interface ClientOptions {
  /** A token to begin with; none where a cookie authenticates. */
  token?: string;
  /**
   * Fetches a token: gives it, an object with a `token`, or the site's `Response` with either in it.
   * `null`, an `UnauthorizedError`, a 401 or 403, a redirect or a page mean that nobody is signed in,
   * and close the client with 4401. Anything else that is no token, and any other error, is reported
   * and asked for again after 5 to 15 s.
   */
  getToken?(request: TokenRequest): TokenSource | Promise<TokenSource>;
  /** Time for opening and `welcome` together, ms; 10 000. */
  connectTimeout?: number;
  /** Time until `send` and `call` settle, waiting for a connection included, ms; 10 000. */
  timeout?: number;
  /** Delays, ms: 250 + a random part of 1000 × 2ⁿ, at most 20 000; counted anew after 5000 stable. */
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
  /** Removes the listener after its first call. */
  once?: boolean;
  /** Removes the listener. */
  signal?: AbortSignal;
}
export interface SendOptions {
  /** Whether this connection gets the event, too; true. */
  echo?: boolean;
  /** Makes repetitions harmless for 2 minutes; made up if not given. */
  key?: string;
  /** Time until it settles, ms; that of the client. */
  timeout?: number;
  /** Stops waiting; what has not been sent never is. */
  signal?: AbortSignal;
}
export interface CallOptions {
  /** `Idempotency-Key` at the back end; with one, the call is repeated after a lost connection. */
  key?: string;
  /** Time until it settles, ms; that of the client. */
  timeout?: number;
  /** Stops waiting; what has not been sent never is. */
  signal?: AbortSignal;
}
export interface OnceOptions {
  /** Time until it rejects with `timeout`, ms; none by default. */
  timeout?: number;
  /** Stops waiting: it rejects with the signal's reason. */
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
  /** With `offset`, its position, in groups with history. */
  readonly epoch?: string;
  /** Its place in the history. */
  readonly offset?: number;
}

export interface ClientEvents {
  /** The state changed. */
  state: { state: ClientState; previous: ClientState };
  /** Not connected; it tries again at `at`. `attempt` counts from 1. `code` is the close code, or `bad_token` if `getToken` failed. */
  waiting: { attempt: number; delay: number; at: Date; code: number | 'bad_token'; reason: string };
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
  /** Whether everything since the last position is or will be delivered. */
  recovered: boolean;
  /** Where it goes on from, in groups with history. */
  position?: Position;
}
export interface Gap {
  /**
   * The gateway's reasons; `reconnect`: away, and what was missed can't be replayed; `unannounced`: an
   * offset was skipped; `buffer`: a loop was too slow.
   */
  reason: 'slow' | 'expired' | 'layer' | 'reconnect' | 'unannounced' | 'buffer';
  /** True where events may have been lost; false where they were. */
  possible: boolean;
  /** How many events, where that is known. */
  lost?: number;
  /** The history's epoch now. */
  epoch?: string;
  /** First missed offset. */
  from?: number;
  /** Last missed offset. */
  to?: number;
}
export interface Left {
  /** For people. */
  reason: string;
  /** The same for programs. */
  error: GroupcastError;
}
export interface GroupEvents {
  /** Joined, for the first time or again. */
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
  /** As given to `join`. */
  readonly name: string;
  /** `closed`: refused, left or removed. */
  readonly state: GroupState;
  /** Of the last event seen, in a group with history. */
  readonly position: Position | undefined;
  /** Why `state` is `closed`. */
  readonly error: GroupcastError | null;
  /**
   * Resolves once joined. Rejects when refused, left or closed, and with `timeout` when that takes
   * long, while the client goes on trying.
   */
  readonly ready: Promise<Group<M>>;
  /** Listens to what happens to the membership; returns what removes the listener. */
  on<K extends keyof GroupEvents>(event: K, listener: (happened: GroupEvents[K]) => void, options?: ListenOptions): () => void;
  /** Listens to every event. */
  on(event: '*', listener: (message: MessageOf<M>) => void, options?: ListenOptions): () => void;
  /** Listens to events of one `type`; in names `.` and `_` are equal. */
  on<K extends keyof M & string>(
    event: K,
    listener: (data: M[K], message: Message<M[K], K>) => void,
    options?: ListenOptions,
  ): () => void;
  /** The next time that something happens to the membership. */
  once<K extends keyof GroupEvents>(event: K, options?: OnceOptions): Promise<GroupEvents[K]>;
  /** The next event. */
  once(event: '*', options?: OnceOptions): Promise<MessageOf<M>>;
  /** The next event of one `type`. */
  once<K extends keyof M & string>(event: K, options?: OnceOptions): Promise<Message<M[K], K>>;
  /**
   * Messages from now on. Ends when left, aborted or closed by the application; throws when refused or
   * removed. `for await (const message of group)` is the same.
   */
  messages(options?: MessagesOptions): AsyncIterableIterator<MessageOf<M> | GapNotice>;
  /** Publishes to this group, where granted. */
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
  /** `waiting`: it will try again; `closed`: it will not, until `connect` or `reconnect`. */
  readonly state: ClientState;
  /** The connection's id, while connected. */
  readonly id: string | undefined;
  /** What is held, to look at and to listen to; holds nothing itself. */
  readonly groups: ReadonlyMap<string, Group>;
  /** Called with every message, beside the listeners. */
  onmessage: ((message: Message) => void) | null;
  /**
   * Connects, and stays so until `close`. Resolves when first connected; rejects when closed, and with
   * `timeout` after that of the client, while it goes on trying.
   */
  connect(options?: { timeout?: number }): Promise<void>;
  /** Tries now instead of waiting, or makes sure that the connection lives. Begins anew after `closed`. */
  reconnect(): void;
  /** Ends the connection and everything that waits for it. `connect` begins anew. */
  close(code?: number): void;
  /** Replaces the token; while connected, in band; after 4401, connects again. */
  setToken(token: string | null): void;
  /** Joins a group, now or when connected, and connects in a browser. Each join is a handle of its own. */
  join<N extends GroupNames<S>>(name: N, options?: JoinOptions | null): Group<EventsOf<S, N>>;
  /** Undoes every `join` of a name. */
  leave(name: string): void;
  /**
   * Publishes to a group, joined or not, where granted. Repeated after a lost connection with the same
   * `key`, so that it is published once.
   */
  send(group: string, data: { type: string; [member: string]: any }, options?: SendOptions): Promise<Sent>;
  /** Asks the back end. Repeated after a lost connection only with a `key`. */
  call<K extends CallNames<S>>(name: K, data?: S['calls'][K]['data'], options?: CallOptions): Promise<S['calls'][K]['result']>;
  /** Listens; returns what removes the listener. */
  on<K extends keyof ClientEvents>(event: K, listener: (happened: ClientEvents[K]) => void, options?: ListenOptions): () => void;
}

/** Everything that goes wrong. */
export class GroupcastError extends Error {
  /** `message` is for people, `code` for programs. */
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
/** Throw it in `getToken` to say that nobody is signed in: the client closes with 4401. */
export class UnauthorizedError extends GroupcastError {
  /** For people. */
  constructor(message?: string);
}
