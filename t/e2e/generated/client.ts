// Calls examples/publish with openapi-fetch and the types that openapi-typescript makes of their openapi.json:
// t/e2e/test_openapi.py runs this.
import createClient from 'openapi-fetch';
import {readFileSync} from 'node:fs';
import type {paths} from './api.js';

const client = createClient<paths>({baseUrl: process.argv[2]});

const letters = await client.POST('/letters', {body: {text: 'hello', most: 2}});
for (const {letter, count} of letters.data ?? []) console.log(letter, count);

const words = await client.POST('/words', {body: {text: 'Say it', pause: 0}, parseAs: 'text'});
console.log(words.data);

const asked = await client.GET('/letters', {params: {query: {text: 'aa'}}});
console.log(asked.data?.[0].count);

const refused = await client.POST('/primes', {body: {count: 5000}, headers: {Accept: 'application/problem+json'}});
console.log(refused.response.status, typeof refused.error === 'object' ? refused.error?.type : '');

const picture = new File([readFileSync(process.argv[3])], 'photo.png', {type: 'image/png'});
const small = await client.POST('/thumbnail', {
  body: {picture: picture as unknown as string, width: 16},
  bodySerializer(body) {
    const form = new FormData();
    for (const [name, value] of Object.entries(body)) form.append(name, value as unknown as Blob);
    return form;
  },
  parseAs: 'blob',
});
console.log((small.data as Blob).type);
