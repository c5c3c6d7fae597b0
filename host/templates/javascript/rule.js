// Maps each status event to one JSON message.

let region = 'none';

export const lifecycle = {
  init(config) {
    const settings = JSON.parse(config);
    const unknown = Object.keys(settings).filter((name) => name !== 'region');
    if (unknown.length > 0) throw `unknown configuration: ${unknown.join(', ')}; there is: region`;
    region = settings.region ?? region;
  },
};

export const statusMapper = {
  mapEvent(event) {
    if (event.groupId === '') throw { tag: 'rejected', val: 'no group' };
    const body = { id: event.clientId, event: event.eventType, at: Number(event.time), region };
    return [{
      tag: event.eventType,
      keys: [event.clientId, event.channelId],
      properties: [],
      body: utf8(JSON.stringify(body)),
      attributes: [],
    }];
  },
};

// QuickJS has no TextEncoder.
function utf8(text) {
  const bytes = unescape(encodeURIComponent(text));
  return Uint8Array.from(bytes, (char) => char.charCodeAt(0));
}
