// Calls the platform's own Node client: a list of [name, function, arguments] on stdin, their results on stdout.
const fs = require('fs');
const client = require('@dolbyio/dolbyio-rest-apis-client');

// The recipes of the migration guide. 4.x has a function for it; 3.x has its hosts as constants of two modules.
const host = process.env.GREENROOM_HOST;
if (client.urls) {
    client.urls.initialize({ api: host, comms: host });
} else {
    require('@dolbyio/dolbyio-rest-apis-client/dist/internal/urls').AUTH_HOSTNAME = host;
    Object.assign(require('@dolbyio/dolbyio-rest-apis-client/dist/communications/internal/urls'), {
        COMMS_HOSTNAME: host,
        SESSION_HOSTNAME: host,
    });
}

async function resultOf(name, given) {
    const inConference = client.communications.conference && client.communications.conference[name];
    const call = inConference || client.communications.authentication[name] || client.authentication[name];
    try {
        const result = await call(...given);
        return inConference ? { result } : { token: result };
    } catch (error) {
        return { error: String(error) };
    }
}

// "$name", also as an accessToken, is the whole reply of an earlier call, as the client wants it; "@name" is the
// conference that it created.
function withResults(value, results) {
    if (typeof value === 'string' && value.startsWith('$')) return results[value.slice(1)].token;
    if (typeof value === 'string' && value.startsWith('@')) return results[value.slice(1)].result.conferenceId;
    if (value && typeof value === 'object' && String(value.accessToken).startsWith('$')) {
        return { ...value, accessToken: withResults(value.accessToken, results) };
    }
    return value;
}

(async () => {
    const results = {};
    for (const [name, call, given] of JSON.parse(fs.readFileSync(0, 'utf8'))) {
        results[name] = await resultOf(call, given.map((value) => withResults(value, results)));
    }
    console.log('\n' + JSON.stringify(results));
})();
