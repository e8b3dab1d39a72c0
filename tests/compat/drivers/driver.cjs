// Calls the platform's own Node client: a list of [name, function, arguments] on stdin, their results on stdout.
const fs = require('fs');
const client = require('@dolbyio/dolbyio-rest-apis-client');

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
