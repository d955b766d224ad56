// An OpenFeature client as a web page has it: the web SDK with its OFREP provider. It prints what it sees, one
// JSON object a line, and answers each line it reads:
//
//   read   {"event":"read","flags":{…}}       what the code would get now
//
// URL, SERVICE and TOKEN say where the flags come from. With FOLLOW it follows the event stream, as providers do where
// there is an EventSource, and node has none of its own; without, it polls. It ends when its input does.
import { createInterface } from 'node:readline';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

const { URL: baseUrl, SERVICE: service, TOKEN: token, FOLLOW: follow } = process.env;
if (follow) globalThis.EventSource = (await import('eventsource')).EventSource;
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

await OpenFeature.setContext({ targetingKey: 'page-1', service });
const client = OpenFeature.getClient();

const shown = (d) => ({ value: d.value, reason: d.reason, variant: d.variant, error: d.errorCode });
const flags = () => ({
  mode: shown(client.getStringDetails('mode', 'in code')),
  recommendations: shown(client.getBooleanDetails('recommendations', true)),
  payment_gateway: shown(client.getStringDetails('payment_gateway', 'in code')),
  retries: shown(client.getNumberDetails('retries', 5)),
  writes: shown(client.getBooleanDetails('writes', true)),
  undeclared: shown(client.getBooleanDetails('undeclared', true)),
});

client.addHandler(ProviderEvents.ConfigurationChanged, (e) => say('changed', { changed: e.flagsChanged, flags: flags() }));
client.addHandler(ProviderEvents.Stale, () => say('stale', { flags: flags() }));

try {
  await OpenFeature.setProviderAndWait(new OFREPWebProvider({
    baseUrl,
    pollInterval: follow ? 0 : 50,
    cacheMode: 'disabled',
    headers: [['Authorization', `Bearer ${token}`]],
  }));
  say('ready', { flags: flags() });
} catch (error) {
  say('failed', { message: String(error?.message), flags: flags() });
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'read') say('read', { flags: flags() });
}
await OpenFeature.close();
