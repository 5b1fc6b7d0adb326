// node call.mjs [URL [TEXT]]
import { readFile } from "node:fs/promises";
import { pipeline } from "node:stream/promises";

const [url = "http://localhost:9876", text = "owt"] = process.argv.slice(2);
const code = await readFile(new URL("morse.py", import.meta.url), "utf8");
// Node's fetch sends Sec-Fetch-Mode like a browser, but not for which site: owt would refuse what it cannot tell.
const headers = { "Sec-Fetch-Site": "same-origin" };
const answer = await fetch(url, { method: "POST", headers, body: new URLSearchParams({ code, text }) });
if (!answer.ok) throw new Error(await answer.text());
await pipeline(answer.body, process.stdout);
