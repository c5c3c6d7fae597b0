// One MQTT connection by mqtt.js, driven by the test.
//
// usage: node mqtt_js_client.js HOST PORT tcp|ws 3|5 CLIENT_ID KEEP_ALIVE_S
//
// MQTT_USERNAME and MQTT_PASSWORD in the environment are its credentials; with MQTT_CA, a PEM file, it
// speaks TLS and trusts what that file signed.
//
// Prints "connected" after CONNACK. The line "close" on stdin, or its end, disconnects cleanly;
// then it prints "closed" and exits. It never reconnects.
'use strict';

const fs = require('fs');
const mqtt = require('mqtt');
const readline = require('readline');

const [host, port, transport, version, clientId, keepalive] = process.argv.slice(2);
const { MQTT_USERNAME: username, MQTT_PASSWORD: password, MQTT_CA: authority } = process.env;
const schemes = authority ? { ws: 'wss', tcp: 'mqtts' } : { ws: 'ws', tcp: 'mqtt' };
const url = `${schemes[transport]}://${host}:${port}${transport === 'ws' ? '/mqtt' : ''}`;
const client = mqtt.connect(url, {
  clientId,
  protocolVersion: version === '5' ? 5 : 4,
  keepalive: Number(keepalive),
  clean: true,
  reconnectPeriod: 0,
  username,
  password,
  ca: authority && fs.readFileSync(authority),
});

let closing = false;
client.on('connect', () => console.log('connected'));
client.on('error', (error) => {
  console.error(String(error));
  process.exit(1);
});
client.on('close', () => {
  if (!closing) console.log('lost');
});
const lines = readline.createInterface({ input: process.stdin });
function close() {
  if (closing) return;
  closing = true;
  client.end(false, () => {
    console.log('closed');
    process.exit(0);
  });
}
lines.on('line', (line) => {
  if (line === 'close') close();
});
lines.on('close', close);
