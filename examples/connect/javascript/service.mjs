// A service in node that reads its mode as feature flags, from the agent on its own machine.
import { createServer } from 'node:http';
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { FlagdProvider } from '@openfeature/flagd-provider';

const flags = OpenFeature.getClient();
flags.addHandler(ProviderEvents.ConfigurationChanged, async () => {
  console.log(`the mode is ${await flags.getStringValue('mode', 'unknown')}`);
});

await OpenFeature.setProviderAndWait(new FlagdProvider({
  resolverType: 'in-process', // the whole configuration is here: reading a flag asks nobody
  host: '127.0.0.1',
  port: Number(process.env.FLAGD_PORT ?? 8015),
  selector: 'flagSetId=checkout',
}));

createServer(async (request, response) => {
  response.setHeader('X-Service-Mode', await flags.getStringValue('mode', 'unknown'));
  response.end(`recommendations: ${await flags.getBooleanValue('recommendations', true)}\n`);
}).listen(Number(process.env.PORT ?? 8080), '127.0.0.1');
