// A proxy that adds the bearer token, for clients that can't send one: the conformance suite knows no authentication.
// Usage: VAULT_TOKEN=... node bearer_proxy.mjs URL. Prints its own URL. Host, Origin and all else pass through.
import http from 'node:http';

const target = new URL(process.argv[2]);
const authorization = `Bearer ${process.env.VAULT_TOKEN}`;

const proxy = http.createServer((request, response) => {
  const headers = { ...request.headers, authorization };
  const { hostname, port, pathname: path } = target;
  const onward = http.request({ hostname, port, path, method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
});
proxy.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${proxy.address().port}${target.pathname}`));
