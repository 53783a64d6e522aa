// Types of `groupcast/core`: the client without loops over groups.

import type {
  AnySchema, ClientOptions, EventMap, Group as FullGroup, GroupcastClient as FullClient, JoinOptions, Schema,
} from './groupcast.js';

export { GroupcastError, UnauthorizedError } from './groupcast.js';
export type {
  AnySchema, CallOptions, ClientEvents, ClientOptions, ClientState, Disposer, EventMap, Gap, GroupEvents, GroupState, Joined,
  JoinOptions, Left, ListenOptions, Message, MessageOf, Position, Schema, SendOptions, Sent, TokenRequest, TokenSource,
} from './groupcast.js';

/** A group without `once`, `messages` and `for await`: those are in `groupcast`. */
export interface Group<M extends EventMap = EventMap>
  extends Omit<FullGroup<M>, 'once' | 'messages' | 'ready' | typeof Symbol.asyncIterator> {
  /** As in `groupcast`. */
  readonly ready: Promise<Group<M>>;
}

type EventsOf<S extends Schema, N> = N extends keyof S['groups'] ? S['groups'][N] : never;

/** The client of `groupcast`, with smaller groups. */
export interface GroupcastClient<S extends Schema = AnySchema> extends Omit<FullClient<S>, 'join' | 'groups'> {
  /** As in `groupcast`. */
  readonly groups: ReadonlyMap<string, Group>;
  /** As in `groupcast`. */
  join<N extends keyof S['groups'] & string>(name: N, options?: JoinOptions | null): Group<EventsOf<S, N>>;
}
export declare const GroupcastClient: {
  new <S extends Schema = AnySchema>(url: string | URL, options?: ClientOptions | null): GroupcastClient<S>;
};
