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
    const call = client.communications.authentication[name] || client.authentication[name];
    try {
        return { token: await call(...given) };
    } catch (error) {
        return { error: String(error) };
    }
}

(async () => {
    const results = {};
    for (const [name, call, given] of JSON.parse(fs.readFileSync(0, 'utf8'))) {
        // "$name" as an accessToken is the whole reply of an earlier call, as the client wants it.
        const args = given.map((value) =>
            value && typeof value === 'object' && String(value.accessToken).startsWith('$')
                ? { ...value, accessToken: results[value.accessToken.slice(1)].token }
                : value,
        );
        results[name] = await resultOf(call, args);
    }
    console.log('\n' + JSON.stringify(results));
})();
