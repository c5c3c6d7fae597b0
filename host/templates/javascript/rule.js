// Maps each status event to one JSON message.

import { log } from 'rulemill:rule/log@1.0.0';

let region = 'none';

export const lifecycle = {
  init: traced((config) => {
    const settings = JSON.parse(config);
    const unknown = Object.keys(settings).filter((name) => name !== 'region');
    if (unknown.length > 0) throw `unknown configuration: ${unknown.join(', ')}; there is: region`;
    region = settings.region ?? region;
  }),
};

export const statusMapper = {
  mapEvent: traced((event) => {
    if (event.groupId === '') throw { tag: 'rejected', val: 'no group' };
    const body = { id: event.clientId, event: event.eventType, at: Number(event.time), region };
    return [{
      tag: event.eventType,
      keys: [event.clientId, event.channelId],
      properties: [],
      body: utf8(JSON.stringify(body)),
      attributes: [],
    }];
  }),
};

// Puts what is thrown by mistake into the plugin's log, its stack first; without it, all that is left is that
// the call trapped. A text or `{ tag, val }` is an answer.
function traced(call) {
  return (argument) => {
    try {
      return call(argument);
    } catch (thrown) {
      if (thrown instanceof Error) {
        for (const line of `${thrown.stack ?? ''}`.trimEnd().split('\n')) log('error', line);
        log('error', `${thrown}`);
      }
      throw thrown;
    }
  };
}

// QuickJS has no TextEncoder.
function utf8(text) {
  const bytes = unescape(encodeURIComponent(text));
  return Uint8Array.from(bytes, (char) => char.charCodeAt(0));
}
