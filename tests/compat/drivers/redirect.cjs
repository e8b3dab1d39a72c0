// Redirects the platform's hosts to the service under test. Loaded with --require, before the client.
// The client's own code is not touched: what changes is where a connection leads.
const https = require('https');

const port = Number(process.env.COMPAT_PORT);
const hosts = process.env.COMPAT_HOSTS.split(',');
const createConnection = https.Agent.prototype.createConnection;

https.Agent.prototype.createConnection = function redirected(options, callback) {
    if (!hosts.includes(options.host) || Number(options.port) !== 443) {
        throw new Error(`the client asked for ${options.host}:${options.port}, which is no host of the platform`);
    }
    return createConnection.call(this, { ...options, host: '127.0.0.1', port }, callback);
};
