// Compiled, never run: the types of `groupcast/core`.

import { GroupcastClient, GroupcastError } from 'groupcast/core';
import type { Group, Position } from 'groupcast/core';

interface Shop {
  groups: { [order: `order.${number}`]: { status_changed: { status: 'sent' | 'delivered' } } };
  calls: { mark_read: { data: { id: number }; result: { unread: number } } };
}
const client = new GroupcastClient<Shop>('/ws', { token: 't' });
const order: Group<{ status_changed: { status: 'sent' | 'delivered' } }> = client.join('order.42');
order.on('status_changed', ({ status }, { position }: { position?: Position }) => [status, position]);
order.on('$gap', ({ lost }) => lost);
const ready: Promise<void> = order.ready.then((group) => group.leave());
const unread: Promise<number> = client.call('mark_read', { id: 3 }).then((result) => result.unread);
client.on('closed', ({ error }) => error instanceof GroupcastError);
for (const group of new GroupcastClient('/ws').groups.values()) group.on('e', (data) => data.anything);

class Own extends GroupcastClient<Shop> {}
new Own('/ws').join('order.7').leave();

// @ts-expect-error: no such group
client.join('orders');
// @ts-expect-error: loops are in `groupcast`
order.once('status_changed');
// @ts-expect-error: loops are in `groupcast`
order.messages();

export { ready, unread };
