// For machines where the tests may not bind port 443: what was meant for it goes to the service's port. Hosts are not touched.
const https = require('https');

const createConnection = https.Agent.prototype.createConnection;
https.Agent.prototype.createConnection = function redirected(options, callback) {
    return createConnection.call(this, { ...options, port: Number(process.env.GREENROOM_PORT) }, callback);
};
