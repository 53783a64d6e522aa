// Publishes events to browsers by way of RabbitMQ, with amqplib: 500 wait for their confirms.
//
// Reads lines such as {"key": "sales", "id": "sale-1", "event": {"type": "sale", "total": 20}}: key
// is the group, or user:<sub>, connection:<id> or all:. With an id the event reaches browsers once,
// however often it is published.
//
//   AMQP_URL=amqp://guest:guest@localhost:5672/ node publish.mjs < events.jsonl

import { createInterface } from "node:readline";
import amqp from "amqplib";

const IN_FLIGHT = 500;

const connection = await amqp.connect(
	process.env.AMQP_URL ?? "amqp://guest:guest@localhost:5672/",
);
const channel = await connection.createConfirmChannel();
let returned = null;
// A mandatory message that no queue takes comes back, before its confirm.
channel.on("return", (message) => {
	returned ??= message.fields;
});

// Not before the broker's word on each may the caller forget them.
async function confirmed() {
	await channel.waitForConfirms();
	if (returned) {
		throw new Error(`no queue takes "${returned.routingKey}": ${returned.replyText}`);
	}
}

let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
	const { key, id, event } = JSON.parse(line);
	channel.publish("groupcast", key, Buffer.from(JSON.stringify(event)), {
		contentType: "application/json",
		persistent: true,
		mandatory: true,
		messageId: id,
	});
	count += 1;
	if (count % IN_FLIGHT === 0) await confirmed();
}
await confirmed();
await connection.close();
console.log(JSON.stringify({ confirmed: count }));
