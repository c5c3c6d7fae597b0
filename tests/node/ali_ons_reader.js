// Reads a topic with ali-ons, a RocketMQ client that shares no code with ours or Apache's, and prints
// one JSON line per message.
//
// usage: node ali_ons_reader.js NAME_SERVER TOPIC COUNT TIMEOUT_MS
//
// It is a push consumer of a group of its own that starts at the first offset; it ends when COUNT
// different events came or the time is over. The test sorts by queue and offset.
'use strict';

const { Consumer } = require('ali-ons');
const httpclient = require('urllib');

const [nameSrv, topic, countText, timeoutText] = process.argv.slice(2);
const count = Number(countText);

// The client writes warnings with console's name; stdout is for messages.
const quiet = { info() {}, debug() {}, warn() {}, error: (...args) => console.error(...args) };

// Set by clients and brokers, not by users.
const SYSTEM = new Set([
  'KEYS', 'TAGS', 'WAIT', 'DELAY', 'UNIQ_KEY', 'MIN_OFFSET', 'MAX_OFFSET', 'CLUSTER', 'MSG_REGION', 'TRACE_ON',
  'RECONSUME_TIME', 'MAX_RECONSUME_TIMES', 'CONSUME_START_TIME', 'REAL_TOPIC', 'REAL_QID', 'RETRY_TOPIC',
]);

const seen = new Set();

function line(message) {
  const all = message.properties;
  const properties = {};
  for (const name of Object.keys(all).sort()) {
    if (!SYSTEM.has(name)) properties[name] = all[name];
  }
  return JSON.stringify({
    topic: message.topic,
    queueId: message.queueId,
    queueOffset: Number(message.queueOffset),
    tag: all.TAGS === undefined ? null : all.TAGS,
    keys: all.KEYS === undefined ? [] : all.KEYS.split(' '),
    properties,
    storedAt: Number(message.storeTimestamp),
    body: message.body.toString('utf8'),
  });
}

async function main() {
  const consumer = new Consumer({
    httpclient,
    nameSrv,
    consumerGroup: `GID_AliOns_${process.pid}_${Date.now()}`,
    consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
    isBroadcast: true,
    logger: quiet,
  });
  consumer.on('error', (error) => console.error(String(error)));
  const end = (code) => process.stdout.write('', () => process.exit(code));
  setTimeout(() => end(0), Number(timeoutText));
  consumer.subscribe(topic, '*', async (message) => {
    process.stdout.write(line(message) + '\n');
    seen.add(message.properties.eventId || message.msgId);
    // A moment longer, so that messages beyond those expected are seen, too.
    if (seen.size === count) setTimeout(() => end(0), 300);
  });
  await consumer.ready();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
