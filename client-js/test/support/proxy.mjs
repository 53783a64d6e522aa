// A TCP proxy that does to connections what networks do.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Proxy {
  /** `pass`, `blackhole` (accept, read, forget), `stall` (stop reading), `refuse` */
  mode = 'pass';
  /** Bytes a second from the gateway; 0 = as they come. */
  slow = 0;
  #pairs = new Set();
  #server;
  accepted = 0;

  static async to(address) {
    const proxy = new Proxy();
    const [host, port] = address.split(':');
    proxy.target = { host, port: Number(port) };
    proxy.#server = createServer((client) => proxy.#accept(client));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    proxy.address = `127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  #accept(client) {
    this.accepted += 1;
    client.on('error', () => {});
    if (this.mode === 'refuse') return client.resetAndDestroy();
    const gateway = connect(this.target);
    const pair = { client, gateway, left: Infinity };
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      gateway.destroy();
    };
    gateway.on('error', end);
    client.on('close', end);
    gateway.on('close', () => this.mode !== 'blackhole' && end());
    client.on('data', (data) => this.#pass(data, gateway, client));
    gateway.on('data', (data) => this.#toClient(pair, data));
    if (this.mode === 'stall') this.#stall(pair);
  }

  #pass(data, to, from) {
    if (this.mode === 'blackhole' || to.destroyed) return;
    if (!to.write(data)) {
      from.pause();
      to.once('drain', () => this.mode !== 'stall' && from.resume());
    }
  }

  #toClient(pair, data) {
    if (data.length > pair.left) {
      // Half a frame, and no more.
      pair.client.write(data.subarray(0, pair.left), () => pair.client.resetAndDestroy());
      return;
    }
    pair.left -= data.length;
    if (!this.slow) return this.#pass(data, pair.client, pair.gateway);
    pair.gateway.pause();
    this.#pass(data, pair.client, pair.gateway);
    setTimeout(() => pair.gateway.resume(), (data.length / this.slow) * 1000);
  }

  #stall({ client, gateway }) {
    client.pause();
    gateway.pause();
  }

  /** From now on, for connections that stand and those to come. */
  set(mode) {
    this.mode = mode;
    for (const pair of this.#pairs) {
      if (mode === 'stall') this.#stall(pair);
      if (mode === 'pass') {
        pair.client.resume();
        pair.gateway.resume();
      }
    }
  }

  /** Ends all connections that stand: `rst`, `fin`, or `half` a frame at the next data. */
  cut(how = 'rst') {
    for (const pair of [...this.#pairs]) {
      if (how === 'half') pair.left = 3;
      else if (how === 'fin') pair.client.end();
      else pair.client.resetAndDestroy();
    }
  }

  async close() {
    this.#server.close();
    for (const { client, gateway } of this.#pairs) {
      client.destroy();
      gateway.destroy();
    }
  }
}
