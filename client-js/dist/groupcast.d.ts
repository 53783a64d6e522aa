// Types of the Groupcast client. Written by hand; a test compiles programs against them.

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

/** Why a token is wanted. */
export interface TokenRequest {
  reason: 'initial' | 'expiring' | 'rejected';
  /** Aborted after 10 s, and by `close` and `setToken`. */
  signal: AbortSignal;
}

export interface ClientOptions {
  /** A token to begin with; none where a cookie authenticates. */
  token?: string;
  /**
   * Fetches a token. Giving none, or throwing `UnauthorizedError`, closes the client; any other error
   * is tried again after 5 to 15 s.
   */
  getToken?(request: TokenRequest): string | null | undefined | Promise<string | null | undefined>;
  /** Time for opening and `welcome` together, ms; 10 000. */
  connectTimeout?: number;
  /** Time until `send` and `call` settle, waiting for a connection included, ms; 10 000. */
  timeout?: number;
  /** Delays, ms: 250 + a random part of 1000 × 2ⁿ, at most 20 000; counted anew after 10 000 stable. */
  backoff?: { min?: number; base?: number; max?: number; stableAfter?: number };
  /** What may wait: 128 requests, 1 MiB. */
  outbox?: { maxMessages?: number; maxBytes?: number };
  /** For runtimes without a global one, such as Node 20. */
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
}

export interface JoinOptions {
  /** Where to go on from, if the group keeps history. */
  since?: Position;
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
}
export interface CallOptions {
  /** `Idempotency-Key` at the back end; with one, the call is repeated after a lost connection. */
  key?: string;
  /** ms */
  timeout?: number;
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
   * offset was skipped.
   */
  reason: 'slow' | 'expired' | 'layer' | 'history' | 'reconnect' | 'unannounced';
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

export interface Group<M extends EventMap = EventMap> {
  readonly name: string;
  readonly state: GroupState;
  readonly position: Position | undefined;
  readonly error: GroupcastError | null;
  readonly ready: Promise<Group<M>>;
  on<K extends keyof GroupEvents>(event: K, listener: (happened: GroupEvents[K]) => void, options?: ListenOptions): () => void;
  on(event: '*', listener: (message: Message<M[keyof M & string]>) => void, options?: ListenOptions): () => void;
  on<K extends keyof M & string>(
    event: K,
    listener: (data: M[K], message: Message<M[K], K>) => void,
    options?: ListenOptions,
  ): () => void;
  send<K extends keyof M & string>(data: { type: K } & M[K], options?: SendOptions): Promise<Sent>;
  leave(): void;
}

export class GroupcastClient<S extends Schema = AnySchema> {
  /** @param url `/ws`, `https://…` or `wss://…` */
  constructor(url: string | URL, options?: ClientOptions);
  readonly state: ClientState;
  readonly id: string | undefined;
  readonly groups: ReadonlyMap<string, Group>;
  onmessage: ((message: Message) => void) | null;
  connect(): Promise<void>;
  reconnect(): void;
  close(code?: number): void;
  setToken(token: string | null): void;
  join<N extends GroupNames<S>>(name: N, options?: JoinOptions): Group<EventsOf<S, N>>;
  leave(name: string): void;
  send(group: string, data: { type: string; [member: string]: any }, options?: SendOptions): Promise<Sent>;
  call<K extends CallNames<S>>(name: K, data?: S['calls'][K]['data'], options?: CallOptions): Promise<S['calls'][K]['result']>;
  on<K extends keyof ClientEvents>(event: K, listener: (happened: ClientEvents[K]) => void, options?: ListenOptions): () => void;
}

export class GroupcastError extends Error {
  constructor(code: string, message: string, retry?: boolean);
  /**
   * Codes of the protocol, or `timeout` (unanswered), `expired` (never sent), `disconnected` (the answer
   * was lost), `outbox_full`, `closed`, `left`.
   */
  readonly code: string;
  /** The same may succeed later. */
  readonly retry: boolean;
}
export class UnauthorizedError extends GroupcastError {
  constructor(message?: string);
}
