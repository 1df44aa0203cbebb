// The TypeScript SDK's client gets a credential, is refused another, and gives the lease back: over stdio if COMMAND
// is given, else from URL, by the handshake or (if ERA is a revision) without one. Prints what it got as JSON.
// Usage: VAULT_TOKEN=... node typescript_client.mjs ERA (URL | COMMAND ARGUMENT...)
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const [era, target, ...args] = process.argv.slice(2);
const transport = target.startsWith('http')
  ? new StreamableHTTPClientTransport(new URL(target), {
      requestInit: { headers: { Authorization: `Bearer ${process.env.VAULT_TOKEN}` } },
    })
  : new StdioClientTransport({ command: target, args, env: process.env });
const mode = era === 'legacy' ? 'legacy' : { pin: era };
const client = new Client({ name: 'interop', version: '1.0.0' }, { versionNegotiation: { mode } });
await client.connect(transport);

const call = (name, given) => client.callTool({ name, arguments: given });
const { tools } = await client.listTools();
const purpose = 'Check that clients in TypeScript are served';
const got = await call('vault_get_credential', { name: 'shopify-api-key', purpose });
const refused = await call('vault_get_credential', { name: 'orders-db', purpose });
const { leaseId } = got.structuredContent;
const revoked = await call('vault_revoke_lease', { leaseId });
if (transport.terminateSession) await transport.terminateSession();
await client.close();

console.log(
  JSON.stringify({
    tools: tools.map((tool) => tool.name),
    value: got.structuredContent.value,
    refused: refused.isError === true,
    state: revoked.structuredContent.state,
  }),
);
