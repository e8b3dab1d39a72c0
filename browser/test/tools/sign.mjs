/** Signs claims with `jose`, as others do. The argument: JSON of pem (PKCS8) or secret, alg, and claims. */
import { importPKCS8, SignJWT } from 'jose';

const { pem, secret, alg, claims } = JSON.parse(process.argv[2]);
const key = pem ? await importPKCS8(pem, alg) : new TextEncoder().encode(secret);
console.log(await new SignJWT(claims).setProtectedHeader({ alg, kid: 'key-1', typ: 'JWT' }).sign(key));
