// An OpenFeature client of a server program in node: flagd's provider, which gets the flags over flagd's sync protocol and
// evaluates them in the process. It prints and answers what client.mjs does.
//
// PORT, SERVICE and INSTANCE say where the flags come from and who asks.
import { createInterface } from 'node:readline';
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { FlagdProvider } from '@openfeature/flagd-provider';

const { PORT: port, SERVICE: service, INSTANCE: instance } = process.env;
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

OpenFeature.setContext(instance ? { targetingKey: instance } : {});
const client = OpenFeature.getClient();

const shown = (d) => ({ value: d.value, reason: d.reason, variant: d.variant, error: d.errorCode });
const flags = async () => ({
  mode: shown(await client.getStringDetails('mode', 'in code')),
  recommendations: shown(await client.getBooleanDetails('recommendations', true)),
  payment_gateway: shown(await client.getStringDetails('payment_gateway', 'in code')),
  retries: shown(await client.getNumberDetails('retries', 5)),
  writes: shown(await client.getBooleanDetails('writes', true)),
  undeclared: shown(await client.getBooleanDetails('undeclared', true)),
});

// Other hooks see what the sync context adds to the context of an evaluation.
let context = {};
client.addHooks({ after: (hook) => { context = hook.context; } });

client.addHandler(ProviderEvents.ConfigurationChanged, async (e) => say('changed', { changed: e.flagsChanged, flags: await flags(), context }));
client.addHandler(ProviderEvents.Stale, async () => say('stale', { flags: await flags() }));

try {
  await OpenFeature.setProviderAndWait(new FlagdProvider({
    resolverType: 'in-process',
    host: '127.0.0.1',
    port: Number(port),
    selector: `flagSetId=${service}`,
    retryBackoffMs: 100,
    retryBackoffMaxMs: 200,
  }));
  say('ready', { flags: await flags(), context });
} catch (error) {
  say('failed', { message: String(error?.message), flags: await flags() });
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'read') say('read', { flags: await flags(), context });
}
await OpenFeature.close();
